"""The store as the daemon sees it: save and go on, lease and wait, deliver in order.

All of it is called from one thread, the loop's, but for the history.
"""

import asyncio
import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from monitor.adapters.store import rows, schema
from monitor.adapters.store.database import Batch, Database, Outcome, StorageError
from monitor.adapters.store.lock import StateLock
from monitor.adapters.store.outbox import Entry, Outbox
from monitor.adapters.store.rows import Change, Filter, Loaded, Put
from monitor.adapters.store.schema import MEMORY, StateUnusable
from monitor.adapters.store.writer import Writer
from monitor.core.model import Event, Instant

_T = TypeVar("_T")

PAGE = 100
"""Events read from the table at once."""

KeepRunning = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task that must run for ever, by its name."""


def _start(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work, name=name)


class Store:
    """The state of one daemon. Make one with `open`; hooks may be set right after.

    `epoch` is this start's, in the ids of all events that it decides: so no id stands for two
    occurrences, whatever database is put back. `notice` is what people should know of the start (a
    file set aside). `errors` counts failed transactions and unreadable events.
    """

    def __init__(
        self, database: Database, outbox: Outbox, epoch: str, executor: Executor | None
    ) -> None:
        """Take over an open database; `open` is the way to get one."""
        self.epoch = epoch
        self.notice: str | None = None
        self.errors = 0
        self.on_commit: Callable[[], None] = lambda: None
        self.on_error: Callable[[StorageError], None] = lambda _error: None
        self._database = database
        self._outbox = outbox
        self._executor = executor
        self._writer = Writer(database, executor, self._settled)
        self._writing: asyncio.Task[None] | None = None
        self._closed = False
        self._loaded = False
        self._left: dict[str, Change] = {}
        self._leases: dict[str, Instant] = {}

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        now: Instant,
        executor: Executor | None = None,
        keep_running: KeepRunning = _start,
        epoch: str | None = None,
    ) -> "Store":
        """Open the state at `path` (or `MEMORY`), made anew where there is none.

        `now` dates a file that is set aside. `executor` has one thread, and ends with the store;
        with one it must be called on the loop that will use it. `epoch` is drawn but in tests.
        Raises StateLocked or StateUnusable.
        """
        with contextlib.ExitStack() as undo:
            # First of all: opening may migrate the file, or set it aside.
            lock = None if path == MEMORY else StateLock(path)
            if lock is not None:
                undo.callback(lock.release)
            connection, notice = schema.open_or_set_aside(path, now)
            undo.callback(connection.close)
            try:
                outbox = Outbox(rows.newest(connection))
            except sqlite3.Error as error:
                raise StateUnusable(
                    f"{path}: cannot be read ({error}); restore a backup, or move the file away to"
                    " start without state"
                ) from error
            database = Database(path, connection, lock)
            store = cls(database, outbox, epoch or secrets.token_hex(4), executor)
            store.notice = notice
            if executor is not None:
                store._writing = keep_running("storing", store._writer.run())
            undo.pop_all()
        return store

    @property
    def problem(self) -> StorageError | None:
        """Why the last transaction failed; None when it was a good one."""
        return self._writer.problem

    @property
    def failing(self) -> bool:
        """True from a failed transaction until the next good one."""
        return self.problem is not None

    async def load(self, but: Collection[str] = ()) -> Loaded:
        """Return what is remembered of all environments but those in `but`.

        The first time everything is read, and `but` is for nothing. Later it is what is left of
        environments that were removed, as it was saved, with all leases. Raises StorageError.
        """
        if not self._loaded:
            loaded = await self._on_thread(rows.load)
            self._loaded, self._leases = True, dict(loaded.next_call_at) | self._leases
            return loaded
        left = [change for name, change in self._left.items() if name not in but]
        return Loaded(
            campaigns={
                (status.environment, status.campaign_id): status
                for change in left
                for status in change.campaigns
            },
            environments={status.name: status for change in left for status in change.environments},
            next_call_at={name: at for name, at in self._leases.items() if name not in but},
        )

    def save(self, change: Change) -> None:
        """Queue a change to be committed; never blocks. ValueError: something cannot be encoded."""
        batch = Batch(rows.puts(change))
        for event in (replace(one, epoch=self.epoch) for one in change.events):
            row = rows.event_row(event)
            entry = Entry(row.event_id, row.environment, row.decided_at, event)
            batch.events.append((entry, row))
        if change.removed is not None:
            self._left[change.removed] = change
        self._leases.update(change.next_call_at)
        self._outbox.queued(entry for entry, _ in batch.events)
        self._writer.submit(batch, urgent=bool(change.events))

    async def lease(self, environment: str, until: Instant) -> None:
        """Return once it is on disk that the budget is spent up to `until` (wall clock).

        Raises StorageError when it could not be written.
        """
        self._leases[environment] = until
        await self._writer.written(Batch({(rows.PUT_LEASE, (environment,)): until}))

    async def flush(self) -> None:
        """Return once all that was saved so far is committed or has failed."""
        with contextlib.suppress(StorageError):
            await self._writer.written(Batch())

    async def prune(self, older_than: Instant) -> int:
        """Delete events decided before `older_than` that every sink has had; return how many.

        Every sink of this process, that is. Raises StorageError.
        """
        bound = self._outbox.delivered_before()
        return (await self._writer.written(Batch(prune=(older_than, bound)))).pruned

    def add_sink(self, sink: str) -> dict[str, str | None]:
        """Have events wait for a sink: to be called before the first save.

        Returns, by their id, the events that waited for it at the start and may have been
        delivered before a crash, each with the id of the event before it. A new sink starts at the
        newest event that there is. Raises StorageError.
        """
        if not self._outbox.knows(sink):
            heads = self._database.read_aside(partial(rows.heads, sink=sink))
            if heads is None:
                # Else a crash may let events pass it by.
                self._move_cursors(sink, {"": self._outbox.newest})
            self._outbox.add_sink(sink, heads or ())
        return {entry.event_id: entry.before for entry in self._outbox.waiting(sink)}

    async def undelivered(self, sink: str) -> Event | None:
        """Return the next event for the sink; None where none is, or it is still to be committed.

        While nothing can be written it is handed out all the same, not durable. One that cannot be
        decoded is passed over, and counted. To be followed by `mark_delivered`. Raises
        StorageError.
        """
        while waiting := self._outbox.waiting(sink):
            entry = waiting[0]
            if entry.row_id is None and not self.failing:
                return None
            if entry.event is None:
                await self._fetch(sink)
            if entry.event is not None:
                return replace(entry.event, durable=entry.row_id is not None)
            problem = f"event {entry.row_id} cannot be read"
            self._count(StorageError(self._database.path, problem))
            self.mark_delivered(sink, entry.event_id)
        return None

    def mark_delivered(self, sink: str, event_id: str) -> None:
        """Note that the sink has had that event, which `undelivered` returned; queued.

        One that is not committed yet is passed over by its cursor in the same transaction.
        """
        entry = self._outbox.delivered(sink, event_id)
        if entry is not None and entry.row_id is not None:
            self._move_cursors(sink, self._outbox.position(sink, entry))

    def pending(self, sink: str) -> tuple[int, Instant | None]:
        """Return how many events wait for the sink, and when the first of them was decided."""
        return self._outbox.pending(sink)

    def history(self, wanted: Filter | None = None) -> dict[int, Event]:
        """Return stored events that pass the filter by their rows, newest first.

        Any thread may call it: it reads on a connection of its own. Raises StorageError.
        """
        return self._database.read_aside(partial(rows.history, wanted=wanted or Filter()))

    async def aclose(self) -> None:
        """Write what is queued, fold the WAL into the database, let another daemon have it.

        What cannot be written even now is lost; a second call does nothing.
        """
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        if self._writing is not None:
            await self._writing
        await self._writer.on_thread(self._database.close)
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def _settled(self, batch: Batch, outcome: Outcome) -> None:
        """Take note of what became of a batch."""
        if outcome.error is not None:
            self._count(outcome.error)
            return
        for (entry, _), (row_id, passed) in zip(batch.events, outcome.rows, strict=True):
            if row_id is None:
                self._outbox.withdrawn(entry)
                problem = f"the event id {entry.event_id} came twice"
                self._count(StorageError(self._database.path, problem))
                continue
            self._outbox.committed(entry, row_id)
            # Delivered while it was being written: with the next one its cursor passes it.
            for sink in () if self._closed else entry.delivered_to:
                if sink not in passed:
                    self._move_cursors(sink, {entry.environment: row_id})
        if batch.events:
            self.on_commit()

    def _move_cursors(self, sink: str, to: Mapping[str, int]) -> None:
        puts: dict[Put, str | float] = {
            (rows.PUT_CURSOR, (sink, environment)): row for environment, row in to.items()
        }
        self._writer.submit(Batch(puts), urgent=False)

    async def _fetch(self, sink: str) -> None:
        """Read the first events that wait for the sink from the table."""
        waiting = list(islice(self._outbox.waiting(sink), PAGE))
        first = waiting[0].row_id or 0
        found = await self._on_thread(partial(rows.bodies, row=first, limit=PAGE))
        for entry in waiting:
            if entry.event is None and entry.row_id is not None:
                entry.event = found.get(entry.row_id)

    async def _on_thread(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        return await self._writer.on_thread(partial(self._database.read, query))

    def _count(self, error: StorageError) -> None:
        self.errors += 1
        self.on_error(error)
