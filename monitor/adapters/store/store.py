"""The store as the daemon sees it: save and forget, lease and wait, read back, tell in order.

All of it is called from one thread, the loop's; the writer reports back on it.
"""

import asyncio
import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from monitor.adapters.store import reading, schema
from monitor.adapters.store.batch import Batch, Change, Outcome, Pruning
from monitor.adapters.store.database import Database
from monitor.adapters.store.errors import StateUnusable, StorageError
from monitor.adapters.store.lock import StateLock
from monitor.adapters.store.outbox import Outbox
from monitor.adapters.store.reading import Filter, Loaded, StoredEvent
from monitor.adapters.store.schema import MEMORY
from monitor.adapters.store.unwritten import Unwritten
from monitor.adapters.store.writer import InlineWriter, Report, Writer, WriterThread
from monitor.core.model import Event, Instant


class Store:
    """The state of one daemon. Make one with `open`; hooks may be set right after.

    `epoch` is this start's, in the ids of all events that it decides: so no id stands for two
    occurrences, whatever database is put back. `notice` is
    what people should know of the start (a file set aside). `problem` is why the last transaction
    failed; None when it was a good one. `errors` counts failed transactions and unreadable events.
    """

    def __init__(
        self, path: Path, database: Database, lock: StateLock | None, epoch: str, threaded: bool
    ) -> None:
        """Take over an open database; `open` is the way to get one."""
        self.epoch = epoch
        self.notice: str | None = None
        self.problem: StorageError | None = None
        self.errors = 0
        self.on_commit: Callable[[], None] | None = None
        self.on_error: Callable[[StorageError], None] = _ignore
        self._path = path
        self._lock = lock
        self._closed = False
        self._sinks: set[str] = set()
        self._unwritten = Unwritten()
        # Memory is seen by its own connection only; a file is read beside the writer.
        self._reader = database.connection if lock is None else schema.open_for_reading(path)
        self._database = database
        cursors, newest = reading.cursors(self._reader), reading.newest_row(self._reader)
        first = min(cursors.values(), default=newest)
        self._outbox = Outbox(cursors, newest, reading.waiting(self._reader, first))
        self._writer: Writer
        if threaded and lock is not None:
            self._writer = WriterThread(database, self._settle, asyncio.get_running_loop())
        else:
            self._writer = InlineWriter(database, self._settle)

    @classmethod
    def open(
        cls, path: Path, *, now: Instant, threaded: bool = True, epoch: str | None = None
    ) -> "Store":
        """Open the state at `path` (or `MEMORY`), made anew where there is none.

        `now` dates a file that is set aside. Threaded, it must be called on the loop that
        will use it; else (and in memory always) every call commits before it returns. `epoch` is
        drawn but in tests. Raises StateLocked or StateUnusable.
        """
        with contextlib.ExitStack() as undo:
            # First of all: opening may migrate the file, or set it aside.
            lock = None if path == MEMORY else StateLock(path)
            if lock is not None:
                undo.callback(lock.release)
            connection, notice = schema.open_or_set_aside(path, now)
            undo.callback(connection.close)
            drawn = epoch or secrets.token_hex(4)
            try:
                store = cls(path, Database(path, connection, lock), lock, drawn, threaded)
            except sqlite3.Error as error:
                raise StateUnusable(
                    f"{path}: cannot be read ({error}); restore a backup, or move the file away to"
                    " start without state"
                ) from error
            store.notice = notice
            undo.pop_all()
        return store

    def load(self, but: Collection[str] = ()) -> Loaded:
        """Return what is remembered, saved just now or long ago. Raises StorageError.

        Of the environments in `but` nothing is read: there is no need to.
        """
        with self._reading() as reader:
            return self._unwritten.over(reading.load(reader, but))

    async def load_in(self, threads: Executor, but: Collection[str] = ()) -> Loaded:
        """Return the same as `load`, read in a thread: 100,000 campaigns take seconds.

        What is saved meanwhile may be in it or not. Raises StorageError.
        """
        if self._lock is None:
            return self.load(but)
        loop = asyncio.get_running_loop()
        read = partial(self._read, but)
        return self._unwritten.over(await loop.run_in_executor(threads, read))

    def _read(self, but: Collection[str]) -> Loaded:
        with self._reading_aside() as reader:
            return reading.load(reader, but)

    def save(self, change: Change) -> None:
        """Queue a change to the writer; never blocks. ValueError: something cannot be encoded."""
        batch = Batch.of(change, self.epoch)
        ids = (row.event_id for row in batch.events)
        # Both notes before the writer has it: inline it reports back before `submit` returns.
        self._outbox.queued(dict(zip(ids, change.events, strict=True)))
        self._unwritten.submitted(batch)
        self._writer.submit(batch)

    @property
    def failing(self) -> bool:
        """True from a failed transaction until the next good one."""
        return self.problem is not None

    async def lease(self, environment: str, until: Instant) -> None:
        """Return once it is on disk that the budget is spent up to `until` (wall clock).

        Raises StorageError when it could not be written.
        """
        await self._written(Batch(next_call_at={environment: until}))

    async def flush(self) -> None:
        """Return once all that was saved so far is committed or has failed."""
        with contextlib.suppress(StorageError):
            await self._written(Batch())

    async def prune(self, older_than: Instant) -> int:
        """Delete events decided before `older_than` that every sink was told; return how many.

        Every sink that this process tells, that is. Raises StorageError.
        """
        pruning = Pruning(older_than, frozenset(self._sinks))
        return (await self._written(Batch(pruning=pruning))).pruned

    def add_sink(self, sink: str) -> None:
        """Give a new sink its cursor, at the newest event there was when the store was opened.

        To be called before the first save, or a crash may let events pass it by; every method
        that takes a sink does it by itself.
        """
        self._sinks.add(sink)
        if not self._outbox.knows(sink):
            self.move_cursor(sink, self._outbox.cursor(sink))

    def events_after(self, sink: str, limit: int) -> list[StoredEvent]:
        """Return at most `limit` stored events that wait for the sink, in the order of telling.

        Empty: none waits. A row that cannot be decoded is passed over and told to `on_error`.
        Raises StorageError.
        """
        self.add_sink(sink)
        # As counted in memory: without a disk, what is undurable must not wait for it.
        while self._outbox.waiting(sink)[0]:
            with self._reading() as reader:
                after = self._outbox.cursor(sink)
                rows = reading.events_after(reader, after, limit)
            run, passed = self._outbox.to_tell(sink, rows)
            if passed is not None:
                self._pass_over(sink, passed, rows)
            # Of a page that was all passed over nothing is left to tell, but more may follow it.
            if run or not rows:
                return run
        return []

    def undurable(self, sink: str) -> tuple[Event, ...]:
        """Return the events that cannot be written and that the sink was not told, in order.

        To be told with `durable: false`, each followed by `mark_told`.
        """
        self.add_sink(sink)
        # While the disk works they are only on their way to it, and are told from there.
        return self._outbox.untold(sink) if self.failing else ()

    def mark_told(self, sink: str, event_id: str) -> None:
        """Note that the sink was told an undurable event.

        Once the event is written it is passed over, by a cursor moved in the same transaction.
        """
        self._outbox.mark_told(sink, event_id)
        self._writer.submit(Batch(told=[(sink, event_id)]))

    def move_cursor(self, sink: str, row_id: int) -> None:
        """Note that the sink was told everything up to this row; queued to the writer."""
        self._outbox.move_cursor(sink, row_id)
        self._writer.submit(Batch(cursors={sink: self._outbox.cursor(sink)}))

    def pending(self, sink: str) -> tuple[int, Instant | None]:
        """Return how many events wait for the sink, and when the oldest of them was decided."""
        unwritten = self.undurable(sink)
        count, oldest = self._outbox.waiting(sink)
        if oldest is None and unwritten:
            oldest = unwritten[0].decided_at
        return count + len(unwritten), oldest

    def history(
        self,
        *,
        since: Instant | None = None,
        environment: str | None = None,
        campaign_id: str | None = None,
        before_row: int | None = None,
        limit: int = 100,
    ) -> list[StoredEvent]:
        """Return stored events that pass the filters, newest first; page on by `before_row`.

        `since` is the earliest `decided_at`. Any thread may call it: it reads on a connection of
        its own. Raises StorageError.
        """
        wanted = Filter(since=since, environment=environment, campaign_id=campaign_id)
        with self._reading_aside() as reader:
            return reading.history(reader, wanted, before_row, limit)

    async def aclose(self) -> None:
        """Write what is queued, fold the WAL into the database, let another daemon have it.

        What cannot be written even now is lost; a second call does nothing.
        """
        if self._closed:
            return
        self._closed = True
        await self.flush()
        # Before the writer: the last connection folds the WAL, and a reader may not write.
        if self._lock is not None:
            self._reader.close()
        await self._writer.close()
        if self._lock is not None:
            self._lock.release()

    async def _written(self, batch: Batch) -> Outcome:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        batch.waiters.append(future)
        self._unwritten.submitted(batch)
        self._writer.submit(batch)
        outcome = await future
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def _settle(self, report: Report) -> None:
        """Take note of what became of a batch; on the loop's thread."""
        outcome = report.outcome
        if outcome.written is not None:
            self._outbox.stored(outcome.event_ids)
            self._outbox.added(outcome.rows)
            self._unwritten.written(outcome.written)
        self.problem = outcome.error
        for waiter in report.waiters:
            if not waiter.done():
                waiter.set_result(outcome)
        if outcome.duplicates:
            self._count(StorageError(self._path, f"{outcome.duplicates} event ids came twice"))
        if outcome.error is not None:
            self._count(outcome.error)
        elif outcome.event_ids and self.on_commit is not None:
            self.on_commit()

    def _pass_over(self, sink: str, passed: int, rows: reading.EventRows) -> None:
        for row_id, event in rows:
            if row_id <= passed and event is None:
                self._count(StorageError(self._path, f"event {row_id} cannot be read"))
        self.move_cursor(sink, passed)

    def _count(self, error: StorageError) -> None:
        self.errors += 1
        self.on_error(error)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            self._database.check()
            yield self._reader
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    @contextlib.contextmanager
    def _reading_aside(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that no other thread uses, as long as it is needed."""
        # Before it is opened: in the place of an emptied file SQLite deletes the log.
        self._database.check()
        own = None if self._lock is None else self._opened()
        try:
            yield own or self._reader
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        finally:
            if own is not None:
                own.close()

    def _opened(self) -> sqlite3.Connection:
        try:
            return schema.open_for_reading(self._path)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: sqlite3.Error) -> StorageError:
        problem = self._database.failed("read", error)
        self._database.seen_by_reader(problem)
        return problem


def _ignore(_error: StorageError) -> None:
    """Do nothing: the hook of a store that nobody listens to."""
