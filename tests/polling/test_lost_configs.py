"""A config that is gone: two others are asked before it counts, within the budget."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from monitor.core.model import NoConfig, Observation, PollError, Reason, Verdict
from support.daemons import World
from support.virtual import START, config, run, virtual_seconds

MINUTE = 60.0
EVERY = 15 * MINUTE
SPACING = MINUTE / 50
"""Between two calls of a budget of 50 a minute, the default."""

GONE = NoConfig(by_404=True)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def campaigns(count: int) -> list[str]:
    return [f"c-{number}" for number in range(count)]


def lost_after(world: World, seconds: float, *keys: str, by: Observation = GONE) -> None:
    """Let the configs of these campaigns be gone from so many seconds after the start on."""
    for key in keys:
        world.api().says[key] = lambda key=key: (  # type: ignore[misc]
            by if world.clock.wall() >= START + seconds else config(key, START)
        )


def calls_since(world: World, seconds: float) -> list[tuple[float, str]]:
    return [(at, key) for at, key in world.api().calls if at >= seconds]


def first_call(world: World, key: str, seconds: float) -> int:
    """Return which of all calls was the first for a campaign after so many seconds."""
    calls = world.api().calls
    return next(n for n, (at, one) in enumerate(calls) if one == key and at >= seconds)


def fullest_minute(calls: list[float]) -> int:
    return max(bisect_left(calls, at + MINUTE) - index for index, at in enumerate(calls))


def told(world: World) -> list[tuple[str, str | None]]:
    return [(e["status"], e["campaign_id"]) for e in world.events() if e["rule"] == "missing"]


def watch(world: World, count: int, minutes: float, *reads: Callable[[], None]) -> None:
    """Run a daemon for so many minutes; each of `reads` is done 10 minutes apart before that."""

    async def story() -> None:
        world.configure(campaigns(count))
        async with world.daemon():
            for read in reads:
                await virtual_seconds(10 * MINUTE)
                read()
            await virtual_seconds(minutes * MINUTE)

    run(story())


@pytest.mark.matrix
@pytest.mark.parametrize("by", [GONE, NoConfig()])
def test_the_next_polls_go_to_two_others_and_then_to_the_campaign_itself(
    world: World, by: Observation
) -> None:
    lost_after(world, 10 * MINUTE, "c-3", by=by)
    watch(world, 20, 20)
    first = first_call(world, "c-3", 10 * MINUTE)
    (at, _), (_, one), (_, other), (last, again) = world.api().calls[first : first + 4]
    assert again == "c-3"
    assert len({one, other, "c-3"}) == 3
    assert last - at <= 3 * SPACING + 1
    assert told(world) == [("firing", "c-3")]
    assert world.events()[0]["evidence"]["missing_since"] < world.events()[0]["observed_at"]


def test_the_two_are_those_that_were_readable_last(world: World) -> None:
    lost_after(world, 10 * MINUTE, "c-3")
    watch(world, 20, 20)
    first = first_call(world, "c-3", 10 * MINUTE)
    keys = [key for _, key in world.api().calls]
    assert set(keys[first + 1 : first + 3]) == set(keys[first - 2 : first])


@pytest.mark.parametrize("count", [1, 2])
def test_where_there_are_no_two_others_it_counts_at_once(world: World, count: int) -> None:
    lost_after(world, 10 * MINUTE, "c-0")
    watch(world, count, 10, lambda: None)
    assert told(world) == [("firing", "c-0")]
    (event,) = world.events()
    assert event["evidence"]["missing_since"][:19] == event["observed_at"][:19]


def test_one_that_never_had_a_config_counts_at_once(world: World) -> None:
    world.api().says["c-3"] = GONE
    watch(world, 20, 2)
    assert told(world) == [("firing", "c-3")]
    assert world.events()[0]["initial"]
    assert Counter(key for _, key in world.api().calls if key != "c-3").most_common(1)[0][1] == 1


def test_a_config_that_comes_back_meanwhile_was_never_missing(world: World) -> None:
    answers = iter([GONE])
    world.api().says["c-3"] = lambda: (
        next(answers, config("c-3", START))
        if world.clock.wall() >= START + 10 * MINUTE
        else config("c-3", START)
    )
    watch(world, 20, 30)
    assert told(world) == []


@pytest.mark.slow
def test_a_config_made_anew_meanwhile_was_never_missing(world: World) -> None:
    lost_after(world, 10 * MINUTE, "c-3", by=config("c-3", START, id="another"))
    answers = iter([GONE])
    made = world.api().says["c-3"]
    assert callable(made)
    world.api().says["c-3"] = lambda: (
        next(answers, made()) if world.clock.wall() >= START + 10 * MINUTE else made()
    )
    watch(world, 20, 30)
    assert told(world) == []


@pytest.mark.matrix
@pytest.mark.parametrize("by", [GONE, NoConfig()], ids=["404", "null"])
@pytest.mark.parametrize(("lost", "of"), [(3, 3), (3, 9), (6, 6), (10, 10), (12, 12), (300, 300)])
def test_fault_6_where_all_that_had_a_config_lose_it_that_is_one_alert(
    world: World, lost: int, of: int, by: Observation
) -> None:
    """A release that moves a path, a database put back; the others never had one."""
    for key in campaigns(of)[lost:]:
        world.api().says[key] = GONE
    lost_after(world, 20 * MINUTE, *campaigns(lost), by=by)
    watch_those(world, lost, of)
    (event,) = world.events()
    assert (event["rule"], event["status"]) == ("api_refusing", "firing")
    assert event["evidence"]["reason"] == "not_found"
    assert event["evidence"]["detail"].endswith("no SFTP config any more")
    assert fullest_minute([at for at, _ in world.api().calls]) <= 50


def watch_those(world: World, lost: int, of: int) -> None:
    """Run a daemon for half an hour; those that are not lost need no config."""
    rows = [
        f"{{id: {key}, expect_sftp: {str(number < lost).lower()}}}"
        for number, key in enumerate(campaigns(of))
    ]

    async def story() -> None:
        world.write_config(
            "environments:\n  - name: production\n    base_url: http://127.0.0.1:9/api/v1\n"
            f"    token: ${{TOKEN}}\n    campaigns: [{', '.join(rows)}]\n"
        )
        async with world.daemon():
            await virtual_seconds(35 * MINUTE)

    run(story())


def test_they_are_back_and_nobody_was_missed(world: World) -> None:
    """The first that can be read closes the breaker; only what stays away is missed then."""
    keys = campaigns(12)
    for key in keys:
        world.api().says[key] = lambda key=key: (  # type: ignore[misc]
            GONE
            if 10 * MINUTE <= world.clock.wall() - START < 40 * MINUTE or key == "c-7"
            else config(key, START)
        )
    world.api().says["c-7"] = lambda: (
        GONE if world.clock.wall() >= START + 10 * MINUTE else config("c-7", START)
    )
    watch(world, 12, 70)
    assert world.told() == [
        ("firing", "api_refusing", None),
        ("resolved", "api_refusing", None),
        ("firing", "missing", "c-7"),
    ]


def test_two_of_three_that_are_gone_are_missed_once_the_third_could_be_read(world: World) -> None:
    lost_after(world, 10 * MINUTE, "c-0", "c-1")
    watch(world, 3, 20)
    assert sorted(told(world)) == [("firing", "c-0"), ("firing", "c-1")]
    assert {event["timestamp"][:16] for event in world.events()} == {
        world.events()[0]["timestamp"][:16]
    }


@pytest.mark.slow
def test_many_that_are_lost_among_many_that_are_not_are_all_told(world: World) -> None:
    keys = campaigns(60)
    lost_after(world, 10 * MINUTE, *keys[::2])
    watch(world, 60, 20)
    assert {key for _, key in told(world)} == set(keys[::2])
    since = Counter(key for _, key in calls_since(world, 10 * MINUTE))
    assert set(since) == set(keys)
    assert fullest_minute([at for at, _ in world.api().calls]) <= 50


@pytest.mark.slow
def test_two_that_fail_confirm_nothing_until_they_can_be_read(world: World) -> None:
    broken: Observation = PollError(Reason.MALFORMED)
    others = [key for key in campaigns(20) if key != "c-3"]
    lost_after(world, 10 * MINUTE, "c-3")

    def fail_for_a_minute() -> None:
        for key in others:
            world.api().says[key] = lambda key=key: (  # type: ignore[misc]
                broken if world.clock.wall() < START + 16 * MINUTE else config(key, START)
            )

    watch(world, 20, 20, fail_for_a_minute)
    assert told(world) == [("firing", "c-3")]
    assert world.events()[0]["timestamp"] >= "2027-01-15T08:16"


@pytest.mark.slow
def test_others_that_nobody_can_read_any_more_are_not_waited_for(world: World) -> None:
    lost_after(world, 40 * MINUTE, "c-0")
    for key in ("c-1", "c-2"):
        world.api().says[key] = lambda key=key: (  # type: ignore[misc]
            PollError(Reason.FORBIDDEN)
            if world.clock.wall() >= START + 10 * MINUTE
            else config(key, START)
        )
    watch(world, 3, 50)
    assert told(world) == [("firing", "c-0")]


def test_what_was_asked_before_the_loss_says_nothing_of_it(world: World) -> None:
    """A slow answer may be to the token of before: it was perhaps another environment's."""
    world.api().latency = 5.0
    lost_after(world, 10 * MINUTE, "c-3")
    watch(world, 20, 20)
    calls, (event,) = world.api().calls, world.events()
    lost = calls[first_call(world, "c-3", 10 * MINUTE)][0] + 5.0
    fired = next(at for at, key in reversed(calls) if key == "c-3" and at + 4.9 <= _elapsed(event))
    between = [key for at, key in calls if lost <= at < fired and key != "c-3"]
    assert len(set(between)) >= 2
    assert fired - lost <= 20


