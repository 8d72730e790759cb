"""How long from the record of a test to the alert? Our polling against a fixed interval.

The second part of `benchmarks.freshness`: time to alert, requests spent, requests refused, and
whether what we claim holds. What broke before somebody ran the test is the first part's matter. The
model is in benchmarks/simulation.py.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, inf
from random import Random
from statistics import mean

from benchmarks.simulation import (
    FAILED,
    INTERVAL,
    LATENCY,
    STALE,
    START,
    Incident,
    Monitor,
    Nature,
    every_minute,
    fixed_interval,
    histories,
    incidents,
)
from monitor.core.alerts import AFTER_DEADLINE
from monitor.core.budget import Budget, effective_interval
from monitor.core.model import DAY, HOUR, MINUTE, Instant, Seconds

CAMPAIGNS = (50, 200, 1000)
BUDGETS = (50, 100, 500)

POLLS, QUICK_POLLS = 320_000, 15_000
"""About so many polls a setting (0.1 ms each): calm settings get more virtual days than busy ones.
"""

SHORTEST: Seconds = 4 * HOUR

PROMPT: Seconds = 2.0
"""A stale test is told so soon, and one request's wait; a slot each where deadlines coincide."""

SEED = 1

TellsAt = Callable[[Incident], Instant]


@dataclass(frozen=True, slots=True)
class Setting:
    """One run: so many campaigns, so many requests a minute, for so many virtual days."""

    campaigns: int
    per_minute: int
    days: float


@dataclass(frozen=True, slots=True)
class Delays:
    """Times from truth to alert, in seconds; `missed` were over before anybody looked."""

    told: int
    missed: int
    mean: Seconds
    p99: Seconds


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one way of polling gave. `expected` is the mean for a failure at a random instant.

    It is worked out from the gaps between polls, and so is free of the luck of few incidents.
    """

    policy: str
    interval: Seconds
    requests_per_minute: float
    refused_per_minute: float
    failed: Delays
    expected: Seconds
    stale: Delays


@dataclass(frozen=True, slots=True)
class Comparison:
    """All ways of polling at one setting; `late` of the stale tests broke our promise, by `by`."""

    setting: Setting
    ours: Outcome
    equal: Outcome
    minutely: Outcome
    late: int
    by: Seconds

    @property
    def failed_ratio(self) -> float:
        """Our expected delay of a failed test, with a fixed interval's at equal requests as 1."""
        return self.ours.expected / self.equal.expected


def settings(polls: int) -> list[Setting]:
    """Return the settings, each with the virtual time in which it spends about `polls`."""
    made = []
    for campaigns in CAMPAIGNS:
        for per_minute in BUDGETS:
            interval = effective_interval(
                Budget(per_minute, START).pace(START), campaigns, INTERVAL
            )
            days = max(polls * interval / campaigns, SHORTEST) / DAY
            made.append(Setting(campaigns, per_minute, days))
    return made


def compare(setting: Setting) -> Comparison:
    """Run one setting: the same history of the same campaigns for each way of polling."""
    nature = Nature()
    manager = histories(setting.campaigns, setting.days, nature, SEED)
    happened = incidents(manager, setting.days, nature)
    monitor = Monitor(manager, setting.per_minute, nature)
    monitor.run(START + setting.days * DAY)

    spent = monitor.requests / (setting.days * DAY / MINUTE)
    late = overruns(happened, monitor.notified_at, monitor.budget.spacing(START))
    return Comparison(
        setting=setting,
        ours=Outcome(
            policy="sftp-monitor",
            interval=monitor.intervals.interval,
            requests_per_minute=spent,
            refused_per_minute=monitor.limit.refused / (setting.days * DAY / MINUTE),
            failed=delays(happened, FAILED, monitor.notified_at),
            expected=monitor.gaps.expected_delay,
            stale=delays(happened, STALE, monitor.notified_at),
        ),
        equal=_equal_requests(manager, happened, spent),
        minutely=_every_minute(manager, happened, setting.per_minute),
        late=len(late),
        by=max(late, default=0.0),
    )


