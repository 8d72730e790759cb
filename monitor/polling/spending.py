"""What an environment's calls spend of its budget: on disk before they are sent."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

from monitor.adapters.store import Change, StorageError, Store
from monitor.core.budget import LEASE, wait_of_lease
from monitor.core.model import Instant, Seconds
from monitor.polling.environment_state import EnvironmentState


@dataclass(eq=False)
class Spending:
    """Spends an environment's budget; `leased_until` is what its lease is on disk."""

    state: EnvironmentState
    store: Store
    leased_until: Instant

    def __post_init__(self) -> None:
        self._clock, state = self.state.clock, self.state
        wait = wait_of_lease(self.leased_until, self._clock.wall())
        state.budget = replace(state.budget, next_at=self._clock.elapsed() + wait)

    async def spend(self) -> Seconds:
        """Spend one call, and return in how many seconds it may go out."""
        # Written down before it is spent, so that a crash loop cannot spend a minute twice.
        mono = self._clock.elapsed()
        wait = self.state.budget.delay(mono)
        self.state.budget = self.state.budget.spend(mono)
        until = self._on_the_wall(self.state.budget.next_at)
        # One further ahead than a lease reaches was written before our clock went back.
        if not until <= self.leased_until <= until + LEASE:
            self.leased_until = until + LEASE
            # Where the disk fails the store says so; polling goes on.
            with suppress(StorageError):
                await self.store.lease(self.state.name, self.leased_until)
        return max(0.0, mono + wait - self._clock.elapsed())

    async def turn(self) -> None:
        """Spend one call, and return once it may go out."""
        await asyncio.sleep(await self.spend())

    async def write(self) -> None:
        """Return once all that was decided is on disk, the lease with it. Raises StorageError."""
        await self.store.lease(self.state.name, self.leased_until)

    def settle(self) -> None:
        """Write down what was really spent."""
        next_call_at = self._on_the_wall(self.state.budget.next_at)
        self.store.save(Change(next_call_at={self.state.name: next_call_at}))

    def _on_the_wall(self, mono: Seconds) -> Instant:
        return self._clock.wall() + mono - self._clock.elapsed()
