"""Whatever database is put back, no event id stands for two occurrences (alerts.md)."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.core.model import PollError, Reason, Seconds
from support.daemons import World
from support.state_files import execute
from support.virtual import START, config, run, virtual_seconds

MINUTE: Seconds = 60.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def _flaps(world: World, *passed: bool) -> None:
    """Let the test of c-1 pass or fail, one after the other; each change gives an event."""
    for success in passed:
        at = START + asyncio.get_running_loop().time()
        world.api().says["c-1"] = config("c-1", START, last_test_at=at, last_test_success=success)
        await virtual_seconds(6 * MINUTE)


def _backup(world: World) -> Path:
    """Make a backup of the database as docs/operating.md says: beside the running daemon."""
    copy = world.folder / "backup"
    execute(world.folder / "state.db", f"VACUUM INTO '{copy}'")
    return copy


def _restore(world: World, copy: Path) -> None:
    for path in world.folder.glob("state.db-*"):
        path.unlink()
    shutil.copy(copy, world.folder / "state.db")


def _volume(world: World) -> dict[str, bytes]:
    """Return all the files of the state, as a snapshot of the volume has them."""
    return {path.name: path.read_bytes() for path in world.folder.glob("state.db*")}


def _roll_back(world: World, volume: dict[str, bytes]) -> None:
    for path in world.folder.glob("state.db*"):
        path.unlink()
    for name, content in volume.items():
        (world.folder / name).write_bytes(content)


def _lose_the_log(world: World) -> None:
    """Damage the WAL as a crash of the machine may: all that is not in the file itself is gone."""
    for path in world.folder.glob("state.db-*"):
        path.unlink()


def _is_unique(world: World) -> None:
    events = [event for event in world.events() if not event["redelivery"]]
    occurrences = {(e["fingerprint"], e["timestamp"], e["status"]) for e in events}
    assert len(occurrences) == len(events)
    ids = [event["event_id"] for event in events]
    assert len(set(ids)) == len(ids), ids


def test_a_backup_that_is_restored_gives_no_event_id_twice(world: World) -> None:
    async def story() -> None:
        world.configure()
        async with world.daemon():
            await _flaps(world, False)
            copy = _backup(world)
            await _flaps(world, True, False)
        _restore(world, copy)
        async with world.daemon():
            await _flaps(world, True, False)

    run(story())
    _is_unique(world)
    assert len({event["epoch"] for event in world.events()}) == 2


@pytest.mark.matrix
@pytest.mark.parametrize("starts", [1, 3])
def test_a_volume_that_is_rolled_back_gives_no_event_id_twice(world: World, starts: int) -> None:
    async def story() -> None:
        world.configure()
        async with world.daemon():
            await _flaps(world, False, True)
        volume = _volume(world)
        for _ in range(starts):
            async with world.daemon():
                await _flaps(world, False, True)
            _roll_back(world, volume)
        async with world.daemon():
            await _flaps(world, False, True)

    run(story())
    _is_unique(world)


def _in_place(world: World, copy: Path) -> None:
    shutil.copyfile(copy, world.folder / "state.db")


def _by_rename(world: World, copy: Path) -> None:
    shutil.copyfile(copy, world.folder / "new")
    (world.folder / "new").replace(world.folder / "state.db")


def _after_all_was_removed(world: World, copy: Path) -> None:
    for path in world.folder.glob("state.db*"):
        path.unlink()
    _in_place(world, copy)


def _behind_a_symlink(world: World, copy: Path) -> None:
    shutil.copyfile(copy, world.folder / "elsewhere")
    (world.folder / "state.db").unlink()
    (world.folder / "state.db").symlink_to("elsewhere")


@pytest.mark.matrix(fast=4)
@pytest.mark.parametrize("put", [_in_place, _by_rename, _after_all_was_removed, _behind_a_symlink])
@pytest.mark.parametrize("when", ["while it runs", "after a crash", "before a start"])
def test_however_a_backup_is_put_back_no_event_id_stands_for_two_occurrences(
    world: World, put: Callable[[World, Path], None], when: str
) -> None:
    """The daemon that runs goes on with its own numbers; whoever starts draws an epoch.

    After a crash SQLite's log is still there, and belongs to another database than that.
    """

    async def story() -> None:
        world.configure()
        async with world.daemon():
            await _flaps(world, False)
            copy = _backup(world)
            await _flaps(world, True, False)
            volume = _volume(world)
            if when == "while it runs":
                put(world, copy)
                await _flaps(world, True, False)
        if when == "after a crash":
            _roll_back(world, volume)
        if when != "while it runs":
            put(world, copy)
        for _ in range(2):
            async with world.daemon():
                await _flaps(world, True, False)

    run(story())
    _is_unique(world)


def test_a_log_that_is_lost_in_a_crash_gives_no_event_id_twice(world: World) -> None:
    async def story() -> None:
        world.configure()
        async with world.daemon():
            await _flaps(world, False)
        for _ in range(2):
            async with world.daemon():
                before = _volume(world)
                await _flaps(world, True, False)
            _roll_back(world, before)
            _lose_the_log(world)

    run(story())
    _is_unique(world)


def test_each_start_draws_an_epoch_and_the_numbers_go_on(world: World) -> None:
    async def story() -> None:
        world.configure()
        for passed in (False, True, False):
            async with world.daemon():
                await _flaps(world, passed)

    run(story())
    assert [event["seq"] for event in world.events()] == [1, 2, 3]
    epochs = [event["epoch"] for event in world.events()]
    assert len(set(epochs)) == 3
    assert all(len(epoch) == 8 and int(epoch, 16) >= 0 for epoch in epochs)


def test_what_is_delivered_again_keeps_the_epoch_that_it_was_decided_in(world: World) -> None:
    async def story() -> None:
        world.configure()
        world.api().says["c-1"] = PollError(Reason.FORBIDDEN)
        world.full = True
        async with world.daemon() as daemon:
            await virtual_seconds(30 * MINUTE)
            epochs.append(daemon._store.epoch)
        world.full = False
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            epochs.append(daemon._store.epoch)

    epochs: list[str] = []
    run(story())
    (event,) = world.events()
    assert (event["epoch"], event["redelivery"]) == (epochs[0], True)
    assert epochs[0] != epochs[1]
