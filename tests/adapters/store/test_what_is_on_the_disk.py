"""What others find on the disk: no half transaction, no surprise."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from monitor.adapters.store import StorageError, Store, files, read_history, rows, schema
from monitor.adapters.store.database import Database
from monitor.core.snapshot import HistoryQuery
from support.builders import NOW
from support.state_files import SINK, an_event, deliver_all, events, full_disk, next_event, threaded


async def test_an_event_from_the_disk_has_the_epoch_it_was_decided_in(
    store: Store, path: Path
) -> None:
    store.save(events(1))
    await store.flush()
    for (stored,) in (read_history(path).values(), store.history().values()):
        assert stored.epoch == store.epoch


async def test_the_history_gives_a_hundred_events_unless_more_are_asked_for(
    store: Store, path: Path
) -> None:
    store.save(events(*range(1, 103)))
    await store.flush()
    assert len(store.history()) == len(read_history(path)) == 100
    assert (
        len(store.history(HistoryQuery(limit=101)))
        == len(read_history(path, HistoryQuery(limit=101)))
        == 101
    )


async def test_an_event_that_was_told_before_it_was_stored_is_passed_over_without_an_error(
    store: Store, path: Path
) -> None:
    store.add_sink(SINK)
    with full_disk(path):
        store.save(events(1))
        await store.flush()
        assert await deliver_all(store) == [(1, False)]
    await store.flush()
    problems: list[StorageError] = []
    store.on_error = problems.append
    assert next_event(store) is None
    assert problems == []


async def test_an_event_that_is_being_written_is_not_handed_out_yet(path: Path) -> None:
    async with threaded(path) as store:
        store.add_sink(SINK)
        store.save(events(1))
        # Nothing was awaited so far, so the loop has not heard of a commit.
        assert next_event(store) is None
        await store.flush()
        assert await deliver_all(store) == [(1, True)]


async def test_what_is_not_committed_yet_is_not_read(path: Path) -> None:
    store = Store(path, now=NOW)
    assert isinstance(store._database, Database)
    connection = store._database._connection
    connection.execute("BEGIN")
    connection.execute(rows.ADD_EVENT, rows.columns(an_event(epoch="0badcafe"))).fetchall()
    assert store.history() == {}
    connection.execute("COMMIT")
    assert list(store.history().values()) == [an_event(epoch="0badcafe")]
    await store.aclose()


@pytest.mark.parametrize("open_now", [True, False], ids=["beside the daemon", "after it"])
def test_whoever_reads_the_history_cannot_write(path: Path, open_now: bool) -> None:
    writer = schema.open_for_writing(path)
    writer.execute("INSERT INTO cursor VALUES ('log', '', 1)")
    if not open_now:
        writer.close()

    def read(reader: sqlite3.Connection) -> list[tuple[str, str, int]]:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM cursor")
        return reader.execute("SELECT * FROM cursor").fetchall()

    with closing(writer):
        assert schema.read_foreign(path, read) == [("log", "", 1)]


def test_corrupt_databases_of_one_second_are_numbered(path: Path) -> None:
    for _ in range(3):
        path.write_bytes(files.HEADER + b"\xff" * 1000)
        file, connection, _notice = schema.open_or_set_aside(path, NOW)
        connection.close()
        assert file is not None
        os.close(file)
    aside = sorted(file.name for file in path.parent.glob("*.corrupt-*"))
    first = "sftp-monitor.db.corrupt-20270115T080000Z"
    assert aside == [first, f"{first}.2", f"{first}.3"]
