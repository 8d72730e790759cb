"""When one environment is looked at: its budget, its due-queue, its breaker's probes.

Environments share nothing, so that one that hangs, throttles or rejects delays no other.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import structlog

from monitor.adapters.store import Change, StorageError, Store
from monitor.core.board import STALE_AFTER_INTERVALS, EnvironmentBoard
from monitor.core.budget import LEASE, Budget
from monitor.core.model import Answer, Instant, PollError, Reason, Seconds
from monitor.core.schedule import DueQueue, Priority
from monitor.polling.token import Token
from monitor.polling.watch import Clock, Settings, Watch

LONGEST_PAUSE: Seconds = 15 * 60.0
"""No stored lease and no 429 silences us for longer, however wrong a clock is."""

TURN: Seconds = 5.0
"""The loop turns at least this often, due or not: `/-/healthy` and the token's file rely on it."""

log = structlog.get_logger()


class Api(Protocol):
    """The API of one environment, as far as a poller needs it."""

    async def fetch_sftp(self, campaign_id: str) -> Answer:
        """Return the answer for one campaign's SFTP config; a failure is an answer, too."""

    def set_token(self, token: str) -> None:
        """Use this token from the next request on."""

    async def aclose(self) -> None:
        """Close the connections."""


class Poller:
    """Polls one environment for as long as `run` runs."""

    def __init__(
        self,
        watch: Watch,
        api: Api,
        token: Token,
        store: Store,
        clock: Clock,
        next_call_at: Instant | None = None,
    ) -> None:
        """Poll for `watch` through `api`; `next_call_at` is the stored lease of the budget."""
        self.watch = watch
        self.api = api
        self.called = False
        self.on_poll: Callable[[], None] = _nothing
        self.turned_at = clock.elapsed()
        self._token = token
        self._store = store
        self._clock = clock
        self._queue = DueQueue()
        self._in_flight: set[str] = set()
        self._woken = asyncio.Event()
        self._probed = 0
        self._leased_until = clock.wall() if next_call_at is None else next_call_at
        wait = min(max(0.0, self._leased_until - clock.wall()), LONGEST_PAUSE)
        self._budget = Budget(1.0, clock.elapsed() + wait)
        self.configure(watch.settings, api, token)

    def configure(self, settings: Settings, api: Api, token: Token) -> None:
        """Take a config, new or changed; what is in flight ends under it."""
        self.api, self._token = api, token
        per_minute = settings.environment.budget_per_minute
        self._budget = replace(self._budget, per_minute=per_minute)
        removed = set(self.watch.settings.targets) - set(settings.targets)
        self.watch.configure(settings)
        for key in removed:
            self._queue.discard(key)
        for key in settings.targets:
            if key not in self._in_flight:
                self._plan(key)
        self._woken.set()

    def board(self) -> EnvironmentBoard:
        """Return this environment as it is known now."""
        watch, mono = self.watch, self._clock.elapsed()
        settings, due = watch.settings, self._queue.next_due()
        late = 0.0 if due is None or watch.status.breaker_open else max(0.0, mono - due)
        return EnvironmentBoard(
            now=watch.now(),
            status=watch.status,
            labels=settings.environment.labels,
            rules=settings.environment.rules,
            campaigns={key: watch.entry(key) for key in settings.targets},
            interval=settings.interval,
            stale_after=STALE_AFTER_INTERVALS * settings.interval,
            per_minute=self._budget.per_minute,
            available=self._budget.available(mono),
            lag=late,
            swept=len(settings.targets) - len(watch.unswept),
        )

    async def run(self) -> None:
        """Poll for ever. Cancelled, it writes down what it really spent of its lease."""
        try:
            async with asyncio.TaskGroup() as polls:
                while True:
                    key = await self._next()
                    self._in_flight.add(key)
                    await self._spend()
                    polls.create_task(self._poll(key))
        finally:
            next_call_at = self._on_the_wall(self._budget.next_at)
            self._store.save(Change(next_call_at={self.watch.name: next_call_at}))

    async def _next(self) -> str:
        """Return the campaign to poll, once one is due, a slot is free and the budget allows."""
        while True:
            self.turned_at = mono = self._clock.elapsed()
            probing = self.watch.status.breaker_open
            wait = max(self._budget.delay(mono), self._wait(mono))
            if wait <= 0 and (key := self._probe() if probing else self._queue.pop(mono)):
                return key
            self._woken.clear()
            try:
                async with asyncio.timeout(min(wait, TURN) if wait > 0 else TURN):
                    await self._woken.wait()
            except TimeoutError:
                continue

    def _wait(self, mono: Seconds) -> Seconds:
        """Return how many seconds to wait until there is something to poll."""
        status, polling = self.watch.status, self.watch.settings.polling
        if len(self._in_flight) >= (1 if status.breaker_open else polling.concurrency):
            return TURN
        if not status.breaker_open:
            due = self._queue.next_due()
            return TURN if due is None else due - mono
        if status.rejected_at is not None and self._token.changed():
            self.api.set_token(self._token.value)
            self.watch.probe_at_once()
        return self.watch.next_probe() - self.watch.now()

    def _probe(self) -> str | None:
        # Each probe asks for another campaign, so that one broken campaign is no outage.
        keys = list(self.watch.settings.targets)
        self._probed += 1
        return keys[self._probed % len(keys)] if keys else None

    async def _spend(self) -> None:
        # Written down before it is spent, so that a crash loop cannot spend a minute twice.
        self._budget = self._budget.spend(self._clock.elapsed())
        until = self._on_the_wall(self._budget.next_at)
        if until <= self._leased_until:
            return
        self._leased_until = until + LEASE
        try:
            await self._store.lease(self.watch.name, self._leased_until)
        except StorageError:
            log.warning("lease_not_stored", environment=self.watch.name)

    def _on_the_wall(self, mono: Seconds) -> Instant:
        return self._clock.wall() + mono - self._clock.elapsed()

    async def _poll(self, key: str) -> None:
        generation = self._token.generation
        try:
            answer = await self.api.fetch_sftp(key)
        except Exception:
            log.exception("poll_broke", environment=self.watch.name, campaign_id=key)
            answer = Answer(PollError(Reason.INTERNAL_ERROR))
        finally:
            self._in_flight.discard(key)
            self._woken.set()
        self._take(key, answer, generation)
        self.on_poll()

    def _take(self, key: str, answer: Answer, generation: int) -> None:
        self.called = True
        if answer.pause is not None:
            mono, pause = self._clock.elapsed(), min(answer.pause, LONGEST_PAUSE)
            self._budget = self._budget.pause(mono, pause)
            log.warning("paused_by_api", environment=self.watch.name, seconds=round(pause))
        before = self.watch.status
        self.watch.decide(key, answer, generation)
        if self.watch.status.unauthorized_with == generation == self._token.generation:
            self._token.read_again()
            self.api.set_token(self._token.value)
        if key in self.watch.settings.targets:
            self._plan(key)
        if self.watch.status.readable_seen:
            for other in before.not_found & self.watch.settings.targets.keys() - self._in_flight:
                self._queue.put(other, self._clock.elapsed(), Priority.NEVER_SEEN)
        if before.swept_at is None and self.watch.status.swept_at is not None:
            counts = {health.value: n for health, n in self.board().counts().items()}
            log.info("sweep_complete", environment=self.watch.name, **counts)

    def _plan(self, key: str) -> None:
        mono = self._clock.elapsed()
        planned = self.watch.next_poll(key)
        if planned is None:
            self._queue.put(key, mono, Priority.NEVER_SEEN)
        else:
            due, priority = planned
            self._queue.put(key, mono + max(0.0, due - self.watch.now()), priority)


def _nothing() -> None:
    """Do nothing: nobody waits for single polls."""
