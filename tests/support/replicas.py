"""Several replicas on one lease table, on virtual time: each with its own clock, stopped at will.

The table is a small, independent implementation of the rows. A connection to it says what becomes
of each transaction: it may come late, be lost, be refused, or be rolled back.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

from monitor.adapters.store import StorageError
from monitor.core.leases import Lease, Replica, Seen
from monitor.core.model import Event, Instant, Seconds
from monitor.polling.holding import Holding
from support.virtual import START, VirtualLoop

T = TypeVar("T")

LEASE: Seconds = 30.0
"""By the specification, not by the code."""


@dataclass(eq=False)
class Process:
    """What a signal can stop; nothing in its context runs meanwhile."""

    stopped: bool = False
    waiting: list[tuple[Callable[..., Any], tuple[Any, ...], Context]] = field(default_factory=list)

    def cont(self) -> None:
        """Let it go on: everything that came meanwhile happens now."""
        self.stopped = False
        waiting, self.waiting = self.waiting, []
        for callback, args, context in waiting:
            asyncio.get_running_loop().call_soon(callback, *args, context=context)


IN: ContextVar[Process | None] = ContextVar("IN", default=None)


class StoppingLoop(VirtualLoop):
    """A virtual loop whose processes can be stopped, each by itself."""

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        guard = _Guard(callback, context)
        guard.handle = super().call_soon(guard, *args, context=guard.context)
        return guard.handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        guard = _Guard(callback, context)
        guard.handle = super().call_at(when, guard, *args, context=guard.context)
        return guard.handle


class _Guard:
    """A callback that waits while its process is stopped, and can be cancelled meanwhile."""

    def __init__(self, callback: Any, context: Context | None) -> None:
        self.callback, self.handle = callback, cast("asyncio.Handle", None)
        self.context = copy_context() if context is None else context
        self.process = self.context.get(IN)

    def __call__(self, *args: Any) -> None:
        if self.process is not None and self.process.stopped:
            self.process.waiting.append((self, args, self.context))
        elif not self.handle.cancelled():
            self.callback(*args)


def run(main: Any) -> Any:
    """Run `main` on such a loop and return what it returns."""
    with asyncio.Runner(loop_factory=StoppingLoop) as runner:
        return runner.run(main)


@dataclass
class Database:
    """The rows, and the clock that dates them: `drift` of it, and `offset` by its steps."""

    drift: float = 0.0
    offset: Seconds = 0.0
    replicas: dict[str, Replica] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    fences: Iterator[int] = field(default_factory=count)

    def now(self) -> Instant:
        return START + asyncio.get_running_loop().time() * (1 + self.drift) + self.offset

    def renew(self, me: Replica) -> Seen:
        """Renew all that `me` holds, whatever it has heard of it."""
        now = self.now()
        self.replicas[me.id] = replace(me, expires_at=now + LEASE)
        for name, lease in self.leases.items():
            if lease.holder == me.id:
                self.leases[name] = replace(lease, expires_at=now + LEASE)
        for name in me.environments - self.leases.keys():
            self.leases[name] = Lease(name, "", "", now, 0.0)
        return Seen(now, tuple(self.replicas.values()), dict(self.leases))

    def take(self, replica: str, names: Collection[str]) -> dict[str, str]:
        now, got = self.now(), dict[str, str]()
        for name in sorted(names):
            lease = self.leases[name]
            if lease.holder in ("", replica) or lease.expires_at <= now:
                got[name] = f"fence-{next(self.fences)}"
                self.leases[name] = Lease(name, replica, got[name], now + LEASE, now)
        return got

    def let_go(self, replica: str, names: Collection[str]) -> None:
        for name in names:
            lease = self.leases.get(name)
            if lease is not None and lease.holder == replica:
                self.leases[name] = replace(lease, holder="", fence="", expires_at=self.now())

    def leave(self, replica: str) -> None:
        self.let_go(replica, [*self.leases])
        self.replicas.pop(replica, None)


@dataclass
class Fate:
    """What becomes of one transaction: seconds to the database and back, whether it is done.

    `back` None: it is never answered.
    """

    there: Seconds = 0.01
    back: Seconds | None = 0.01
    done: bool = True
    answered: bool = True


@dataclass(eq=False)
class Connection:
    """A replica's `LeaseTable`; `fate` decides of each transaction."""

    database: Database
    id: str
    fate: Callable[[str], Fate] = lambda _: Fate()
    made: list[str] = field(default_factory=list)

    async def renew(self, me: Replica) -> Seen:
        return await self._transaction("renew", lambda: self.database.renew(me))

    async def take(self, names: Collection[str]) -> dict[str, str]:
        names = tuple(names)
        return await self._transaction("take", lambda: self.database.take(self.id, names))

    async def let_go(self, names: Collection[str]) -> None:
        names = tuple(names)
        await self._transaction("let_go", lambda: self.database.let_go(self.id, names))

    async def leave(self, me: Replica) -> None:
        await self._transaction("leave", lambda: self.database.leave(me.id))

    async def _transaction(self, what: str, work: Callable[[], T]) -> T:
        self.made.append(what)
        fate, loop = self.fate(what), asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def arrive() -> None:
            error = StorageError(Path("database"), "the connection was lost")
            result = work() if fate.done else None
            if fate.back is not None:
                ok = fate.done and fate.answered
                loop.call_later(fate.back, reply, result, None if ok else error, context=Context())

        def reply(result: Any, error: StorageError | None) -> None:
            if answer.done():
                return  # nobody waits for it any more
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)

        # The server is no part of the process: what was sent is done, whatever the client does.
        loop.call_later(fate.there, arrive, context=Context())
        return await answer


