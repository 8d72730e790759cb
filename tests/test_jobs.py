"""Calendar jobs: on the wall clock, which may step, and watched while they run."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from monitor.core.model import DAY, HOUR
from monitor.jobs import Jobs
from support.fake_platform import now

SOON = 0.02


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs]:
    made = Jobs()
    made.start()
    yield made
    made.stop()


class Counted:
    """A job that counts its runs, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.runs = 0
        self.failures = failures
        self._ran = asyncio.Event()

    async def __call__(self) -> None:
        self.runs += 1
        self._ran.set()
        if self.runs <= self.failures:
            raise ValueError("no")

    async def until(self, runs: int) -> None:
        """Return after so many runs."""
        async with asyncio.timeout(30):
            while self.runs < runs:
                self._ran.clear()
                await self._ran.wait()


async def test_a_job_runs_again_and_again(jobs: Jobs) -> None:
    job = Counted()
    jobs.every(SOON, "job", job.__call__)
    await job.until(3)


async def test_a_job_that_is_never_to_run_does_not(jobs: Jobs) -> None:
    never, job = Counted(), Counted()
    jobs.every(SOON, "never", never.__call__)
    jobs.every(0, "never", never.__call__)
    jobs.every(SOON, "job", job.__call__)
    await job.until(3)
    assert never.runs == 0


async def test_fault_25_a_clock_that_goes_back_an_hour_holds_up_no_job(jobs: Jobs) -> None:
    job = Counted()
    # As the scheduler sees it after the step: due an hour and a moment from now.
    jobs.every(HOUR + SOON, "job", job.__call__)
    jobs.clock_stepped(-HOUR, now())
    await job.until(1)


async def test_fault_25_a_job_that_ran_since_the_clock_went_forward_is_not_put_off(
    jobs: Jobs,
) -> None:
    job = Counted()
    jobs.every(SOON, "job", job.__call__)
    jobs.clock_stepped(365 * DAY, now())
    await job.until(2)


async def test_fault_26_a_job_runs_once_for_all_the_years_that_the_clock_has_jumped(
    jobs: Jobs,
) -> None:
    job = Counted()
    jobs.every(HOUR, "job", job.__call__)
    jobs.clock_stepped(-56 * 365 * DAY, now())
    await job.until(1)
    other = Counted()
    jobs.every(SOON, "other", other.__call__)
    await other.until(3)
    assert job.runs == 1


async def test_the_same_interval_again_puts_a_job_off_no_further(jobs: Jobs) -> None:
    job = Counted()
    jobs.every(HOUR, "job", job.__call__)
    jobs.clock_stepped(SOON - HOUR, now())
    jobs.every(HOUR, "job", job.__call__)
    await job.until(1)


async def test_fault_43_a_job_that_raises_is_logged_once_and_goes_on(jobs: Jobs) -> None:
    job = Counted(failures=3)
    with capture_logs() as logged:
        jobs.every(SOON, "job", job.__call__)
        await job.until(5)
    assert [(one["event"], one.get("problem"), one.get("after")) for one in logged] == [
        ("job_failed", "raised", None),
        ("job_recovered", None, 3),
    ]
    assert isinstance(logged[0]["exc_info"], ValueError)


async def test_a_job_that_is_still_running_is_not_run_beside_itself(jobs: Jobs) -> None:
    running, most, over = 0, 0, asyncio.Event()

    async def slow() -> None:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        await over.wait()
        running -= 1

    other = Counted()
    with capture_logs() as logged:
        jobs.every(SOON, "slow", slow)
        jobs.every(SOON, "other", other.__call__)
        await other.until(5)
    over.set()
    assert most == 1
    assert [(one["event"], one["problem"]) for one in logged] == [("job_failed", "still running")]
