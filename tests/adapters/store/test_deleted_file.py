"""The file is deleted, replaced, emptied or damaged under the running daemon: fault 40.

Nothing is written any more, and nothing is lost that is in memory; a restart mends it.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.adapters.store import StorageError, Store
from support.builders import NOW
from support.state_files import SINK, deliver_all, events, execute, select


def deleted(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    path.rename(path.with_name("moved.db"))
    execute(path, "CREATE TABLE theirs (x)")


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"garbage!" * 512)


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def damaged(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))


def move(path: Path, to: Path) -> None:
    path.rename(to)


WHAT_HAPPENS = pytest.mark.parametrize(
    ("happens", "why"),
    [
        (deleted, "deleted while running; restart the daemon"),
        (replaced, "replaced by another file while running; restart the daemon"),
        (emptied, "emptied or overwritten while running; restart the daemon"),
        (overwritten, "emptied or overwritten while running; restart the daemon"),
    ],
    ids=["deleted", "replaced", "emptied", "overwritten"],
)


@WHAT_HAPPENS
async def test_fault_40_it_is_noticed_counted_and_told(
    store: Store, path: Path, happens: Callable[[Path], None], why: str
) -> None:
    problems: list[StorageError] = []
    store.on_error = problems.append
    store.add_sink(SINK)
    store.save(events(1))
    await store.flush()
    assert await deliver_all(store) == [(1, True)]
    await store.flush()
    happens(path)
    store.save(events(2))
    await store.flush()
    assert store.problem
    assert {str(problem) for problem in problems} == {f"{path}: {why}"}
    assert store.pending(SINK) == (1, NOW + 2)
    assert await deliver_all(store) == [(2, False)]


@WHAT_HAPPENS
async def test_fault_40_the_file_is_left_as_it_is(
    store: Store, path: Path, happens: Callable[[Path], None], why: str
) -> None:
    store.save(events(1))
    await store.flush()
    happens(path)
    before = content(path)
    store.save(events(2))
    await store.aclose()
    assert content(path) == before


@pytest.mark.parametrize("happens", [deleted, emptied])
async def test_fault_40_the_next_start_is_on_a_new_database(
    store: Store, path: Path, happens: Callable[[Path], None]
) -> None:
    store.save(events(1))
    await store.flush()
    happens(path)
    await store.flush()
    await store.aclose()
    # In a copy: the locks on the old one would end with its process.
    folder = path.with_name("again")
    folder.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, folder)
    again = Store(folder / path.name, now=NOW)
    assert again.history() == {}
    again.save(events(1))
    assert not again.problem
    await again.aclose()


async def test_fault_40_damage_that_a_reader_meets_stops_the_writer(
    path: Path,
) -> None:
    store = Store(path, now=NOW)
    store.save(events(*range(1, 101)))
    await store.aclose()
    store = Store(path, now=NOW)
    damaged(path)
    with pytest.raises(StorageError, match="damaged while running"):
        store.history()
    for seq in (101, 102):
        store.save(events(seq))
        assert store.problem is not None
        assert "restart the daemon, which sets it aside" in store.problem.reason
    await store.aclose()


async def test_what_a_reader_cannot_read_is_counted_with_the_next_write(
    store: Store, path: Path
) -> None:
    store.save(events(1))
    await store.flush()
    execute(path, "ALTER TABLE event RENAME TO lost")
    with pytest.raises(StorageError, match="no such table: event"):
        store.history()
    await store.flush()
    problem = store.problem
    assert problem is not None
    execute(path, "ALTER TABLE lost RENAME TO event")
    await store.flush()
    assert store.problem is None


async def test_fault_40_a_database_whose_directory_is_gone_fails_until_it_is_back(
    store: Store, path: Path, tmp_path: Path
) -> None:
    await store.flush()
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    move(tmp_path, moved)
    store.save(events(1))
    await store.flush()
    problem = store.problem
    assert problem is not None
    move(moved, tmp_path)
    await store.flush()
    assert store.problem is None
    assert select(path, "SELECT count(*) FROM event") == [(1,)]
