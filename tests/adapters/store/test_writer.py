"""The writing: what is queued is one transaction, what failed is tried again, and it ends well."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from monitor.adapters.store import Change, StorageError, Store, schema
from monitor.adapters.store import store as module
from monitor.adapters.store.database import Batch, Outcome
from support.builders import NOW, a_status
from support.state_files import SINK, events, full_disk, next_event, select


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is not urgent, and what failed, written soon."""
    monkeypatch.setattr(module, "LINGER", 0.01)


class Watched(Store):
    """A store that tells of each attempt to write."""

    def __init__(self, path: Path, executor: ThreadPoolExecutor) -> None:
        self.attempts = asyncio.Queue[Outcome]()
        super().__init__(path, now=NOW, executor=executor)

    def _settle(self, batch: Batch, outcome: Outcome) -> None:
        super()._settle(batch, outcome)
        self.attempts.put_nowait(outcome)

    async def attempt(self, *, fails: bool) -> Outcome:
        """Wait for an attempt that fails, or for one that does not."""
        while isinstance(outcome := await self.attempts.get(), StorageError) is not fails:
            pass
        return outcome


@asynccontextmanager
async def writing(path: Path) -> AsyncIterator[Watched]:
    with ThreadPoolExecutor(1) as executor:
        store = Watched(path, executor)
        try:
            yield store
        finally:
            await store.aclose()


async def test_what_is_queued_while_a_commit_runs_is_one_transaction(path: Path) -> None:
    async with writing(path) as store:
        blocker = schema.open_for_writing(path)
        blocker.execute("BEGIN IMMEDIATE")
        for seq in range(1, 51):
            store.save(events(seq))
            await asyncio.sleep(0)
        blocker.execute("COMMIT")
        blocker.close()
        sizes: list[int] = []
        while sum(sizes) < 50:
            outcome = await store.attempt(fails=False)
            assert not isinstance(outcome, StorageError)
            sizes.append(len(outcome.events))
    assert len([size for size in sizes if size]) <= 3
    assert select(path, "SELECT count(*) FROM event") == [(50,)]


async def test_a_failed_transaction_is_tried_again_without_being_asked(path: Path) -> None:
    async with writing(path) as store:
        with full_disk(path):
            store.save(events(1))
            for _ in range(2):
                await store.attempt(fails=True)
        await store.attempt(fails=False)
        assert select(path, "SELECT count(*) FROM event") == [(1,)]


async def test_what_is_not_urgent_is_written_by_itself_after_a_while(path: Path) -> None:
    async with writing(path) as store:
        store.save(Change(campaigns=(a_status(),)))
        await store.attempt(fails=False)
        assert select(path, "SELECT count(*) FROM campaign") == [(1,)]


async def test_who_waits_hears_of_the_first_attempt_alone(path: Path) -> None:
    async with writing(path) as store:
        with full_disk(path, "lease"):
            with pytest.raises(StorageError, match="full"):
                await store.lease("production", NOW)
            assert store.problem is not None
        await store.flush()
        await store.flush()
        assert store.problem is None


async def test_all_who_wait_hear_of_it_though_one_of_them_waits_no_more(path: Path) -> None:
    async with writing(path) as store:
        waiting = [asyncio.ensure_future(store.lease(name, NOW)) for name in ("a", "b", "c")]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.gather(*waiting[1:])
        assert len(select(path, "SELECT * FROM lease")) == 3


class Late(ThreadPoolExecutor):
    """A thread whose work is done at once, and whose result is known when `answer` says so."""

    def __init__(self) -> None:
        super().__init__(1)
        self.answer, self.worked = threading.Event(), asyncio.Event()

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do the work, then wait."""
        done = work(*args, **kwargs)
        self.worked.set()
        return super().submit(lambda: (self.answer.wait(30), done)[1])


@pytest.mark.parametrize("last", [False, True], ids=["goes on", "closes"])
async def test_what_is_delivered_while_it_is_being_written_waits_no_more_but_for_a_last_write(
    path: Path, last: bool
) -> None:
    executor = Late()
    executor.answer.set()
    store = Store(path, now=NOW, executor=executor)
    store.add_sink(SINK)
    with full_disk(path):
        store.save(events(1))
        await store.flush()
    executor.answer.clear()
    executor.worked.clear()
    writing = asyncio.create_task(store.aclose() if last else store.flush())
    await executor.worked.wait()
    assert select(path, "SELECT id FROM event") == [(1,)]
    event = next_event(store)
    assert event is not None
    assert not event.durable
    store.mark_delivered(SINK, event.event_id)
    executor.answer.set()
    await writing
    await store.aclose()
    again = Store(path, now=NOW)
    assert again.add_sink(SINK) == ({event.event_id: None} if last else {})
    await again.aclose()


async def test_a_file_that_is_deleted_is_noticed_though_nothing_is_written(path: Path) -> None:
    async with writing(path) as store:
        await store.flush()
        os.unlink(path)
        await store.attempt(fails=True)
        assert store.problem is not None
        assert store.problem.reason == "deleted while running; restart the daemon"


async def test_closing_commits_what_is_queued_and_ends_the_task(path: Path) -> None:
    async with writing(path) as store:
        for number in range(1, 11):
            store.save(Change(campaigns=(a_status(campaign_id=f"c-{number}"),)))
    assert select(path, "SELECT count(*) FROM campaign") == [(10,)]


async def test_a_closed_store_takes_nothing(path: Path) -> None:
    async with writing(path) as store:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        store.save(events(1))
