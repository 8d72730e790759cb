"""The store as the daemon sees it: save and go on, lease and wait, deliver in order.

It is for the loop's thread, but for the history. One task commits, on an executor of one thread;
without one the caller does. Whatever is saved while a COMMIT runs goes into the next one, after
what failed: the order is kept, nothing is lost. After the start nothing is read back: what waits
for the sinks, and what is left of removed environments, is in memory.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from monitor.adapters.store import outbox, rows
from monitor.adapters.store.database import Batch, Database, Outcome
from monitor.adapters.store.files import StorageError
from monitor.adapters.store.rows import Change, Entry, Loaded
from monitor.core.model import Event, EventKind, Instant, Seconds
from monitor.core.snapshot import HistoryQuery

if TYPE_CHECKING:  # psycopg is not everywhere
    from monitor.adapters.store.leases import LeaseTable
    from monitor.adapters.store.postgres import PostgresDatabase

_T = TypeVar("_T")

LINGER: Seconds = 5.0
"""So long at most what is not urgent waits for what is; what failed is tried again so often."""

KeepRunning = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task that must run for ever, by its name."""


class Store:
    """The state of one daemon; its hooks may be set right after it is made.

    `epoch` is this start's, in the ids of all events that it decides: so no id stands for two
    occurrences, whatever database is put back. `problem` is why the last transaction failed,
    `notice` says that a file was set aside, or None. `shared`: with other replicas, by `leases`,
    and then `key` is theirs, once it is loaded: who shows it can read the state.
    """

    shared, key = False, ""
    leases: "LeaseTable | None" = None

    def __init__(
        self,
        where: "Path | Database | PostgresDatabase",
        *,
        now: Instant = 0.0,
        executor: Executor | None = None,
        keep_running: KeepRunning = lambda name, work: asyncio.create_task(work, name=name),
    ) -> None:
        """Use an open database; or open a file or `MEMORY`, made where there is none.

        Raises StorageError. `now` dates a file that is set aside. `executor` has one thread, and
        ends with the store.
        """
        self.epoch = secrets.token_hex(4)
        self.problem: StorageError | None = None
        self.on_error: Callable[[StorageError], None] = lambda _error: None
        self._database = Database(where, now) if isinstance(where, Path) else where
        self.notice = self._database.notice
        self._newest = self._database.newest
        self._queues: dict[str, deque[Entry]] = {}
        self._wakes: list[Callable[[], None]] = []
        self._loaded = self._closed = False
        self._lost: set[str] = set()
        self._left = Loaded()
        self._next, self._woken = Batch(), asyncio.Event()
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
        await self._on_thread(self._database.close)
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    async def load(self) -> Loaded:
        """Return what is remembered; later of removed environments alone. Raises StorageError."""
        if self._loaded:
            return self._left
        loaded = await self._on_thread(partial(self._database.read, rows.load))
        self._loaded = True
        self._left = Loaded(next_call_at=loaded.next_call_at | self._left.next_call_at)
        return replace(loaded, problems=(*loaded.problems, *sorted(self._lost)))

    def save(self, change: Change) -> None:
        """Queue a change to be committed; never blocks. ValueError: something cannot be encoded."""
        writes = rows.writes(change)
        guards = {key: rows.GUARD.encode(guard) for key, guard in change.guards.items()}
        decided = [replace(one, epoch=self.epoch_of(one.environment)) for one in change.events]
        entries = [Entry(event, rows.columns(event)) for event in decided]
        if change.removed:
            self._left.environments.update({one.name: one for one in change.environments})
            statuses = {(one.environment, one.campaign_id): one for one in change.campaigns}
            self._left.campaigns.update(statuses)
        self._left.next_call_at.update(change.next_call_at)
        for queue in self._queues.values():
            queue.extend(one for one in entries if one.event.kind is EventKind.ALERT)
        self._next.guards.update(guards)
        self._submit(writes, entries)

    def epoch_of(self, _environment: str) -> str:
        """Return the epoch of what is decided of an environment from now on."""
        return self.epoch

    async def lease(self, environment: str, until: Instant) -> None:
        """Return once it is on disk that the budget is spent until then. Raises StorageError."""
        self._left.next_call_at[environment] = until
        await self._written({(rows.PUT_LEASE, (environment,)): until})

    async def flush(self) -> None:
        """Return once all that was saved so far is committed or has failed."""
        with suppress(StorageError):
            await self._written({})

    async def prune(self, older_than: Instant) -> None:
        """Delete what was decided before that and every sink has had. Raises StorageError."""
        heads = (queue[0].row_id for queue in self._queues.values() if queue)
        bound = min((row for row in heads if row is not None), default=self._newest + 1)
        await self._written({(rows.PRUNE_EVENTS, (older_than,)): bound})

    def add_sink(self, sink: str, wake: Callable[[], None] = lambda: None) -> dict[str, str | None]:
        """Have events wait for a sink: to be called before the first save. Raises StorageError.

        `wake` is called whenever there may be one to deliver. Returns by their id the events that
        waited, and may have been delivered before a crash, each with the id of the one before it. A
        new sink starts at the newest event.
        """
        self._wakes.append(wake)
        if sink not in self._queues:
            waiting = self._database.read(partial(outbox.waiting, sink=sink, lost=self._lost))
            if waiting is None:
                # Else a crash may let events pass it by.
                self._move_cursor(sink, self._newest, "")
            self._queues[sink] = deque(waiting or ())
        return {entry.event.event_id: entry.before for entry in self._queues[sink]}

    def undelivered(self, sink: str, most: int = 1) -> Sequence[Event]:
        """Return the next events for the sink, in order, but none that is still to be committed.

        While nothing can be written they are handed out all the same, not durable; unless the
        state is shared: then another replica may decide.
        """
        anyway = self.problem is not None and not self.shared
        entries = islice(self._queues[sink], most)
        ready = takewhile(lambda entry: anyway or entry.row_id is not None, entries)
        return [replace(entry.event, durable=entry.row_id is not None) for entry in ready]

    def mark_delivered(self, sink: str, event_id: str) -> None:
        """Note that the sink has had that event; the cursor passes it after its COMMIT."""
        queue = self._queues[sink]
        if not queue or queue[0].event.event_id != event_id:
            return
        entry = queue.popleft()
        if entry.row_id is None:
            entry.delivered_to += (sink,)
        elif queue or self.shared:
            self._move_cursor(sink, entry.row_id, entry.event.environment)
        else:
            # The one of "" counts for all: so a start need not look through the whole history.
            self._move_cursor(sink, entry.row_id, entry.event.environment, "")

    def pending(self, sink: str) -> tuple[int, Instant | None]:
        """Return how many events wait for the sink, and when the first of them was decided."""
        queue = self._queues.get(sink)
        return (len(queue), queue[0].event.decided_at) if queue else (0, None)

    def waits(self, sink: str, environment: str) -> bool:
        """Return whether an event of an environment waits for the sink."""
        return any(one.event.environment == environment for one in self._queues[sink])

    def history(self, wanted: HistoryQuery | None = None) -> dict[int, Event]:
        """Return events by row, newest first, in any thread. Raises StorageError."""
        return self._database.read(partial(outbox.history, wanted=wanted or HistoryQuery()))

    def counts(self, wanted: HistoryQuery) -> dict[str, int]:
        """Return how many events of each status there are, in any thread. Raises StorageError."""
        return self._database.read(partial(outbox.counts, wanted=wanted))

    def _submit(self, writes: rows.Writes, events: Sequence[Entry] = ()) -> None:
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
            batch = self._batch()
            self._settle(batch, await self._write(batch))

    async def _write(self, batch: Batch) -> Outcome:
        return await self._on_thread(partial(self._database.write, batch))

    def _write_here(self) -> None:
        batch = self._batch()
        self._settle(batch, self._database.write(batch))

    def _batch(self) -> Batch:
        """Return what is to be written now; what comes from here on is in the next one."""
        batch, self._next = self._next, Batch()
        return batch

    def _settle(self, batch: Batch, outcome: Outcome) -> None:
        """Take note of what became of a transaction."""
        self.problem = outcome if isinstance(outcome, StorageError) else None
        if isinstance(outcome, StorageError):
            # Before what came meanwhile.
            self._next.writes = batch.writes | self._next.writes
            self._next.guards = batch.guards | self._next.guards
            self._next.events = batch.events + self._next.events
            self.on_error(outcome)
        else:
            for entry, row_id in outcome.events:
                entry.row_id, entry.columns, self._newest = row_id, (), row_id
                # Delivered while it was being written: with the next one its cursor passes it.
                for sink in () if self._closed else entry.delivered_to:
                    self._move_cursor(sink, row_id, entry.event.environment)
        if isinstance(outcome, StorageError) or outcome.events:
            # What cannot be committed goes out from memory: a full disk must not hold back a page.
            self._wake()
        if batch.tried is not None:
            batch.tried.set_result(self.problem)

    def _wake(self) -> None:
        for wake in self._wakes:
            wake()

    def _move_cursor(self, sink: str, row: int, *environments: str) -> None:
        self._submit({(rows.PUT_CURSOR, (sink, name)): row for name in environments})
