"""What the daemon does for itself while it watches: its pulse, its calendar, its disk.

Nothing that decides hangs on it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobEvent,
)
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from monitor.adapters.metrics import OwnMetrics
from monitor.adapters.store import Store
from monitor.adapters.systemd import ServiceManager
from monitor.config import Config
from monitor.core.model import Instant, Seconds
from monitor.polling import STEP, Clock
from monitor.reporting import Report

TICK: Seconds = 1.0
"""How often the event loop's lag is measured, the clocks are compared, the watchdog may be fed."""

RETENTION_EVERY: Seconds = 3600.0
"""How often events that are older than `state.retention` are dropped."""

WATCHED = EVENT_JOB_ERROR | EVENT_JOB_EXECUTED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED

log = structlog.get_logger()


class Upkeep:
    """Ticks for as long as `run` runs, and has `jobs` run by the calendar once they are started."""

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
        self.jobs = Jobs()
        self._disk_fails = False
        self._offset = clock.wall() - clock.elapsed()
        self._fed_at = clock.elapsed()

    def configure(self, config: Config) -> None:
        """Take the config's calendar."""
        self.jobs.every(config.alerts.heartbeat_every, "heartbeat", self._report.heartbeat)
        self.jobs.every(RETENTION_EVERY, "retention", self._prune)

    async def run(self) -> None:
        """Tick for ever."""
        while True:
            due = self._clock.elapsed() + TICK
            await asyncio.sleep(TICK)
            self._own.loop_lagged(max(0.0, self._clock.elapsed() - due))
            self._compare_clocks()
            self._feed_watchdog()
            if self._disk_fails and self._store.problem is None:
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
            self.jobs.clock_stepped(step, self._clock.wall())

    def _feed_watchdog(self) -> None:
        # Only work that was done feeds it: a loop that merely lives would hide one that hangs.
        if self._report.turned_since(self._fed_at):
            self._fed_at = self._clock.elapsed()
            self._manager.alive()

    async def _prune(self) -> None:
        await self._store.prune(self._clock.wall() - self._report.config.state.retention)


class Jobs:
    """Calendar jobs on the running event loop, in UTC.

    The scheduler lives by the wall clock: after a step of it, `clock_stepped` must be told.
    """

    def __init__(self) -> None:
        """Make the scheduler; `start` it inside the loop."""
        # A job that was late (a suspended machine) still runs, once, and never beside itself.
        defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        self._scheduler = AsyncIOScheduler(timezone="UTC", job_defaults=defaults)
        self._scheduler.add_listener(self._ran, WATCHED)
        self._failures = Counter[str]()

    def every(self, seconds: Seconds, name: str, job: Callable[[], Awaitable[None]]) -> None:
        """Run `job` on the loop every so many seconds (0: never), instead of one of that name."""
        known = self._scheduler.get_job(name)
        # Left alone: frequent reloads must not put a job off for ever.
        if known is not None and known.trigger.seconds == seconds:
            return
        if known is not None:
            self._scheduler.remove_job(name)
        if seconds > 0:
            self._scheduler.add_job(job, _Every(seconds), id=name)

    def start(self) -> None:
        """Start on the running event loop."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop; a running job is cancelled. Harmless before `start`."""
        if self._scheduler.running:
            # It cannot wait for coroutines: with wait=True they would be cancelled just so.
            self._scheduler.shutdown(wait=False)

    def clock_stepped(self, seconds: Seconds, now: Instant) -> None:
        """Have every job run when it would have without this step of the wall clock to `now`."""
        # Left alone the scheduler runs nothing for an hour when the clock goes back by one.
        for job in self._scheduler.get_jobs():
            moved = job.next_run_time + timedelta(seconds=seconds)
            # One that has run since the step is planned by the new time already.
            latest = job.trigger.get_next_fire_time(None, datetime.fromtimestamp(now, UTC))
            job.modify(next_run_time=min(moved, latest))

    def _ran(self, event: JobEvent) -> None:
        """Count runs that failed, were missed or would overlap; log the first and the recovery."""
        name, error = event.job_id, getattr(event, "exception", None)
        if isinstance(error, asyncio.CancelledError):
            return  # by `stop`
        if event.code == EVENT_JOB_EXECUTED:
            if failures := self._failures.pop(name, 0):
                log.info("job_recovered", job=name, after=failures)
            return
        self._failures[name] += 1
        if self._failures[name] == 1:
            why = {EVENT_JOB_ERROR: "raised", EVENT_JOB_MISSED: "missed"}
            problem = why.get(event.code, "still running")
            log.error("job_failed", job=name, problem=problem, exc_info=error)


class _Every(BaseTrigger):  # type: ignore[misc] # APScheduler ships no types
    """So many seconds after the last run.

    APScheduler's own interval counts every run that a clock has jumped over, one by one: 6 million
    of them when a machine that booted in 1970 learns the time.
    """

    def __init__(self, seconds: Seconds) -> None:
        self.seconds = seconds

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """Return when to run next."""
        return now + timedelta(seconds=self.seconds)
