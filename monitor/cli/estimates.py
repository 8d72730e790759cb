"""What a config comes to: how often the budget lets campaigns be read, and how many tests fit."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from monitor.config import Config, EnvironmentConfig, targets
from monitor.core.attempt import login_of, server_of
from monitor.core.budget import PACE, Budget, effective_interval
from monitor.core.discovery import TargetSet
from monitor.core.durations import format_duration
from monitor.core.model import DAY, MINUTE, Instant, Seconds, SftpConfig
from monitor.core.rule import Target
from monitor.core.rules import StaleTest
from monitor.core.text import clean, rfc3339, span

if TYPE_CHECKING:
    from monitor.adapters.store import Loaded

LEAST_SHARE = 0.001  # of the budget; less is said to be so


def estimate_tests(config: Config) -> tuple[list[str], Mapping[str, TargetSet]]:
    """Return what connection tests come to, and who was discovered, by environment."""
    tested = any(describe_tests(config, None, 0.0))
    if not tested and not any(one.discovery.enabled for one in config.environments):
        return [], {}
    # Only here: to check a config without tests and discovery they are not needed.
    from monitor.adapters.store import Loaded, StorageError, read_state  # noqa: PLC0415
    from monitor.clocks import SystemClock  # noqa: PLC0415

    loaded, unread = Loaded(), []
    try:
        loaded = read_state(config.state)
    except StorageError as error:
        unread = [f"hosts and discovered campaigns are not known: {error}"]
    found = list(describe_tests(config, loaded, SystemClock().wall()))
    return found + unread if found else [], loaded.target_sets


def describe_budgets(config: Config) -> list[str]:
    """Return a line for each environment: its budget, and the interval it really gives."""
    lines, interval = [], config.polling.interval
    for environment in config.environments:
        budget, count = Budget(environment.budget_per_minute, 0.0), len(environment.campaigns)
        pace = budget.pace(0.0)
        really = effective_interval(pace, count, interval)
        line = (
            f"{environment.name}: {count} campaigns, {budget.per_minute:g} requests a minute, "
            f"each read every {span(really)}"
        )
        if really > interval:
            needed = count * 60 / interval / PACE
            # Rounded up: a share that is a little too small would bring the same complaint back.
            share = ceil(100 * needed / environment.requests_per_minute) / 100
            would_do = f"budget_share {share:.2f}" if share <= 1 else "no share"
            line += f" instead of {format_duration(interval)}; {would_do} would do"
        if environment.discovery.enabled:
            most = int(pace * interval / MINUTE)
            line += f"; discovered ones come on top, up to {most} in all keep that interval"
        lines.append(line)
    return lines


def describe_tests(config: Config, loaded: "Loaded | None", now: Instant) -> Iterator[str]:
    """Yield what tests come to, by environment, and what of it will not fit.

    Only the state, if it was `loaded`, knows each campaign's host, and who was discovered.
    """
    for index, environment in enumerate(config.environments):
        name = environment.name
        discovers, tested = environment.discovery.enabled, []
        target_set = loaded.target_sets.get(name) if loaded and discovers else None
        for key, target in targets(environment, target_set or TargetSet()).items():
            status = loaded.campaigns.get((name, key)) if loaded else None
            seen = status.last_known.config if status is not None else None
            # What is switched off, or imported by hand, is known only of those that were read.
            wanted = target.tests.enabled if seen is None else target.tests.covers(seen)
            if wanted and target.muted_status is None:
                tested.append(_Tested(target, seen))
        if tested:
            known = loaded.environments.get(name) if loaded else None
            since = known.tests.on_since if known else None
            limits = _limits(environment, tested)
            yield from _describe(environment, tested, limits, since, now)
            path = f"environments[{index}].connection_tests"
            yield from (f"{path}: note: {note}" for note in _notes(tested, limits))
        elif environment.resolved.tests.enabled or any(
            dict(one.connection_tests)["enabled"] for one in environment.overrides
        ):
            yield f"{name}: connection tests are on; no campaign is known yet"


class _Tested(NamedTuple):
    """A campaign with tests on, and its config where it was read."""

    target: Target
    config: SftpConfig | None

    @property
    def a_day(self) -> float:
        """How many tests are due in a day: one of several days, or as many as fit into one."""
        every = self.target.tests.every
        return 1 / round(every / DAY) if every >= DAY else max(1.0, self.open_seconds / every)

    @property
    def open_seconds(self) -> Seconds:
        """For how much of a day tests may go out."""
        between = self.target.tests.between
        return DAY if between is None else (between.end - between.start) % DAY or DAY

    @property
    def slow(self) -> bool:
        """Whether `every` is not well below the age that `stale_test` allows."""
        rule = self.target.rules.get(StaleTest.name)
        if not isinstance(rule, StaleTest):
            return False
        ages = rule.max_age_by_schedule
        if self.config is None:  # the shortest age may be its own
            allowed = min([rule.max_age, *ages.values()])
        else:
            allowed = ages.get(self.config.import_schedule or "", rule.max_age)
        return 2 * self.target.tests.every > allowed


class _Limit(NamedTuple):
    """What limits tests: how many a day need it, how many it has room for, whose they are."""

    needed: float
    room: float
    about: str
    busiest: str = ""


def _limits(environment: EnvironmentConfig, tested: Sequence[_Tested]) -> list[_Limit]:
    """Return the limits of the budget's share, of one host, and of one login."""
    tests, open_seconds = environment.resolved.tests, max(one.open_seconds for one in tested)
    room = environment.budget_per_minute * tests.budget_share * open_seconds / MINUTE
    needed = sum(one.a_day for one in tested)
    limits = [_Limit(needed, room, f"budget_share lets {room:.0f} tests a day out")]
    gaps = {"host_gap": (tests.host_gap, server_of), "login_gap": (tests.login_gap, login_of)}
    for name, (gap, key_of) in gaps.items():
        a_day = defaultdict[str, float](float)
        for one in tested:
            if one.config is not None:
                a_day[key_of(one.config)] += one.a_day
        busiest, needed = max(a_day.items(), key=itemgetter(1), default=("", 0.0))
        room = open_seconds / gap
        about = f"{clean(busiest)} has {needed:g} tests a day; {name} ({format_duration(gap)})"
        about += f" lets {room:.0f} of them fit"
        limits.append(_Limit(needed, room, about, clean(busiest)))
    return limits


