"""How long from a break to the critical alert? Four ways of finding it out, over the same breaks.

`benchmarks/nature.py` is what breaks and who reacts, `benchmarks/watching.py` the real polling code
that watches it. Polls in which nothing can be new are made less often than the product makes them,
or 90 days would be 26 million decisions; what that does is measured, beside (`effects`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, inf
from statistics import median

from benchmarks.nature import Break, Kind
from benchmarks.watching import PLAN, Run, Watched, Way, watch
from monitor.core.budget import Budget, effective_interval
from monitor.core.model import DAY, HOUR, MINUTE, Seconds
from support.virtual import START

NOBODY = Way("nobody tests")
BY_HAND = Way("people test every 6 days", by_hand=6 * DAY)
DEFAULTS = Way("active tests, defaults", every=DAY)
OFTEN = Way("active tests every 6 h", every=6 * HOUR)
WAYS = (NOBODY, BY_HAND, DEFAULTS, OFTEN)

FIRST_DAYS = 1.0
"""Days whose breaks do not count: tests have just been switched on."""

NOTICED_WITHIN = {NOBODY: 33.0, BY_HAND: 8.0, DEFAULTS: 2.0, OFTEN: 2.0}
"""Days by which a break is noticed; those of the last days of a run do not count."""

INTERVAL: Seconds = 5 * MINUTE
"""`polling.interval`, by default."""

THINNED: Seconds = 12 * HOUR
"""The interval of the runs, instead; of those in which nobody tests it is a day."""

DAYS = {
    1000: {DEFAULTS: 90.0, NOBODY: 90.0, BY_HAND: 90.0, OFTEN: 10.0},
    200: {DEFAULTS: 90.0, NOBODY: 90.0, BY_HAND: 90.0, OFTEN: 90.0},
    50: {DEFAULTS: 90.0, NOBODY: 90.0, BY_HAND: 90.0, OFTEN: 90.0},
}
"""For how many days each way is run: 90 where that takes 20 minutes at most, else as many as do."""

NIGHT: Seconds = 9 * HOUR
"""What the default `between` leaves out of a day."""

LONGEST_MEDIAN: Seconds = 1.05 * (DAY / 2 + NIGHT)
MOST_OF_THE_PLAN, FEWEST_NAMED, MOST_OF_BLIPS = 0.02, 0.95, 1.0


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of one run; spans in seconds, `inf`: most were not noticed in time."""

    campaigns: int
    way: str
    days: float
    interval: Seconds
    breaks: int
    unnoticed: int
    median: Seconds
    p99: Seconds
    alone: Seconds  # the median of those of one campaign
    named: float
    losses: int
    losses_noticed: int
    critical: float  # as all that follows up to `platform_wrongly`, in 30 days
    of_blips: float
    of_the_platform: float
    stale: float
    platform_wrongly: float
    failed_in_a_row: int
    at_a_host: int
    over_a_guard: int
    tests: float  # the part of the plan, as the three after it
    polls_for_tests: float
    listings: float
    polls: float  # as the product's interval has them


def runs(quick: bool, at_most: float = 90.0) -> Iterator[Run]:
    """Yield what is run, none of it for more days than `at_most`, but for nobody's four times."""
    if quick:
        yield from (Run(50, 12, THINNED, way) for way in WAYS)
        yield Run(200, 6, THINNED, DEFAULTS)
        return
    for campaigns, lasts in DAYS.items():
        for way, days in lasts.items():
            most = 4 * at_most if way is NOBODY else at_most
            yield Run(campaigns, min(days, most), DAY if way is NOBODY else THINNED, way)


def effects(quick: bool, at_most: float = 90.0) -> Iterator[tuple[Run, Run]]:
    """Yield pairs: as the product polls by default, and thinned."""
    for campaigns, days in ((50, 1.0),) if quick else ((50, 20.0), (1000, 1.0)):
        least = min(days, at_most * days / 60)
        as_shipped, thinned = (
            Run(campaigns, least, every, DEFAULTS) for every in (INTERVAL, THINNED)
        )
        yield as_shipped, thinned


def measure(run: Run) -> Result:
    """Run it, and return its figures."""
    return figures(watch(run))


