"""Each sink is handed every event once, in order: cursors, what waits, retention."""

import shutil
from pathlib import Path

import pytest

from monitor.adapters.store import Change, StorageError, Store
from monitor.core.model import DAY
from support.builders import NOW
from support.places import OnDisk, Place
from support.state_files import SINK, an_event, deliver_all, events, execute, next_event, select


async def head(store: Store, sink: str = SINK) -> int | None:
    """Return the number of the next event for a sink."""
    told = next_event(store, sink)
    return None if told is None else told.seq


async def deliver(store: Store, number: int, sink: str = SINK) -> list[int]:
    """Deliver so many events."""
    delivered = []
    for _ in range(number):
        told = next_event(store, sink)
        assert told is not None
        store.mark_delivered(sink, told.event_id)
        delivered.append(told.seq)
    return delivered


async def saved(store: Store, *seqs: int) -> None:
    store.add_sink(SINK)
    store.save(events(*seqs))
    await store.flush()


async def reopened(store: Store, place: Place | Path) -> Store:
    await store.aclose()
    return await (OnDisk(place) if isinstance(place, Path) else place).open()


async def test_an_event_is_handed_out_with_its_id_and_its_epoch(store: Store) -> None:
    await saved(store, 1)
    told = next_event(store)
    assert told is not None
    assert told == an_event(1, epoch=store.epoch_of("production"))
    assert told.event_id == f"{an_event(1).fingerprint}-{told.epoch}-1"
    assert (told.durable, told.redelivery) == (True, False)


async def test_events_are_handed_out_in_the_order_of_the_decisions(store: Store) -> None:
    store.add_sink(SINK)
    late, early = an_event(2, decided_at=NOW), an_event(1, decided_at=NOW - 60)
    store.save(Change(events=(late, early)))
    store.save(events(3))
    await store.flush()
    assert await deliver(store, 3) == [2, 1, 3]


async def test_an_event_is_handed_out_until_it_was_delivered(store: Store) -> None:
    await saved(store, 1, 2)
    assert await head(store) == await head(store) == 1
    await deliver(store, 1)
    assert await head(store) == 2
    await deliver(store, 1)
    assert await head(store) is None


async def test_each_sink_has_a_queue_of_its_own(store: Store) -> None:
    store.add_sink("file")
    await saved(store, 1, 2)
    await deliver(store, 2, "file")
    assert await head(store, "file") is None
    assert await head(store) == 1


async def test_a_cursor_survives_a_restart(store: Store, place: Place) -> None:
    await saved(store, 1, 2, 3)
    await deliver(store, 2)
    again = await reopened(store, place)
    assert await deliver_all(again) == [(3, True)]
    await again.aclose()


async def test_each_environment_has_a_cursor_of_its_own(store: Store, place: Place) -> None:
    store.add_sink(SINK)
    other = an_event(2, environment="staging")
    store.save(Change(events=(an_event(1), other, an_event(3))))
    await store.flush()
    await deliver(store, 2)
    await store.flush()
    cursors = place.select("SELECT environment, event_row FROM cursor ORDER BY environment")
    assert cursors == [("", 0), ("production", 1), ("staging", 2)]
    again = await reopened(store, place)
    assert await deliver_all(again) == [(3, True)]
    await again.aclose()


async def test_a_start_looks_at_no_more_events_than_wait(store: Store, path: Path) -> None:
    await saved(store, 1, 2, 3)
    await deliver(store, 3)
    await store.flush()
    assert select(path, "SELECT event_row FROM cursor WHERE environment = ''") == [(3,)]


async def test_what_may_have_been_delivered_before_a_crash_is_known_with_what_came_before(
    store: Store, path: Path
) -> None:
    await saved(store, 1, 2, 3)
    await deliver(store, 1)
    again = await reopened(store, path)
    ids = [stored.event_id for stored in reversed(again.history().values())]
    assert again.add_sink(SINK) == {ids[1]: ids[0], ids[2]: ids[1]}
    assert again.add_sink("file") == {}
    await again.aclose()


async def test_a_new_sink_starts_at_the_newest_event_there_was_at_the_start(
    store: Store, path: Path
) -> None:
    await saved(store, 1, 2)
    again = await reopened(store, path)
    again.add_sink("file")
    again.save(events(3))
    again = await reopened(again, path)
    assert await deliver_all(again, "file") == [(3, True)]
    await again.aclose()


async def test_an_environment_that_is_new_to_a_sink_is_delivered_from_its_first_event_on(
    store: Store, place: Place
) -> None:
    await saved(store, 1)
    await deliver(store, 1)
    again = await reopened(store, place)
    again.add_sink(SINK)
    again.save(Change(events=(an_event(7, environment="staging"),)))
    again = await reopened(again, place)
    assert await deliver_all(again) == [(7, True)]
    await again.aclose()


