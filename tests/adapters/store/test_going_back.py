"""Upgrade and rollback: a copy before the migration, and to go back is to put it in place."""

import shutil
import stat
from pathlib import Path

import pytest

from monitor.adapters.store import StorageError, Store, schema
from support.builders import NOW
from support.state_files import SINK, deliver_all, events, execute, select

KNOWN = schema.FIRST + len(schema.MIGRATIONS)
TOMORROW = (*schema.MIGRATIONS, ("CREATE TABLE of_tomorrow (x INTEGER)",))
"""What the next release brings."""


def content(path: Path) -> bytes:
    return path.read_bytes()


async def a_state(path: Path) -> None:
    store = Store(path, now=NOW)
    store.add_sink(SINK)
    store.save(events(1))
    await deliver_all(store)
    await store.aclose()


def upgrade(path: Path) -> Path:
    """Migrate a state as the next release does; return the copy of what was before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", TOMORROW)
        schema.open_for_writing(path).close()
    return path.with_name(f"{path.name}.v{KNOWN}")


async def test_a_migration_leaves_a_copy_of_what_was_there_before(path: Path) -> None:
    await a_state(path)
    copy = upgrade(path)
    assert select(path, "PRAGMA user_version") == [(KNOWN + 1,)]
    assert select(path, "SELECT count(*) FROM of_tomorrow") == [(0,)]
    assert select(path, "SELECT count(*) FROM event") == [(1,)]
    assert select(copy, "PRAGMA user_version") == [(KNOWN,)]
    assert select(copy, "PRAGMA application_id") == [(schema.APPLICATION_ID,)]
    assert select(copy, "SELECT count(*) FROM event") == [(1,)]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert list(path.parent.glob("*.new*")) == []


async def test_a_second_upgrade_replaces_the_copy_of_the_first(path: Path) -> None:
    path.with_name(f"{path.name}.v{KNOWN}").write_bytes(b"older")
    path.with_name(f"{path.name}.new").write_bytes(b"a copy that was cut short")
    await a_state(path)
    assert select(upgrade(path), "SELECT count(*) FROM event") == [(1,)]


def test_nothing_is_copied_where_nothing_is_migrated(path: Path) -> None:
    for _ in range(2):
        schema.open_for_writing(path).close()
    assert list(path.parent.iterdir()) == [path]


async def test_a_database_that_cannot_be_copied_is_not_migrated(path: Path) -> None:
    await a_state(path)
    path.with_name(f"{path.name}.v{KNOWN}").mkdir()
    with pytest.raises(StorageError, match="cannot be opened"):
        upgrade(path)
    assert select(path, "PRAGMA user_version") == [(KNOWN,)]


async def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    await a_state(path)
    execute(path, "CREATE TABLE of_tomorrow (theirs)")
    with pytest.raises(StorageError, match="already exists"):
        upgrade(path)
    assert select(path, "PRAGMA user_version") == [(KNOWN,)]


async def test_a_migrated_state_is_refused_by_the_release_before_with_what_to_do(
    path: Path,
) -> None:
    await a_state(path)
    copy = upgrade(path)
    before = content(path)
    with pytest.raises(StorageError, match=f"newer sftp-monitor.*put the copy {copy.name}"):
        Store(path, now=NOW)
    assert content(path) == before


async def test_the_release_before_goes_on_from_the_copy_once_it_is_in_place(path: Path) -> None:
    await a_state(path)
    shutil.move(upgrade(path), path)
    store = Store(path, now=NOW)
    assert await deliver_all(store) == []
    store.save(events(2))
    ids = [stored.event_id.split("-")[1:] for stored in store.history().values()]
    assert ids[0] == [store.epoch, "2"]
    assert ids[1][0] != store.epoch
    await store.aclose()


def test_a_state_of_before_the_first_release_is_refused_and_left_alone(path: Path) -> None:
    schema.open_for_writing(path).close()
    execute(path, f"PRAGMA user_version = {schema.FIRST - 1}")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="not a database of sftp-monitor"):
        Store(path, now=NOW)
    assert path.read_bytes() == before
