"""The database is deleted under the running daemon: noticed, and made anew with all it held."""

import stat
from pathlib import Path

import pytest

from monitor.adapters.store import Change, StateLocked, Store
from support.builders import NOW, a_status
from support.state_files import SINK, events, execute, select, tell_all


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def move(path: Path, to: Path) -> None:
    path.rename(to)


def is_failing(store: Store) -> bool:
    return store.failing


def delete(path: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        path.with_name(path.name + suffix).unlink()


@pytest.mark.parametrize(
    "suffixes",
    [("",), ("", "-wal", "-shm"), ("", "-wal", "-shm", ".lock")],
    ids=["database", "database and log", "all of it"],
)
async def test_fault_40_a_deleted_database_is_made_anew(
    store: Store, path: Path, suffixes: tuple[str, ...]
) -> None:
    store.add_sink(SINK)
    store.save(Change(campaigns=(a_status(polled_at=NOW),), events=events(1, 2).events))
    await store.flush()
    tell_all(store)
    epoch = store.epoch
    delete(path, *suffixes)
    store.save(events(3))
    await store.flush()
    assert not store.failing
    assert tell_all(store) == [(3, True)]
    assert len(store.load().campaigns) == 1
    await store.aclose()

    again = Store.open(path, now=NOW, threaded=False)
    assert again.epoch == epoch
    assert [stored.event.seq for stored in again.history()] == [3, 2, 1]
    assert tell_all(again) == []
    await again.aclose()


async def test_the_file_made_anew_is_as_private_and_alone_as_the_first(
    store: Store, path: Path
) -> None:
    await store.flush()
    delete(path, "", ".lock")
    await store.flush()
    assert mode(path) == 0o600
    assert list(path.parent.glob("*.new")) == []
    with pytest.raises(StateLocked):
        Store.open(path, now=NOW, threaded=False)


async def test_fault_40_it_can_be_deleted_again(store: Store, path: Path) -> None:
    for seq in (1, 2, 3):
        store.save(events(seq))
        await store.flush()
        delete(path, "")
    store.save(events(4))
    await store.flush()
    assert select(path, "SELECT count(*) FROM event") == [(4,)]


async def test_fault_40_another_file_in_its_place_is_left_alone_and_told(
    store: Store, path: Path
) -> None:
    told: list[str] = []
    store.on_error = lambda error: told.append(str(error))
    move(path, path.with_name("moved.db"))
    execute(path, "CREATE TABLE theirs (x)")
    store.save(events(1))
    await store.flush()
    assert store.failing
    assert set(told) == {f"{path}: replaced by another file while running; restart the daemon"}
    assert select(path, "SELECT name FROM sqlite_master") == [("theirs",)]
    assert [event.seq for event in store.undurable(SINK)] == [1]


async def test_fault_40_a_database_whose_directory_is_gone_fails_until_it_is_back(
    store: Store, path: Path, tmp_path: Path
) -> None:
    await store.flush()
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    move(tmp_path, moved)
    store.save(events(1))
    await store.flush()
    assert is_failing(store)
    move(moved, tmp_path)
    await store.flush()
    assert not is_failing(store)
    assert select(path, "SELECT count(*) FROM event") == [(1,)]
