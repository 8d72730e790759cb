"""The store of one of several replicas: it writes what it has the fence of, and forgets the rest.

Whoever takes an environment over reads it anew; whoever lets it go, or was overtaken, forgets what
was to be written of it and what waits of it for sinks. Nothing goes out before its COMMIT: it may
be another replica that decides.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from monitor.adapters.store import outbox, rows
from monitor.adapters.store.connection import on_thread, web_key
from monitor.adapters.store.database import Batch, Outcome
from monitor.adapters.store.files import StorageError
from monitor.adapters.store.postgres import PostgresDatabase, guard_bodies
from monitor.adapters.store.rows import Entry, Loaded, environment_of
from monitor.adapters.store.store import KeepRunning, Store
from monitor.core.guards import Guard
from monitor.core.model import Instant, Seconds

_T = TypeVar("_T")

FIRST_RETRY: Seconds = 1.0
LAST_RETRY: Seconds = 30.0
"""What failed is tried again after the first, then after twice as long, up to the last."""


class SharedStore(Store):
    """A store on PostgreSQL.

    `on_overtaken` gets an environment that another replica has: nothing was written of it, and
    nothing is known of it any more. `on_guard` gets a guard that another replica has changed, as it
    is now: what we would have had it be was left out.
    """

    shared = True

    def __init__(
        self, database: PostgresDatabase, executor: Executor | None, keep_running: KeepRunning
    ) -> None:
        """Use an open database; as `Store`."""
        self.on_overtaken: Callable[[str], None] = lambda _name: None
        self.on_guard: Callable[[str, Guard], None] = lambda _key, _guard: None
        self.leases = database.leases
        self._database: PostgresDatabase = database
        self._fences: dict[str, str] = {}
        self._known: dict[str, tuple[str, ...]] = {}  # bodies of guards
        self._perhaps_had: dict[str, dict[str, str | None]] = {}
        self._retry, self._resting = FIRST_RETRY, False
        super().__init__(database, executor=executor, keep_running=keep_running)

    async def take_over(self, name: str, fence: str) -> Loaded:
        """Return what is remembered of an environment that is ours from now on, and all guards.

        What waits of it joins the queues of the sinks; the first may have been delivered by its
        holder before, and is marked so. Raises StorageError: then it is not ours.
        """
        self.let_go(name)
        self._resting = False  # the leases have just had an answer
        await self._written({})  # where new sinks begin
        read = partial(self._database.read, partial(self._read, name))
        bodies, loaded, waiting = await self._on_thread(read)
        self._fences[name] = fence
        for key, body in bodies.items():
            if body not in self._known.get(key, ()):
                self._put_guard(key, body, loaded.guards.get(key))
        for sink, entries in waiting.items():
            for first in entries[:1]:
                self._perhaps_had[sink][first.event.event_id] = first.before
            self._queues[sink].extend(entries)
        self._wake()
        return loaded

    def read_of(self, name: str) -> Loaded:
        """Return what is stored of an environment that may be another's, in any thread.

        Raises StorageError.
        """
        return self._database.read(lambda connection: rows.load(connection, name))

    def let_go(self, name: str) -> None:
        """Forget an environment; what was decided of it and is to be kept was flushed before."""
        self._fences.pop(name, None)
        self._left.next_call_at.pop(name, None)
        writes, events = self._next.writes, self._next.events
        self._next.writes = {one: writes[one] for one in writes if environment_of(*one) != name}
        self._next.events = [one for one in events if one.event.environment != name]
        for sink, queue in self._queues.items():
            self._queues[sink] = deque(one for one in queue if one.event.environment != name)
        self._wake()

    async def forget(self, name: str) -> None:
        """Delete the row by which an environment is held: nobody has it any more."""
        await self._written({(rows.FORGET_OWNERSHIP, (name,)): self._fences.get(name, "")})

    def epoch_of(self, environment: str) -> str:
        """Return the epoch of what is decided of an environment from now on."""
        # Each holder's: what a fail-over takes back may be decided again, by another or by us.
        return self._fences.get(environment, self.epoch)[: len(self.epoch)]

    async def lease(self, environment: str, until: Instant) -> None:
        """Return once it is committed that the budget is spent until then. Raises StorageError."""
        await super().lease(environment, until)
        if environment not in self._fences:
            why = f"{environment} is another replica's"
            raise StorageError(self._database.place, why, permanent=False)

    async def prune(self, older_than: Instant) -> None:
        """Delete of what is ours what was decided before that and every sink has had."""
        bounds = dict.fromkeys(self._fences, self._newest + 1)
        for entry in (one for queue in self._queues.values() for one in queue):
            name = entry.event.environment
            if name in bounds and entry.row_id is not None:
                bounds[name] = min(bounds[name], entry.row_id)
        prune = rows.PRUNE_EVENTS_OF
        await self._written({(prune, (older_than, name)): at for name, at in bounds.items()})

    def add_sink(self, sink: str, wake: Callable[[], None] = lambda: None) -> dict[str, str | None]:
        """Have events wait for a sink; nothing does before `take_over`."""
        self._wakes.append(wake)
        if sink not in self._queues:
            # Never moved: events of other replicas would be passed by.
            self._submit({(rows.START_CURSOR, (sink, "")): 0})
            self._queues[sink], self._perhaps_had[sink] = deque(), {}
        return self._perhaps_had[sink]

    def _read(
        self, name: str, connection: rows.Connection
    ) -> tuple[dict[str, str], Loaded, dict[str, list[Entry]]]:
        # The bodies first: of a guard that changes between, ours is refused later.
        bodies, lost = guard_bodies(connection), set[str]()
        loaded = rows.load(connection, name)
        waiting = {one: outbox.waiting(connection, one, lost, name) or [] for one in self._queues}
        return bodies, replace(loaded, problems=(*loaded.problems, *sorted(lost))), waiting

    def _put_guard(self, key: str, body: str, guard: Guard | None) -> None:
        """Take a guard as another replica has made it; what ours came to is left out."""
        wanted = self._next.guards.pop(key, None)
        had = wanted is not None or key in self._known
        self._known[key] = (body,)
        if had and guard is not None:
            self.on_guard(key, guard)

    async def _on_thread(self, work: Callable[[], _T]) -> _T:
        return await on_thread(self._executor, self._database.abort, work)

    def _batch(self) -> Batch:
        batch = super()._batch()
        batch.fences, batch.known = dict(self._fences), dict(self._known)
        return batch

    async def _write(self, batch: Batch) -> Outcome:
        if self._resting and self.problem is not None and not self._closed:
            return self.problem
        outcome = await super()._write(batch)
        if isinstance(outcome, StorageError):
            self._resting = True
            asyncio.get_running_loop().call_later(self._retry, self._try_again)
            self._retry = min(2 * self._retry, LAST_RETRY)
        else:
            self._retry = FIRST_RETRY
            if not self.key:
                with suppress(StorageError):
                    self.key = await self._on_thread(partial(self._database.read, web_key))
        return outcome

    def _try_again(self) -> None:
        self._resting = False
        self._woken.set()

    def _settle(self, batch: Batch, outcome: Outcome) -> None:
        # What was let go meanwhile, and perhaps taken again: none of that batch is of today.
        before, now, guards = batch.fences, self._fences, batch.guards
        gone = {name for name in {**before, **now} if before.get(name) != now.get(name)}
        if isinstance(outcome, StorageError):
            batch.writes = {o: v for o, v in batch.writes.items() if environment_of(*o) not in gone}
            batch.events = [one for one in batch.events if one.event.environment not in gone]
            for key, body in guards.items():
                bodies = self._known.get(key, ())
                self._known[key] = tuple(dict.fromkeys((*bodies, body)))
            super()._settle(batch, outcome)
            return
        first = {entry.event.environment: row for entry, row in reversed(outcome.events)}
        self._put_before({name: row for name, row in first.items() if name not in gone})
        super()._settle(batch, outcome)
        for key, body in guards.items():
            self._known[key] = (body,)
        for key, (body, guard) in outcome.guards.items():
            self._put_guard(key, body, guard)
        for name in outcome.overtaken:
            if before.get(name) == now.get(name):
                self.let_go(name)
                if name in before:
                    self.on_overtaken(name)

    def _put_before(self, first: dict[str, int]) -> None:
        """Have all of an environment that was written before stand before its first new row.

        It does, unless a fail-over has taken numbers back, and they have come again.
        """
        for sink, queue in self._queues.items() if first else ():
            for name, row in first.items():
                at = self._next.writes.get(cursor := (rows.PUT_CURSOR, (sink, name)))
                if isinstance(at, int | float) and at >= row:
                    del self._next.writes[cursor]
            for one in queue:
                row = first.get(one.event.environment, 0)
                if row and one.row_id is not None:
                    one.row_id = min(one.row_id, row - 1)
