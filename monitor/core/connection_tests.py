"""When a campaign is due for a connection test of ours, and whether one may go out (testing.md)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from math import floor
from typing import NamedTuple
from zlib import crc32
from zoneinfo import ZoneInfo

from monitor.core.attempt import Attempt, Result, TestSettings, Trigger, Window, server_of
from monitor.core.guards import EVERYBODY, PROBE_EVERY, EnvironmentTests, Guards, Hold
from monitor.core.model import DAY, HOUR, MINUTE, Instant, Seconds, SftpConfig
from monitor.core.rule import Target
from monitor.core.status import CampaignStatus

# A record that lags or a clock that is off must not have a test repeated at once.
RECHECK: Seconds = 60.0

ONE_DAY = timedelta(days=1)


@lru_cache
def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name; UTC for one that is none."""
    try:
        return ZoneInfo(name)
    # What a name from outside may be: a path, a directory, not known.
    except (KeyError, ValueError, OSError):
        return UTC


class Due(NamedTuple):
    """When a test is due, and why; `always`: also outside of `between`."""

    at: Instant
    trigger: Trigger
    always: bool = False


class Plan(NamedTuple):
    """When the next test may go out, and why then; None: not before what holds it has ended."""

    at: Instant | None
    trigger: Trigger
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class Tested:
    """What a campaign's tests depend on, as of `now` by our clock."""

    __test__ = False  # no test case of pytest's

    status: CampaignStatus
    target: Target
    now: Instant
    ahead: Seconds = 0.0  # how far the clock that dates the record is ahead of ours

    @property
    def settings(self) -> TestSettings:
        """How it is tested."""
        return self.target.tests

    @property
    def config(self) -> SftpConfig | None:
        """The config, if the campaign has one."""
        last_known = self.status.last_known
        return last_known.config if last_known.missing_since is None else None

    @property
    def wanted(self) -> bool:
        """True where tests are on for it, as it is now."""
        config = self.config
        notified = self.target.muted_status is None
        return config is not None and notified and self.settings.covers(config)

    @property
    def recorded_at(self) -> Instant:
        """When the test on record ran, by our clock; 0: never, or nobody knows when."""
        at = self.config.last_test_at if self.config is not None else None
        # From the future it says nothing: a test of ours puts it right.
        return at - self.ahead if at is not None and at - self.ahead <= self.now + RECHECK else 0.0

    @property
    def last_at(self) -> Instant:
        """When it was last tested, by anybody, on our clock; 0: never."""
        last = self.status.tests.last
        return max(self.recorded_at, last.at if last else 0.0)

    @property
    def passed_at(self) -> Instant:
        """When its last test passed, whoever ran it, by the platform's clock; 0: none has."""
        return self.status.last_known.last_passed_at or 0.0

    @property
    def opens(self) -> "Opening":
        """When tests may go out."""
        return Opening(self.settings.between, zone_of(self.target.calls.zone))


def plan(tested: Tested, guards: Guards) -> Plan | None:
    """Return when the campaign's next test may go out; None: none is due as things are."""
    if not tested.wanted or tested.status.error is not None:
        return None
    settings, now = tested.settings, tested.now
    due = next_due(tested, guards.environment.on_since or now, guards.environment.back_at)
    at = max(due.at, tested.status.tests.not_before)
    if not due.always:
        # One that was missed waits for the next opening, too.
        later = tested.opens.from_(max(now, at))
        at = at if later == now else later
    hold = guards.hold(settings, max(now, at), moved_at=tested.status.last_known.moved_at)
    if hold is None:
        return Plan(at, due.trigger)
    until = hold.until
    if until is not None and not due.always:
        until = tested.opens.from_(until)
    return Plan(until, due.trigger, hold)


def probe(
    campaigns: Iterable[tuple[Tested, Guards]], environment: EnvironmentTests
) -> tuple[Instant, str] | None:
    """Return when which campaign is to be probed while tests fail everywhere; None: none can be.

    It is the one that passed last, whoever tested it, or else the one at the next host: only a few,
    lest every login has its failed tests when the platform is back.
    """
    if environment.failing_since is None:
        return None
    at = max(environment.failing_since, (environment.probed_at or 0.0) + PROBE_EVERY)
    hosts: dict[str, tuple[Tested, Guards]] = {}
    for one in sorted(campaigns, key=lambda one: one[0].passed_at, reverse=True):
        if (config := one[0].config) and one[0].wanted and one[0].status.error is None:
            hosts.setdefault(server_of(config), one)
    held = []
    for tested, guards in list(hosts.values())[:EVERYBODY]:
        status, when = tested.status, max(at, tested.now)
        moved_at = status.last_known.moved_at
        hold = guards.hold(tested.settings, when, probe=True, moved_at=moved_at)
        if hold is None:
            return at, status.campaign_id
        if hold.until is not None:
            held.append((hold.until, status.campaign_id))
    return min(held, default=None)


