"""What connection tests come to under a config: how many, how fast, and whether they fit."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from monitor.adapters.store import Loaded
from monitor.config import Config, EnvironmentConfig, format_duration, targets
from monitor.core.attempt import TestSettings, login_of, server_of
from monitor.core.discovery import TargetSet
from monitor.core.model import DAY, HOUR, MINUTE, Instant, Seconds, SftpConfig
from monitor.core.rule import Target
from monitor.core.rules import StaleTest
from monitor.core.text import clean, rfc3339, span

LEAST_SHARE = 0.001  # less is said to be so


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """An environment's campaigns with tests on; `seen` are the configs of those that were read.

    The state knows who was discovered, and each campaign's host; the file alone knows neither.
    """

    environment: EnvironmentConfig
    campaigns: Mapping[str, Target]
    seen: Mapping[str, SftpConfig] = field(default_factory=dict)
    on_since: Instant | None = None

    @property
    def a_day(self) -> float:
        """How many tests are due in a day."""
        return sum(map(_a_day, self.campaigns.values()))

    @property
    def open_seconds(self) -> Seconds:
        """For how much of a day tests may go out, at the most."""
        return max(map(_open, (one.tests for one in self.campaigns.values())), default=DAY)

    def busiest(self, of: Callable[[SftpConfig], str]) -> tuple[str, float]:
        """Return the login or the host and port with most tests a day, and how many."""
        found = dict[str, float]()
        for key, config in self.seen.items():
            name = of(config)
            found[name] = found.get(name, 0.0) + _a_day(self.campaigns[key])
        return max(found.items(), key=lambda one: one[1], default=("", 0.0))


def workload_of(environment: EnvironmentConfig, loaded: Loaded) -> Workload | None:
    """Return what is known of an environment's tests; None: they are off."""
    name, overrides = environment.name, environment.overrides
    known = loaded.target_sets.get(name, TargetSet())
    discovers = environment.discovery.enabled
    found = targets(environment, known) if discovers else environment.resolved.targets
    layers = [dict(one.connection_tests)["enabled"] for one in overrides] if discovers else []
    on = {key: one for key, one in found.items() if one.tests.enabled and not one.muted_status}
    if not on and not any([discovers and environment.resolved.tests.enabled, *layers]):
        return None
    seen = {
        key: config
        for key in on
        if (name, key) in loaded.campaigns
        and (config := loaded.campaigns[name, key].last_known.config) is not None
    }
    # What is switched off, or imported by hand, is known only of those that were read.
    tested = {k: one for k, one in on.items() if k not in seen or one.tests.covers(seen[k])}
    status = loaded.environments.get(name)
    return Workload(
        environment=environment,
        campaigns=tested,
        seen={key: config for key, config in seen.items() if key in tested},
        on_since=status.tests.on_since if status is not None else None,
    )


def describe_tests(config: Config, loaded: Loaded, now: Instant) -> Iterator[str]:
    """Yield what tests come to, by environment, and what of it will not fit."""
    for index, environment in enumerate(config.environments):
        work = workload_of(environment, loaded)
        if work is None:
            continue
        if not work.campaigns:
            yield f"{environment.name}: connection tests are on; no campaign is known yet"
            continue
        yield _summary(work, now)
        yield _shared(work)
        for note in _notes(work):
            yield f"environments[{index}].connection_tests: note: {note}"


def _summary(work: Workload, now: Instant) -> str:
    environment, a_day = work.environment, work.a_day
    share = a_day / (environment.budget_per_minute * DAY / MINUTE)
    part = f"{share:.1%}" if share >= LEAST_SHARE else f"under {LEAST_SHARE:.1%}"
    every = max(one.tests.every for one in work.campaigns.values())
    # Each at its own minute; where the budget's share or a gap is too small, that decides.
    slowest = max(1.0, *(need for need, _ in _needs(work)))
    takes = max(every, DAY if work.open_seconds < DAY else 0.0) * slowest
    ends_at = (now if work.on_since is None else work.on_since) + takes
    began = "begun now, " if work.on_since is None else ""
    ends = f"{began}until {rfc3339(ends_at)}" if ends_at > now else f"over at {rfc3339(ends_at)}"
    return (
        f"{environment.name}: {a_day:g} connection tests a day of {len(work.campaigns)} campaigns, "
        f"{part} of the budget; the first round takes {span(takes)}, {ends}"
    )


def _shared(work: Workload) -> str:
    tests = work.environment.resolved.tests
    fits = f"{work.open_seconds / tests.host_gap:.0f} a day fit at one host"
    fits += f", {work.open_seconds / tests.login_gap:.0f} on one login"
    known, count = len(work.seen), len(work.campaigns)
    if not known:
        return f"{work.environment.name}: {fits}; no host is known before campaigns were read"
    host, most = work.busiest(server_of)
    of = "" if known == count else f" of the {known} of {count} campaigns that were read"
    return f"{work.environment.name}: {fits}; the busiest host{of} is {clean(host)}, {most:g} a day"


def _needs(work: Workload) -> Iterator[tuple[float, str]]:
    """Yield how much of the open time each limit needs, 1 for all of it, and which that is."""
    tests, open_seconds = work.environment.resolved.tests, work.open_seconds
    per_hour = work.environment.budget_per_minute * tests.budget_share * HOUR / MINUTE
    allowed = per_hour * open_seconds / HOUR
    yield work.a_day / allowed, f"budget_share lets {allowed:.0f} tests a day out"
    for name, gap, of in (
        ("host_gap", tests.host_gap, server_of),
        ("login_gap", tests.login_gap, login_of),
    ):
        who, a_day = work.busiest(of)
        words = f"{clean(who)} has {a_day:g} tests a day; {name} ({format_duration(gap)}) lets "
        yield a_day * gap / open_seconds, f"{words}{open_seconds / gap:.0f} of them fit"


def _notes(work: Workload) -> Iterator[str]:
    for need, words in _needs(work):
        if need > 1:
            yield f"{words}: not every campaign is tested within its `every`"
    slow = [one for one in work.campaigns.values() if _is_slow(one, work.seen)]
    if slow:
        name = clean(slow[0].name or slow[0].campaign_id)
        more = f" and {len(slow) - 1} more" if len(slow) > 1 else ""
        every = format_duration(slow[0].tests.every)
        yield f"`every` ({every}) of {name}{more} is more than half the age of stale_test"


def _is_slow(target: Target, seen: Mapping[str, SftpConfig]) -> bool:
    rule = target.rules.get(StaleTest.name)
    if not isinstance(rule, StaleTest):
        return False
    config, ages = seen.get(target.campaign_id), rule.max_age_by_schedule
    # Of one that was never read the shortest age may be its own.
    schedules: Iterable[str] = ages if config is None else [config.import_schedule or ""]
    limits = [ages.get(schedule, rule.max_age) for schedule in schedules]
    return 2 * target.tests.every > min(limits if config else [*limits, rule.max_age])


def _open(tests: TestSettings) -> Seconds:
    if tests.between is None:
        return DAY
    begin, end = tests.between
    return end - begin if end > begin else end - begin + DAY


def _a_day(target: Target) -> float:
    """Return how often a day a campaign is tested: once every few days, or what fits into one."""
    every = target.tests.every
    if every >= DAY:
        return 1 / round(every / DAY)
    return max(1.0, _open(target.tests) / every)