def _equal_requests(manager: Iterable[str], happened: list[Incident], spent: float) -> Outcome:
    phases = _phases(manager)
    interval = len(phases) / spent * MINUTE

    def notified_at(incident: Incident) -> Instant:
        return fixed_interval(incident, phases[incident.campaign], interval)

    return Outcome(
        policy="fixed interval, equal requests",
        interval=interval,
        requests_per_minute=spent,
        refused_per_minute=0.0,
        failed=delays(happened, FAILED, notified_at),
        expected=interval / 2 + LATENCY,
        stale=delays(happened, STALE, notified_at),
    )


def _every_minute(manager: Iterable[str], happened: list[Incident], limit: int) -> Outcome:
    phases, random = _phases(manager), Random(SEED)
    answered = min(1.0, limit / len(phases))

    def notified_at(incident: Incident) -> Instant:
        return every_minute(incident, phases[incident.campaign], answered, random)

    return Outcome(
        policy="every minute",
        interval=MINUTE,
        requests_per_minute=len(phases),
        refused_per_minute=max(0, len(phases) - limit),
        failed=delays(happened, FAILED, notified_at),
        expected=(1 / answered - 0.5) * MINUTE + LATENCY,
        stale=delays(happened, STALE, notified_at),
    )


def _phases(manager: Iterable[str]) -> dict[str, float]:
    # Evenly spread: the best that a fixed interval can do.
    keys = list(manager)
    return {key: number / len(keys) for number, key in enumerate(keys)}


def delays(happened: Iterable[Incident], rule: str, notified_at: TellsAt) -> Delays:
    """Return how long a rule's incidents took to be told."""
    spans = sorted(notified_at(i) - i.begins for i in happened if i.rule == rule)
    told = [span for span in spans if span < inf]
    p99 = told[ceil(0.99 * len(told)) - 1] if told else 0.0
    return Delays(len(told), len(spans) - len(told), mean(told) if told else 0.0, p99)


def overruns(happened: Iterable[Incident], notified_at: TellsAt, slot: Seconds) -> list[Seconds]:
    """Return by how much stale tests broke the promise, for those that did.

    The promise: each deadline gets the first slot after it that no earlier deadline needs.
    """
    found, free = [], 0.0
    for incident in happened:
        if incident.rule == STALE and notified_at(incident) < inf:
            free = max(incident.begins + AFTER_DEADLINE, free) + slot
            late = notified_at(incident) - (free + PROMPT - AFTER_DEADLINE)
            if late > 0:
                found.append(late)
    return found


def table(results: Sequence[Comparison]) -> str:
    """Return the figures for people, a line for each setting and way of polling."""
    lines = [
        "                                                           |   failed test, s   |"
        "   stale test, s",
        "campaigns budget way of polling                   req  429 |  mean  p99 expected"
        " |   mean    p99  missed",
    ]
    for result in results:
        head = f"{result.setting.campaigns:9} {result.setting.per_minute:6}"
        for way in (result.ours, result.equal, result.minutely):
            lines.append(
                f"{head} {way.policy:30} {way.requests_per_minute:5.0f} "
                f"{way.refused_per_minute:4.0f} | {way.failed.mean:5.0f} {way.failed.p99:4.0f} "
                f"{way.expected:8.1f} | {way.stale.mean:6.1f} {way.stale.p99:6.1f}   "
                f"{way.failed.missed + way.stale.missed:3} of {_incidents(way)}"
            )
            head = " " * len(head)
    return "\n".join(lines)


def _incidents(way: Outcome) -> int:
    return sum(part.told + part.missed for part in (way.failed, way.stale))


def claims(results: Sequence[Comparison]) -> str:
    """Return what we claim beside what came out, a line for each setting."""
    lines = [
        "claimed: stale tests in time: all | failed tests, ours : fixed: ≤ 1 | refused, ours: 0",
    ]
    for result in results:
        stale = result.ours.stale
        prompt = f"{stale.told - result.late} of {stale.told}"
        if result.late:
            prompt += f", the worst {result.by:.0f} s late"
        faster = result.equal.stale.mean / stale.mean if stale.mean else 0.0
        lines.append(
            f"{result.setting.campaigns:5} at {result.setting.per_minute:3}: {prompt} "
            f"({faster:.0f} times as fast) | {result.failed_ratio:.3f} | "
            f"{result.ours.refused_per_minute:.0f}, every minute: "
            f"{result.minutely.refused_per_minute:.0f} a minute"
        )
    return "\n".join(lines)
