"""The writer's thread: it groups what is queued, retries by itself, and ends when asked to."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from monitor.adapters.store import schema
from monitor.adapters.store.batch import Batch
from monitor.adapters.store.database import Database
from monitor.adapters.store.lock import StateLock
from monitor.adapters.store.writer import Report, WriterThread
from support.state_files import events, full_disk, run_script, select


class Reports:
    """Collects what the writer reports, on the loop's thread."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Report] = asyncio.Queue()
        self.threads: set[str] = set()

    def __call__(self, report: Report) -> None:
        self.threads.add(threading.current_thread().name)
        self.queue.put_nowait(report)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
async def writer(path: Path, reports: Reports) -> AsyncIterator[WriterThread]:
    lock = StateLock(path)
    database = Database(path, schema.open_for_writing(path), lock)
    writer = WriterThread(database, reports, asyncio.get_running_loop(), retry=0.01)
    yield writer
    await writer.close()
    lock.release()


def batch(*seqs: int) -> Batch:
    return Batch.of(events(*seqs), "0badcafe")


async def test_what_was_committed_is_reported_on_the_loops_thread(
    writer: WriterThread, reports: Reports
) -> None:
    writer.submit(batch(1, 2))
    report = await reports.queue.get()
    assert report.outcome.error is None
    assert [event_id[-1] for event_id in report.outcome.event_ids] == ["1", "2"]
    assert reports.threads == {threading.current_thread().name}


async def test_what_is_queued_while_a_commit_runs_is_one_transaction(
    writer: WriterThread, reports: Reports, path: Path
) -> None:
    blocker = schema.open_for_writing(path)
    blocker.execute("BEGIN IMMEDIATE")
    for seq in range(1, 51):
        writer.submit(batch(seq))
    blocker.execute("COMMIT")
    blocker.close()
    told, attempts = 0, 0
    while told < 50:
        told += len((await reports.queue.get()).outcome.event_ids)
        attempts += 1
    assert attempts <= 3
    assert select(path, "SELECT count(*) FROM event") == [(50,)]


async def test_a_failed_transaction_is_retried_without_being_asked(
    writer: WriterThread, reports: Reports, path: Path
) -> None:
    with full_disk(path):
        writer.submit(batch(1))
        assert (await reports.queue.get()).outcome.error is not None
        assert (await reports.queue.get()).outcome.error is not None
    while (await reports.queue.get()).outcome.error is not None:
        pass
    assert select(path, "SELECT count(*) FROM event") == [(1,)]


async def test_who_waits_hears_of_the_first_attempt_and_of_no_other(
    writer: WriterThread, reports: Reports, path: Path
) -> None:
    waiter = asyncio.get_running_loop().create_future()
    with full_disk(path):
        writer.submit(Batch(events=batch(1).events, waiters=[waiter]))
        assert (await reports.queue.get()).waiters == (waiter,)
        assert (await reports.queue.get()).waiters == ()


async def test_closing_commits_what_is_queued_and_ends_the_thread(
    path: Path, reports: Reports
) -> None:
    lock = StateLock(path)
    database = Database(path, schema.open_for_writing(path), lock)
    writer = WriterThread(database, reports, asyncio.get_running_loop())
    for seq in range(1, 11):
        writer.submit(batch(seq))
    await writer.close()
    lock.release()
    assert select(path, "SELECT count(*) FROM event") == [(10,)]
    assert "state-writer" not in {thread.name for thread in threading.enumerate()}


async def test_a_closed_writer_takes_nothing(path: Path, reports: Reports) -> None:
    lock = StateLock(path)
    database = Database(path, schema.open_for_writing(path), lock)
    writer = WriterThread(database, reports, asyncio.get_running_loop())
    await writer.close()
    with pytest.raises(RuntimeError, match="closed"):
        writer.submit(batch(1))
    lock.release()


async def test_the_thread_does_not_keep_the_process_from_leaving(writer: WriterThread) -> None:
    [thread] = [t for t in threading.enumerate() if t.name == "state-writer"]
    assert thread.daemon


OUTLIVE_THE_LOOP = """
import asyncio, sys
from pathlib import Path
from monitor.adapters.store import Store, read_history
from support.builders import NOW
from support.state_files import events

async def start(path):
    return Store.open(path, now=NOW)

path = Path(sys.argv[1])
store = asyncio.run(start(path))
for seq in (1, 2, 3):
    store.save(events(seq))
    while len(read_history(path)) < seq:
        pass
"""


def test_a_loop_that_is_gone_does_not_stop_the_writing(path: Path) -> None:
    done = run_script(OUTLIVE_THE_LOOP, path)
    assert (done.returncode, done.stderr) == (0, "")
