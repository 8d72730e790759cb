"""A fleet of campaigns on virtual time, and who watches it: our core, or a fixed interval.

`history` is what really happens on the platform, drawn from a seeded generator. `Monitor` is the
real core (DueQueue, Budget, assess, next_poll) driven as monitor/polling/poller.py drives it, but
by a discrete-event loop: no asyncio, no clock. `fixed_interval` and `every_minute` are what gatus
and Prometheus with json_exporter do. All instants and spans are seconds.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf
from random import Random

from monitor.core.assess import assess
from monitor.core.budget import Budget, effective_interval
from monitor.core.model import (
    DAY,
    HOUR,
    MINUTE,
    EventStatus,
    Instant,
    Observation,
    PollError,
    Reason,
    Seconds,
    SftpConfig,
)
from monitor.core.rule import Target, resolve_rules
from monitor.core.rules import RULES
from monitor.core.schedule import DueQueue, PollIntervals, Priority, next_poll
from monitor.core.status import CampaignStatus

START: Instant = 1_767_225_600.0
"""Midnight of 2026-01-01 UTC: any instant would do."""

INTERVAL: Seconds = 5 * MINUTE
UNHEALTHY_INTERVAL: Seconds = MINUTE
IDLE_INTERVAL: Seconds = 30 * MINUTE
CONCURRENCY = 8
"""These are the defaults of `polling`."""

LATENCY: Seconds = 0.25
"""From a request to its answer, for everybody. The answer is what was so at the request."""

WARM_UP: Seconds = HOUR
"""Incidents of the first hour (the first sweep) and of the last (not yet told) do not count."""

FAILED, STALE = "failed_test", "stale_test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nature:
    """How campaigns break, heal and are tested; means of exponential times.

    Tests come at random, and where none came for `max_age` one is run `to_repair` later. These
    rates are five to ten times those of a calm fleet: more incidents in the same virtual time.
    """

    to_failure: Seconds = 10 * DAY
    to_repair: Seconds = 4 * HOUR
    between_tests: Seconds = 6 * DAY
    max_age: Seconds = 6 * DAY


@dataclass(slots=True)
class Gaps:
    """Spans between two looks at a campaign whose test had passed at the first of them.

    Failures come at random, so a gap meets one in proportion to its length and is half over
    then: that gives the mean delay far more exactly than the few failures that there are.
    """

    total: Seconds = 0.0
    half_squares: float = 0.0

    def add(self, gap: Seconds) -> None:
        """Count one gap."""
        self.total += gap
        self.half_squares += gap * gap / 2

    @property
    def expected_delay(self) -> Seconds:
        """The mean time from a failure at a random instant to the answer that shows it."""
        return self.half_squares / self.total + LATENCY


@dataclass(frozen=True, slots=True)
class Record:
    """A connection test on the platform's record, until the next one."""

    at: Instant
    passed: bool


@dataclass(frozen=True, slots=True)
class Incident:
    """What on-call has to be told: since when it is true, and until when."""

    campaign: str
    rule: str
    begins: Instant
    ends: Instant


Histories = Mapping[str, Sequence[Record]]
"""The records of every campaign by its id, oldest first; the last one ends the virtual time."""


def histories(campaigns: int, days: float, nature: Nature, seed: int) -> Histories:
    """Return what happens to so many campaigns from `START` on, for so many days."""
    random, end = Random(f"{seed} {campaigns} {days}"), START + days * DAY
    ids = [f"campaign-{number:05d}" for number in range(campaigns)]
    return {key: list(_history(random, nature, end)) for key in ids}


def _history(random: Random, nature: Nature, end: Instant) -> Iterator[Record]:
    # From some ages before the start, so that the fleet is in its steady state by then.
    last = Record(START - random.uniform(2, 3) * nature.max_age, passed=True)
    yield last
    while last.at <= end:
        repaired = random.expovariate(1 / nature.to_repair)
        tested = random.expovariate(1 / nature.between_tests)
        broken = random.expovariate(1 / nature.to_failure)
        if tested > nature.max_age:
            tested = nature.max_age + repaired
        if last.passed:
            last = Record(last.at + min(tested, broken), passed=tested <= broken)
        else:
            last = Record(last.at + repaired, passed=True)
        yield last


def incidents(manager: Histories, days: float, nature: Nature) -> list[Incident]:
    """Return the incidents that begin within the measured time, in order."""
    found = []
    for key, records in manager.items():
        for record, following in pairwise(records):
            stale_at = record.at + nature.max_age
            if not record.passed:
                found.append(Incident(key, FAILED, record.at, following.at))
            elif stale_at < following.at:
                found.append(Incident(key, STALE, stale_at, following.at))
    first, last = START + WARM_UP, START + days * DAY - WARM_UP
    measured = (incident for incident in found if first <= incident.begins < last)
    return sorted(measured, key=lambda incident: incident.begins)


