"""The environments of one of several replicas: taken over, handed over, lost, as `holding` says.

Whatever was decided of one is stored before another replica may have it, and whoever takes it
over reads all of it anew.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, cast

import structlog

from monitor.config import Config
from monitor.core.leases import StateUnavailable
from monitor.core.model import Event, Instant, Seconds
from monitor.core.status import EnvironmentStatus
from monitor.polling.holding import Holding
from monitor.polling.manager import PollerManager
from monitor.polling.settings import Clock

if TYPE_CHECKING:  # psycopg is not everywhere
    from monitor.adapters.store.leases import LeaseTable
    from monitor.adapters.store.shared import SharedStore

log = structlog.get_logger()


@dataclass
class OurClock:
    """The clocks that decide: where replicas share the state its database's, carried on by ours."""

    own: Clock
    holding: Holding | None = None

    def wall(self) -> Instant:
        """Return the instant by our clock."""
        return self.own.wall() if self.holding is None else self.holding.now()

    def elapsed(self) -> Seconds:
        """Return the event loop's monotonic time, in seconds."""
        return self.own.elapsed()


class Deliveries(Protocol):
    """What is on its way to one sink; nothing is sent of an environment that is not `held`."""

    held: Callable[[str], bool]

    async def ended(self, environment: str) -> None:
        """Return once nothing of an environment that is no longer held is on its way."""

    async def all_sent(self, environment: str) -> None:
        """Return once nothing of an environment waits any more."""

    def send_past_the_store(self, events: Sequence[Event]) -> None:
        """Send what cannot be stored."""


def hold(
    manager: PollerManager,
    sinks: Sequence[Deliveries],
    clock: OurClock,
    steady: Clock,
    config: Config,
) -> Holding:
    """Return what holds the leases of this replica; its clock, and all that goes out, go by it.

    `steady.elapsed` counts the time in which the machine was suspended.
    """

    def notify(events: Sequence[Event]) -> None:
        """Send that the database is away, or is back."""
        # Its ids are this process's: each one's first outage is its first event.
        own = [replace(event, epoch=who, durable=False) for event in events]
        for sink in sinks:
            sink.send_past_the_store(own)

    store = cast("SharedStore", manager.store)
    leases = cast("LeaseTable", store.leases)
    environments = SharedEnvironments(manager, store, sinks)
    who = secrets.token_hex(4)
    rule = StateUnavailable(after=config.state.unavailable_after)
    how = (notify, config.alerts.remind_every, rule)
    holding = Holding(leases, environments, steady, who, "", *how)
    environments.right, store.on_overtaken = holding.has, holding.overtaken
    clock.holding = holding
    return holding


@dataclass(eq=False)
class SharedEnvironments:
    """The `Environments` of `holding`; `right` says whether an environment is ours by its lease."""

    manager: PollerManager
    store: "SharedStore"
    sinks: Sequence[Deliveries]
    right: Callable[[str], bool] = lambda _: False
    _handing: set[str] = field(default_factory=set)
    _ending: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.manager.held = self.held
        for sink in self.sinks:
            sink.held = self.held
        self.store.on_guard = self.manager.guards.adopt

    def held(self, name: str) -> bool:
        """Return whether we may poll, test and send for an environment right now."""
        # What is of the process, and of no environment, is always ours.
        return not name or (self.right(name) and name not in self._handing)

    async def take_over(self, name: str, fence: str) -> None:
        """Poll an environment from now on, as it is stored. Raises StorageError or ValueError."""
        if (ending := self._ending.get(name)) is not None:
            await asyncio.wait([ending])  # it writes down what it has spent
        loaded = await self.store.take_over(name, fence)
        self._ending.pop(name, None)  # not before: where that fails, there is nothing to stop
        for problem in loaded.problems:
            log.error("state_row_lost", problem=problem)
        manager = self.manager
        manager.pollers.pop(name, None)  # the one that was ours before
        attempts = [one for it in loaded.campaigns.values() for one in it.tests.attempts]
        manager.guards.take_over(loaded.guards, [one for one in attempts if one.ended_at is None])
        await manager.add(name, loaded)
        manager.own.taken_over()
        log.info("environment_taken_over", environment=name, campaigns=len(loaded.campaigns))

    async def hand_over(self, name: str) -> None:
        """Stop polling an environment, and return once all of it is stored, and none on its way."""
        self._handing.add(name)
        try:
            task = self.manager.stop(name) or self._ending.get(name)
            if task is not None:
                await asyncio.wait([task])
            await self.store.flush()
            await asyncio.gather(*(sink.ended(name) for sink in self.sinks))
        finally:
            self._handing.discard(name)
        self.manager.pollers.pop(name, None)
        self._ending.pop(name, None)
        self.store.let_go(name)
        self.manager.own.forget(name)
        log.info("environment_handed_over", environment=name)

    def suspend(self, name: str) -> None:
        """Stop polling an environment at once: another replica may have it. It stays to be seen."""
        if (task := self.manager.stop(name)) is not None:
            self.manager.pollers[name].state.save = lambda _: None
            self._ending[name] = task
        self.store.let_go(name)

    async def bury(self, name: str, fence: str) -> None:
        """Resolve the alerts of an environment that no replica has any more, and forget its row."""
        loaded = await self.store.take_over(name, fence)
        left = [one for (of, _), one in loaded.campaigns.items() if of == name]
        status = loaded.environments.get(name, EnvironmentStatus(name=name))
        await self.manager.save_removal(status, left, self.manager.clock.wall())
        await self.store.flush()
        await asyncio.gather(*(sink.all_sent(name) for sink in self.sinks))
        await self.store.forget(name)
        log.info("environment_forgotten", environment=name)
