"""Calendar jobs, by APScheduler: what the daemon does for itself every so often."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from apscheduler import events
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from monitor.core.model import Instant, Seconds

# What may become of a job that was due, beside its end, as the log says it.
FAILURES = {events.EVENT_JOB_ERROR: "raised", events.EVENT_JOB_MAX_INSTANCES: "still running"}

log = structlog.get_logger()


class Jobs:
    """Calendar jobs on the running event loop, in UTC; `clock_stepped` keeps them on time."""

    def __init__(self) -> None:
        """Make the scheduler: `start` it inside the loop, and `stop` it once it was started."""
        # A job that was late (a suspended machine) still runs, once, and never beside itself.
        defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        self._scheduler = AsyncIOScheduler(timezone="UTC", job_defaults=defaults)
        self._scheduler.add_listener(self._ran, events.EVENT_JOB_EXECUTED | sum(FAILURES))
        self._failures = Counter[str]()
        # It cannot wait for a job that runs: with wait=True that would be cancelled just so.
        self.start, self.stop = self._scheduler.start, partial(self._scheduler.shutdown, wait=False)

    def every(self, seconds: Seconds, name: str, job: Callable[[], Awaitable[None]]) -> None:
        """Run `job` on the loop every so many seconds (0: never), instead of one of that name."""
        known = self._scheduler.get_job(name)
        # Left alone: frequent reloads must not put a job off for ever.
        if known is not None and known.trigger.seconds == seconds:
            return
        if known is not None:
            known.remove()
        if seconds > 0:
            self._scheduler.add_job(job, _Every(seconds), id=name)

    def clock_stepped(self, seconds: Seconds, now: Instant) -> None:
        """Have every job run when it would have without this step of the wall clock to `now`."""
        # Left alone the scheduler runs nothing for an hour when the clock goes back by one.
        for job in self._scheduler.get_jobs():
            moved = job.next_run_time + timedelta(seconds=seconds)
            # One that has run since the step is planned by the new time already.
            latest = job.trigger.get_next_fire_time(None, datetime.fromtimestamp(now, UTC))
            job.modify(next_run_time=min(moved, latest))

    def _ran(self, event: events.JobEvent) -> None:
        """Count runs that failed or would overlap; log the first and the recovery."""
        name, error = event.job_id, getattr(event, "exception", None)
        if isinstance(error, asyncio.CancelledError):
            return  # by `stop`
        if event.code == events.EVENT_JOB_EXECUTED:
            if failures := self._failures.pop(name, 0):
                log.info("job_recovered", job=name, after=failures)
            return
        self._failures[name] += 1
        if self._failures[name] == 1:
            log.error("job_failed", job=name, problem=FAILURES[event.code], exc_info=error)


class _Every(BaseTrigger):  # type: ignore[misc] # APScheduler ships no types
    """So many seconds after the last run."""

    # APScheduler's own counts all runs that a clock has jumped over: 6 million since 1970.
    def __init__(self, seconds: Seconds) -> None:
        self.seconds = seconds

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """Return when to run next."""
        return now + timedelta(seconds=self.seconds)