def figures(watched: Watched) -> Result:
    """Return the figures of what was watched."""
    run, alerts, logins = watched.run, watched.alerts, watched.logins
    counted = list(_counted(watched))
    own = [one for one in counted if one.kind is not Kind.PLATFORM]
    losses = [one for one in counted if one.kind is Kind.PLATFORM]
    noticed = [one for one in own if one.noticed is not None]
    month, minutes = 30 / run.days, run.days * DAY / MINUTE
    asked = {kind: count / minutes / PLAN for kind, count in watched.requests.items()}
    every = effective_interval(Budget(PLAN / 2, START).pace(START), run.campaigns, INTERVAL)
    return Result(
        campaigns=run.campaigns,
        way=run.way.name,
        days=run.days,
        interval=run.interval,
        breaks=len(own),
        unnoticed=len(own) - len(noticed),
        median=_quantile(own, 0.5),
        p99=_quantile(own, 0.99),
        alone=_quantile([one for one in own if len(one.campaigns) == 1], 0.5),
        named=sum(one.named for one in noticed) / len(noticed) if noticed else 0.0,
        losses=len(losses),
        losses_noticed=sum(one.noticed is not None for one in losses),
        critical=alerts.critical * month,
        of_blips=alerts.of_blips * month,
        of_the_platform=alerts.of_the_platform * month,
        stale=alerts.stale * month,
        platform_wrongly=alerts.platform_wrongly * month,
        failed_in_a_row=logins.in_a_row,
        at_a_host=logins.at_a_host,
        over_a_guard=logins.over_a_guard,
        tests=asked.get("test", 0.0),
        polls_for_tests=asked.get("poll for a test", 0.0),
        listings=asked.get("listing", 0.0),
        polls=run.campaigns / every * MINUTE / PLAN,
    )


def _counted(watched: Watched) -> Iterator[Break]:
    run = watched.run
    first = START + min(FIRST_DAYS, run.days / 4) * DAY
    last = watched.ended - min(NOTICED_WITHIN[run.way], run.days / 2) * DAY
    return (one for one in watched.breaks if first <= one.begins < last)


def _quantile(breaks: Iterable[Break], part: float) -> Seconds:
    spans = sorted(inf if one.noticed is None else one.noticed - one.begins for one in breaks)
    if not spans:
        return inf
    return median(spans) if part == 0.5 else spans[ceil(part * len(spans)) - 1]


def line(one: Result) -> str:
    """Return a run as a line of the first table."""
    return (
        f"{one.campaigns:9} {one.way:25} {one.days:4g} | {one.breaks:6} {one.unnoticed:4} "
        f"{_span(one.median):>7} {_span(one.p99):>7} {_span(one.alone):>7} {one.named:5.0%} "
        f"{one.losses_noticed:3}/{one.losses:<2} | {one.critical:6.1f} {one.of_blips:6.1f} "
        f"{one.of_the_platform:4.1f} {one.stale:6.1f} | {one.failed_in_a_row:4} "
        f"{one.at_a_host:4} {one.over_a_guard:5} | {one.tests:6.2%} {one.polls_for_tests:6.2%} "
        f"{one.polls:6.1%}"
    )


HEAD = (
    "                                             | from a break to a critical alert           |"
    "  alerts in 30 days        |  logins of ours | part of the plan\n"
    "campaigns way                       days | breaks never  median     p99   alone named "
    "loss   | critic  blips plat  stale |  row host  over |  tests  +polls   polls"
)


def _span(seconds: Seconds) -> str:
    if seconds == inf:
        return "never"
    return f"{seconds / HOUR:.1f} h" if seconds < 2 * DAY else f"{seconds / DAY:.1f} d"


def effect(pairs: Sequence[tuple[Result, Result]]) -> str:
    """Return what thinning the polls does."""
    lines = ["what thinning the polls does (active tests, defaults):"]
    for real, thinned in pairs:
        lines.append(
            f"{real.campaigns:5} for {real.days:g} days, polled every {_minutes(real.interval)} : "
            f"{_minutes(thinned.interval)}: median {_span(real.median)} : {_span(thinned.median)}, "
            f"p99 {_span(real.p99)} : {_span(thinned.p99)}, breaks {real.breaks} : "
            f"{thinned.breaks}, tests {real.tests:.3%} : {thinned.tests:.3%}"
        )
    return "\n".join(lines)


def _minutes(seconds: Seconds) -> str:
    return f"{seconds / HOUR:g} h" if seconds >= HOUR else f"{seconds / MINUTE:g} min"


def claims(results: Iterable[Result]) -> str:
    """Return what we claim of the defaults beside what came out."""
    lines = [
        f"claimed of the defaults: median ≤ {_span(LONGEST_MEDIAN)} | named ≥ {FEWEST_NAMED:.0%} | "
        f"tests ≤ {MOST_OF_THE_PLAN:.0%} of the plan | over a guard: 0 | of blips ≤ "
        f"{MOST_OF_BLIPS:g} in 30 days"
    ]
    for one in results:
        if one.way == DEFAULTS.name:
            kept = (
                one.median <= LONGEST_MEDIAN,
                one.named >= FEWEST_NAMED,
                one.tests <= MOST_OF_THE_PLAN,
                not one.over_a_guard,
                one.of_blips <= MOST_OF_BLIPS,
            )
            said = "all kept" if all(kept) else "NOT KEPT"
            lines.append(
                f"{one.campaigns:5}: {_span(one.median)} | {one.named:.1%} | {one.tests:.2%} | "
                f"{one.over_a_guard} | {one.of_blips:.1f}: {said}"
            )
    return "\n".join(lines)
