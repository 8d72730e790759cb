"""The leases of this replica: renewed, and given up at the instant at which their right ends.

The decisions are `monitor.core.leases`. Here is what they cannot see: answers that come late, or
never, or after the process was frozen. A right counts from before its renewal was sent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import structlog

from monitor.adapters.store import StorageError
from monitor.core import leases
from monitor.core.leases import (
    LASTS,
    MARGIN,
    DatabaseClock,
    Decision,
    Lease,
    Replica,
    Seen,
    StateUnavailable,
)
from monitor.core.model import Event, Instant, Seconds
from monitor.core.rule import RemindEvery
from monitor.core.status import Alert
from monitor.polling.settings import Clock, Environments

if TYPE_CHECKING:  # psycopg is not everywhere
    from monitor.adapters.store.leases import LeaseTable

TICK: Seconds = 1.0  # so often it is looked whether a right has ended: timers miss a freeze
ANSWER_WITHIN: Seconds = 10.0  # or a renewal is given up
SOONEST: Seconds = 0.1  # nor is anything looked at again before
RETRY: Seconds = 2.0  # after one that was not answered
STOP_WITHIN: Seconds = 8.0  # all are handed over at a stop; then so long to say so:
LEAVE_WITHIN: Seconds = 2.0

log = structlog.get_logger()


async def _tried(transaction: Awaitable[None], within: Seconds = ANSWER_WITHIN) -> None:
    """Await it; the next renewal shows what came of it where nothing is answered."""
    with suppress(StorageError, TimeoutError):
        async with asyncio.timeout(within):
            await transaction


@dataclass(slots=True)
class _Right:
    fence: str
    until: Seconds  # by our monotonic clock


@dataclass(eq=False)
class Holding:
    """What this replica holds. `id` is drawn at its start, `address` is for people.

    `clock.elapsed` must count the time in which the machine was suspended. `notify` gets the events
    of `state_unavailable`, which go past the store.
    """

    table: "LeaseTable"
    environments: Environments
    clock: Clock
    id: str
    address: str
    notify: Callable[[Sequence[Event]], None]
    remind_every: RemindEvery
    rule: StateUnavailable = StateUnavailable()

    def __post_init__(self) -> None:
        self.database_clock: DatabaseClock | None = None
        self.seen = Seen(0.0, (), {})  # as the database last said it, with what was taken since
        self._unanswered_at: Seconds | None = None  # when the first renewal without one was sent
        self.alert = Alert(rule=StateUnavailable.name)
        self._rights = dict[str, _Right]()
        self._actions = dict[str, asyncio.Task[None]]()
        self._giving = set[str]()  # those of them that hand over
        self._given_up = dict[str, str]()  # the fences of what was let go, or taken from us
        self._avoided = dict[str, Seconds]()  # until when: it could not be loaded
        self._cautious_until = 0.0
        self._names, self._config, self._problem = frozenset[str](), "", ""
        self._started_at = self._config_at = self.clock.elapsed()
        self._woken = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @property
    def held(self) -> Mapping[str, Seconds]:
        """What is held, each with when its right ends, by the monotonic clock."""
        return {name: right.until for name, right in self._rights.items()}

    @property
    def problem(self) -> str:
        """Why the database did not answer the last renewal; empty where it did."""
        return self._problem or ("" if self.database_clock else "no answer yet")

    def overtaken(self, name: str) -> None:
        """Take that another replica has an environment: what was to be written of it was not."""
        if name in self._rights:
            log.warning("environment_overtaken", environment=name)
            self._lose(name, self._rights[name].fence)

    def has(self, name: str) -> bool:
        """Return whether this replica may poll, test and send for an environment right now."""
        right = self._rights.get(name)
        return right is not None and self.clock.elapsed() < right.until

    def last_held(self, name: str) -> bool:
        """Return whether it is ours, or was when the database last answered."""
        lease = self.seen.leases.get(name)
        return self.has(name) or (lease is not None and lease.holder == self.id)

    @property
    def unanswered_since(self) -> Instant | None:
        """Since when the database has not answered, by our clock; None: it answers."""
        at = self._unanswered_at
        return None if at is None else self.now() - self.clock.elapsed() + at

    def now(self) -> Instant:
        """Return the database's instant; ours until it has said one."""
        clock = self.database_clock
        return clock.now(self.clock.elapsed()) if clock else self.clock.wall()

    def configure(self, names: Collection[str], config: str) -> None:
        """Take the environments of a config and its hash, at the start and at each reload."""
        if config != self._config:
            self._config_at = self.clock.elapsed()
        self._names, self._config = frozenset(names), config
        self._woken.set()

    async def run(self) -> None:
        """Renew, take and hand over until `aclose`."""
        self._running = asyncio.current_task()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            while True:
                self._woken.clear()
                wait = await self._turn()
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(wait, SOONEST)):
                        await self._woken.wait()

    async def aclose(self) -> None:
        """Hand over all at once, suspend what does not end in time, and leave: in 10 s at most."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        for name in self._actions.keys() - self._giving:
            self._actions[name].cancel()
        for name in self._rights.keys() - self._giving:
            self._give(name)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN):
                await asyncio.gather(*self._actions.values(), return_exceptions=True)
        for name in [*self._rights]:
            self._lose(name)
        await _tried(self.table.leave(self._me()), LEAVE_WITHIN)

    def _me(self) -> Replica:
        now, elapsed, known = self.now(), self.clock.elapsed(), self.database_clock is not None
        # Where nobody knows the time yet it has no environments: what is dated wrong wins nothing.
        names, config = (self._names, self._config) if known else (frozenset[str](), "")
        config_at, started_at = (now - elapsed + at for at in (self._config_at, self._started_at))
        return Replica(self.id, self.address, names, config, config_at, started_at, now + LASTS)

    async def _turn(self) -> Seconds:
        """Renew once, and act on what was seen; return in how many seconds to do it again."""
        for name in self._rights.keys() - self._names - self._actions.keys():
            self._give(name)
        me, known, sent = self._me(), self.database_clock, self.clock.elapsed()
        if self._unanswered_at is None:
            self._unanswered_at = sent
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                seen = await self.table.renew(me)
        except (StorageError, TimeoutError) as error:
            self._problem = getattr(error, "reason", "no answer in time")
            return RETRY
        answered, self.seen = self.clock.elapsed(), seen
        self.database_clock, stepped = DatabaseClock.after(known, seen.now, sent, answered)
        if stepped or self._problem:
            # Another database may answer now, which does not know yet who holds what.
            self._cautious_until = answered + LASTS
        self._unanswered_at, self._problem = None, ""
        self._note_rights(seen, sent)
        if known is None or answered - sent > MARGIN:
            return 0.0  # not announced yet; or too old to act on
        found = leases.decide(me, seen, self._rights.keys())
        if found.hand_over in self._rights and not self._actions:
            self._give(found.hand_over)
        await _tried(self._take(me, seen, found))
        cautious = self._cautious_until - self.clock.elapsed()
        return min(found.look_in, cautious) if cautious > 0 else found.look_in

    def _note_rights(self, seen: Seen, sent: Seconds) -> None:
        self._suspend_ended()
        for name, right in [*self._rights.items()]:
            row = seen.leases.get(name)
            if row is not None and (row.holder, row.fence) == (self.id, right.fence):
                right.until = max(right.until, sent + LASTS - MARGIN)
            else:
                log.warning("environment_overtaken", environment=name, by=row.holder if row else "")
                self._lose(name, right.fence)

    async def _take(self, me: Replica, seen: Seen, found: Decision) -> None:
        now, busy = self.clock.elapsed(), self._rights.keys() | self._actions.keys()
        ours = {name for name, row in seen.leases.items() if row.holder == self.id} - busy
        known = {name for name in ours if seen.leases[name].fence == self._given_up.get(name)}
        if left := known | (ours - me.environments):
            await self.table.let_go(left)
        may = ours - left if now < self._cautious_until else seen.leases.keys() | me.environments
        may = {name for name in may - left - busy if now >= self._avoided.get(name, now)}
        sent, names = self.clock.elapsed(), may.intersection((*found.take, *found.bury))
        for name, fence in (await self.table.take(names) if names else {}).items():
            self._rights[name] = _Right(fence, sent + LASTS - MARGIN)
            row = Lease(name, self.id, fence, seen.now + LASTS, seen.now)
            self.seen = replace(self.seen, leases={**self.seen.leases, name: row})
            over = name in found.bury
            action = self.environments.bury if over else self.environments.take_over
            self._start(name, partial(action, name, fence), kept=not over)

    def _start(
        self, name: str, action: Callable[[], Awaitable[None]], *, kept: bool = False
    ) -> None:
        task = self._actions[name] = asyncio.create_task(self._run(name, action, kept=kept))
        task.add_done_callback(partial(self._ended, name))

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        if self._actions.get(name) is task:  # else a stop hands over what was being taken over
            del self._actions[name]
            self._giving.discard(name)

    def _give(self, name: str) -> None:
        self._giving.add(name)
        self._start(name, partial(self.environments.hand_over, name))

    async def _run(self, name: str, action: Callable[[], Awaitable[None]], *, kept: bool) -> None:
        try:
            await action()
        # Whatever it is: one that cannot be loaded must not end all others.
        except Exception as error:
            fault = None if isinstance(error, StorageError) else error
            log.error("environment_let_go", environment=name, problem=str(error), exc_info=fault)
            self._avoided[name] = self.clock.elapsed() + LASTS
            self.environments.suspend(name)
            kept = False
        if not kept and name in self._rights:  # else it was lost meanwhile
            await self._let_go(name)

    async def _let_go(self, name: str) -> None:
        self._given_up[name] = self._rights.pop(name).fence
        await _tried(self.table.let_go([name]))

    def _lose(self, name: str, fence: str = "") -> None:
        """Suspend an environment at once; `fence` where somebody else has it now."""
        del self._rights[name]
        self._given_up[name] = fence
        if name in self._actions:
            self._actions[name].cancel()
        self.environments.suspend(name)

    def _suspend_ended(self) -> None:
        ended = [name for name in self._rights if not self.has(name)]
        if ended:
            log.warning("rights_ended", environments=len(ended), problem=self._problem)
        for name in ended:
            self._lose(name)

    async def _watch(self) -> None:
        """Suspend what the right has ended for, and say that the database is away."""
        while True:
            if self._unanswered_at is not None or self.alert.active:
                self._report()
            soonest = min(self.held.values(), default=inf) - self.clock.elapsed()
            await asyncio.sleep(min(max(soonest, SOONEST), TICK))
            self._suspend_ended()

    def _report(self) -> None:
        now, why = self.now(), self._problem or "no answer yet"
        look = self.rule.look(self.alert, self.unanswered_since, why, now, self.remind_every)
        self.alert, events = look
        if events:
            self.notify(events)
