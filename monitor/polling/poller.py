"""When one environment is polled: its budget, its due-queue, its breaker's probes.

Environments share nothing, so that one that hangs, throttles or rejects delays no other.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from weakref import proxy

import structlog

from monitor.adapters.metrics import SelfMetrics
from monitor.adapters.store import Store
from monitor.core.clock import ahead
from monitor.core.corroboration import distrusted
from monitor.core.model import Answer, AnyAnswer, Instant, PageAnswer, PollError, Reason, Seconds
from monitor.core.schedule import DueQueue, NextPoll, Priority, next_poll, next_probe
from monitor.core.snapshot import EnvironmentSnapshot
from monitor.polling.environment_state import LISTING, EnvironmentState
from monitor.polling.runner import Spending, TestRunner
from monitor.polling.settings import Api, Connection, Settings
from monitor.polling.tester import Tester
from monitor.polling.view import snapshot_of

NOTHING = PollError(Reason.INTERNAL_ERROR)  # in place of an observation, for a page of a listing

# The loop turns at least this often, due or not: `/-/healthy` and the token's file rely on it.
TURN: Seconds = 5.0

AT_ONCE = 50  # so many campaigns take a changed config in one go, which takes some 10 ms
log = structlog.get_logger()


@dataclass(eq=False)
class Poller:
    """Polls one environment for as long as `run` runs.

    `leased_until` is what its budget's lease is on disk, `share` how many calls may be under way at
    once; `called`: one ended, now or before the start.
    """

    state: EnvironmentState
    connection: Connection
    store: Store
    own: SelfMetrics
    leased_until: Instant
    tester: Tester
    share: int = 1
    on_poll: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self._clock, self.called = self.state.clock, self.state.status.called_at is not None
        self.turned_at = self._clock.elapsed()
        self._queue, self._woken, self._landed = DueQueue(), asyncio.Event(), asyncio.Event()
        self._in_flight = dict[str, asyncio.Task[None] | None]()
        self._again, self._broken, self._begun = set[str](), set[str](), False
        self._next_first_poll = 0.0
        self._spending = Spending(self.state, self.store, self.leased_until)
        # Not held by it: both would wait for the collector, and all campaigns with them.
        more = partial(Poller.poll_now, proxy(self)), partial(Poller._spawn, proxy(self))
        self.runner = TestRunner(self.tester, self._spending, self.connection, *more)

    def configure(self, connection: Connection) -> asyncio.Task[None]:
        """Use another API, then `take` its settings; return what closes the old one in time."""
        # Counted from 0, no 401 to it would ever look later than one to its predecessor.
        connection.generation = self.connection.generation + 1
        before, self.connection = self.connection, connection
        self.runner.connection = connection
        self._woken.set()
        return asyncio.create_task(self._retire(before.api))

    async def _retire(self, api: Api) -> None:
        calls = (*self._in_flight.values(), *self.runner.under_way)
        under_way = [task for task in calls if task is not None]
        await asyncio.gather(*under_way, return_exceptions=True)
        await api.aclose()

    async def take(self, settings: Settings) -> None:
        """Take a config, new or changed; between some campaigns and the next ones polls go on."""
        known = self.state.settings
        # A listing may have ended since the settings were prepared.
        if settings.target_set is not known.target_set:
            settings = replace(settings, target_set=known.target_set)
        if self._begun and settings is known:
            return
        every = not self._begun or not settings.plans_as(known)
        if every:
            self._next_first_poll = 0.0
        self._begun = True
        # The listing first: it may say that on-call is not notified of a campaign of the file.
        for number, (key, anew) in enumerate(self.state.configure(settings, every=every)):
            if key == LISTING:
                self.tester.configure()
                self.own.show_tests(self.state.name, on=settings.tests_on)
            if not self._is_watched(key):
                self._queue.discard(key)
            elif anew and key not in self._in_flight:
                self._plan(key)
            if number % AT_ONCE == 0:
                self._woken.set()
                await asyncio.sleep(0)
        self._poll_next(self.state.doubts.restore(self.state.entries))
        self._woken.set()

    def snapshot(self) -> EnvironmentSnapshot:
        """Return this environment as it is known now."""
        due = None if self.state.status.breaker_open else self._queue.next_due()
        return snapshot_of(self.tester, due)

    async def run(self, *, by_itself: bool = True) -> None:
        """Poll for ever, or what is asked for alone; cancelled, it settles what it has spent."""
        try:
            async with asyncio.TaskGroup() as polls:
                self._tasks = polls
                while by_itself or await asyncio.Event().wait():
                    key, probing = await self._next(), self.state.status.breaker_open
                    self._in_flight[key] = None
                    await self._spending.spend()
                    # A reload, or another answer, may have spoken against it meanwhile.
                    wanted = self._is_watched(key) and self.state.held()
                    if wanted and self.state.status.breaker_open == probing:
                        self._in_flight[key] = polls.create_task(self._poll(key))
                    else:
                        self._land(key)
                        self._poll_next([key])
        finally:
            self._spending.settle()
            await self.connection.api.aclose()

    async def _next(self) -> str:
        """Return the campaign to poll, once one is due and the share and the budget allow."""
        while True:
            self.turned_at = mono = self._clock.elapsed()
            wait = max(self.state.budget.delay(mono), self._wait(mono))
            probing = self.state.status.breaker_open
            if (probed := self.tester.probe()) is not None:
                self._poll_next([probed])
            if wait <= 0 and (
                key := self.state.probed_next() if probing else self._queue.pop(mono)
            ):
                return key
            # Nothing has awaited since the queue was looked at: no wake-up gets lost here.
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait, TURN) if wait > 0 else TURN):
                    await self._woken.wait()

    def _wait(self, mono: Seconds) -> Seconds:
        """Return how many seconds to wait until there is something to poll."""
        status, polling = self.state.status, self.state.settings.polling
        most = 1 if status.breaker_open else min(self.share, polling.concurrency)
        if len(self._in_flight) >= most:
            return TURN
        if not status.breaker_open:
            due = self._queue.next_due()
            return TURN if due is None else due - mono
        # At each turn, so that a token that was replaced works in seconds, not at the next probe.
        if status.rejected_at is not None and self.connection.token_changed():
            # The next probe is due at once: there is reason to hope.
            self.state.status = status = replace(status, called_at=None)
        context = self.state.settings.context_at(self.state.pace)
        at = next_probe(status, context, polling.probe_interval, polling.token_probe_interval)
        return at - self.state.now()

    def _is_watched(self, key: str) -> bool:
        return self.state.settings.discovers if key == LISTING else key in self.state.entries

    async def poll_now(self, key: str) -> None:
        """Poll a campaign ahead of its turn; return once its answer is taken."""
        await self._spending.turn()
        while key in self._in_flight:
            await self._landed.wait()
        self._in_flight[key] = asyncio.current_task()
        await self._poll(key, by_hand=True)

    async def _poll(self, key: str, *, by_hand: bool = False) -> None:
        state, token = self.state, self.connection.generation
        listing, base_url = state.listing, state.settings.environment.base_url
        asked = self._clock.elapsed()
        answer = await self._call(key, asked)
        # Another replica may have it by now, or a reload have pointed it at another API.
        if not state.held() or base_url != state.settings.environment.base_url:
            return self._poll_next([key])
        state.now()  # where our clock stepped meanwhile, all that is read below goes along first
        before, took, was = state.status, self._clock.elapsed() - asked, state.entries.get(key)
        seen = answer.observation if isinstance(answer, Answer) else NOTHING
        testing = self.tester.for_rules(key, seen)
        anew, planned, guards = state.decide(key, answer, token, took, testing)
        if planned is not None and was is not None:
            self.tester.decided(before, was, state.entries[key], guards)
        # Unless a reload has ended the listing that this is a page of.
        if isinstance(answer, PageAnswer) and listing is state.listing:
            self._take_page(answer)
        self.called = True
        # Only after a 401 to the token of now: a late one to its predecessor says nothing.
        if state.status.unauthorized_with == token == self.connection.generation:
            self.connection.read_again()
        if self._is_watched(key) and self._plan(key, planned) and not by_hand:
            # Right after the poll: the config is as it was planned for.
            self._spawn(self._test(key))
        # The base URL is right after all: 404s that were distrusted are asked again, and believed.
        if state.status.readable_seen and not before.readable_seen:
            anew += [key for key in distrusted(state.entries) if key not in self._in_flight]
        self._poll_next([*anew, *({key} & self._again)])
        if before.swept_at is None and state.status.swept_at is not None:
            log.info("sweep_complete", environment=state.name, **self.snapshot().counts())
        self.on_poll()

    async def _call(self, key: str, started: Seconds) -> AnyAnswer:
        """Return the API's answer; a call that raises is an `internal_error`: counted, logged."""
        self._again.discard(key)
        api, page, listing = self.connection.api, self.state.listing.next_page, key == LISTING
        try:
            answer = await (api.fetch_campaigns(page or 1) if listing else api.fetch_sftp(key))
            self._broken.discard(key)
            return answer
        except Exception as error:
            endpoint, campaign_id = ("campaigns", "") if listing else ("sftp", key)
            name, took = self.state.name, self._clock.elapsed() - started
            self.own.call_made(name, endpoint, took, Reason.INTERNAL_ERROR)
            # With its traceback at the first in a row for the same campaign.
            if key not in self._broken:
                log.error("poll_broke", environment=name, campaign_id=campaign_id, exc_info=error)
                self._broken.add(key)
            failed = PollError(Reason.INTERNAL_ERROR, type(error).__name__)
            return PageAnswer(failed) if listing else Answer(failed)
        finally:
            self._land(key)

    def _land(self, key: str) -> None:
        """Note that a call is not under way any more."""
        del self._in_flight[key]
        self._woken.set()
        self._landed.set()
        self._landed = asyncio.Event()

    def _take_page(self, answer: PageAnswer) -> None:
        before = self.state.settings.targets
        anew = self.state.take_page(answer.observation)
        if self.state.settings.tests_on:
            self.tester.configure()  # those that are tested may be the first that it has found
        for key in before.keys() - self.state.settings.targets.keys():
            self._queue.discard(key)
        # One under way, even if it had left, is planned when its call has ended.
        for key in [key for key in anew if key not in self._in_flight]:
            if key not in before:
                self._plan(key)
            else:
                self._queue.put(key, self._clock.elapsed(), Priority.ROUTINE)

    def _poll_next(self, keys: Iterable[str]) -> None:
        """Have campaigns polled ahead of all routine; those under way once more after that."""
        for key in keys:
            if key in self._in_flight:
                self._again.add(key)
            elif key in self.state.entries:
                self._queue.put(key, self._clock.elapsed(), Priority.NEVER_SEEN)
            elif self._is_watched(key):
                self._plan(key)

    def _plan(self, key: str, planned: NextPoll | None = None) -> bool:
        """Put a campaign's next poll into the queue; return whether a test of it is due now."""
        mono, now = self._clock.elapsed(), self.state.now()
        if key == LISTING:
            self._queue.put(key, *self.state.listing_due)
            return False
        fresh = planned is not None
        if planned is None:
            entry, intervals = self.state.entries[key], self.state.settings.intervals
            # What was found is of other rules, perhaps, unless it is settled.
            found = None if entry.settled is None else entry.findings
            skew = ahead(self.state.status, now)
            planned = next_poll(entry.status, entry.target, intervals, now, skew, findings=found)
        if planned is None:
            # At the budget's even pace from the start on: so nothing of it is late.
            due = max(mono, self._next_first_poll)
            self._next_first_poll = due + self.state.budget.spacing(mono)
            self._queue.put(key, due, Priority.NEVER_SEEN)
            return False
        test = self.tester.plan(key)
        is_due = fresh and test is not None and test.at is not None and test.at <= now
        if test is not None and test.at is not None and not is_due and test.at < planned.at:
            planned = planned._replace(at=test.at, priority=min(planned.priority, Priority.TEST))
        deadline, due = planned.deadline, mono + max(0.0, planned.at - now)
        latest = None if deadline is None else mono + max(0.0, deadline - now)
        self._queue.put(key, due, planned.priority, latest)
        return is_due

    def _spawn(self, work: Coroutine[object, None, object]) -> None:
        self._testing = self._tasks.create_task(work)

    async def _test(self, key: str) -> None:
        if await self.runner.run_due(key):
            self._poll_next([key])
        elif key in self.state.entries and key not in self._in_flight:
            self._plan(key)  # something holds it by now: when that has ended it is due again
        self._woken.set()