def _elapsed(event: dict[str, str]) -> float:
    minutes, seconds = event["timestamp"][14:16], event["timestamp"][17:23]
    return int(minutes) * MINUTE + float(seconds)


def test_a_breaker_that_opens_meanwhile_is_waited_for(world: World) -> None:
    lost_after(world, 10 * MINUTE, "c-3")

    def goes_down() -> None:
        api = world.api()
        lost = api.says["c-3"]
        assert callable(lost)
        seen: list[float] = []

        def then_silence() -> Observation:
            seen.append(world.clock.wall())
            if len(seen) == 1:
                for key in campaigns(20):
                    if key != "c-3":
                        api.says[key] = lambda: PollError(Reason.TIMEOUT)
            return lost()

        api.says["c-3"] = then_silence

    async def story() -> None:
        world.configure(campaigns(20))
        async with world.daemon() as daemon:
            await virtual_seconds(10 * MINUTE)
            goes_down()
            await virtual_seconds(7 * MINUTE)
            assert told(world) == []
            assert daemon.report.snapshot().environments["production"].status.outage_at is not None
            for key in campaigns(20):
                if key != "c-3":
                    world.api().says.pop(key)
            await virtual_seconds(7 * MINUTE)

    run(story())
    assert told(world) == [("firing", "c-3")]


