"""The writer: it groups what is queued, retries by itself, and ends when asked to."""

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from monitor.adapters.store import StorageError, schema
from monitor.adapters.store.database import Batch, Database, Outcome
from monitor.adapters.store.lock import StateLock
from monitor.adapters.store.outbox import Entry
from monitor.adapters.store.rows import event_row
from monitor.adapters.store.writer import Writer
from support.builders import NOW
from support.state_files import an_event, full_disk, select

Attempts = asyncio.Queue[tuple[Batch, Outcome]]


@pytest.fixture
def attempts() -> Attempts:
    return asyncio.Queue()


@asynccontextmanager
async def writing(path: Path, attempts: Attempts) -> AsyncIterator[Writer]:
    database = Database(path, schema.open_for_writing(path), StateLock(path))
    with ThreadPoolExecutor(1) as executor:
        writer = Writer(database, executor, lambda *both: attempts.put_nowait(both), linger=0.01)
        task = asyncio.create_task(writer.run())
        try:
            yield writer
        finally:
            writer.close()
            await task
            await writer.on_thread(database.close)


def batch(*seqs: int) -> Batch:
    made = Batch()
    for seq in seqs:
        row = event_row(an_event(seq))
        entry = Entry(row.event_id, "production", NOW)
        made.events.append((entry, row))
    return made


async def test_what_is_queued_while_a_commit_runs_is_one_transaction(
    path: Path, attempts: Attempts
) -> None:
    async with writing(path, attempts) as writer:
        blocker = schema.open_for_writing(path)
        blocker.execute("BEGIN IMMEDIATE")
        for seq in range(1, 51):
            writer.submit(batch(seq), urgent=True)
            await asyncio.sleep(0)
        blocker.execute("COMMIT")
        blocker.close()
        sizes: list[int] = []
        while sum(sizes) < 50:
            made, _ = await attempts.get()
            sizes.append(len(made.events))
    assert len([size for size in sizes if size]) <= 3
    assert select(path, "SELECT count(*) FROM event") == [(50,)]


async def test_a_failed_transaction_is_tried_again_without_being_asked(
    path: Path, attempts: Attempts
) -> None:
    async with writing(path, attempts) as writer:
        with full_disk(path):
            writer.submit(batch(1), urgent=True)
            for _ in range(2):
                while (await attempts.get())[1].error is None:
                    pass
        while (await attempts.get())[1].error is not None:
            pass
    assert select(path, "SELECT count(*) FROM event") == [(1,)]


async def test_what_is_not_urgent_is_written_by_itself_after_a_while(
    path: Path, attempts: Attempts
) -> None:
    async with writing(path, attempts) as writer:
        writer.submit(batch(1), urgent=False)
        while not (await attempts.get())[0].events:
            pass
        assert select(path, "SELECT count(*) FROM event") == [(1,)]


async def test_who_waits_hears_of_the_first_attempt_alone(path: Path, attempts: Attempts) -> None:
    async with writing(path, attempts) as writer:
        with full_disk(path):
            with pytest.raises(StorageError, match="full"):
                await writer.written(batch(1))
            assert writer.problem is not None
        with suppress(StorageError):
            await writer.written(Batch())
        await writer.written(Batch())
        assert writer.problem is None


async def test_a_file_that_is_deleted_is_noticed_though_nothing_is_written(
    path: Path, attempts: Attempts
) -> None:
    async with writing(path, attempts) as writer:
        await writer.written(batch(1))
        os.unlink(path)
        while (await attempts.get())[1].error is None:
            pass
        assert writer.problem is not None
        assert writer.problem.reason == "deleted while running; restart the daemon"


async def test_closing_commits_what_is_queued_and_ends_the_task(
    path: Path, attempts: Attempts
) -> None:
    async with writing(path, attempts) as writer:
        for seq in range(1, 11):
            writer.submit(batch(seq), urgent=False)
    assert select(path, "SELECT count(*) FROM event") == [(10,)]


async def test_a_closed_writer_takes_nothing(path: Path, attempts: Attempts) -> None:
    async with writing(path, attempts) as writer:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        writer.submit(batch(1), urgent=True)
