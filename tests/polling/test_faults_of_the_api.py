"""What the whole daemon makes of an API that answers badly: how often it asks, what it tells."""

import itertools
from pathlib import Path

import pytest

from monitor.core.model import NoConfig, PollError, Reason
from support.daemons import World
from support.virtual import START, config, run, virtual_seconds

MINUTE = 60.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def lines(said: str, event: str) -> list[str]:
    """Return the log lines of this event."""
    return [line for line in said.splitlines() if event in line]


def test_fault_1_the_schedule_is_the_retry_and_only_changes_are_logged(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> list[float]:
        world.configure(["c-1", "c-2"])
        api = world.api()
        # Polled as often, and answered: so the breaker stays shut.
        api.says["c-2"] = config("c-2", START, last_test_success=False)
        api.says["c-1"] = PollError(Reason.HTTP_5XX, "500")
        async with world.daemon():
            await virtual_seconds(8 * MINUTE)
            api.says["c-1"] = PollError(Reason.MALFORMED, "no JSON")
            await virtual_seconds(8 * MINUTE)
        return [at for at, key in api.calls if key == "c-1"]

    calls = run(story())
    gaps = [after - before for before, after in itertools.pairwise(calls)]
    assert gaps == pytest.approx([MINUTE] * len(gaps), abs=1)
    failed = lines(capsys.readouterr().out, "poll_failed")
    assert ["http_5xx" in line for line in failed] == [True, False]


def test_fault_1_a_503_that_asks_for_a_pause_pauses_every_campaign(world: World) -> None:
    async def story() -> list[float]:
        world.configure([f"c-{n}" for n in range(10)])
        api = world.api()
        api.says["c-0"] = PollError(Reason.HTTP_5XX, "503")
        api.pause = 45.0
        async with world.daemon():
            await virtual_seconds(0.5)
            api.pause = None
            await virtual_seconds(2 * MINUTE)
        return [at for at, _ in api.calls]

    first, second, third, *_ = run(story())
    assert second - first >= 45
    # Only a 429 halves the pace.
    assert third - second == pytest.approx(60 / 48.5, abs=0.01)


def test_fault_3_what_the_api_says_is_in_no_metric(world: World) -> None:
    async def story() -> str:
        world.configure(["c-1", "c-2"])
        world.api().says["c-1"] = PollError(Reason.API_ERROR, "SURPRISE: as nobody expected")
        async with world.daemon() as daemon:
            await virtual_seconds(20 * MINUTE)
            return daemon.report.metrics(False)().decode()

    page = run(story())
    assert 'rule="unreadable"' in page
    assert "SURPRISE" not in page


def test_fault_6_a_wrong_base_url_is_one_alert_and_not_one_a_campaign(world: World) -> None:
    async def story() -> None:
        keys = [f"c-{n}" for n in range(5)]
        world.configure(keys)
        world.api().says = dict.fromkeys(keys, NoConfig(by_404=True))
        async with world.daemon():
            await virtual_seconds(30 * MINUTE)

    run(story())
    assert world.told() == [("firing", "api_unreachable", None)]
    (event,) = world.events()
    assert event["summary"] == (
        "production: 404 for every campaign: base_url is wrong, or the API has moved"
    )
    assert event["evidence"]["reason"] == "not_found"


def test_fault_6_each_404_that_was_distrusted_is_asked_again_at_once_whatever_came_between(
    world: World,
) -> None:
    async def story() -> None:
        keys = [f"c-{n}" for n in range(6)]
        world.configure(keys)
        world.api().says = dict.fromkeys(keys[::2], NoConfig(by_404=True))
        world.api().says |= dict.fromkeys(keys[1:4:2], PollError(Reason.FORBIDDEN, "403"))
        async with world.daemon():
            await virtual_seconds(30)

    run(story())
    assert sorted(world.told()) == [("firing", "missing", f"c-{n}") for n in (0, 2, 4)]


def test_fault_7_403_to_ten_campaigns_in_a_row_is_one_alert_though_one_of_many_can_be_read(
    world: World,
) -> None:
    async def story() -> None:
        keys = [f"c-{n}" for n in range(12)]
        world.configure(keys)
        world.api().says = dict.fromkeys(keys[1:], PollError(Reason.FORBIDDEN, "403"))
        async with world.daemon():
            await virtual_seconds(30 * MINUTE)

    run(story())
    assert world.told() == [("firing", "token_rejected", None)]


def test_fault_6_where_only_the_listing_was_asked_for_the_summary_says_so(world: World) -> None:
    async def story() -> None:
        world.write_config(
            "environments:\n  - name: production\n    base_url: http://127.0.0.1:9/api/v1\n"
            "    token: ${TOKEN}\n    discovery: {enabled: true}\n"
        )
        world.api().listing = PollError(Reason.NOT_FOUND, "404")
        async with world.daemon():
            await virtual_seconds(10 * MINUTE)

    run(story())
    (event,) = world.events()
    assert event["summary"] == (
        "production: 404 for the listing: base_url is wrong, or the API has moved"
    )


def test_fault_7_a_403_is_that_campaigns_own_matter(world: World) -> None:
    async def story() -> None:
        world.configure([f"c-{n}" for n in range(4)])
        world.api().says["c-2"] = PollError(Reason.FORBIDDEN, "403")
        async with world.daemon() as daemon:
            await virtual_seconds(30 * MINUTE)
            snapshot = daemon.report.snapshot().environments["production"]
            assert not snapshot.status.breaker_open

    run(story())
    assert world.told() == [("firing", "unreadable", "c-2")]


def test_fault_10_another_campaigns_config_is_logged_as_an_error_and_resolves_nothing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        world.configure()
        api = world.api()
        api.says["c-1"] = config("c-1", START, last_test_success=False)
        async with world.daemon():
            await virtual_seconds(MINUTE)
            api.says["c-1"] = PollError(Reason.WRONG_CAMPAIGN, "the answer is about campaign c-2")
            await virtual_seconds(5 * MINUTE)

    run(story())
    (line,) = lines(capsys.readouterr().out, "poll_failed")
    assert "error" in line
    assert "campaign c-2" in line
    assert world.told() == [("firing", "failed_test", "c-1")]


def test_fault_23_the_end_of_time_is_a_test_in_the_future(world: World) -> None:
    async def story() -> None:
        world.configure()
        world.api().says["c-1"] = config("c-1", START, last_test_at=253402300799.0)
        async with world.daemon():
            await virtual_seconds(MINUTE)

    run(story())
    assert world.told() == [("firing", "future_test", "c-1")]


def test_fault_24_that_our_clock_is_off_is_warned_of_once(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        world.configure()
        api, clock = world.api(), world.clock
        api.server_clock = lambda: START + clock.elapsed() + 90
        async with world.daemon():
            await virtual_seconds(30 * MINUTE)

    run(story())
    (line,) = lines(capsys.readouterr().out, "clock_corrected")
    assert "warning" in line


def test_fault_32_an_environment_that_hangs_costs_no_other_a_poll(world: World) -> None:
    async def story() -> int:
        both = "".join(
            f"  - name: {name}\n    base_url: http://127.0.0.1:9/api/v1\n"
            f"    token: ${{{token}}}\n    campaigns: [{{id: c-1}}]\n"
            for name, token in (("hung", "TOKEN"), ("well", "OTHER_TOKEN"))
        )
        world.write_config("environments:\n" + both)
        world.api("hung").latency = 10 * MINUTE
        async with world.daemon():
            await virtual_seconds(30 * MINUTE)
        return len(world.api("well").calls)

    assert run(story()) >= 6
