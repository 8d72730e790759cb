"""What the loop does for whoever looks at the board: next to nothing, however many campaigns."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from monitor.core.snapshot import Entry
from monitor.daemon import Daemon
from support.daemons import World
from support.virtual import run, virtual_seconds

MINUTE = 60.0
CAMPAIGNS = [f"c-{n}" for n in range(20)]
STAGING = """
  - name: staging
    base_url: http://127.0.0.1:9/api/v1
    token: ${OTHER_TOKEN}
    campaigns: [{id: s-1}]
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.configure(CAMPAIGNS)
    return world


def entries(daemon: Daemon) -> Mapping[str, Entry]:
    return daemon.report.snapshot().environments["production"].campaigns


def replaced(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> list[str]:
    """Return whose entries are other objects than before."""
    return [key for key in after if after[key] is not before[key]]


def test_fault_47_a_board_makes_nothing_anew_of_what_nobody_polled(world: World) -> None:
    async def story() -> tuple[list[str], list[str], int]:
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            first, again = entries(daemon), entries(daemon)
            calls = len(world.api().calls)
            while len(world.api().calls) == calls:
                await virtual_seconds(1)
            await virtual_seconds(0.5)
            after = entries(daemon)
            polled = [key for _, key in world.api().calls[calls:]]
            assert replaced(first, after) == polled
            return replaced(first, again), polled, len(after)

    anew, polled, count = run(story())
    assert (anew, len(polled), count) == ([], 1, len(CAMPAIGNS))


def test_a_board_stays_as_it_was_when_it_was_taken(world: World) -> None:
    async def story() -> tuple[int, int]:
        async with world.daemon() as daemon:
            snapshot = entries(daemon)
            await virtual_seconds(2 * MINUTE)
            seen = [
                sum(e.status.polled_at is not None for e in each.values())
                for each in (snapshot, entries(daemon))
            ]
            return seen[0], seen[1]

    assert run(story()) == (0, len(CAMPAIGNS))


def test_a_board_is_in_the_order_of_the_config_and_shows_what_a_reload_changed(
    world: World,
) -> None:
    async def story() -> list[list[str]]:
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            before = list(entries(daemon))
            world.configure(["c-3", "new", "c-1"])
            await daemon.reload()
            return [before, list(entries(daemon))]

    assert run(story()) == [CAMPAIGNS, ["c-3", "new", "c-1"]]


def test_a_reload_that_changes_nothing_makes_nothing_anew(world: World) -> None:
    async def story() -> list[str]:
        async with world.daemon() as daemon:
            await virtual_seconds(2 * MINUTE)
            before = entries(daemon)
            assert await daemon.reload() == []
            return replaced(before, entries(daemon))

    assert run(story()) == []


@pytest.mark.parametrize("turns", [0, 1])
def test_a_stop_before_a_reload_has_come_to_a_new_environment_leaves_it_alone(
    world: World, turns: int
) -> None:
    async def story() -> None:
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            world.configure(["c-1"], more=STAGING)
            reload = asyncio.create_task(daemon.reload())
            for _ in range(turns):
                await asyncio.sleep(0)
        await asyncio.gather(reload, return_exceptions=True)
        await virtual_seconds(10 * MINUTE)

    run(story())
    assert world.api("staging").calls == []
