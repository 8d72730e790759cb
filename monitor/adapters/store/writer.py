"""Who commits: a thread of its own for the daemon, or the caller for simulations and `check`.

Whatever was submitted while a COMMIT ran goes into the next one. What failed goes first with the
next, so the order is kept and nothing is lost while the process lives.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from monitor.adapters.store.batch import Batch, Outcome
from monitor.adapters.store.database import Database
from monitor.adapters.store.errors import StorageError
from monitor.core.model import Seconds

RETRY: Seconds = 5.0
"""So often at least the writer tries what failed, or looks at whether its file is there."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a batch, and who waits to hear of it."""

    outcome: Outcome
    waiters: tuple[asyncio.Future[Outcome], ...]


class Writer(Protocol):
    """Takes batches, commits them in order and reports each attempt on the loop's thread."""

    def submit(self, batch: Batch) -> None:
        """Have the batch committed."""

    async def close(self) -> None:
        """Try once more what is left, then close the database."""


class Backlog:
    """Commits batches; keeps what failed, and puts it before what comes next."""

    def __init__(self, database: Database) -> None:
        """Commit to `database`."""
        self._database = database
        self._failed: Batch | None = None

    @property
    def waiting(self) -> bool:
        """True while something could not be written."""
        return self._failed is not None

    def commit(self, batch: Batch) -> Report:
        """Try to commit what failed before, and `batch`, as one transaction."""
        if self._failed is not None:
            self._failed.add(batch)
            batch, self._failed = self._failed, None
        waiters = tuple(batch.waiters)
        # They hear of this attempt; the batch may have to be tried for hours.
        batch.waiters.clear()
        try:
            return Report(self._database.write(batch), waiters)
        # Whatever it is: what got away from here would end the writer thread, unheard.
        except Exception as error:
            self._failed = batch
            if not isinstance(error, StorageError):
                error = StorageError(self._database.path, str(error))
            return Report(Outcome(error=error), waiters)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


class InlineWriter:
    """Commits at once, in the caller's thread: for virtual time, where no thread may run."""

    def __init__(self, database: Database, report: Callable[[Report], None]) -> None:
        """Commit to `database`; `report` hears of each attempt before `submit` returns."""
        self._backlog = Backlog(database)
        self._report = report

    def submit(self, batch: Batch) -> None:
        """Commit the batch."""
        self._report(self._backlog.commit(batch))

    async def close(self) -> None:
        """Try once more what is left, then close the database."""
        if self._backlog.waiting:
            self.submit(Batch())
        self._backlog.close()


class WriterThread:
    """Commits in a thread of its own: a slow disk delays no poll."""

    def __init__(
        self,
        database: Database,
        report: Callable[[Report], None],
        loop: asyncio.AbstractEventLoop,
        retry: Seconds = RETRY,
    ) -> None:
        """Start the thread; `report` is called on `loop` after each attempt."""
        self._backlog = Backlog(database)
        self._report = report
        self._loop = loop
        self._retry = retry
        self._wake = threading.Condition()
        self._queued: Batch | None = None
        self._closing = False
        self._closed = loop.create_future()
        # A daemon thread: one that hangs in a dead disk must not keep the process from leaving.
        self._thread = threading.Thread(target=self._run, name="state-writer", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Queue the batch; never blocks. RuntimeError: the writer was closed."""
        with self._wake:
            if self._closing:
                raise RuntimeError("the store is closed")
            if self._queued is None:
                self._queued = batch
            else:
                self._queued.add(batch)
            self._wake.notify()

    async def close(self) -> None:
        """Commit what is queued, try once more what is left, close the database, end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        await self._closed
        self._thread.join()

    def _run(self) -> None:
        closing = False
        while not closing:
            batch, closing = self._next()
            worth_it = batch is not None or self._backlog.waiting
            report = self._backlog.commit(batch or Batch())
            if worth_it or report.outcome.error is not None:
                self._tell_loop(self._report, report)
        try:
            self._backlog.close()
        finally:
            self._tell_loop(self._closed.set_result, None)

    def _next(self) -> tuple[Batch | None, bool]:
        """Wait for work, the next retry or the end; return what is queued, and whether to end."""
        with self._wake:
            self._wake.wait_for(
                lambda: self._queued is not None or self._closing,
                timeout=self._retry,
            )
            batch, self._queued = self._queued, None
            return batch, self._closing

    def _tell_loop(self, callback: Callable[..., object], argument: object) -> None:
        # The loop may be closed already, when the daemon left without closing the store.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, argument)
