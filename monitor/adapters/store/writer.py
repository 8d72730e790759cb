"""Who commits: one task on an executor of one thread, or the caller where there is none.

Whatever was submitted while a COMMIT ran goes into the next one. What failed goes first with the
next, so the order is kept and nothing is lost while the process lives.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from monitor.adapters.store.database import Batch, Database, Outcome, StorageError
from monitor.core.model import Seconds

LINGER: Seconds = 5.0
"""So long at most what is not urgent waits for what is, to be written with it.

So often, too, what failed is tried again, and the writer looks at whether its file is there.
"""

_T = TypeVar("_T")


class Writer:
    """Commits batches to a database, in order. `problem` is why the last attempt failed, or None.

    Used on the loop's thread; without an executor every call commits before it returns.
    """

    def __init__(
        self,
        database: Database,
        executor: Executor | None,
        settled: Callable[[Batch, Outcome], None],
        linger: Seconds = LINGER,
    ) -> None:
        """Commit to `database`; `settled` hears of each attempt."""
        self.problem: StorageError | None = None
        self._database = database
        self._executor = executor
        self._settled = settled
        self._linger = linger
        self._next = Batch()
        self._woken = asyncio.Event()
        self._closing = False

    def submit(self, batch: Batch, *, urgent: bool) -> None:
        """Have the batch committed, with the next urgent one at the latest; never blocks.

        RuntimeError: the writer was closed.
        """
        if self._closing:
            raise RuntimeError("the store is closed")
        self._next.add(batch)
        if self._executor is None:
            self._commit_here()
        elif urgent:
            self._woken.set()

    async def written(self, batch: Batch) -> Outcome:
        """Return what became of the first attempt at the batch, and all before it.

        Raises StorageError where that failed; it may have to be tried for hours.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        batch.waiters.append(future)
        self.submit(batch, urgent=True)
        outcome = await future
        if outcome.error is not None:
            raise outcome.error
        return outcome

    async def run(self) -> None:
        """Commit what is submitted, until the writer is closed."""
        closing = False
        while not closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._linger):
                    await self._woken.wait()
            self._woken.clear()
            # Read before: what was submitted up to now is in this batch, and nothing comes after.
            closing = self._closing
            batch, self._next = self._next, Batch()
            self._settle(batch, await self.on_thread(partial(self._database.write, batch)))

    def close(self) -> None:
        """Try once more what is left, and have `run` return."""
        self._closing = True
        if self._executor is None:
            self._commit_here()
        self._woken.set()

    async def on_thread(self, work: Callable[[], _T]) -> _T:
        """Return what the work gives, done where the database is used."""
        if self._executor is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _commit_here(self) -> None:
        batch, self._next = self._next, Batch()
        self._settle(batch, self._database.write(batch))

    def _settle(self, batch: Batch, outcome: Outcome) -> None:
        waiters, batch.waiters = batch.waiters, []
        self.problem = outcome.error
        if outcome.error is not None:
            # Before what came meanwhile.
            batch.add(self._next)
            self._next = batch
        self._settled(batch, outcome)
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(outcome)
