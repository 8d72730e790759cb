"""The one connection that writes: a batch is one transaction, whole or not at all.

One task commits, on an executor of one thread; without one the caller does. Whatever is submitted
while a COMMIT runs goes into the next one, after what failed: the order is kept, nothing is lost.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from monitor.adapters.store import rows, schema
from monitor.adapters.store.schema import StorageError
from monitor.core.model import Instant, Seconds

_T = TypeVar("_T")

LINGER: Seconds = 5.0
"""So long at most what is not urgent waits for what is; what failed is tried again so often."""

KeepRunning = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task that must run for ever, by its name."""

_ABANDONED: list[sqlite3.Connection] = []
"""Held for the rest of the process: Python would close them, and SQLite would write at that."""

Outcome = StorageError | Sequence[tuple[rows.Entry, int | None]]
"""Why a transaction failed; or its events with their rows, in order (None: the id was there)."""


@dataclass(slots=True)
class _Batch:
    """One transaction to be; `tried` is done once it was attempted, with the error if it failed."""

    writes: rows.Writes = field(default_factory=dict)
    events: list[rows.Entry] = field(default_factory=list)
    tried: asyncio.Future[StorageError | None] | None = None


class Database:
    """The database of one daemon, for the loop's thread but for what says otherwise.

    `problem` is why the last transaction failed, `notice` says that a file was set aside, or None.
    """

    def __init__(
        self, path: Path, now: Instant, executor: Executor | None, keep_running: KeepRunning
    ) -> None:
        """Open it. Raises StorageError."""
        self.path = path
        self.problem: StorageError | None = None
        # First of all: opening may migrate the file, or set it aside.
        self._lock = None if path == schema.MEMORY else schema.lock(path)
        try:
            self._connection, self.notice = schema.open_or_set_aside(path, now)
        except BaseException:
            if self._lock is not None:
                os.close(self._lock)
            raise
        # Held open until the connection is closed: to close any descriptor of a file drops the
        # locks that SQLite has on it.
        self._file = None if self._lock is None else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._damage: StorageError | None = None
        self._next, self._woken, self._closed = _Batch(), asyncio.Event(), False
        self._executor = executor
        self._writing = None if executor is None else keep_running("storing", self._keep_writing())

    async def aclose(self) -> None:
        """Write what is queued, or lose it, and let another daemon have the file."""
        if self._closed:
            return
        self._closed = True
        if self._writing is None:
            self._write_here()
        else:
            self._woken.set()
            await self._writing
        await self._on_thread(self._close)
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def _submit(self, writes: rows.Writes, events: Sequence[rows.Entry] = ()) -> None:
        """Have this committed, with the next event or lease at the latest; never blocks."""
        if self._closed:
            raise RuntimeError("the store is closed")
        self._next.writes.update(writes)
        self._next.events += events
        if self._executor is None:
            self._write_here()
        elif events or self._next.tried:
            self._woken.set()

    async def _written(self, writes: rows.Writes) -> None:
        """Return after the first attempt at this and all before it. Raises StorageError."""
        tried = self._next.tried = self._next.tried or asyncio.get_running_loop().create_future()
        self._submit(writes)
        # Who waits no more must not take it from the others.
        error = await asyncio.shield(tried)
        if error is not None:
            raise error

    def _settled(self, outcome: Outcome) -> None:
        """Take note of what became of a transaction."""
        raise NotImplementedError

    def _read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Return what a query gives, on a connection of its own: any thread may call it."""
        # Checked before it is opened: in the place of an emptied file SQLite deletes the log.
        with self._checked("read"):
            if self._file is None:
                return query(self._connection)
            with closing(schema.connect(self.path, "mode=ro")) as own:
                return query(own)

    async def _on_thread(self, work: Callable[[], _T]) -> _T:
        """Return what the work gives, done where transactions are."""
        if self._executor is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def _keep_writing(self) -> None:
        closing = False
        while not closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await self._woken.wait()
            self._woken.clear()
            # Read before: what was submitted up to now is in this batch, and nothing comes after.
            closing = self._closed
            batch, self._next = self._next, _Batch()
            self._settle(batch, await self._on_thread(partial(self._write, batch)))

    def _write_here(self) -> None:
        batch, self._next = self._next, _Batch()
        self._settle(batch, self._write(batch))

    def _settle(self, batch: _Batch, outcome: Outcome) -> None:
        self.problem = outcome if isinstance(outcome, StorageError) else None
        if self.problem is not None:
            self._next.writes = batch.writes | self._next.writes  # before what came meanwhile
            self._next.events = batch.events + self._next.events
        self._settled(outcome)
        if batch.tried is not None:
            batch.tried.set_result(self.problem)

    def _write(self, batch: _Batch) -> Outcome:
        """Commit the batch; failed, nothing of it was written."""
        added = []
        try:
            with self._checked("written"), self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                # So that an empty one, too, looks at whether it can be read.
                rows.newest(connection)
                for (statement, key), value in batch.writes.items():
                    connection.execute(statement, (*key, value))
                for entry in batch.events:
                    row = connection.execute(rows.ADD_EVENT, entry.columns).fetchone()
                    for sink in entry.delivered_to if row else ():
                        connection.execute(rows.PUT_CURSOR, (sink, entry.event.environment, row[0]))
                    added.append((entry, row and row[0]))
        except StorageError as error:
            return error
        return added

    def _close(self) -> None:
        try:
            with self._checked("closed"):
                self._connection.close()
        except StorageError:
            # The log would be folded into a file that is not its own.
            _ABANDONED.append(self._connection)
        else:
            if self._file is not None:
                os.close(self._file)
        if self._lock is not None:
            os.close(self._lock)

    @contextmanager
    def _checked(self, what: str) -> Iterator[None]:
        """Turn whatever is raised into a StorageError: it must not end the writing for good."""
        try:
            self._check()
            yield
        except StorageError:
            raise
        except Exception as error:
            if schema.is_damage(error):  # remembered: nothing is written any more
                why = f"damaged while running ({error}); restart the daemon, which sets it aside"
                self._damage = StorageError(self.path, why)
                raise self._damage from error
            # An OSError has the path in its text; what is no error of a disk says too little.
            text = str(error) if isinstance(error, sqlite3.Error) else repr(error)
            cause = error.strerror if isinstance(error, OSError) else text
            raise StorageError(self.path, f"cannot be {what} ({cause})") from error

    def _check(self) -> None:
        """Raise StorageError where the file is not the one that was opened, or known as damaged.

        SQLite itself commits to a deleted or emptied file without a word.
        """
        if self._damage is not None:
            raise self._damage
        if self._file is None:
            return
        try:
            same = os.path.samestat(self.path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            found = "deleted"
        else:
            if same and os.pread(self._file, len(schema.HEADER), 0) == schema.HEADER:
                return
            found = "emptied or overwritten" if same else "replaced by another file"
        raise StorageError(self.path, f"{found} while running; restart the daemon")
