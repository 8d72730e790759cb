"""Upgrade and rollback: a copy before the migration, and the release before starts from it."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from monitor.adapters.store import StateUnusable, Store, schema
from support.builders import NOW
from support.state_files import SINK, events, execute, select, tell_all

KNOWN = len(schema.MIGRATIONS)
HOUR_AGO = NOW - 3600


def of_the_first_release(path: Path) -> None:
    """Make a database as the first release left it, with one event."""
    created = [one for one in schema.MIGRATIONS[0] if one.startswith("CREATE")]
    execute(
        path,
        "PRAGMA journal_mode = wal",
        *created,
        f"PRAGMA application_id = {schema.APPLICATION_ID}",
        "PRAGMA user_version = 1",
        "INSERT INTO meta VALUES ('epoch', '0badcafe')",
        "INSERT INTO cursor VALUES ('log', 7)",
    )


def beside(path: Path, what: str) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.{what}"))


async def upgraded_and_back(path: Path, *told_since: int) -> Path:
    """Leave a database of a newer release, and the copy that it made of ours; return the copy.

    Ours has told event 1; the newer release has told those of `told_since`.
    """
    store = Store.open(path, now=NOW, threaded=False, epoch="0badcafe")
    store.save(events(1))
    tell_all(store)
    await store.aclose()
    execute(path, f"PRAGMA user_version = {KNOWN}")
    with closing(schema.open_for_writing(path)) as connection:
        schema._keep_copy(connection, path)
    store = Store.open(path, now=NOW, threaded=False)
    store.save(events(*told_since))
    await store.aclose()
    execute(path, "CREATE TABLE of_tomorrow (x)", f"PRAGMA user_version = {KNOWN + 1}")
    (copy,) = beside(path, "v*")
    os.utime(copy, (HOUR_AGO, HOUR_AGO))
    return copy


def test_a_migration_leaves_a_copy_of_what_was_there_before(path: Path) -> None:
    of_the_first_release(path)
    schema.open_for_writing(path).close()
    (copy,) = beside(path, "v1")
    assert select(path, "PRAGMA user_version") == [(KNOWN,)]
    assert select(copy, "PRAGMA user_version") == [(1,)]
    assert select(copy, "PRAGMA application_id") == [(schema.APPLICATION_ID,)]
    assert select(copy, "SELECT * FROM cursor") == [("log", 7)]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert {file.name for file in path.parent.iterdir()} == {path.name, copy.name}


def test_a_second_upgrade_replaces_the_copy_of_the_first(path: Path) -> None:
    path.with_name(f"{path.name}.v1").write_bytes(b"older")
    path.with_name(f"{path.name}.new").write_bytes(b"a copy that was cut short")
    of_the_first_release(path)
    schema.open_for_writing(path).close()
    (copy,) = beside(path, "v1")
    assert select(copy, "SELECT * FROM cursor") == [("log", 7)]


def test_nothing_is_copied_where_nothing_is_migrated(path: Path) -> None:
    for _ in range(2):
        schema.open_for_writing(path).close()
    assert list(path.parent.iterdir()) == [path]


def test_a_database_that_cannot_be_copied_is_not_migrated(path: Path) -> None:
    of_the_first_release(path)
    path.with_name(f"{path.name}.v1").mkdir()
    with pytest.raises(StateUnusable, match="cannot be opened"):
        Store.open(path, now=NOW, threaded=False)
    assert select(path, "PRAGMA user_version") == [(1,)]


async def test_the_release_before_starts_from_the_copy_and_says_so(path: Path) -> None:
    await upgraded_and_back(path, 2, 3)
    store = Store.open(path, now=NOW, threaded=False)
    assert [stored.event.seq for stored in store.history()] == [1]
    assert tell_all(store, SINK) == []
    assert store.notice == (
        f"{path}: written by a newer sftp-monitor, set aside as "
        f"{path.name}.newer-20270115T080000Z; "
        "starting from the copy made before its migration, at 2027-01-15T07:00:00Z"
    )
    await store.aclose()


async def test_the_newer_database_is_kept_whole(path: Path) -> None:
    await upgraded_and_back(path, 2, 3)
    await Store.open(path, now=NOW, threaded=False).aclose()
    (aside,) = beside(path, "newer-*")
    assert select(aside, "SELECT count(*) FROM event") == [(3,)]
    assert select(aside, "SELECT count(*) FROM of_tomorrow") == [(0,)]
    assert {file.name for file in path.parent.iterdir()} >= {path.name, aside.name}


async def test_the_log_of_the_newer_database_that_is_being_read_goes_with_it(path: Path) -> None:
    await upgraded_and_back(path, 2, 3)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("INSERT INTO of_tomorrow VALUES (1)")
        await Store.open(path, now=NOW, threaded=False).aclose()
    (aside,) = (file for file in beside(path, "newer-*") if file.name.endswith("Z"))
    assert select(aside, "SELECT * FROM of_tomorrow") == [(1,)]
    assert select(path, "SELECT count(*) FROM event") == [(1,)]


async def test_a_newer_database_that_cannot_be_set_aside_stays_as_it_is(path: Path) -> None:
    await upgraded_and_back(path, 2, 3)
    path.with_name(f"{path.name}.newer-20270115T080000Z-wal").mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("INSERT INTO of_tomorrow VALUES (1)")
        with pytest.raises(StateUnusable, match=rf"{path.name}: cannot be set aside \(Is a dir"):
            Store.open(path, now=NOW, threaded=False)
    assert select(path, "SELECT * FROM of_tomorrow") == [(1,)]


async def test_an_event_told_after_going_back_has_an_id_of_its_own(path: Path) -> None:
    await upgraded_and_back(path, 2)
    (newer,) = select(path, "SELECT event_id FROM event ORDER BY id DESC LIMIT 1")
    store = Store.open(path, now=NOW, threaded=False)
    store.save(events(2))
    ours = [stored.event_id for stored in store.history()]
    assert newer[0] not in ours
    assert ours[1].split("-")[1] == "0badcafe"
    assert [stored.epoch for stored in store.history()] == [store.epoch, "0badcafe"]
    await store.aclose()


async def test_a_start_that_was_cut_short_goes_back_at_the_next(path: Path) -> None:
    await upgraded_and_back(path, 2)
    os.link(path, path.with_name(f"{path.name}.newer-20270115T080000Z"))
    store = Store.open(path, now=NOW, threaded=False)
    assert [stored.event.seq for stored in store.history()] == [1]
    assert len(beside(path, "newer-*")) == 2
    await store.aclose()


async def test_a_copy_that_is_damaged_is_set_aside_like_any_database(path: Path) -> None:
    copy = await upgraded_and_back(path, 2)
    broken = schema.HEADER + b"\xff" * 1000
    copy.write_bytes(broken)
    store = Store.open(path, now=NOW, threaded=False)
    assert store.notice is not None
    assert "newer sftp-monitor" in store.notice
    assert "starting without state" in store.notice
    assert [file.read_bytes() for file in beside(path, "corrupt-*")] == [broken]
    await store.aclose()


async def test_a_copy_of_another_release_is_not_ours_to_start_from(path: Path) -> None:
    copy = await upgraded_and_back(path, 2)
    copy.rename(copy.with_name(f"{path.name}.v{KNOWN + 1}"))
    with pytest.raises(StateUnusable, match="newer sftp-monitor"):
        Store.open(path, now=NOW, threaded=False)
    assert beside(path, "newer-*") == []