def next_due(tested: Tested, since: Instant, back_at: Instant = 0.0) -> Due:
    """Return when a test is due, guards apart.

    `since`: when tests were switched on or resumed; `back_at`: when they last failed everywhere.
    """
    last = tested.status.tests.last
    found = [_by_schedule(tested, since), *_after_change(tested, since)]
    # All the first ones at once would be a burst: each waits for its own minute.
    if last is not None and last.at >= since:
        found += _after_result(tested, last, back_at)
    return min(found)


def _by_schedule(tested: Tested, since: Instant) -> Due:
    status, last_at = tested.status, tested.last_at
    after = last_at + tested.settings.every / 2 if last_at else status.last_known.first_seen_at
    phase = crc32(f"{status.environment}/{status.campaign_id}/test".encode()) / 2**32
    at = tested.opens.next_slot(tested.settings.every, phase, max(after or 0.0, since))
    return Due(at, Trigger.SCHEDULE)


def _after_change(tested: Tested, since: Instant) -> Iterator[Due]:
    after, last_known = tested.settings.after_change, tested.status.last_known
    seen_at = last_known.changed_at
    if tested.last_at == 0.0:
        seen_at = max(seen_at, last_known.first_seen_at or 0.0)
    if after > 0 and seen_at > max(tested.last_at, since):
        yield Due(seen_at + after, Trigger.CHANGE)


def _after_result(tested: Tested, last: Attempt, back_at: Instant) -> Iterator[Due]:
    """Yield what the last test of ours asks for: to be confirmed, or tried again."""
    settings, tests, config = tested.settings, tested.status.tests, tested.config
    doublings = min(max(tests.failures - 1, 0), 16)
    again = last.at + min(settings.retry_after * 2**doublings, settings.retry_max)
    confirm_at = last.at + settings.confirm_after
    if last.at < back_at:
        # The platform was to blame, perhaps: these go first, before all that became due meanwhile.
        again = confirm_at = last.at
    if tested.recorded_at > last.at and config is not None and tests.on_record(config) is not last:
        # Somebody else has tested it. What that says of the paths is not on record.
        if not (last.inaccessible and config.last_test_success):
            return
        again = tested.recorded_at + settings.login_gap
    if last.inaccessible:
        yield Due(again, Trigger.RETRY, always=True)
    elif last.result is Result.PASSED:
        return
    elif tests.confirmed(last, tested.passed_at, settings.confirm_after):
        yield Due(again, Trigger.RETRY)
    else:
        yield Due(confirm_at, Trigger.CONFIRM, always=True)


class Opening(NamedTuple):
    """The part of each day in which tests may go out; None: all of it."""

    between: Window | None
    zone: tzinfo

    def on(self, day: date) -> tuple[Instant, Instant]:
        """Return when it begins on a day, and when that ends; right over a change of DST."""
        if self.between is None:
            begin = datetime.combine(day, time(), UTC).timestamp()
            return begin, begin + DAY
        # By the clock on the wall: in spring a window's begin may be later than its end.
        over = self.between.end % DAY <= self.between.start
        end = self._instant(day + ONE_DAY if over else day, self.between.end)
        return min(self._instant(day, self.between.start), end), end

    def _instant(self, day: date, seconds: Seconds) -> Instant:
        at = time(int(seconds // HOUR) % 24, int(seconds % HOUR // MINUTE))
        return datetime.combine(day, at, self.zone).timestamp()

    def days_from(self, at: Instant) -> Iterator[tuple[date, Instant, Instant]]:
        """Yield the days from the one before an instant on, each with its begin and end."""
        day = datetime.fromtimestamp(at, self.zone).date() - ONE_DAY
        while True:
            yield day, *self.on(day)
            day += ONE_DAY

    def from_(self, at: Instant) -> Instant:
        """Return the first instant from `at` on at which tests may go out."""
        if self.between is None:
            return at
        return next(max(at, begin) for _, begin, end in self.days_from(at) if max(at, begin) < end)

    def next_slot(self, every: Seconds, phase: float, after: Instant) -> Instant:
        """Return the first of a campaign's own instants later than `after`; `phase` is 0 to 1."""
        days = max(1, round(every / DAY))
        for day, begin, end in self.days_from(after):
            # One on every so many days; or in a day as many as fit into it.
            first = begin + floor(phase * min(every, end - begin))
            own = int(phase * 1000 + day.toordinal()) % days == 0
            passed = max(0.0, (after - first) // every + 1)
            at = first + passed * every
            if own and at < end and (every < DAY or not passed):
                return at
        raise AssertionError("days do not end")
