"""Opening the database: made, recognised, or refused with one line that says what to do."""

import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from monitor.adapters.store import MEMORY, StorageError, Store, files, read_history, schema
from support.builders import NOW
from support.state_files import events, execute, select

PAGE = 4096
KNOWN = schema.FIRST + len(schema.MIGRATIONS)
BROKEN = files.HEADER + b"\xff" * 2 * PAGE


async def make_state(path: Path) -> None:
    """Make a database with some events in it."""
    store = Store(path, now=NOW)
    store.epoch = "0badcafe"
    store.save(events(*range(1, 101)))
    await store.aclose()


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def damage(path: Path, offset: int) -> bytes:
    """Overwrite a page from `offset` on; return the whole file as it then is."""
    content = bytearray(path.read_bytes())
    content[offset : offset + PAGE] = b"\xff" * PAGE
    path.write_bytes(content)
    return bytes(content)


def set_aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.corrupt-*"))


def test_a_new_database_is_ours_durable_and_for_the_owner_only(path: Path) -> None:
    with closing(schema.open_for_writing(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        for file in path.parent.glob(f"{path.name}*"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert select(path, "PRAGMA application_id") == [(schema.APPLICATION_ID,)]
    assert select(path, "PRAGMA user_version") == [(KNOWN,)]


def test_a_database_in_memory_touches_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    schema.open_for_writing(MEMORY).close()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.touch()
    schema.open_for_writing(path).close()
    assert select(path, "SELECT count(*) FROM event") == [(0,)]


async def test_each_start_has_an_epoch_of_its_own(path: Path) -> None:
    epochs = set()
    for _ in range(2):
        store = Store(path, now=NOW)
        assert len(store.epoch) == 8
        assert int(store.epoch, 16) >= 0
        epochs.add(store.epoch)
        await store.aclose()
    assert len(epochs) == 2


async def test_the_number_of_a_deleted_event_never_comes_again(path: Path) -> None:
    await make_state(path)
    execute(path, "DELETE FROM event")
    store = Store(path, now=NOW)
    store.save(events(101))
    assert list(store.history()) == [101]
    await store.aclose()


def test_a_missing_directory_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "sftp-monitor.db"
    with pytest.raises(StorageError) as refused:
        files.hold(path)
    assert str(refused.value) == (
        f"{path}: cannot be opened (No such file or directory); "
        "state.path must be a file in an existing directory that the daemon can write to"
    )
    with pytest.raises(StorageError, match="existing directory"):
        Store(path, now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_no_database(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StorageError, match=r"sftp-monitor\.db: cannot be opened"):
        Store(path, now=NOW)


def test_a_path_that_is_too_long_for_sqlite_is_an_error_with_words(tmp_path: Path) -> None:
    path = tmp_path.joinpath(*["d" * 200] * 3, "sftp-monitor.db")
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(StorageError, match="unable to open database file"):
        Store(path, now=NOW)
    with pytest.raises(StorageError, match="unable to open database file"):
        read_history(path)


def test_a_file_system_without_shared_memory_is_refused_with_what_to_do(path: Path) -> None:
    # What SQLite has in memory cannot have a WAL either.
    last_known = closing(sqlite3.connect(":memory:"))
    with last_known as connection, pytest.raises(StorageError) as refused:
        schema._configure(connection, path)
    assert str(refused.value) == (
        f"{path}: this file system has no shared memory for SQLite's WAL; "
        "put state.path on a local disk"
    )


def test_fault_40_a_database_of_a_newer_version_is_left_alone(path: Path) -> None:
    schema.open_for_writing(path).close()
    newer = KNOWN + 1
    execute(path, f"PRAGMA user_version = {newer}")
    before = path.read_bytes()
    with pytest.raises(
        StorageError, match=rf"{path}: .*newer sftp-monitor \(schema {newer}.*upgrade"
    ):
        Store(path, now=NOW)
    assert path.read_bytes() == before
    assert set_aside(path) == []


@pytest.mark.parametrize("statement", ["CREATE TABLE t (x)", "PRAGMA application_id = 7"])
def test_fault_40_a_database_of_another_program_is_left_alone(path: Path, statement: str) -> None:
    execute(path, statement, "CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(StorageError, match=rf"{path}: this is not a database of sftp-monitor"):
        Store(path, now=NOW)
    assert path.read_bytes() == before


def test_a_refused_state_is_not_kept_locked(path: Path) -> None:
    execute(path, "CREATE TABLE theirs (x)")
    for _ in range(2):
        with pytest.raises(StorageError):
            Store(path, now=NOW)


def test_a_database_that_lost_a_table_is_unusable_and_says_so(path: Path) -> None:
    schema.open_for_writing(path).close()
    execute(path, "DROP TABLE event")
    with pytest.raises(
        StorageError, match=rf"{path}: cannot be opened \(no such table: event.*restore a backup"
    ):
        Store(path, now=NOW)


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"x", b"environments: []\n"])
def test_fault_40_a_file_that_is_no_database_is_left_alone(path: Path, content: bytes) -> None:
    put(path, content)
    with pytest.raises(StorageError, match=rf"{path}: this is not a database of sftp-monitor"):
        Store(path, now=NOW)
    assert path.read_bytes() == content
    assert set_aside(path) == []


async def test_fault_40_a_broken_one_is_set_aside_whole_and_the_store_starts_empty(
    path: Path,
) -> None:
    put(path, BROKEN)
    store = Store(path, now=NOW)
    assert store.notice is not None
    assert "corrupt" in store.notice
    assert "sftp-monitor.db.corrupt-20270115T080000Z" in store.notice
    assert [file.read_bytes() for file in set_aside(path)] == [BROKEN]
    store.save(events(1))
    assert len(store.history()) == 1
    await store.aclose()


@pytest.mark.parametrize("page", [1, 8, 12])
async def test_fault_40_a_damaged_page_is_noticed_at_start(path: Path, page: int) -> None:
    await make_state(path)
    content = damage(path, page * PAGE)
    store = Store(path, now=NOW)
    assert [file.read_bytes() for file in set_aside(path)] == [content]
    assert store.history() == {}
    assert store.epoch != "0badcafe"
    damaged = rf"{path}: corrupt \(Page {page + 1}\b.*\), set aside as "
    assert re.match(damaged, store.notice or "")
    await store.aclose()


async def test_two_corrupt_databases_within_a_second_are_both_kept(path: Path) -> None:
    for content in (BROKEN + b"first", BROKEN + b"second"):
        put(path, content)
        await Store(path, now=NOW).aclose()
    kept = {file.read_bytes() for file in set_aside(path)}
    assert kept == {BROKEN + b"first", BROKEN + b"second"}


async def test_the_log_of_a_corrupt_database_that_is_being_read_goes_with_it(path: Path) -> None:
    with closing(schema.open_for_writing(path)) as writer:
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        writer.execute("INSERT INTO cursor VALUES ('log', '', 1)")
        log = path.with_name(f"{path.name}-wal").read_bytes()
        damage(path, PAGE)
        store = Store(path, now=NOW)
        aside = {file.name.removeprefix("sftp-monitor.db."): file for file in set_aside(path)}
        assert aside["corrupt-20270115T080000Z-wal"].read_bytes() == log
        assert store.history() == {}
        await store.aclose()


async def test_a_sound_database_has_no_notice(path: Path) -> None:
    await make_state(path)
    store = Store(path, now=NOW)
    assert store.notice is None
    await store.aclose()
