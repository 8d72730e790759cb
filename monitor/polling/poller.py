"""When one environment is looked at: its budget, its due-queue, its breaker's probes.

Environments share nothing, so that one that hangs, throttles or rejects delays no other.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

import structlog

from monitor.adapters.store import Change, StorageError, Store
from monitor.config import DiscoveryConfig
from monitor.core.board import STALE_AFTER_INTERVALS, EnvironmentBoard, Findings
from monitor.core.budget import LEASE, Budget, wait_of_lease
from monitor.core.clock import ahead
from monitor.core.discovery import Listing
from monitor.core.model import Answer, Instant, ListingAnswer, Reason, Seconds
from monitor.core.schedule import DueQueue, Priority
from monitor.core.status import EnvironmentStatus
from monitor.polling.api import Api
from monitor.polling.changes import log_budget
from monitor.polling.discovery import LISTING, Discovery
from monitor.polling.settings import Clock, Settings, Token
from monitor.polling.watch import Decided, Watch

TURN: Seconds = 5.0
"""The loop turns at least this often, due or not: `/-/healthy` and the token's file rely on it."""

log = structlog.get_logger()


class Poller:
    """Polls one environment for as long as `run` runs."""

    def __init__(
        self,
        watch: Watch,
        api: Api,
        token: Token,
        store: Store,
        clock: Clock,
        share: int,
        next_call_at: Instant | None = None,
    ) -> None:
        """Poll for `watch` through `api`; `next_call_at` is the stored lease of the budget.

        `share` is how many calls may be under way at once; `called`: one ended, now or before.
        """
        self.watch = watch
        self.api = api
        self.share = share
        self.called = watch.status.called_at is not None
        self.on_poll: Callable[[], None] = lambda: None
        self.turned_at = clock.elapsed()
        self._token = token
        self._store = store
        self._clock = clock
        self._queue = DueQueue()
        self._in_flight: set[str] = set()
        self._again: set[str] = set()
        self._woken = asyncio.Event()
        self._probed = 0
        self._next_first_poll: Seconds = 0.0
        self._discovery = Discovery(watch)
        self._listed_under: DiscoveryConfig | None = None
        self._listed_from = clock.elapsed()
        self._leased_until = clock.wall() if next_call_at is None else next_call_at
        wait = wait_of_lease(self._leased_until, clock.wall())
        self._budget = Budget(1.0, clock.elapsed() + wait)
        self._take_settings(watch.settings)

    def configure(self, settings: Settings, api: Api, token: Token) -> None:
        """Take a config, perhaps a changed one; what is in flight ends under it."""
        token.count_on_from(self._token)
        self.api, self._token = api, token
        # To plan 10,000 polls takes most of a second: only where there is something to plan.
        if settings is not self.watch.settings:
            self._take_settings(settings)
        self._woken.set()

    def _take_settings(self, settings: Settings) -> None:
        self._budget = replace(self._budget, per_minute=settings.environment.budget_per_minute)
        for key in set(self.watch.settings.targets) - set(settings.targets):
            self._queue.discard(key)
        anew = self.watch.configure(settings)
        self._next_first_poll = 0.0
        # The listing first: it may say that on-call is not to be told of a campaign of the file.
        self._plan_listing(settings.environment.discovery)
        for key in settings.targets:
            if key not in self._in_flight:
                self._plan(key)
        self._poll_next(anew)

    def board(self) -> EnvironmentBoard:
        """Return this environment as it is known now."""
        watch, mono = self.watch, self._clock.elapsed()
        settings, due = watch.settings, self._queue.next_due()
        late = 0.0 if due is None or watch.status.breaker_open else max(0.0, mono - due)
        return EnvironmentBoard(
            now=watch.now(),
            ahead=ahead(watch.status, watch.now())[0],
            status=watch.status,
            labels=settings.environment.alert_labels,
            rules=settings.environment.resolved.rules,
            findings=watch.findings,
            campaigns=dict(watch.entries),
            interval=watch.interval,
            stale_after=STALE_AFTER_INTERVALS * watch.interval,
            idle_stale_after=STALE_AFTER_INTERVALS * settings.polling.idle_interval,
            per_minute=self._budget.per_minute,
            available=self._budget.available(mono),
            lag=late,
            swept=len(settings.targets) - len(watch.unswept),
            listing_error=self._discovery.error,
        )

    async def run(self) -> None:
        """Poll for ever. Cancelled, it writes down what it really spent of its lease."""
        try:
            async with asyncio.TaskGroup() as polls:
                while True:
                    key, probing = await self._next(), self.watch.status.breaker_open
                    self._in_flight.add(key)
                    await self._spend()
                    # A reload, or another answer, may have spoken against it meanwhile.
                    if self._is_watched(key) and self.watch.status.breaker_open == probing:
                        polls.create_task(self._poll(key))
                    else:
                        self._in_flight.discard(key)
                        self._ask_again(key)
        finally:
            next_call_at = self._on_the_wall(self._budget.next_at)
            self._store.save(Change(next_call_at={self.watch.name: next_call_at}))

    async def _next(self) -> str:
        """Return the campaign to poll, once one is due and the share and the budget allow."""
        while True:
            self.turned_at = mono = self._clock.elapsed()
            wait = max(self._budget.delay(mono), self._wait(mono))
            probing = self.watch.status.breaker_open
            if wait <= 0 and (key := self._probe() if probing else self._queue.pop(mono)):
                return key
            # Nothing has awaited since the queue was looked at: no wake-up gets lost here.
            self._woken.clear()
            try:
                async with asyncio.timeout(min(wait, TURN) if wait > 0 else TURN):
                    await self._woken.wait()
            except TimeoutError:
                continue

    def _wait(self, mono: Seconds) -> Seconds:
        """Return how many seconds to wait until there is something to poll."""
        status, polling = self.watch.status, self.watch.settings.polling
        most = 1 if status.breaker_open else min(self.share, polling.concurrency)
        if len(self._in_flight) >= most:
            return TURN
        if not status.breaker_open:
            due = self._queue.next_due()
            return TURN if due is None else due - mono
        # At each turn, so that a token that was replaced works in seconds, not at the next probe.
        if status.rejected_at is not None and self._token.changed():
            self.api.set_token(self._token.value)
            self.watch.probe_at_once()
        return self.watch.next_probe() - self.watch.now()

    def _probe(self) -> str | None:
        # Each probe asks for another campaign, so that one broken campaign is no outage.
        # A listing is one only where it alone can close the breaker: it says nothing of configs.
        keys, settings = list(self.watch.settings.targets), self.watch.settings
        if settings.discovers and (not keys or self.watch.status.outage_reason is Reason.NOT_FOUND):
            keys.append(LISTING)
        self._probed += 1
        return keys[self._probed % len(keys)] if keys else None

    async def _spend(self) -> None:
        # Written down before it is spent, so that a crash loop cannot spend a minute twice.
        self._budget = self._budget.spend(self._clock.elapsed())
        until = self._on_the_wall(self._budget.next_at)
        # One further ahead than a lease reaches was written before our clock went back.
        if until <= self._leased_until <= until + LEASE:
            return
        self._leased_until = until + LEASE
        try:
            await self._store.lease(self.watch.name, self._leased_until)
        except StorageError:
            log.warning("lease_not_stored", environment=self.watch.name)

    def _is_watched(self, key: str) -> bool:
        known = self.watch.settings
        return known.discovers if key == LISTING else key in known.targets

    def _on_the_wall(self, mono: Seconds) -> Instant:
        return self._clock.wall() + mono - self._clock.elapsed()

    async def _poll(self, key: str) -> None:
        self._again.discard(key)
        generation, asked = self._token.generation, self._clock.elapsed()
        listing, base_url = self._discovery.listing, self.watch.settings.environment.base_url
        answer: Answer | ListingAnswer
        try:
            if key == LISTING:
                answer = await self.api.fetch_campaigns(self._discovery.page)
            else:
                answer = await self.api.fetch_sftp(key)
        finally:
            self._in_flight.discard(key)
            self._woken.set()
        # A reload may have pointed the environment at another API: of that one this says nothing.
        if base_url != self.watch.settings.environment.base_url:
            self._ask_again(key)
            return
        mono, plan = self._clock.elapsed(), self.watch.settings.environment.requests_per_minute
        budget, self._budget = self._budget, self._budget.answered(answer, plan, mono)
        log_budget(self.watch.name, budget, self._budget, answer.pause)
        self.watch.pace = self._budget.pace(mono)
        before, decided = self.watch.status, Decided([])
        if isinstance(answer, ListingAnswer):
            self.watch.observe_listing(answer, generation)
            self._take_listing(answer, listing)
        else:
            decided = self.watch.decide(key, answer, generation, took=mono - asked)
        self._follow_up(key, before, generation, decided)
        self.on_poll()

    def _ask_again(self, key: str) -> None:
        if self._is_watched(key):
            due = self._listed_from if key == LISTING else self._clock.elapsed()
            self._queue.put(key, due, Priority.NEVER_SEEN)

    def _follow_up(
        self, key: str, before: EnvironmentStatus, generation: int, decided: Decided
    ) -> None:
        self.called = True
        # Only after a 401 to the token of now: a late one to its predecessor says nothing.
        if self.watch.status.unauthorized_with == generation == self._token.generation:
            self._token.read_again()
            self.api.set_token(self._token.value)
        if key in self.watch.settings.targets:
            self._plan(key, decided.findings)
        anew = decided.anew
        # The base URL is right after all: 404s that were distrusted are asked again, and believed.
        if self.watch.status.readable_seen and not before.readable_seen:
            anew += [key for key in self.watch.distrusted() if key not in self._in_flight]
        self._poll_next([*anew, *({key} & self._again)])
        if before.swept_at is None and self.watch.status.swept_at is not None:
            counts = {health.value: n for health, n in self.board().counts().items()}
            log.info("sweep_complete", environment=self.watch.name, **counts)

    def _take_listing(self, answer: ListingAnswer, listing: Listing) -> None:
        if listing is not self._discovery.listing:
            return self._ask_again(LISTING)  # a reload has ended the one that this is a page of
        before = self.watch.settings.targets
        anew = self._discovery.take(answer.page)
        for key in before.keys() - self.watch.settings.targets.keys():
            self._queue.discard(key)
        for key in anew:
            if key in self._in_flight:
                continue  # even one that had left: it is planned when its call has ended
            if key not in before:
                self._plan(key)
            else:
                self._queue.put(key, self._clock.elapsed(), Priority.ROUTINE)
        # Due as long as its first page was, so that it stays ahead of the campaigns.
        first = self.watch.awaits_listing
        due = self._listed_from if first else self._clock.elapsed() + self._discovery.wait()
        self._queue.put(LISTING, due, Priority.NEVER_SEEN if first else Priority.ROUTINE)

    def _poll_next(self, keys: Iterable[str]) -> None:
        """Have campaigns polled ahead of all routine; those under way once more after that."""
        for key in keys:
            if key in self._in_flight:
                self._again.add(key)
            elif key in self.watch.settings.targets:
                self._queue.put(key, self._clock.elapsed(), Priority.NEVER_SEEN)

    def _plan_listing(self, discovery: DiscoveryConfig) -> None:
        """Have the campaigns listed at once where that was not done under this config."""
        if discovery == self._listed_under:
            return
        self._listed_under, self._listed_from = discovery, self._clock.elapsed()
        self._discovery.restart()
        if discovery.enabled and LISTING not in self._in_flight:
            self._queue.put(LISTING, self._listed_from, Priority.NEVER_SEEN)
        else:
            self._queue.discard(LISTING)

    def _plan(self, key: str, findings: Findings | None = None) -> None:
        mono = self._clock.elapsed()
        planned = self.watch.next_poll(key, findings)
        if planned is None:
            # At the budget's even pace from the start on: so nothing of it is late.
            due = max(mono, self._next_first_poll)
            self._next_first_poll = due + self._budget.spacing(mono)
            self._queue.put(key, due, Priority.NEVER_SEEN)
        else:
            now, deadline = self.watch.now(), planned.deadline
            due = mono + max(0.0, planned.at - now)
            latest = None if deadline is None else mono + max(0.0, deadline - now)
            self._queue.put(key, due, planned.priority, latest)