def test_where_the_others_are_removed_meanwhile_it_counts_at_once(world: World) -> None:
    async def story() -> None:
        world.configure(campaigns(3))
        lost_after(world, 10 * MINUTE, "c-0")
        async with world.daemon() as daemon:
            await virtual_seconds(10 * MINUTE)
            for key in ("c-1", "c-2"):
                world.api().says[key] = PollError(Reason.MALFORMED)
            await virtual_seconds(6 * MINUTE)
            assert told(world) == []
            world.configure(["c-0", "c-1"])
            assert await daemon.reload() == []
            await virtual_seconds(5)
            assert told(world) == [("firing", "c-0")]

    run(story())


@pytest.mark.slow
@pytest.mark.matrix
@pytest.mark.parametrize("again", ["restart", "reload"])
def test_a_restart_or_a_reload_in_between_asks_anew(world: World, again: str) -> None:
    async def until_lost() -> None:
        while not any(key == "c-3" and at >= 600 for at, key in world.api().calls):
            await virtual_seconds(0.1)
        await virtual_seconds(0.1)

    async def story() -> None:
        world.configure(campaigns(20))
        lost_after(world, 10 * MINUTE, "c-3")
        if again == "restart":
            async with world.daemon():
                await until_lost()
            async with world.daemon():
                await virtual_seconds(10)
        else:
            async with world.daemon() as daemon:
                await until_lost()
                world.configure(campaigns(20), more="polling: {interval: 6m}\n")
                assert await daemon.reload() == []
                await virtual_seconds(10)

    run(story())
    assert told(world) == [("firing", "c-3")]


