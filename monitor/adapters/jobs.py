"""What runs by the calendar: retention and the heartbeat. Nothing that decides hangs on it."""

from collections.abc import Awaitable, Callable

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from monitor.core.model import Seconds

log = structlog.get_logger()


class Jobs:
    """Calendar jobs on the running event loop, in UTC."""

    def __init__(self) -> None:
        """Make the scheduler; `start` it inside the loop."""
        # A job that was late (a suspended machine) still runs, once, and never beside itself.
        defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        self._scheduler = AsyncIOScheduler(timezone="UTC", job_defaults=defaults)
        self._scheduler.add_listener(_log_trouble, EVENT_JOB_ERROR | EVENT_JOB_MISSED)

    def every(self, seconds: Seconds, name: str, job: Callable[[], Awaitable[None]]) -> None:
        """Run `job` on the loop every so many seconds (0: never), instead of one of that name."""
        if self._scheduler.get_job(name):
            self._scheduler.remove_job(name)
        if seconds > 0:
            self._scheduler.add_job(job, "interval", seconds=seconds, id=name)

    def start(self) -> None:
        """Start on the running event loop."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop; a running job is cancelled. Harmless before `start`."""
        if self._scheduler.running:
            # It cannot wait for coroutines: with wait=True they would be cancelled just so.
            self._scheduler.shutdown(wait=False)


def _log_trouble(event: JobExecutionEvent) -> None:
    log.error("job_failed", job=event.job_id, problem=repr(event.exception))
