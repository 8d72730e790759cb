"""What others find on the disk: nothing that was dropped, nothing of the wrong type, no surprise.

A store overlays what it still has to write, so these tests look with another store, or with SQL.
"""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.adapters.store import Change, Store, codec, read_history, schema
from monitor.adapters.store.database import Database
from monitor.adapters.store.lock import StateLock
from monitor.core.discovery import Roster
from monitor.core.model import Told
from monitor.core.status import EnvironmentStatus
from support.builders import NOW, a_status
from support.state_files import SINK, an_event, events, execute, full_disk, select, tell_all

ENVIRONMENT = EnvironmentStatus(name="production", called_at=NOW)


async def test_a_dropped_campaign_that_never_had_an_event_leaves_no_row(
    store: Store, path: Path
) -> None:
    store.save(Change(campaigns=(a_status(), a_status(campaign_id="c-2"))))
    await store.flush()
    store.save(Change(dropped_environments=("production",)))
    await store.flush()
    assert (store.failing, store.errors) == (False, 0)
    assert select(path, "SELECT * FROM campaign") == []


async def test_an_environment_with_nothing_but_a_lease_hides_no_other(store: Store) -> None:
    await store.lease("a", NOW + 5)
    store.save(Change(environments=(ENVIRONMENT,)))
    await store.flush()
    loaded = store.load()
    assert loaded.next_call_at == {"a": NOW + 5}
    assert loaded.environments == {"production": ENVIRONMENT}


STORED: list[tuple[Callable[[str], object], str, str]] = [
    (codec.decode_campaign, codec.encode_campaign(a_status(polled_at=NOW)), "polled_at"),
    (codec.decode_environment, codec.encode_environment(ENVIRONMENT), "called_at"),
    (codec.decode_roster, codec.encode_roster(Roster(listed_at=NOW)), "listed_at"),
    (codec.decode_event, codec.event_row(an_event(), "0badcafe").body, "decided_at"),
]


@pytest.mark.parametrize(("decode", "body", "field"), STORED)
def test_a_text_that_looks_like_a_number_is_damage(
    decode: Callable[[str], object], body: str, field: str
) -> None:
    decode(body)
    with pytest.raises(ValueError, match=field):
        decode(json.dumps(json.loads(body) | {field: str(NOW)}))


def test_what_is_not_known_takes_no_room_on_the_disk() -> None:
    bodies = [
        codec.encode_campaign(a_status()),
        codec.encode_environment(EnvironmentStatus(name="production")),
        codec.encode_roster(Roster()),
    ]
    assert [body for body in bodies if "null" in body] == []


async def test_an_event_from_the_disk_has_the_epoch_of_its_database(
    store: Store, path: Path
) -> None:
    store.add_sink(SINK)
    store.save(events(1))
    await store.flush()
    for (stored,) in (read_history(path), store.history(), store.events_after(SINK, 10)):
        assert stored.epoch == store.epoch
        assert stored.event_id == Told(stored.event, store.epoch).event_id


async def test_the_history_gives_a_hundred_events_unless_more_are_asked_for(
    store: Store, path: Path
) -> None:
    store.save(events(*range(1, 103)))
    await store.flush()
    assert len(store.history()) == len(read_history(path)) == 100
    assert len(store.history(limit=101)) == len(read_history(path, limit=101)) == 101


async def test_each_event_that_cannot_be_read_is_counted_once_and_passed_over(
    store: Store, path: Path
) -> None:
    store.add_sink(SINK)
    store.save(events(1, 2, 3, 4))
    await store.flush()
    execute(path, "UPDATE event SET body = 'x' WHERE id IN (1, 2)")
    assert [stored.row_id for stored in store.events_after(SINK, 10)] == [3, 4]
    assert store.errors == 2


async def test_an_event_that_was_told_before_it_was_stored_is_passed_over_without_an_error(
    store: Store, path: Path
) -> None:
    store.add_sink(SINK)
    with full_disk(path):
        store.save(events(1))
        await store.flush()
        assert tell_all(store) == [(1, False)]
    await store.flush()
    failures = store.errors
    assert store.events_after(SINK, 10) == []
    assert store.errors == failures


async def test_an_event_that_is_being_written_is_not_told_yet(path: Path) -> None:
    store = Store.open(path, now=NOW, threaded=True)
    store.add_sink(SINK)
    store.save(events(1))
    # Nothing was awaited so far, so the loop has not heard of the commit.
    assert store.undurable(SINK) == ()
    await store.flush()
    assert tell_all(store) == [(1, True)]
    await store.aclose()


async def test_what_is_not_committed_yet_is_not_read(path: Path) -> None:
    connection, lock = schema.open_for_writing(path), StateLock(path)
    store = Store(path, Database(path, connection, lock), lock, "0badcafe", threaded=False)
    connection.execute("BEGIN")
    row = codec.event_row(an_event(), "0badcafe")
    connection.execute("INSERT INTO event VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    assert store.history() == []
    connection.execute("COMMIT")
    assert [stored.event for stored in store.history()] == [an_event()]
    await store.aclose()


@pytest.mark.parametrize("open_now", [True, False], ids=["beside the daemon", "after it"])
def test_whoever_reads_the_history_cannot_write(path: Path, open_now: bool) -> None:
    writer = schema.open_for_writing(path)
    writer.execute("INSERT INTO cursor VALUES ('log', 1)")
    if not open_now:
        writer.close()
    with closing(writer), closing(schema.open_foreign(path)) as reader:
        assert reader.execute("SELECT * FROM cursor").fetchall() == [("log", 1)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM cursor")


def test_corrupt_databases_of_one_second_are_numbered(path: Path) -> None:
    for _ in range(3):
        path.write_bytes(schema.HEADER + b"\xff" * 1000)
        connection, _notice = schema.open_or_set_aside(path, NOW)
        connection.close()
    aside = sorted(file.name for file in path.parent.glob("*.corrupt-*"))
    first = "sftp-monitor.db.corrupt-20270115T080000Z"
    assert aside == [first, f"{first}.2", f"{first}.3"]


def test_an_event_row_says_what_can_be_searched_for() -> None:
    event = replace(an_event(7), campaign_id=None, rule="api_unreachable")
    row = codec.event_row(event, "0badcafe")
    assert row[1:7] == (NOW + 7, "production", None, "api_unreachable", "firing", "critical")
