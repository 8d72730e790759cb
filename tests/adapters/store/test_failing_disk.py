"""A full disk: alerts are told all the same, and nothing is lost or doubled once it is back."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.adapters.store import Change, StorageError, Store
from support.builders import NOW, a_status
from support.state_files import (
    SINK,
    deliver_all,
    events,
    execute,
    full_disk,
    next_event,
    run_script,
    select,
    threaded,
)

CURSOR = "SELECT event_row FROM cursor WHERE environment = 'production'"


async def save(store: Store, *seqs: int) -> None:
    store.save(events(*seqs))
    await store.flush()


async def test_fault_39_a_failed_transaction_is_counted_and_told(store: Store, path: Path) -> None:
    problems: list[StorageError] = []
    store.on_error = problems.append
    with full_disk(path):
        await save(store, 1)
        assert store.problem
        assert "database or disk is full" in str(problems[0])
    await store.flush()


async def test_fault_39_the_store_heals_by_itself_once_the_disk_is_back(
    store: Store, path: Path
) -> None:
    with full_disk(path):
        await save(store, 1)
    store.save(Change(campaigns=(a_status(),)))
    await store.flush()
    assert not store.problem
    assert [stored.seq for stored in store.history().values()] == [1]


async def test_fault_39_the_order_of_events_outlives_a_full_disk(store: Store, path: Path) -> None:
    with full_disk(path):
        for seq in (1, 2, 3):
            await save(store, seq)
    await save(store, 4)
    assert [stored.seq for stored in store.history().values()] == [4, 3, 2, 1]


async def test_a_sink_is_woken_when_the_disk_fails_and_when_it_is_back(
    store: Store, path: Path
) -> None:
    commits = []
    store.add_sink(SINK, lambda: commits.append(len(store.history())))
    with full_disk(path):
        await save(store, 1)
        assert set(commits) == {0}
    await store.flush()
    assert commits[-1] == 1


async def test_everything_is_durable_while_the_disk_works(store: Store) -> None:
    store.add_sink(SINK)
    await save(store, 1)
    assert await deliver_all(store) == [(1, True)]


async def test_fault_39_events_that_cannot_be_written_are_told_as_undurable_once(
    store: Store, path: Path
) -> None:
    store.add_sink(SINK)
    with full_disk(path):
        await save(store, 1, 2)
        assert await deliver_all(store) == [(1, False), (2, False)]
        assert await deliver_all(store) == []
        await save(store, 3)
        assert await deliver_all(store) == [(3, False)]
    await save(store, 4)
    assert await deliver_all(store) == [(4, True)]


async def test_fault_39_what_was_told_as_undurable_is_not_told_again_after_a_restart(
    store: Store, path: Path
) -> None:
    store.add_sink(SINK)
    with full_disk(path):
        await save(store, 1, 2, 3)
        await deliver_all(store)
    await store.flush()
    assert select(path, CURSOR) == [(3,)]
    await store.aclose()
    again = Store(path, now=NOW)
    assert await deliver_all(again) == []
    await again.aclose()


async def test_what_was_saved_but_not_yet_told_waits_until_the_disk_is_back(
    store: Store, path: Path
) -> None:
    store.add_sink(SINK)
    with full_disk(path):
        await save(store, 1)
    await store.flush()
    assert await deliver_all(store) == [(1, True)]


async def test_an_event_told_while_the_disk_came_back_is_not_told_again(
    store: Store, path: Path
) -> None:
    store.add_sink(SINK)
    with full_disk(path):
        await save(store, 1, 2)
        being_delivered = next_event(store)
        assert being_delivered is not None
    await store.flush()
    store.mark_delivered(SINK, being_delivered.event_id)
    assert await deliver_all(store) == [(2, True)]
    await store.flush()
    assert select(path, CURSOR) == [(2,)]


async def test_a_delivery_that_ends_while_it_is_written_moves_the_cursor_with_the_next(
    path: Path,
) -> None:
    async with threaded(path) as store:
        store.add_sink(SINK)
        with full_disk(path):
            await save(store, 1)
            told = next_event(store)
        assert told is not None
        flushed = asyncio.ensure_future(store.flush())
        await asyncio.sleep(0)
        # It may be written by now, but the loop has not heard of it.
        store.mark_delivered(SINK, told.event_id)
        await flushed
        await store.flush()
        assert select(path, CURSOR) == [(1,)]
        assert await deliver_all(store) == []


async def test_a_cursor_moves_in_memory_while_it_cannot_be_written(
    store: Store, path: Path
) -> None:
    store.add_sink(SINK)
    await save(store, 1, 2)
    with full_disk(path):
        await save(store, 3)
        assert await deliver_all(store) == [(1, True), (2, True), (3, False)]
        assert store.pending(SINK) == (0, None)
    await store.flush()
    assert select(path, CURSOR) == [(3,)]


async def test_each_sink_is_told_what_cannot_be_written(store: Store, path: Path) -> None:
    for sink in (SINK, "file"):
        store.add_sink(sink)
    with full_disk(path):
        await save(store, 1)
        assert await deliver_all(store) == [(1, False)]
    await store.flush()
    assert await deliver_all(store, "file") == [(1, True)]
    assert await deliver_all(store) == []


async def test_what_cannot_be_written_counts_as_pending(store: Store, path: Path) -> None:
    store.add_sink(SINK)
    with full_disk(path):
        await save(store, 1, 2)
        assert store.pending(SINK) == (2, NOW + 1)
    await store.flush()


async def test_of_a_campaign_only_the_newest_status_waits_for_the_disk(
    store: Store, path: Path
) -> None:
    with full_disk(path, "campaign"):
        for polled_at in (NOW, NOW + 1, NOW + 2):
            store.save(Change(campaigns=(a_status(polled_at=polled_at),)))
            await store.flush()
    execute(path, "CREATE TABLE writes (x)")
    execute(
        path,
        "CREATE TRIGGER counted AFTER INSERT ON campaign BEGIN INSERT INTO writes VALUES (1); END",
    )
    await store.flush()
    assert select(path, "SELECT count(*) FROM writes") == [(1,)]
    assert "1800000002" in select(path, "SELECT status FROM campaign")[0][0]


async def test_closing_tries_once_more(store: Store, path: Path) -> None:
    with full_disk(path):
        await save(store, 1)
    await store.aclose()
    assert select(path, "SELECT count(*) FROM event") == [(1,)]


async def test_closing_ends_even_when_nothing_can_be_written(store: Store, path: Path) -> None:
    with full_disk(path):
        await save(store, 1)
        await store.aclose()
    assert store.problem


async def test_an_event_id_that_comes_twice_jams_nothing(store: Store) -> None:
    await save(store, 1)
    await save(store, 1, 2)
    assert [stored.seq for stored in store.history().values()] == [2, 1]
    assert not store.problem


async def test_whatever_is_raised_while_it_writes_is_named_and_ends_nothing(
    store: Store, path: Path
) -> None:
    with pytest.raises(StorageError, match=r"cannot be written \(OverflowError"):
        await store.lease("production", 2**70)
    await store.lease("production", NOW)
    assert store.problem is None


ACTIONS = st.lists(st.sampled_from(["save", "break", "heal", "tell", "restart"]), max_size=25)


@given(ACTIONS)
def test_fault_39_whatever_the_disk_does_each_event_is_told_once_and_in_order(
    actions: list[str],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_play(Path(folder) / "sftp-monitor.db", actions))


async def _play(path: Path, actions: list[str]) -> None:
    store = Store(path, now=NOW)
    store.add_sink(SINK)
    saved = 0
    told: list[int] = []
    disk = full_disk(path)
    broken = False
    for action in [*actions, "heal", "tell"]:
        match action:
            case "save":
                saved += 1
                store.save(events(saved))
            case "break" if not broken:
                disk, broken = full_disk(path), True
                disk.__enter__()
            case "heal" if broken:
                disk.__exit__(None, None, None)
                broken = False
                await store.flush()
            case "tell":
                told += [seq for seq, _ in await deliver_all(store)]
            case "restart" if not broken:
                await store.aclose()
                store = Store(path, now=NOW)
                store.add_sink(SINK)
    await store.aclose()
    assert told == list(range(1, saved + 1))


FILL_THE_DISK = """
import asyncio, resource, signal, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from monitor.adapters.store import Store
from monitor.core.snapshot import HistoryQuery
from support.builders import NOW
from support.state_files import SINK, deliver_all, events

async def main(path):
    store = Store(path, now=NOW, executor=ThreadPoolExecutor(1))
    store.add_sink(SINK)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    told, seq = [], 0
    while not store.problem:
        seq += 1
        store.save(events(seq))
        await store.flush()
        told += await deliver_all(store)
    assert not all(durable for _, durable in told)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await store.flush()
    assert not store.problem
    store.save(events(seq + 1))
    await store.flush()
    told += await deliver_all(store)
    assert [seq for seq, _ in told] == list(range(1, seq + 2)), told
    assert told[-1] == (seq + 1, True)
    assert len(store.history(HistoryQuery(limit=10_000))) == seq + 1
    await store.aclose()
    print("nothing lost, nothing doubled")

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_fault_39_a_real_file_size_limit_is_survived_like_any_full_disk(path: Path) -> None:
    done = run_script(FILL_THE_DISK, path)
    assert done.stdout == "nothing lost, nothing doubled\n", done.stderr
