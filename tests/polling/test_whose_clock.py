"""The whole daemon between clocks that disagree: no header fires or resolves anything by itself."""

from collections.abc import Iterator, Sequence
from itertools import chain, cycle, repeat
from pathlib import Path

import pytest

from monitor.core.model import DAY, HOUR, MINUTE, NoConfig, Seconds
from support.daemons import World
from support.virtual import START, config, run, virtual_seconds

KEYS = [f"c-{number}" for number in range(6)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def dates(world: World, off: Iterator[Seconds | None]) -> None:
    """Let the API's answers be dated so far off our clock, one after the other."""

    def server_clock() -> float | None:
        by = next(off)
        return None if by is None else world.clock.wall() + by

    world.api().server_clock = server_clock  # type: ignore[assignment]


def near_every_deadline(world: World) -> None:
    """Have campaigns that are stale, untested, off or dated ahead for a while, or nearly so."""
    says = world.api().says
    says["c-0"] = config("c-0", START, last_test_at=START - 30 * DAY + HOUR)
    says["c-1"] = config("c-1", START, last_test_at=START - 30 * DAY - HOUR)
    says["c-2"] = config("c-2", START, last_test_at=START + 4 * MINUTE)
    untested = {"last_test_at": None, "last_test_success": None, "is_enabled": False}
    says["c-3"] = config("c-3", START, created_at=START - DAY + HOUR, **untested)
    says["c-4"] = config("c-4", START, is_enabled=False, created_at=START - DAY + HOUR)
    says["c-5"] = config("c-5", START, last_test_success=False)


RIGHT_ALERTS = [("firing", "failed_test", "c-5"), ("firing", "stale_test", "c-1")]


@pytest.mark.matrix
@pytest.mark.parametrize("odd", [9 * HOUR, -9 * HOUR, 400 * DAY, -56 * 365 * DAY])
def test_one_odd_date_right_after_a_start_moves_nothing(world: World, odd: Seconds) -> None:
    async def story() -> None:
        world.configure(KEYS)
        near_every_deadline(world)
        dates(world, chain([odd], repeat(0.0)))
        async with world.daemon():
            await virtual_seconds(20 * MINUTE)

    run(story())
    assert sorted(world.told()) == RIGHT_ALERTS


@pytest.mark.matrix
@pytest.mark.parametrize(
    "off",
    [
        (0.0, 9 * HOUR),
        (9 * HOUR, 0.0),
        (-9 * HOUR, 0.0, 9 * HOUR),
        (9 * HOUR, 0.0, 0.0, 9 * HOUR, None),
        (9 * HOUR, 9 * HOUR, 0.0, 0.0),
        (DAY, 2 * DAY, 3 * DAY, 4 * DAY, 5 * DAY),
    ],
)
def test_servers_whose_clocks_disagree_make_no_alert_flap(
    world: World, off: Sequence[Seconds | None]
) -> None:
    async def story() -> None:
        world.configure(KEYS)
        near_every_deadline(world)
        dates(world, cycle(off))
        async with world.daemon():
            await virtual_seconds(40 * MINUTE)
        # And from the first answer after a restart on.
        async with world.daemon():
            await virtual_seconds(10 * MINUTE)

    run(story())
    told = world.told()
    assert len(set(told)) == len(told)
    assert set(told) <= set(RIGHT_ALERTS)


@pytest.mark.slow
def test_what_fires_is_held_while_nobody_knows_whose_clock_is_right(world: World) -> None:
    async def story() -> None:
        world.configure(KEYS)
        near_every_deadline(world)
        dates(world, chain(repeat(0.0, 30), cycle([0.0, -9 * HOUR])))
        async with world.daemon():
            await virtual_seconds(HOUR - MINUTE)

    run(story())
    assert sorted(world.told()) == RIGHT_ALERTS


def test_fault_24_three_answers_that_agree_are_believed_rather_than_our_own_clock(
    world: World,
) -> None:
    async def story() -> list[int]:
        world.configure(KEYS)
        world.clock.offset = -3 * DAY
        world.api().server_clock = lambda: START + world.clock.elapsed()
        for key in KEYS:
            world.api().says[key] = config(key, START, last_test_at=START - 31 * DAY)
        told = list[int]()
        async with world.daemon():
            while len(told) < 5:
                calls = len(world.api().calls)
                await virtual_seconds(0.5)
                if len(world.api().calls) > calls:
                    await virtual_seconds(0.5)
                    told.append(len(world.told()))
        return told

    assert run(story()) == [0, 0, 1, 2, 3]


@pytest.mark.matrix
@pytest.mark.parametrize("step", [HOUR, -HOUR, 365 * DAY, -365 * DAY])
def test_a_step_of_our_clock_while_the_candidates_disagree_changes_nothing(
    world: World, step: Seconds
) -> None:
    async def story() -> None:
        world.configure(KEYS)
        near_every_deadline(world)
        dates(world, cycle([0.0, 2 * HOUR, -2 * HOUR]))
        async with world.daemon():
            await virtual_seconds(6 * MINUTE)
            before = world.told()
            world.clock.step(step)
            dates(world, cycle([-step, 2 * HOUR - step, -2 * HOUR - step]))
            await virtual_seconds(20 * MINUTE)
        assert world.told() == before
        assert set(before) <= set(RIGHT_ALERTS)

    run(story())


@pytest.mark.matrix
@pytest.mark.parametrize("step", [HOUR, -HOUR, 365 * DAY])
def test_spans_go_on_over_a_step_of_our_clock_and_over_a_crash_after_it(
    world: World, step: Seconds
) -> None:
    async def story() -> list[float]:
        world.configure(
            ["c-1"],
            "rules: {failed_test: {for: 20m}, stale_test: {enabled: false}}\n"
            "alerts: {remind_every: {critical: 1h}}\n",
        )
        world.api().says["c-1"] = config("c-1", START, last_test_success=False)
        told = []
        async with world.daemon() as daemon:
            await virtual_seconds(10 * MINUTE)
            world.clock.step(step)
            daemon.report.snapshot()
        async with world.daemon():
            while world.clock.elapsed() < 90 * MINUTE:
                events = len(world.told())
                await virtual_seconds(10)
                if len(world.told()) > events:
                    told.append(world.clock.elapsed() / MINUTE)
        return told

    first, reminder = run(story())
    assert 20 <= first <= 21
    assert 60 <= reminder - first <= 68


def test_a_step_back_puts_no_listing_after_the_config_that_went_since(world: World) -> None:
    async def story() -> list[int]:
        world.write_config(
            "environments:\n"
            "  - name: production\n"
            "    base_url: http://127.0.0.1:9/api/v1\n"
            "    token: ${TOKEN}\n"
            "    discovery: {enabled: true, every: 15m}\n"
        )
        api = world.api()
        api.lists("c-1")
        told = []
        async with world.daemon():
            await virtual_seconds(16 * MINUTE)
            api.says["c-1"] = NoConfig()
            await virtual_seconds(8 * MINUTE)
            world.clock.step(-HOUR)
            for minutes in (5.5, 8):
                await virtual_seconds(minutes * MINUTE)
                told.append(len(world.told()))
        return told

    # The listing that confirms that the campaign is still there comes after half an hour.
    assert run(story()) == [0, 1]