class RateLimit:
    """The platform's limit: so many answers in any 60 s; what is above is refused with 429."""

    def __init__(self, per_minute: int) -> None:
        self.refused = 0
        self._per_minute = per_minute
        self._admitted: deque[Instant] = deque()

    def admits(self, at: Instant) -> bool:
        """Return whether a request at `at` is answered."""
        while self._admitted and self._admitted[0] <= at - MINUTE:
            self._admitted.popleft()
        if len(self._admitted) >= self._per_minute:
            self.refused += 1
            return False
        self._admitted.append(at)
        return True


class Monitor:
    """The real core on one environment; see `Poller` and `EnvironmentState` in monitor/polling."""

    def __init__(self, manager: Histories, per_minute: int, nature: Nature) -> None:
        self.requests = 0
        self.limit = RateLimit(per_minute)
        self.gaps = Gaps()
        self.told: dict[tuple[str, str, Instant | None], Instant] = {}
        self._platform = {key: iter(pairwise(records)) for key, records in manager.items()}
        self._on_record = {key: next(platform) for key, platform in self._platform.items()}
        # The other rules never change their mind here, and would take two thirds of the time.
        rules = resolve_rules(RULES, {STALE: {"max_age": nature.max_age}})
        rules = {name: rules[name] for name in (FAILED, STALE)}
        self._targets = {
            key: Target(environment="simulated", campaign_id=key, rules=rules) for key in manager
        }
        self._campaigns = {
            key: CampaignStatus(environment="simulated", campaign_id=key) for key in manager
        }
        self.budget = Budget(per_minute, START)
        interval = effective_interval(self.budget.pace(START), len(manager), INTERVAL)
        self.intervals = PollIntervals(
            interval=interval,
            unhealthy_interval=UNHEALTHY_INTERVAL * interval / INTERVAL,
            idle_interval=IDLE_INTERVAL,
            stretched=interval > INTERVAL,
        )
        self._queue = DueQueue()
        self._passed_at: dict[str, Instant] = {}
        self._in_flight: deque[tuple[Instant, str, Observation]] = deque()
        for key in manager:
            self._queue.put(key, START, Priority.NEVER_SEEN)

    def run(self, end: Instant) -> None:
        """Poll until `end`: whatever comes first, an answer or the next request."""
        now = START
        while True:
            answered = self._in_flight[0][0] if self._in_flight else inf
            due, sent = self._queue.next_due(), inf
            if due is not None and len(self._in_flight) < CONCURRENCY:
                sent = max(now, due, self.budget.next_at)
            now = min(answered, sent)
            if now >= end:
                return
            if answered <= sent:
                self._take(now)
            elif key := self._queue.pop(now):
                self._send(key, now)

    def _send(self, key: str, now: Instant) -> None:
        self.requests += 1
        self.budget = self.budget.spend(now)
        answered = self.limit.admits(now)
        answer = self._config(key, now) if answered else PollError(Reason.RATE_LIMITED)
        self._in_flight.append((now + LATENCY, key, answer))

    def _config(self, key: str, now: Instant) -> SftpConfig:
        while self._on_record[key][1].at <= now:
            self._on_record[key] = next(self._platform[key])
        record = self._on_record[key][0]
        looked_at = self._passed_at.pop(key, inf)
        if looked_at < inf and now >= START + WARM_UP:
            self.gaps.add(now - looked_at)
        if record.passed:
            self._passed_at[key] = now
        return SftpConfig(
            id=key,
            campaign_id=key,
            host="sftp.example",
            is_enabled=True,
            last_test_at=record.at,
            last_test_success=record.passed,
        )

    def _take(self, now: Instant) -> None:
        _, key, observation = self._in_flight.popleft()
        if isinstance(observation, PollError):
            self.budget = self.budget.refused(now, MINUTE)
        before, target = self._campaigns[key], self._targets[key]
        decision = assess(before, target, observation, now, remind_every={})
        self._campaigns[key] = decision.status
        for event in decision.events:
            if event.status is EventStatus.FIRING:
                self.told[key, event.rule, event.since] = now
        planned = next_poll(decision.status, target, self.intervals, now)
        assert planned is not None, "it was polled"
        latest = None if planned.deadline is None else max(now, planned.deadline)
        self._queue.put(key, max(now, planned.at), planned.priority, latest)

    def notified_at(self, incident: Incident) -> Instant:
        """Return when on-call was told of an incident; infinity: never."""
        return self.told.get((incident.campaign, incident.rule, incident.begins), inf)


def fixed_interval(incident: Incident, phase: float, interval: Seconds) -> Instant:
    """Return when a poll every `interval`, at a fixed phase from 0 to 1, tells of an incident.

    Infinity: never, for it was over before the next poll.
    """
    polled = (ceil(incident.begins / interval - phase) + phase) * interval
    return polled + LATENCY if polled < incident.ends else inf


def every_minute(incident: Incident, phase: float, answered: float, random: Random) -> Instant:
    """Return when a poll every minute tells of it, of which only the part `answered` is answered.

    It is chance who is refused: kinder than a fixed order, in which the last are refused always.
    """
    polled = (ceil(incident.begins / MINUTE - phase) + phase) * MINUTE
    while random.random() >= answered:
        polled += MINUTE
    return polled + LATENCY if polled < incident.ends else inf