@dataclass
class Polled:
    """The environments of a process: what was called, in order, with its instant."""

    loads: Seconds = 0.02
    ends: Seconds = 0.02
    calls: list[tuple[Seconds, str, str]] = field(default_factory=list)
    polling: set[str] = field(default_factory=set)
    refuses: Callable[[str, str], BaseException | None] = lambda _what, _name: None
    taken: Callable[[str], None] = lambda _name: None

    async def take_over(self, name: str, fence: str) -> None:
        self.taken(name)
        await self._called("take_over", name, self.loads)
        self.polling.add(name)

    async def hand_over(self, name: str) -> None:
        self.polling.discard(name)
        await self._called("hand_over", name, self.ends)

    def suspend(self, name: str) -> None:
        self.polling.discard(name)
        self._note("suspend", name)

    async def bury(self, name: str, fence: str) -> None:
        await self._called("bury", name, self.loads)

    def _note(self, what: str, name: str) -> None:
        self.calls.append((asyncio.get_running_loop().time(), what, name))

    async def _called(self, what: str, name: str, seconds: Seconds) -> None:
        self._note(what, name)
        await asyncio.sleep(seconds)
        error = self.refuses(what, name)
        if error is not None:
            raise error

    def of(self, name: str) -> list[str]:
        """Return what was called for one environment."""
        return [what for _, what, whose in self.calls if whose == name]


@dataclass
class ReplicaClock:
    """The clocks of a machine: its wall clock is wrong, its monotonic one drifts."""

    drift: float = 0.0
    wall_off: Seconds = -7200.0

    def wall(self) -> Instant:
        return START + self.elapsed() + self.wall_off

    def elapsed(self) -> Seconds:
        return 1000.0 + asyncio.get_running_loop().time() * (1 + self.drift)


@dataclass(eq=False)
class OneReplica:
    """A replica in a process of its own."""

    id: str
    connection: Connection
    polled: Polled
    holding: Holding
    process: Process
    context: Context
    task: asyncio.Task[None]
    events: list[Event]
    killed: bool = False

    def has(self, name: str) -> bool:
        """Return whether it believes that it may act, and runs."""
        return not self.process.stopped and self.holding.has(name)

    def kill(self) -> None:
        """End it as kill -9 does."""
        self.killed = self.process.stopped = True

    async def aclose(self) -> None:
        """End it as SIGTERM does."""
        await asyncio.create_task(self.holding.aclose(), context=self.context)
        self.killed = True


class Replicas:
    """All replicas of a test, on one database."""

    def __init__(self, **database: Any) -> None:
        self.database = Database(**database)
        self.all: dict[str, OneReplica] = {}
        self.twice: list[str] = []

    @property
    def running(self) -> list[OneReplica]:
        return [one for one in self.all.values() if not one.killed]

    def start(
        self,
        id: str,
        names: Sequence[str],
        config: str = "c1",
        *,
        fate: Callable[[str], Fate] = lambda _: Fate(),
        drift: float = 0.0,
    ) -> OneReplica:
        """Start a replica with these environments."""
        process, context, events = Process(), copy_context(), list[Event]()
        context.run(IN.set, process)
        connection = Connection(self.database, id, fate)
        polled = Polled(taken=self.look)
        holding = context.run(
            lambda: Holding(
                table=cast(Any, connection),
                environments=polled,
                clock=ReplicaClock(drift),
                id=id,
                address="10.0.0.7:10022",
                notify=events.extend,
                remind_every={},
            )
        )
        holding.configure(names, config)
        task = asyncio.get_running_loop().create_task(holding.run(), context=context)
        one = OneReplica(id, connection, polled, holding, process, context, task, events)
        self.all[id] = one
        return one

    def holders(self, name: str) -> list[str]:
        """Return who believes that it may act for an environment, at this instant."""
        return [one.id for one in self.running if one.has(name)]

    def look(self, name: str) -> None:
        """Note it where two believe that they may act for an environment."""
        if len(holders := self.holders(name)) > 1:
            at = asyncio.get_running_loop().time()
            self.twice.append(f"{name} at {at:.1f}: {holders}")

    def shares(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return which environments each holder has."""
        shares = defaultdict[str, list[str]](list)
        for name in names:
            for holder in self.holders(name):
                shares[holder].append(name)
        return dict(shares)

    async def aclose(self) -> None:
        """End all processes, those that were killed as well."""
        for one in self.all.values():
            one.task.cancel()
            for task in [*one.holding._actions.values()]:
                task.cancel()
            one.process.cont()
        await asyncio.wait([one.task for one in self.all.values()])