def _describe(
    environment: EnvironmentConfig,
    tested: Sequence[_Tested],
    limits: Sequence[_Limit],
    since: Instant | None,
    now: Instant,
) -> Iterator[str]:
    """Yield how many tests there are and how long a round takes; and what fits at a host."""
    share, host, login = limits
    part = share.needed / (environment.budget_per_minute * DAY / MINUTE)
    of_budget = f"{part:.1%}" if part >= LEAST_SHARE else f"under {LEAST_SHARE:.1%}"
    # Each at its own minute; where the budget's share or a gap is too small, that decides.
    slowest = max(1.0, *(one.needed / one.room for one in limits))
    whole_days = 0.0 if all(one.open_seconds == DAY for one in tested) else DAY
    takes = max(whole_days, *(one.target.tests.every for one in tested)) * slowest
    ends_at = (now if since is None else since) + takes
    ends = f"{'until' if ends_at > now else 'over at'} {rfc3339(ends_at)}"
    yield (
        f"{environment.name}: {share.needed:g} connection tests a day of {len(tested)} campaigns, "
        f"{of_budget} of the budget; the first round takes {span(takes)}, "
        f"{'begun now, ' if since is None else ''}{ends}"
    )
    read = sum(one.config is not None for one in tested)
    of = "" if read == len(tested) else f" of the {read} of {len(tested)} campaigns that were read"
    busiest = f"the busiest host{of} is {host.busiest}, {host.needed:g} a day"
    fits = f"{host.room:.0f} a day fit at one host, {login.room:.0f} on one login"
    known = busiest if read else "no host is known before campaigns were read"
    yield f"{environment.name}: {fits}; {known}"


def _notes(tested: Sequence[_Tested], limits: Sequence[_Limit]) -> Iterator[str]:
    for limit in limits:
        if limit.needed > limit.room:
            yield f"{limit.about}: not every campaign is tested within its `every`"
    slow = [one.target for one in tested if one.slow]
    if slow:
        name = clean(slow[0].name or slow[0].campaign_id)
        more = f" and {len(slow) - 1} more" if len(slow) > 1 else ""
        every = format_duration(slow[0].tests.every)
        yield f"`every` ({every}) of {name}{more} is more than half the age of stale_test"
