"""Each sink is told every event once, in order: cursors, history, retention."""

import shutil
from pathlib import Path

import pytest

from monitor.adapters.store import Change, StorageError, Store
from monitor.core.model import DAY
from support.builders import NOW
from support.state_files import SINK, an_event, events, execute, select, tell_all


def rows(store: Store, sink: str = SINK, limit: int = 100) -> list[int]:
    return [stored.row_id for stored in store.events_after(sink, limit)]


async def saved(store: Store, *seqs: int) -> None:
    store.add_sink(SINK)
    store.save(events(*seqs))
    await store.flush()


async def test_an_event_is_handed_out_with_its_id_and_its_epoch(store: Store) -> None:
    await saved(store, 1)
    [stored] = store.events_after(SINK, 10)
    assert stored.row_id == 1
    assert stored.epoch == store.epoch
    assert stored.event == an_event(1)
    assert stored.event_id == f"{an_event(1).fingerprint}-{store.epoch}-1"


async def test_events_are_handed_out_in_the_order_of_telling(store: Store) -> None:
    store.add_sink(SINK)
    late, early = an_event(2, decided_at=NOW), an_event(1, decided_at=NOW - 60)
    store.save(Change(events=(late, early)))
    store.save(events(3))
    await store.flush()
    assert [stored.event.seq for stored in store.events_after(SINK, 10)] == [2, 1, 3]


async def test_an_event_is_handed_out_until_the_cursor_passes_it(store: Store) -> None:
    await saved(store, 1, 2, 3)
    assert rows(store) == rows(store) == [1, 2, 3]
    store.move_cursor(SINK, 2)
    assert rows(store) == [3]
    store.move_cursor(SINK, 3)
    assert rows(store) == []


async def test_events_come_in_pages(store: Store) -> None:
    await saved(store, 1, 2, 3)
    assert rows(store, limit=2) == [1, 2]


async def test_each_sink_has_a_cursor_of_its_own(store: Store) -> None:
    store.add_sink("file")
    await saved(store, 1, 2)
    store.move_cursor("file", 2)
    assert rows(store, "file") == []
    assert rows(store, SINK) == [1, 2]


async def test_a_cursor_survives_a_restart(store: Store, path: Path) -> None:
    await saved(store, 1, 2, 3)
    store.move_cursor(SINK, 2)
    await store.aclose()
    again = Store.open(path, now=NOW, threaded=False)
    assert rows(again) == [3]
    await again.aclose()


async def test_a_cursor_never_moves_back(store: Store, path: Path) -> None:
    await saved(store, 1, 2, 3)
    store.move_cursor(SINK, 3)
    store.move_cursor(SINK, 1)
    await store.flush()
    assert rows(store) == []
    assert select(path, "SELECT event_row FROM cursor") == [(3,)]


async def test_a_new_sink_starts_at_the_newest_event_there_was_at_the_start(
    store: Store, path: Path
) -> None:
    await saved(store, 1, 2)
    await store.aclose()
    again = Store.open(path, now=NOW, threaded=False)
    again.save(events(3))
    assert rows(again, "file") == [3]
    await again.aclose()


async def test_an_event_that_was_never_told_waits_for_its_sink_over_a_restart(
    store: Store, path: Path
) -> None:
    assert rows(store) == []
    store.save(events(1))
    await store.aclose()
    again = Store.open(path, now=NOW, threaded=False)
    assert rows(again) == [1]
    await again.aclose()


async def test_what_waits_is_counted_and_dated(store: Store) -> None:
    assert store.pending(SINK) == (0, None)
    await saved(store, 1, 2, 3)
    assert store.pending(SINK) == (3, NOW + 1)
    store.move_cursor(SINK, 2)
    assert store.pending(SINK) == (1, NOW + 3)
    store.move_cursor(SINK, 3)
    assert store.pending(SINK) == (0, None)


async def test_a_damaged_event_is_passed_over_and_told_as_an_error(
    store: Store, path: Path
) -> None:
    problems: list[StorageError] = []
    store.on_error = problems.append
    await saved(store, 1, 2, 3, 4)
    execute(path, "UPDATE event SET body = '{' WHERE id IN (1, 3)")
    assert [seq for seq, _ in tell_all(store)] == [2, 4]
    assert [str(problem).rpartition(": ")[2] for problem in problems] == [
        "event 1 cannot be read",
        "event 3 cannot be read",
    ]
    assert store.errors == 2
    assert store.pending(SINK) == (0, None)


async def test_a_page_of_nothing_but_damaged_events_does_not_end_the_telling(
    store: Store, path: Path
) -> None:
    await saved(store, 1, 2, 3)
    execute(path, "UPDATE event SET body = '{' WHERE id < 3")
    assert rows(store, limit=1) == [3]


async def test_whenever_the_process_dies_what_was_committed_is_told_by_the_next(
    store: Store, path: Path, tmp_path: Path
) -> None:
    await saved(store, 1, 2)
    store.move_cursor(SINK, 1)
    await store.flush()
    after_crash = tmp_path / "crashed"
    after_crash.mkdir()
    for file in (path, path.with_name(f"{path.name}-wal")):
        shutil.copy(file, after_crash)
    again = Store.open(after_crash / path.name, now=NOW, threaded=False)
    assert rows(again) == [2]
    await again.aclose()


async def test_retention_deletes_what_is_old_and_was_told(store: Store) -> None:
    store.add_sink(SINK)
    old = an_event(1, decided_at=NOW - 91 * DAY)
    store.save(Change(events=(old, an_event(2), an_event(3, decided_at=NOW - 92 * DAY))))
    await store.flush()
    store.move_cursor(SINK, 3)
    assert await store.prune(NOW - 90 * DAY) == 2
    assert [stored.event.seq for stored in store.history()] == [2]


async def test_retention_waits_for_the_slowest_sink(store: Store) -> None:
    store.add_sink("file")
    await saved(store, 1, 2)
    store.move_cursor(SINK, 2)
    store.move_cursor("file", 1)
    assert await store.prune(NOW + DAY) == 1
    assert rows(store, "file") == [2]


async def test_retention_does_not_wait_for_a_sink_that_runs_no_more(
    store: Store, path: Path
) -> None:
    await saved(store, 1, 2)
    tell_all(store)
    store.move_cursor("removed", 0)
    assert await store.prune(NOW + DAY) == 2


async def test_retention_touches_no_status(store: Store, path: Path) -> None:
    store.save(Change(events=(an_event(1),), next_call_at={"production": NOW}))
    assert await store.prune(NOW + DAY) == 1
    assert store.load().next_call_at == {"production": NOW}


async def test_after_everything_was_pruned_new_events_are_still_told(store: Store) -> None:
    await saved(store, 1, 2)
    assert tell_all(store) == [(1, True), (2, True)]
    assert await store.prune(NOW + DAY) == 2
    store.save(events(3))
    await store.flush()
    assert tell_all(store) == [(3, True)]


async def test_reading_from_a_broken_database_is_a_storage_error(store: Store, path: Path) -> None:
    await saved(store, 1)
    execute(path, "DROP TABLE event")
    # What waits is counted in memory: no view of the board needs the disk.
    assert store.pending(SINK) == (1, NOW + 1)
    with pytest.raises(StorageError, match="cannot be read"):
        store.history()
    with pytest.raises(StorageError, match="cannot be read"):
        store.events_after(SINK, 1)