async def test_what_waits_is_counted_and_dated(store: Store) -> None:
    assert store.pending(SINK) == (0, None)
    await saved(store, 1, 2, 3)
    assert store.pending(SINK) == (3, NOW + 1)
    await deliver(store, 2)
    assert store.pending(SINK) == (1, NOW + 3)
    await deliver(store, 1)
    assert store.pending(SINK) == (0, None)


async def test_what_waits_is_known_without_a_disk(store: Store, path: Path) -> None:
    await saved(store, 1, 2)
    execute(path, "DROP TABLE event")
    assert store.pending(SINK) == (2, NOW + 1)
    # Nor is the table needed to deliver what this process has decided.
    assert await deliver_all(store) == [(1, True), (2, True)]


async def test_an_event_that_cannot_be_decoded_is_passed_over_and_said_to_be_lost(
    store: Store, path: Path
) -> None:
    await saved(store, 1, 2, 3, 4)
    again = await reopened(store, path)
    execute(path, "UPDATE event SET body = '{' WHERE id IN (1, 3)")
    for sink in (SINK, "file"):
        again.add_sink(sink)
    ids = (an_event(seq, epoch=store.epoch_of("production")).event_id for seq in (1, 3))
    lost = tuple(f"the stored event {event_id} cannot be read" for event_id in ids)
    assert (await again.load()).problems == lost
    assert await deliver_all(again) == [(2, True), (4, True)]
    assert again.pending(SINK) == (0, None)
    await again.aclose()


async def test_whenever_the_process_dies_what_was_committed_is_delivered_by_the_next(
    store: Store, path: Path, tmp_path: Path
) -> None:
    await saved(store, 1, 2)
    await deliver(store, 1)
    await store.flush()
    after_crash = tmp_path / "crashed"
    after_crash.mkdir()
    for file in (path, path.with_name(f"{path.name}-wal")):
        shutil.copy(file, after_crash)
    again = Store(after_crash / path.name, now=NOW)
    assert await deliver_all(again) == [(2, True)]
    await again.aclose()


# --- retention ---------------------------------------------------------------------------------


async def test_retention_deletes_what_is_old_and_was_delivered(store: Store) -> None:
    store.add_sink(SINK)
    old = an_event(1, decided_at=NOW - 91 * DAY)
    store.save(Change(events=(old, an_event(2), an_event(3, decided_at=NOW - 92 * DAY))))
    await store.flush()
    await deliver(store, 3)
    await store.prune(NOW - 90 * DAY)
    assert [stored.seq for stored in store.history().values()] == [2]


async def test_retention_waits_for_the_slowest_sink(store: Store) -> None:
    store.add_sink("file")
    await saved(store, 1, 2)
    await deliver(store, 2)
    await deliver(store, 1, "file")
    await store.prune(NOW + DAY)
    assert list(store.history()) == [2]
    assert await deliver(store, 1, "file") == [2]


async def test_retention_does_not_wait_for_a_sink_that_runs_no_more(
    store: Store, place: Place
) -> None:
    store.add_sink("removed")
    await saved(store, 1, 2)
    again = await reopened(store, place)
    await deliver_all(again)
    await again.prune(NOW + DAY)
    assert again.history() == {}
    await again.aclose()


async def test_retention_touches_no_event_that_is_being_committed(store: Store) -> None:
    store.add_sink(SINK)
    store.save(events(1))
    await store.prune(NOW + DAY)
    assert list(store.history()) == [1]
    assert await deliver_all(store) == [(1, True)]


async def test_retention_touches_no_status(store: Store, path: Path) -> None:
    store.save(Change(events=(an_event(1),), next_call_at={"production": NOW}))
    await store.flush()
    await store.prune(NOW + DAY)
    assert store.history() == {}
    assert select(path, "SELECT * FROM lease") == [("production", NOW)]


async def test_after_everything_was_pruned_new_events_are_still_delivered(
    store: Store, place: Place
) -> None:
    await saved(store, 1, 2)
    assert await deliver_all(store) == [(1, True), (2, True)]
    await store.prune(NOW + DAY)
    assert store.history() == {}
    again = await reopened(store, place)
    again.add_sink(SINK)
    again.save(events(3))
    await again.flush()
    assert await deliver_all(again) == [(3, True)]
    await again.aclose()


async def test_reading_from_a_broken_database_is_a_storage_error(store: Store, path: Path) -> None:
    await saved(store, 1)
    again = await reopened(store, path)
    again.add_sink(SINK)
    execute(path, "DROP TABLE event")
    with pytest.raises(StorageError, match="cannot be read"):
        again.history()
    # What waits was read at the start.
    assert await deliver_all(again) == [(1, True)]
    await again.aclose()