DAY = 86_400.0


@pytest.mark.matrix
@pytest.mark.parametrize("down", [False, True], ids=["while running", "while stopped"])
@pytest.mark.parametrize("step", [-365 * DAY, -DAY, -90.0, 90.0, DAY, 365 * DAY])
def test_an_answer_from_before_a_step_of_our_clock_confirms_nothing(
    world: World, step: float, *, down: bool
) -> None:
    """Set back, what was read an hour ago was read in the future: later than any loss."""

    async def lose() -> None:
        gone = len(world.api().calls)
        world.api().says["c-3"] = GONE
        while all(key != "c-3" for _, key in world.api().calls[gone:]):
            await virtual_seconds(0.1)
        assert told(world) == []
        await virtual_seconds(10)

    async def story() -> None:
        world.configure(campaigns(20))
        async with world.daemon():
            await virtual_seconds(20 * MINUTE)
            if not down:
                world.clock.step(step)
                await lose()
        if down:
            world.clock.step(step)
            async with world.daemon():
                await lose()

    run(story())
    assert told(world) == [("firing", "c-3")]


@pytest.mark.slow
@pytest.mark.parametrize("for_", ["0", "90m"], ids=["firing", "pending"])
@pytest.mark.parametrize("step", [DAY, 365 * DAY])
def test_what_an_alert_says_is_in_no_doubt_again_after_a_step_of_our_clock(
    world: World, step: float, for_: str
) -> None:
    lost_after(world, 10 * MINUTE, "c-3")

    async def story() -> None:
        world.configure(campaigns(20), more=f"rules: {{missing: {{for: {for_}}}}}\n")
        async with world.daemon() as daemon:
            await virtual_seconds(60 * MINUTE)
            assert told(world) == ([("firing", "c-3")] if for_ == "0" else [])
            last = max(at for at, key in world.api().calls if key == "c-3")
            await virtual_seconds(last + 5 * MINUTE - 0.5 - world.clock.elapsed())
            world.clock.step(step)
            await virtual_seconds(2)
            assert max(at for at, key in world.api().calls if key == "c-3") > last
            entry = daemon.report.snapshot().environments["production"].campaigns["c-3"]
            assert entry.findings is not None
            assert entry.findings["missing"].verdict is Verdict.UNHEALTHY

    run(story())


@pytest.mark.slow
def test_what_is_missed_stays_so_over_a_restart_without_another_question(world: World) -> None:
    async def story() -> int:
        world.configure(campaigns(20))
        lost_after(world, 10 * MINUTE, "c-3")
        async with world.daemon():
            await virtual_seconds(90 * MINUTE)
        calls = len(world.api().calls)
        async with world.daemon():
            await virtual_seconds(3)
        return len(world.api().calls) - calls

    assert run(story()) <= 3
    assert told(world) == [("firing", "c-3")]


