"""What the daemon does for itself while it watches: its pulse, its calendar, its disk.

Nothing that decides hangs on it.
"""

import asyncio

import structlog

from monitor.adapters.jobs import Jobs
from monitor.adapters.metrics import OwnMetrics
from monitor.adapters.store import Store
from monitor.adapters.systemd import ServiceManager
from monitor.config import Config
from monitor.core.model import Seconds
from monitor.polling import STEP, Clock
from monitor.reporting import Report

TICK: Seconds = 1.0
"""How often the event loop's lag is measured, the clocks are compared, the watchdog may be fed."""

RETENTION_EVERY: Seconds = 3600.0
"""How often events that are older than `state.retention` are dropped."""

log = structlog.get_logger()


class Upkeep:
    """Ticks for as long as `run` runs, and keeps the calendar from `start` to `stop`."""

    def __init__(
        self,
        report: Report,
        store: Store,
        own: OwnMetrics,
        clock: Clock,
        manager: ServiceManager,
    ) -> None:
        """Look after these; `configure` says how often what is done."""
        self._report = report
        self._store = store
        self._own = own
        self._clock = clock
        self._manager = manager
        self._jobs = Jobs()
        self._disk_fails = False
        self._offset = clock.wall() - clock.elapsed()
        self._fed_at = clock.elapsed()

    def configure(self, config: Config) -> None:
        """Take the config's calendar."""
        self._jobs.every(config.alerts.heartbeat_every, "heartbeat", self._beat)
        self._jobs.every(RETENTION_EVERY, "retention", self._prune)

    def start(self) -> None:
        """Start the calendar on the running event loop."""
        self._jobs.start()

    def stop(self) -> None:
        """End the calendar."""
        self._jobs.stop()

    async def run(self) -> None:
        """Tick for ever."""
        while True:
            due = self._clock.elapsed() + TICK
            await asyncio.sleep(TICK)
            self._own.loop_lagged(max(0.0, self._clock.elapsed() - due))
            self._compare_clocks()
            self._feed_watchdog()
            if self._disk_fails and not self._store.failing:
                self._disk_fails = False
                log.info("state_written_again")

    def storage_failed(self, error: Exception) -> None:
        """Count a transaction that failed; the first is logged, and the one that works again."""
        self._own.storage_failed()
        if not self._disk_fails:
            log.error("state_not_written", problem=str(error))
        self._disk_fails = True

    def _compare_clocks(self) -> None:
        offset = self._clock.wall() - self._clock.elapsed()
        step = offset - self._offset
        # The offset is kept up to the threshold, so that small steps add up to one.
        if abs(step) > STEP:
            log.warning("clock_stepped", seconds=round(step))
            self._offset = offset
            self._jobs.clock_stepped(step, self._clock.wall())

    def _feed_watchdog(self) -> None:
        # Only work that was done feeds it: a loop that merely lives would hide one that hangs.
        if self._report.turned_since(self._fed_at):
            self._fed_at = self._clock.elapsed()
            self._manager.alive()

    async def _beat(self) -> None:
        await self._report.heartbeat()

    async def _prune(self) -> None:
        await self._store.prune(self._clock.wall() - self._report.config.state.retention)
