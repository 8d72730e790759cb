"""What goes out of an environment: its budget is spent before; its connection tests are run."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from monitor.adapters.store import Change, StorageError, Store
from monitor.core.attempt import Attempt, Result, TestAnswer
from monitor.core.budget import LEASE, wait_of_lease
from monitor.core.guards import Hold, NotRun
from monitor.core.model import MINUTE, Instant, PollError, Reason, Seconds
from monitor.core.outcomes import Step
from monitor.polling.environment_state import EnvironmentState
from monitor.polling.settings import Connection
from monitor.polling.tester import Tester

# What came of a test that did not go out, and of one that did and has no answer.
NOT_SENT = TestAnswer(PollError(Reason.CONNECT_ERROR, "it was not sent"))
BROKE_OFF = TestAnswer(PollError(Reason.INTERNAL_ERROR))

# A test goes out no longer than this after its campaign was polled, however long the queue is.
READ_WITHIN = 5 * MINUTE

log = structlog.get_logger()


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


@dataclass(eq=False)
class TestRunner:
    """Sends tests; `under_way` are the tasks that do.

    `poll_now` polls a campaign at once, `spawn` starts a task that lives as long as the poller.
    """

    __test__ = False  # no test case of pytest's

    tester: Tester
    spending: Spending
    connection: Connection
    poll_now: Callable[[str], Awaitable[None]]
    spawn: Callable[[Coroutine[object, None, object]], None]
    under_way: set[asyncio.Task[Any] | None] = field(default_factory=set)

    async def run_due(self, key: str) -> bool:
        """Run a campaign's test, if it is still due when the budget lets it out.

        Returns whether the campaign is to be polled at once.
        """
        state = self.tester.state
        base_url = state.settings.environment.base_url
        await self.spending.turn()
        entry = state.entries.get(key)
        if entry is None or base_url != state.settings.environment.base_url:
            return False
        # A pause that the API has asked for may have been long: then it is read again before.
        if state.now() - (entry.status.polled_at or 0.0) > READ_WITHIN:
            return True
        step = self.tester.begin(key)
        if step is not None:
            await self._send(step)
        return step is not None

    async def begin_now(
        self, key: str, by: str, *, force: bool = False, unblock: bool = False
    ) -> Step | Hold | NotRun:
        """Poll a campaign, and begin a test of it unless something holds it: then return that.

        `force` overrides gaps and `between`, `unblock` a block of the login: that is logged.
        """
        state = self.tester.state
        if state.status.breaker_open:
            return NotRun("the API does not answer, or refuses everything: nothing can be asked")
        asked_at = state.now()
        await self.poll_now(key)
        await self.spending.turn()
        entry = state.entries.get(key)
        if entry is None or (entry.status.polled_at or 0.0) < asked_at:
            return NotRun("the campaign was not polled: the settings have changed, try again")
        if entry.status.error is not None:
            return NotRun(f"the campaign cannot be read: {entry.status.error.reason}")
        return self.tester.begin_now(key, by, force=force, unblock=unblock)

    async def finish(self, step: Step) -> Attempt | NotRun:
        """Send a test that was begun by hand, poll its campaign, and return what came of it."""
        answer = await self._send(step)
        key, attempt = step.attempt.campaign_id, step.attempt
        await self.poll_now(key)
        # An attempt without a result may have the record's by now.
        entry = self.tester.state.entries.get(key)
        attempts = entry.status.tests.attempts if entry is not None else ()
        found = next((one for one in attempts if one.at == attempt.at), None)
        if found is not None:
            return found
        said = answer.observation
        why = f"{said.reason} {said.detail}".strip() if isinstance(said, PollError) else "it left"
        log.warning("test_not_run", environment=attempt.environment, campaign_id=key, why=why)
        return NotRun(f"no test was run: {why}")

    async def _send(self, step: Step) -> TestAnswer:
        """Send a test, once it is on disk that it was begun; return the answer, which is taken."""
        state, connection, attempt = self.tester.state, self.connection, step.attempt
        entry, usual = state.entries.get(attempt.campaign_id), state.settings.environment
        within = (usual.resolved.tests if entry is None else entry.target.tests).timeout
        token, task, base_url = connection.generation, asyncio.current_task(), usual.base_url
        answer = NOT_SENT
        self.under_way.add(task)
        try:
            # One transaction with the attempt, which must not be sent unless it is known.
            await self.spending.write()
            if self._may_send(attempt, base_url):
                answer = BROKE_OFF
                answer = await connection.api.run_test(attempt.campaign_id, within)
        except StorageError:
            pass  # not sent: what cannot be written down could be sent twice
        except Exception as error:
            known = {"environment": state.name, "campaign_id": attempt.campaign_id}
            log.error("test_broke", **known, exc_info=error)
        finally:
            self.under_way.discard(task)
            # When cancelled, too: else its login and host would be held in all environments.
            self.tester.end(attempt, answer)
        end_round(self.tester)
        if answer.status == 401 and token == connection.generation:
            connection.read_again()
        if answer.status == 429 and answer.rate is not None and answer.rate.remaining == 0:
            state.budget = state.budget.refused(state.clock.elapsed(), answer.pause or MINUTE)
        return answer

    def _may_send(self, attempt: Attempt, base_url: str) -> bool:
        """Return whether a test is still wanted, and ours to run, now that it is on disk."""
        state, entry = self.tester.state, self.tester.state.entries.get(attempt.campaign_id)
        wanted = entry is not None and (entry.target.tests.enabled or bool(attempt.by))
        ours = state.held() and self.tester.has_guards(attempt)
        return ours and wanted and base_url == state.settings.environment.base_url


def end_round(tester: Tester) -> None:
    """Log what the first round came to, once each campaign has had a test, or can have none."""
    state, tests = tester.state, tester.state.status.tests
    counts = {one.value: 0 for one in Result} | {"held_back": 0}
    if tests.round_over or tests.on_since is None:
        return
    for key, entry in state.entries.items():
        tested, last, planned = tester.tested(key), entry.status.tests.last, tester.planned.get(key)
        if entry.status.polled_at is None:
            return
        if not tested.wanted:
            continue
        if last is not None and last.at >= tests.on_since:
            counts[last.result.value] += 1
        elif tested.config is not None and tested.recorded_at >= tests.on_since:
            counts["passed" if tested.config.last_test_success else "failed"] += 1
        elif planned is not None and planned.hold is not None and planned.hold.until is None:
            counts["held_back"] += 1
        else:
            return
    tester.put_environment(replace(tests, round_over=True))
    log.info("first_round_complete", environment=state.name, **counts)