def test_idle_campaigns_can_be_the_two_others(world: World) -> None:
    async def story() -> None:
        world.write_config(
            "environments:\n  - name: production\n    base_url: http://127.0.0.1:9/api/v1\n"
            "    token: ${TOKEN}\n    discovery: {enabled: true}\n    campaigns: [{id: c-0}]\n"
        )
        api = world.api()
        api.lists("c-1", "c-2", status="paused")
        lost_after(world, 10 * MINUTE, "c-0")
        async with world.daemon():
            await virtual_seconds(17 * MINUTE)

    run(story())
    assert told(world) == [("firing", "c-0")]


# --- what must have a config, and lost state

DISCOVERING = (
    "environments:\n  - name: production\n    base_url: http://127.0.0.1:9/api/v1\n"
    "    token: ${{TOKEN}}\n    discovery: {{enabled: true, every: 15m{}}}\n"
)


@pytest.mark.matrix
@pytest.mark.parametrize("lost_at", [1, 5, 16, 31, 60])
@pytest.mark.parametrize("listed", [True, False])
def test_lost_state_never_ends_the_alert_of_a_campaign_that_must_have_a_config(
    world: World, lost_at: float, listed: bool
) -> None:
    async def story() -> None:
        if listed:
            world.configure(campaigns(4))
        else:
            world.write_config(DISCOVERING.format(", expect_sftp: true"))
        world.api().lists(*campaigns(4))
        lost_after(world, 2 * MINUTE, "c-3")
        async with world.daemon():
            await virtual_seconds(lost_at * MINUTE)
        before = told(world)
        for path in world.folder.glob("state.db*"):
            path.unlink()
        async with world.daemon():
            await virtual_seconds(2 * EVERY)
        after = told(world)[len(before) :]
        assert after == [("firing", "c-3")]
        # A discovered one is decided when a listing has confirmed it: no longer its first poll.
        assert world.events()[-1]["initial"] is (listed and lost_at > 1)

    run(story())
    assert "resolved" not in {status for status, _ in told(world)}


@pytest.mark.parametrize(("keys", "fires"), [(", expect_sftp: true", True), ("", False)])
def test_a_discovered_campaign_that_was_never_seen_with_a_config(
    world: World, keys: str, fires: bool
) -> None:
    async def story() -> None:
        world.write_config(DISCOVERING.format(keys))
        world.api().lists(*campaigns(4))
        world.api().says["c-3"] = GONE
        async with world.daemon():
            await virtual_seconds(EVERY + 3)

    run(story())
    # The listing that ends after the first NoConfig has it decided at once.
    assert told(world) == ([("firing", "c-3")] if fires else [])


def test_a_campaign_of_the_file_may_do_without(world: World) -> None:
    async def story() -> dict[str, int]:
        world.write_config(
            "environments:\n  - name: production\n    base_url: http://127.0.0.1:9/api/v1\n"
            "    token: ${TOKEN}\n    campaigns: [{id: c-0, expect_sftp: false}, {id: c-1}]\n"
        )
        world.api().says["c-0"] = GONE
        async with world.daemon() as daemon:
            await virtual_seconds(EVERY)
            counts = daemon.report.snapshot().environments["production"].counts()
            return {health.value: count for health, count in counts.items() if count}

    assert run(story()) == {"healthy": 2}
    assert told(world) == []


@pytest.mark.slow
def test_the_gaps_of_routine_polls_stay_while_a_config_is_missed(world: World) -> None:
    lost_after(world, 10 * MINUTE, "c-3")
    watch(world, 20, 60)
    for key in campaigns(20):
        ats = [at for at, one in world.api().calls if one == key]
        assert max(after - before for before, after in pairwise(ats)) <= 1.5 * 5 * MINUTE + 5
