"""The history: newest first, filtered, paged; and read by others beside the running daemon."""

import os
from pathlib import Path
from typing import Any

import pytest

from monitor.adapters.store import Change, StorageError, Store, read_history, schema
from monitor.core.model import EventKind, EventStatus
from monitor.core.snapshot import HistoryQuery
from support.builders import NOW
from support.places import Place
from support.state_files import an_event, events, execute, run_script


async def fill(store: Store) -> None:
    store.save(
        Change(
            events=(
                an_event(1),
                an_event(2, campaign_id="c-2"),
                an_event(3, environment="staging"),
                an_event(4, campaign_id=None, rule="api_unreachable"),
                an_event(5),
            )
        )
    )
    await store.flush()


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [5, 4, 3, 2, 1]),
    ({"limit": 2}, [5, 4]),
    ({"limit": 2, "next": 4}, [3, 2]),
    ({"next": 1}, []),
    ({"since": NOW + 4}, [5, 4]),
    ({"environment": "production"}, [5, 4, 2, 1]),
    ({"campaign_id": "c-1"}, [5, 3, 1]),
    ({"environment": "production", "campaign_id": "c-1"}, [5, 1]),
    ({"environment": "production", "campaign_id": "c-1", "since": NOW + 2}, [5]),
    ({"environment": "nowhere"}, []),
    ({"campaign_id": "' OR TRUE --"}, []),
    ({"campaign_id": ""}, [4]),
    ({"environment": "staging", "campaign_id": ""}, []),
    ({"rule": "failed_test"}, [5, 3, 2, 1]),
    ({"rule": "api_unreachable"}, [4]),
    ({"rule": "failed_test", "environment": "production", "next": 5}, [2, 1]),
    ({"rule": "failed_test", "kind": EventKind.ALERT}, [5, 3, 2, 1]),
    ({"rule": "failed_test", "kind": EventKind.TEST}, []),
]


@pytest.mark.matrix(fast=8)
@pytest.mark.parametrize(("filters", "expected"), FILTERS, ids=[str(f) for f, _ in FILTERS])
async def test_the_history_is_filtered_and_paged(
    store: Store, path: Path, filters: dict[str, Any], expected: list[int]
) -> None:
    await fill(store)
    assert [stored.seq for stored in store.history(HistoryQuery(**filters)).values()] == expected
    assert [
        stored.seq for stored in read_history(path, HistoryQuery(**filters)).values()
    ] == expected


async def test_an_event_reads_the_same_from_outside(store: Store, path: Path) -> None:
    await fill(store)
    assert list(read_history(path).items()) == list(store.history().items())


async def test_a_damaged_event_is_left_out(store: Store, place: Place) -> None:
    await fill(store)
    place.execute("UPDATE event SET body = 'x' WHERE id = 4")
    assert list(store.history()) == [5, 3, 2, 1]


@pytest.mark.parametrize("limit", [1, 2, 4])
async def test_damaged_events_are_not_taken_for_the_end_of_the_history(
    store: Store, place: Place, limit: int
) -> None:
    await fill(store)
    place.execute("UPDATE event SET body = 'x' WHERE id IN (5, 4, 2)")
    assert list(store.history(HistoryQuery(limit=limit))) == [3, 1][:limit]
    assert list(store.history(HistoryQuery(limit=1, next=3))) == [1]


async def test_what_the_filters_let_through_is_counted_whatever_page_is_asked_for(
    store: Store, place: Place
) -> None:
    firing, resolved = EventStatus.FIRING, EventStatus.RESOLVED
    found = [(1, firing, 1), (2, resolved, 2), (3, EventStatus.RECORDED, 3), (4, firing, 9)]
    store.save(
        Change(events=tuple(an_event(n, status=one, decided_at=NOW + at) for n, one, at in found))
    )
    await store.flush()
    none = dict.fromkeys(map(str, EventStatus), 0)
    everything = {**none, "firing": 2, "resolved": 1, "recorded": 1}
    for query, counts in {
        HistoryQuery(): everything,
        HistoryQuery(limit=1, next=2): everything,
        HistoryQuery(since=NOW + 3): {**none, "firing": 1, "recorded": 1},
        HistoryQuery(environment="nowhere"): none,
    }.items():
        assert store.counts(query) == counts


async def test_a_status_that_is_no_status_is_not_counted(store: Store, place: Place) -> None:
    await fill(store)
    place.execute("UPDATE event SET status = 'x' WHERE id = 4")
    assert store.counts(HistoryQuery())["firing"] == 4


async def test_a_reader_sees_each_commit_and_keeps_the_writer_from_nothing(
    store: Store, path: Path
) -> None:
    for seq in range(1, 6):
        store.save(events(seq))
        await store.flush()
        assert len(read_history(path)) == seq
    assert store.problem is None


@pytest.mark.matrix
async def test_another_process_reads_beside_the_running_daemon(store: Store, path: Path) -> None:
    await fill(store)
    before = sorted(file.name for file in path.parent.iterdir())
    script = (
        "import sys; from pathlib import Path; from monitor.adapters.store import read_history;"
        "print(list(read_history(Path(sys.argv[1]))))"
    )
    assert run_script(script, path).stdout == "[5, 4, 3, 2, 1]\n"
    assert sorted(file.name for file in path.parent.iterdir()) == before


async def test_reading_after_the_daemon_ended_creates_no_file(store: Store, path: Path) -> None:
    await fill(store)
    await store.aclose()
    before = {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()}
    assert len(read_history(path)) == 5
    assert {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()} == before


@pytest.mark.slow
def test_reading_after_the_daemon_was_killed_sees_what_was_committed(path: Path) -> None:
    script = """
import os, sys
from pathlib import Path
from monitor.adapters.store import Store
from support.builders import NOW
from support.state_files import events
Store(Path(sys.argv[1]), now=NOW).save(events(1, 2))
os.kill(os.getpid(), 9)
"""
    assert run_script(script, path).returncode == -9
    assert [stored.seq for stored in read_history(path).values()] == [2, 1]


def test_a_state_that_is_not_there_is_not_made(path: Path) -> None:
    with pytest.raises(StorageError, match="there is no state"):
        read_history(path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "this is not a database of sftp-monitor"), (b"garbage" * 1000, "cannot be read")],
)
def test_a_file_that_is_no_state_is_refused(path: Path, content: bytes, why: str) -> None:
    path.write_bytes(content)
    with pytest.raises(StorageError, match=f"{path}: {why}"):
        read_history(path)
    assert path.read_bytes() == content


def test_a_state_whose_history_is_gone_is_named_with_the_reason(path: Path) -> None:
    schema.open_for_writing(path).close()
    execute(path, "DROP TABLE event")
    with pytest.raises(StorageError, match=rf"{path.name}: cannot be read \(no such table: event"):
        read_history(path)


def test_the_state_of_a_newer_version_is_not_read(path: Path) -> None:
    schema.open_for_writing(path).close()
    execute(path, f"PRAGMA user_version = {schema.FIRST + len(schema.MIGRATIONS) + 1}")
    with pytest.raises(StorageError, match="newer"):
        read_history(path)


def test_a_name_with_a_question_mark_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "what?mode=rwc#100%.db"
    schema.open_for_writing(path).close()
    assert read_history(path) == {}
    assert os.listdir(tmp_path) == [path.name]
