"""The daemon whole, on virtual time: what is told when, at what cost, what a restart changes."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from monitor.core.model import NoConfig, Observation, PollError, RateHint, Reason
from monitor.daemon import Daemon
from support.daemons import World
from support.state_files import execute
from support.virtual import START, config, run, virtual_seconds

DAY = 86400.0
MINUTE = 60.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_failed_test_is_told_once_and_its_mending_once(world: World) -> None:
    async def story() -> None:
        world.configure()
        api = world.api()
        api.says["c-1"] = config("c-1", START, last_test_success=False)
        async with world.daemon():
            await virtual_seconds(10 * MINUTE)
            api.says["c-1"] = config("c-1", START + 600, last_test_at=START + 600)
            await virtual_seconds(10 * MINUTE)

    run(story())
    assert world.told() == [("firing", "failed_test", "c-1"), ("resolved", "failed_test", "c-1")]
    assert [event["seq"] for event in world.events()] == [1, 2]


def test_a_test_that_grows_stale_is_told_within_5_s_for_one_extra_request(world: World) -> None:
    async def story() -> list[float]:
        world.configure()
        api = world.api()
        api.says["c-1"] = config("c-1", START, last_test_at=START - 30 * DAY + 30)
        async with world.daemon():
            await virtual_seconds(MINUTE)
            return [at for at, _ in api.calls]

    calls = run(story())
    assert len(calls) == 2
    assert world.told() == [("firing", "stale_test", "c-1")]
    (event,) = world.events()
    assert event["since"] == "2027-01-15T08:00:30.000Z"
    assert "2027-01-15T08:00:30" <= event["timestamp"] <= "2027-01-15T08:00:35"


def test_a_test_that_somebody_ran_just_before_prevents_a_false_page(world: World) -> None:
    async def story() -> None:
        world.configure()
        api = world.api()
        api.says["c-1"] = config("c-1", START, last_test_at=START - 30 * DAY + 120)
        async with world.daemon():
            await virtual_seconds(60)
            api.says["c-1"] = config("c-1", START, last_test_at=START + 55)
            await virtual_seconds(10 * MINUTE)

    run(story())
    assert world.told() == []


def test_a_restart_tells_nothing_and_keeps_since(world: World) -> None:
    async def story() -> list[str]:
        world.configure(["c-1", "c-2"])
        api = world.api()
        api.says["c-1"] = config("c-1", START, last_test_success=False)
        api.says["c-2"] = PollError(Reason.FORBIDDEN)
        since = []
        for _ in range(3):
            async with world.daemon() as daemon:
                await virtual_seconds(20 * MINUTE)
                snapshot = daemon.report.snapshot().environments["production"]
                alert = snapshot.campaigns["c-1"].status.alerts["failed_test"]
                since.append(f"{alert.since} {alert.notified_at} {alert.seq}")
        return since

    since = run(story())
    assert len(set(since)) == 1
    assert world.told() == [("firing", "failed_test", "c-1"), ("firing", "unreadable", "c-2")]


@pytest.mark.slow
def test_fault_28_a_restart_neither_bursts_nor_exceeds_the_budget(world: World) -> None:
    async def story() -> list[float]:
        world.configure([f"c-{n}" for n in range(60)])
        for _ in range(10):
            async with world.daemon():
                await virtual_seconds(7)
        return [at for at, _ in world.api().calls]

    calls = run(story())
    for at in calls:
        assert sum(at <= other < at + 60 for other in calls) <= 50


def test_fault_29_first_polls_go_out_at_an_even_pace(world: World) -> None:
    async def story() -> list[float]:
        world.configure([f"c-{n}" for n in range(20)])
        async with world.daemon():
            await virtual_seconds(MINUTE)
        return [at for at, _ in world.api().calls][:20]

    calls = run(story())
    gaps = [after - before for before, after in itertools.pairwise(calls)]
    assert max(gaps) == pytest.approx(min(gaps), abs=0.01)
    assert min(gaps) > 60 / 50


def test_healthy_campaigns_are_polled_every_interval(world: World) -> None:
    async def story() -> list[float]:
        world.configure()
        async with world.daemon():
            await virtual_seconds(60 * MINUTE)
        return [at for at, _ in world.api().calls]

    gaps = _gaps(run(story()))
    assert 2.5 * MINUTE <= gaps[0] <= 7.5 * MINUTE
    assert gaps[1:] == pytest.approx([5 * MINUTE] * len(gaps[1:]), abs=0.5)


@pytest.mark.slow
def test_a_young_firing_alert_is_polled_every_minute_and_an_old_one_every_five(
    world: World,
) -> None:
    async def story() -> list[float]:
        world.configure()
        world.api().says["c-1"] = config("c-1", START, last_test_success=False)
        async with world.daemon():
            await virtual_seconds(120 * MINUTE)
        return [at for at, _ in world.api().calls]

    calls = run(story())
    gaps = _gaps(calls)
    assert gaps[:50] == pytest.approx([MINUTE] * 50, abs=0.5)
    assert gaps[-5:] == pytest.approx([5 * MINUTE] * 5, abs=0.5)


def _gaps(calls: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(calls)]


@pytest.mark.slow
def test_one_outage_is_one_page_and_no_campaign_is_unreadable(world: World) -> None:
    async def story() -> int:
        keys = [f"c-{n}" for n in range(20)]
        world.configure(keys)
        api = world.api()
        async with world.daemon():
            await virtual_seconds(10 * MINUTE)
            before = dict(api.says)
            api.says = dict.fromkeys(keys, PollError(Reason.HTTP_5XX))
            await virtual_seconds(3 * MINUTE)
            calls = len(api.calls)
            await virtual_seconds(27 * MINUTE)
            spent = len(api.calls) - calls
            api.says = before
            await virtual_seconds(20 * MINUTE)
        return spent

    spent = run(story())
    assert world.told() == [
        ("firing", "api_unreachable", None),
        ("resolved", "api_unreachable", None),
    ]
    assert spent <= 27 * 2 + 2


def test_faults_7_and_37_a_rejected_token_stops_the_sweep_until_its_file_changes(
    world: World,
) -> None:
    async def story() -> None:
        token = world.folder / "token"
        token.write_text("talq_old\n")
        token.chmod(0o600)
        world.write_config(
            "environments:\n  - name: production\n    base_url: http://127.0.0.1:9/api/v1\n"
            f"    token_file: {token}\n    campaigns: [{{id: c-1}}, {{id: c-2}}, {{id: c-3}}]\n"
        )
        api = world.api()

        for key in ("c-1", "c-2", "c-3"):
            api.says[key] = _by_token(world, key)
        async with world.daemon() as daemon:
            await virtual_seconds(20 * MINUTE)
            assert len(api.calls) <= 2 + 2 + 20 / 5
            assert world.told() == [("firing", "token_rejected", None)]
            token.write_text("talq_new\n")
            await virtual_seconds(10)
            assert world.told()[-1] == ("resolved", "token_rejected", None)
            assert daemon.report.snapshot().environments["production"].status.up

    run(story())


def test_fault_7_a_token_that_is_rejected_around_a_reload_is_told_as_rejected(
    world: World,
) -> None:
    keys = ("c-1", "c-2", "c-3")

    async def refused_once() -> None:
        api = world.api()
        calls = len(api.calls)
        api.says = dict.fromkeys(keys, PollError(Reason.UNAUTHORIZED))
        while len(api.calls) == calls:
            await virtual_seconds(1)

    async def story() -> None:
        world.configure(keys)
        async with world.daemon() as daemon:
            await virtual_seconds(10 * MINUTE)
            await refused_once()
            world.api().says = {}
            await virtual_seconds(10 * MINUTE)
            assert world.told() == []
            await refused_once()
            world.configure(keys, more="polling: {timeout: 9s}\n")
            assert await daemon.reload() == []
            await virtual_seconds(20 * MINUTE)

    run(story())
    assert world.told() == [("firing", "token_rejected", None)]


def _by_token(world: World, key: str) -> Callable[[], Observation]:
    def said() -> Observation:
        if world.api().tokens[-1] == "talq_new":
            return config(key, START)
        return PollError(Reason.UNAUTHORIZED)

    return said


def test_fault_8_a_429_pauses_the_whole_environment(world: World) -> None:
    async def story() -> list[float]:
        world.configure([f"c-{n}" for n in range(10)])
        api = world.api()
        api.pause = 45.0
        async with world.daemon():
            await virtual_seconds(0.5)
            api.pause = None
            await virtual_seconds(2 * MINUTE)
        return [at for at, _ in api.calls]

    calls = run(story())
    assert calls[1] - calls[0] >= 45


def test_fault_6_a_missing_config_among_readable_ones_is_told_within_a_minute(
    world: World,
) -> None:
    async def story() -> None:
        world.configure([f"c-{n}" for n in range(5)])
        world.api().says["c-0"] = NoConfig(by_404=True)
        async with world.daemon():
            await virtual_seconds(MINUTE)

    run(story())
    assert world.told() == [("firing", "missing", "c-0")]
    assert world.events()[0]["initial"] is True


def test_environments_are_isolated_one_that_hangs_delays_no_other(world: World) -> None:
    async def story() -> int:
        both = "".join(
            f"  - name: {name}\n    base_url: http://127.0.0.1:9/api/v1\n"
            f"    token: ${{{token}}}\n    campaigns: [{{id: c-1}}]\n"
            for name, token in (("hung", "TOKEN"), ("well", "OTHER_TOKEN"))
        )
        world.write_config("environments:\n" + both)
        world.api("hung").hang = asyncio.Event()
        async with world.daemon():
            await virtual_seconds(60 * MINUTE)
        return len(world.api("well").calls)

    assert run(story()) >= 11


def test_a_campaign_that_leaves_the_config_is_resolved_as_removed(world: World) -> None:
    async def story() -> None:
        world.configure(["c-1", "c-2"])
        world.api().says["c-2"] = config("c-2", START, last_test_success=False)
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            world.configure(["c-1"])
            assert await daemon.reload() == []
            await virtual_seconds(MINUTE)
            world.configure(["c-1", "c-2"])
            await daemon.reload()
            await virtual_seconds(MINUTE)

    run(story())
    assert [(e["status"], e["reason"], e["seq"]) for e in world.events()] == [
        ("firing", None, 1),
        ("resolved", "campaign_removed", 2),
        ("firing", None, 3),
    ]


def test_an_environment_that_was_removed_while_we_were_down_is_resolved_at_start(
    world: World,
) -> None:
    async def story() -> None:
        world.configure()
        world.api().says["c-1"] = config("c-1", START, last_test_success=False)
        async with world.daemon():
            await virtual_seconds(MINUTE)
        (world.folder / "monitor.yaml").write_text("")
        world.write_config(
            "environments:\n  - name: staging\n    base_url: http://127.0.0.1:9/api/v1\n"
            "    token: ${TOKEN}\n    campaigns: [{id: c-9}]\n"
        )
        async with world.daemon():
            await virtual_seconds(MINUTE)
        async with world.daemon():
            await virtual_seconds(MINUTE)

    run(story())
    assert [(e["status"], e["reason"]) for e in world.events()] == [
        ("firing", None),
        ("resolved", "environment_removed"),
    ]


def test_fault_35_a_bad_file_changes_nothing_at_a_reload(world: World) -> None:
    async def story() -> None:
        world.configure()
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            (world.folder / "monitor.yaml").write_text("environments: nonsense\n")
            problems = await daemon.reload()
            assert any("environments" in problem for problem in problems)
            calls = len(world.api().calls)
            await virtual_seconds(20 * MINUTE)
            assert len(world.api().calls) > calls

    run(story())


def test_fault_35_reloads_that_are_asked_for_at_once_are_one_and_one_more(world: World) -> None:
    """Whoever asks gets the result of a reload that began after that, even where others left.

    The kind: what a POST asks for is as cheap to ask for as a signal, and may not cost more.
    """

    async def story() -> None:
        world.configure()
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            asked = [asyncio.create_task(daemon.reload()) for _ in range(20)]
            daemon.reload_requested.set()
            await asyncio.sleep(0)
            for one in asked[::2]:
                one.cancel()
            assert await asyncio.gather(*asked[1::2]) == [[]] * 10
            (world.folder / "monitor.yaml").write_text("environments: nonsense\n")
            assert await daemon.reload() != []

    with capture_logs() as logged:
        run(story())
    assert sum(one["event"] == "reloaded" for one in logged) in {1, 2}


def test_an_environment_that_comes_back_is_remembered_without_the_disk(world: World) -> None:
    staging = (
        "  - name: staging\n"
        "    base_url: http://127.0.0.1:9/api/v1\n"
        "    token: ${OTHER_TOKEN}\n"
        "    campaigns: [{id: s-1}]\n"
    )

    async def story() -> None:
        world.configure(more=staging)
        world.api("staging").says["s-1"] = config("s-1", START, last_test_success=False)
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            world.configure()
            assert await daemon.reload() == []
            await virtual_seconds(MINUTE)
            execute(world.folder / "state.db", "DROP TABLE campaign", "DROP TABLE environment")
            world.configure(more=staging)
            assert await daemon.reload() == []
            await virtual_seconds(MINUTE)

    run(story())
    ids = [event["event_id"] for event in world.events()]
    assert [(event["status"], event["seq"]) for event in world.events()] == [
        ("firing", 1),
        ("resolved", 2),
        ("firing", 3),
    ]
    assert len(set(ids)) == 3


def test_a_changed_severity_is_told_as_updated(world: World) -> None:
    async def story() -> None:
        world.configure()
        world.api().says["c-1"] = config("c-1", START, last_test_success=False)
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            world.configure(more="rules: {failed_test: {severity: warning}}\n")
            await daemon.reload()
            await daemon.reload()
            await virtual_seconds(MINUTE)

    run(story())
    assert [(e["status"], e["severity"], e["previous_severity"]) for e in world.events()] == [
        ("firing", "critical", None),
        ("updated", "warning", "critical"),
    ]


@pytest.mark.slow
def test_a_reminder_comes_every_four_hours_also_over_a_restart(world: World) -> None:
    async def story() -> None:
        world.configure()
        world.api().says["c-1"] = config("c-1", START, last_test_success=False)
        async with world.daemon():
            await virtual_seconds(3 * 3600)
        async with world.daemon():
            await virtual_seconds(6 * 3600)

    run(story())
    assert [event["status"] for event in world.events()] == ["firing", "reminder", "reminder"]


def test_fault_41_what_a_blocked_sink_misses_is_told_in_order_when_it_is_back(
    world: World,
) -> None:
    async def story() -> None:
        world.configure(["c-1", "c-2"])
        api = world.api()
        world.full = True
        api.says["c-1"] = config("c-1", START, last_test_success=False)
        async with world.daemon() as daemon:
            await virtual_seconds(5 * MINUTE)
            api.says["c-1"] = config("c-1", START)
            api.says["c-2"] = config("c-2", START, last_test_success=False)
            await virtual_seconds(10 * MINUTE)
            text = _metrics(daemon)
            assert 'sftp_monitor_sink_pending_events{sink="log"} 3.0' in text
            world.full = False
            await virtual_seconds(2 * MINUTE)
            assert 'sftp_monitor_sink_pending_events{sink="log"} 0.0' in _metrics(daemon)

    run(story())
    assert world.told()[0] == ("firing", "failed_test", "c-1")
    assert sorted(world.told()[1:]) == [
        ("firing", "failed_test", "c-2"),
        ("resolved", "failed_test", "c-1"),
    ]


def _metrics(daemon: Daemon) -> str:
    return daemon.report.metrics(False)().decode()


def test_fault_24_ages_are_taken_against_the_clock_of_the_api(world: World) -> None:
    async def story() -> None:
        world.configure()
        api, clock = world.api(), world.clock
        clock.offset = -3 * DAY  # our clock is three days slow
        api.server_clock = lambda: START + clock.elapsed()
        api.says["c-1"] = config("c-1", START, last_test_at=START - 30 * DAY - 60)
        async with world.daemon():
            # Three answers that agree are needed; the campaign is asked every 5 minutes.
            await virtual_seconds(20 * MINUTE)

    run(story())
    assert world.told() == [("firing", "stale_test", "c-1")]


@pytest.mark.matrix
@pytest.mark.parametrize("step", [-3600.0, 365 * DAY])
def test_fault_25_a_step_of_our_clock_changes_neither_cadence_nor_alerts(
    world: World, step: float
) -> None:
    async def story() -> list[float]:
        world.configure([f"c-{n}" for n in range(6)])
        api, clock = world.api(), world.clock
        api.server_clock = lambda: START + clock.elapsed()
        async with world.daemon():
            await virtual_seconds(20 * MINUTE)
            clock.step(step)
            await virtual_seconds(40 * MINUTE)
        return [at for at, key in api.calls if key == "c-0"]

    gaps = _gaps(run(story()))
    assert world.told() == []
    assert max(gaps) <= 7.5 * MINUTE
    assert min(gaps) >= 2.5 * MINUTE


@pytest.mark.matrix
@pytest.mark.parametrize("step", [-3600.0, 365 * DAY])
def test_fault_25_a_step_of_our_clock_in_an_outage_changes_neither_probes_nor_the_alert(
    world: World, step: float
) -> None:
    async def story() -> list[float]:
        world.configure()
        api, clock = world.api(), world.clock
        api.says["c-1"] = PollError(Reason.CONNECT_ERROR)
        async with world.daemon():
            # No answer has ever said what time it is at the API.
            await virtual_seconds(5 * MINUTE)
            clock.step(step)
            await virtual_seconds(5)
            assert world.told() == []
            await virtual_seconds(5 * MINUTE)
        return [at for at, _ in api.calls if at > 4 * MINUTE]

    assert max(_gaps(run(story()))) <= 40
    assert world.told() == [("firing", "api_unreachable", None)]


def test_fault_25_after_an_outage_in_which_our_clock_stepped_back_all_are_polled_as_ever(
    world: World,
) -> None:
    keys = ["c-1", "c-2", "c-3"]

    async def story() -> list[tuple[float, str]]:
        world.configure(keys)
        api = world.api()
        async with world.daemon():
            await virtual_seconds(10 * MINUTE)
            api.says = dict.fromkeys(keys, PollError(Reason.CONNECT_ERROR))
            await virtual_seconds(10 * MINUTE)
            world.clock.step(-3600)
            await virtual_seconds(10 * MINUTE)
            api.says = {}
            await virtual_seconds(10 * MINUTE)
        return [(at, key) for at, key in api.calls if at > 30 * MINUTE]

    calls = run(story())
    for key in keys:
        assert min((at for at, one in calls if one == key), default=0) < 37.5 * MINUTE
    assert {key for _, key in calls} == set(keys)


@pytest.mark.slow
def test_fault_8_after_a_429_the_pace_is_halved_and_grows_back(world: World) -> None:
    async def story() -> list[float]:
        world.configure([f"c-{n}" for n in range(400)])
        api = world.api()
        async with world.daemon():
            await virtual_seconds(3 * MINUTE)
            api.refuse = 30.0
            await virtual_seconds(2)
            api.refuse = None
            await virtual_seconds(20 * MINUTE)
        return [at for at, _ in api.calls]

    calls = run(story())
    first, last = (sum(at <= call < at + MINUTE for call in calls) for at in (212.5, 1200.0))
    assert 24 <= first <= 27
    assert 48 <= last <= 50


def test_fault_9_we_yield_where_the_customer_needs_the_limit(world: World) -> None:
    async def story() -> list[float]:
        world.configure([f"c-{n}" for n in range(400)])
        api = world.api()
        api.rate = RateHint(limit=100, remaining=15)
        async with world.daemon():
            await virtual_seconds(5 * MINUTE)
        return [at for at, _ in api.calls]

    calls = run(story())
    assert len(calls) == pytest.approx(5 * 50 * 0.97 / 2, abs=3)


@pytest.mark.slow
def test_with_many_sick_campaigns_every_one_is_read_within_three_intervals(world: World) -> None:
    keys = [f"c-{n}" for n in range(500)]

    async def story() -> tuple[list[tuple[float, str]], float]:
        world.configure(keys)
        api = world.api()
        for key in keys[:120]:
            api.says[key] = config(key, START, last_test_success=False)
        async with world.daemon() as daemon:
            await virtual_seconds(90 * MINUTE)
            return api.calls, daemon.report.snapshot().environments["production"].interval_seconds

    calls, interval = run(story())
    last = dict.fromkeys(keys, 0.0)
    for at, key in [*calls, *((90 * MINUTE, key) for key in keys)]:
        assert at - last[key] <= 3 * interval
        last[key] = at


@pytest.mark.slow
def test_fault_29_an_outage_of_two_minutes_costs_at_most_16_calls_and_no_burst_after_it(
    world: World,
) -> None:
    keys = [f"c-{n}" for n in range(90)]

    async def story() -> list[float]:
        world.configure(keys)
        api = world.api()
        async with world.daemon():
            await virtual_seconds(10 * MINUTE)
            before, api.says = api.says, dict.fromkeys(keys, PollError(Reason.CONNECT_ERROR))
            await virtual_seconds(2 * MINUTE)
            api.says = before
            await virtual_seconds(10 * MINUTE)
        return [at for at, _ in api.calls]

    calls = run(story())
    assert sum(10 * MINUTE <= at < 12 * MINUTE for at in calls) <= 16
    after = [at for at in calls if at >= 12 * MINUTE]
    even = 50 / 60
    assert max(sum(start <= at < start + 1 for at in after) for start in after) <= 3 * even


@pytest.mark.slow
def test_a_first_sweep_takes_its_budget_and_hardly_longer(world: World) -> None:
    async def story() -> float:
        world.configure([f"c-{n}" for n in range(300)])
        async with world.daemon() as daemon:
            await virtual_seconds(10 * MINUTE)
            swept_at = daemon.report.snapshot().environments["production"].status.swept_at
        assert swept_at is not None
        return world.api().calls[299][0]

    assert run(story()) <= 1.1 * 300 / 50 * MINUTE


def test_after_a_restart_it_is_ready_at_once_where_every_environment_was_called_before(
    world: World,
) -> None:
    async def story() -> list[str | None]:
        world.configure()
        seen = []
        async with world.daemon() as daemon:
            seen.append(daemon.report.ready())
            await virtual_seconds(MINUTE)
            seen.append(daemon.report.ready())
        async with world.daemon() as daemon:
            seen.append(daemon.report.ready())
        # With the breaker open as well: that the API is down is no reason to hold up a roll-out.
        world.api().says = {"c-1": PollError(Reason.CONNECT_ERROR)}
        async with world.daemon() as daemon:
            await virtual_seconds(20 * MINUTE)
        async with world.daemon() as daemon:
            assert daemon.report.snapshot().environments["production"].status.breaker_open
            seen.append(daemon.report.ready())
        return seen

    waits = "no call was made yet for production"
    assert run(story()) == [waits, None, None, None]


def test_an_environment_that_a_reload_adds_is_waited_for_until_its_first_answer_or_failure(
    world: World,
) -> None:
    more = (
        "  - {name: empty, base_url: 'http://127.0.0.1:9', token: '${OTHER_TOKEN}',"
        " discovery: {enabled: true}}\n"
    )

    async def story() -> list[str | None]:
        world.configure()
        world.api("empty").listing = PollError(Reason.HTTP_5XX)
        seen = []
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            world.configure(more=more)
            assert await daemon.reload() == []
            seen.append(daemon.report.ready())
            await virtual_seconds(MINUTE)
            seen.append(daemon.report.ready())
        async with world.daemon() as daemon:
            seen.append(daemon.report.ready())
        return seen

    assert run(story()) == ["no call was made yet for empty", None, None]


def test_a_reload_with_a_shorter_timeout_cuts_no_poll_that_is_under_way(world: World) -> None:
    async def story() -> list[bool]:
        world.configure(more="polling: {timeout: 60s}\n")
        api = world.api()
        api.latency = 40.0
        seen = []
        async with world.daemon() as daemon:
            await virtual_seconds(1)
            world.configure(more="polling: {timeout: 1s}\n")
            assert await daemon.reload() == []
            await virtual_seconds(38)
            seen.append(api.closed)
            await virtual_seconds(5)
            seen.append(api.closed)
            seen.append(daemon.report.snapshot().environments["production"].status.up is True)
        return seen

    assert run(story()) == [False, True, True]


def test_roots_that_are_not_there_are_told_at_the_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")

    async def story() -> None:
        world.configure()
        async with world.daemon():
            pass

    with capture_logs() as logged:
        run(story())
    (told,) = [line for line in logged if line["event"] == "certificate_authorities"]
    assert told["problem"] == "SSL_CERT_FILE: /nowhere is not a file"
