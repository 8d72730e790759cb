"""What keeps connection tests from doing harm: login, host, everybody, suspension, budget.

A guard is stored under its login or host, for all environments; the rest is an environment's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, NamedTuple

from monitor.core.attempt import Attempt, Result, TestSettings
from monitor.core.model import DAY, HOUR, MINUTE, Instant, Lead, Seconds, Sentence, Text
from monitor.core.text import rfc3339, span

# So many failed logins within, then none.
HOST_FAILURES, HOST_WITHIN, HOST_BLOCKED = 3, HOUR, 6 * HOUR
TRIES, TRIES_WITHIN = 3, DAY  # of campaigns whose config has changed, on a blocked login
EVERYBODY = 3  # so many tests in a row, at as many hosts, failed: it is the platform
PROBE_EVERY = 10 * MINUTE
REFUSALS = 3  # so many campaigns in a row whose tests were turned away
LIMITED, LIMITED_WITHIN, LIMITED_FOR = 3, HOUR, DAY  # 429 to so many tests within, then none
BUSY_FOR, REFUSED_FOR = 15 * MINUTE, HOUR  # no test of a campaign whose last one could not be run
SWITCHED_OFF_WITHIN = 15 * MINUTE


class Reason(StrEnum):
    """What holds a test back: the label of the metric."""

    LOGIN = "login"
    HOST = "host"
    EVERYBODY = "everybody"
    SUSPENDED = "suspended"
    BUDGET = "budget"


_ENDS = {
    Reason.LOGIN: "a passed test of any campaign on this login, another host, user or auth type in "
    "the config, or `sftp-monitor test CAMPAIGN --unblock`",
    Reason.EVERYBODY: "the first probe that passes",
    Reason.SUSPENDED: "`sftp-monitor tests resume`",
}


class Hold(NamedTuple):
    """Why no test may go out, and until when; None: until something else ends it."""

    reason: Reason
    until: Instant | None
    why: str

    @property
    def ends(self) -> str:
        """What ends it."""
        by_itself = "by itself" if self.until is None else f"by itself at {rfc3339(self.until)}"
        return _ENDS.get(self.reason, by_itself) if self.until is None else by_itself


class NotRun(NamedTuple):
    """Why a test was not run that no guard has held back."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What is known of one login, or of one host and port; stored."""

    last_at: Instant | None = None  # the last test of anybody
    under_way: Instant | None = None  # the start of the attempt that has no end yet
    failures: tuple[Instant, ...] = ()  # failed logins of ours, since `cleared_at`; a host's last
    others_failed_at: Instant = 0.0  # the last failed test of somebody else
    cleared_at: Instant = 0.0  # the last passed test of anybody, or somebody's word that it is well
    tries: tuple[Instant, ...] = ()  # of campaigns whose config has changed, while blocked

    @property
    def fails(self) -> tuple[Instant, ...]:
        """The failed logins in a row: of ours, one that is under way, the last of others."""
        others = (self.others_failed_at,) if self.others_failed_at > self.cleared_at else ()
        under_way = () if self.under_way is None else (self.under_way,)
        return (*self.failures, *others, *under_way)

    @property
    def blocked_until(self) -> Instant:
        """Until when so many failed logins at a host keep all tests away; 0: they do not."""
        last = self.failures[-HOST_FAILURES:]
        over = len(last) == HOST_FAILURES and last[-1] - last[0] <= HOST_WITHIN
        return last[-1] + HOST_BLOCKED if over else 0.0

    def with_known(self, known: "Guard") -> "Guard":
        """Return it, read anew, with what was known: a fail-over may have taken tests back."""
        last_at = max((at for at in (self.last_at, known.last_at) if at is not None), default=None)
        failures = max(self.failures, known.failures, key=len)
        tries = max(self.tries, known.tries, key=len)
        merged = replace(self, last_at=last_at, failures=failures, tries=tries)
        return merged.cleared(max(self.cleared_at, known.cleared_at))

    def begun(self, at: Instant, *, changed: bool = False) -> "Guard":
        """Return it with an attempt that is about to be sent; `changed`: on a blocked login."""
        tries = tuple(one for one in self.tries if one > at - TRIES_WITHIN)
        return replace(self, last_at=at, under_way=at, tries=(*tries, at) if changed else tries)

    def ended(self, attempt: Attempt, *, host: bool = False) -> "Guard":
        """Return it after an attempt."""
        failures = (*self.failures, attempt.at) if attempt.login_failed else self.failures
        if host:
            return replace(self, under_way=None, failures=failures[-HOST_FAILURES:])
        after = replace(self, under_way=None, failures=failures)
        return after.cleared(attempt.at) if attempt.result is Result.PASSED else after

    def withdrawn(self) -> "Guard":
        """Return it after an attempt that never reached the server."""
        return replace(self, under_way=None)

    def recorded(self, at: Instant, *, passed: bool, ours: bool) -> "Guard":
        """Return it after a test on record that ran at `at` by our clock; `ours`: by us."""
        after = replace(self, last_at=max(self.last_at or 0.0, at))
        if passed:
            return after.cleared(at)
        return after if ours else replace(after, others_failed_at=max(self.others_failed_at, at))

    def cleared(self, at: Instant) -> "Guard":
        """Return it after a passed test, or after somebody has said that all is well, at `at`."""
        left = tuple(one for one in self.failures if one > at)
        return replace(self, failures=left, cleared_at=max(self.cleared_at, at))

    def restored(self) -> "Guard":
        """Return it at a start: what was under way was perhaps sent, and counts as failed."""
        if self.under_way is None:
            return self
        return replace(self, under_way=None, failures=(*self.failures, self.under_way))


class Suspension(NamedTuple):
    """Why and since when no test is run at a platform; by is the operator who suspended them.

    campaign_id is the campaign that a failed test has switched off. until is null where somebody
    must resume them.
    """

    why: Sentence
    since: Instant
    campaign_id: str = ""
    until: Annotated[Instant, Lead()] | None = None
    by: Text = ""

    def lasts(self, now: Instant) -> bool:
        """Return whether it is not over."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentTests:
    """What is remembered of an environment's tests; stored."""

    on_since: Instant | None = None  # tests can run since then: no campaign is overdue before
    next_at: Annotated[Instant, Lead(HOUR)] = 0.0  # when the budget's share lets the next one out
    recent: tuple[Attempt, ...] = ()  # the last ones
    failing_since: Instant | None = None  # they fail everywhere
    probed_at: Instant | None = None
    back_at: Instant = 0.0  # when they last ceased to fail everywhere
    refused: tuple[str, ...] = ()  # campaigns in a row whose tests were turned away
    limited: tuple[Instant, ...] = ()  # 429s of late
    suspended: Suspension | None = None
    round_over: bool = False  # every campaign has had its first test

    def ended(self, attempt: Attempt, now: Instant) -> "EnvironmentTests":
        """Return it after an attempt, or with what the record says of one."""
        key = (attempt.campaign_id, attempt.at)
        others = [one for one in self.recent if (one.campaign_id, one.at) != key]
        if self.failing_since is not None and attempt.result is not Result.PASSED:
            # A failed probe: what on-call reads of is what failed everywhere.
            return replace(self, refused=())
        recent = tuple(sorted((*others, attempt), key=lambda one: one.at)[-EVERYBODY:])
        after, failing_since = replace(self, recent=recent, refused=()), self.failing_since
        if any(one.result is Result.PASSED for one in recent):
            back_at = self.back_at if failing_since is None else now
            return replace(after, failing_since=None, back_at=back_at)
        if failing_since is None and len({one.server for one in recent}) == EVERYBODY:
            return replace(after, failing_since=now)
        return after

    def turned_away(self, campaign_id: str, status: int, now: Instant) -> "EnvironmentTests":
        """Return it after a 403, 404, 405 or 422 to a test; three in a row suspend tests."""
        refused = (*(key for key in self.refused if key != campaign_id), campaign_id)[-REFUSALS:]
        tests, why = replace(self, refused=refused), f"the API answers {status} to connection tests"
        return tests if len(refused) < REFUSALS else tests._with_suspension(Suspension(why, now))

    def slowed(self, now: Instant, pause: Seconds) -> "EnvironmentTests":
        """Return it after a 429 to a test; the third within an hour suspends tests for a day."""
        limited = (*(at for at in self.limited if at > now - LIMITED_WITHIN), now)
        tests = replace(self, limited=limited, next_at=max(self.next_at, now + pause))
        why = f"{LIMITED} connection tests within an hour were answered 429"
        harm = Suspension(why, now, until=now + LIMITED_FOR)
        return tests if len(limited) < LIMITED else tests._with_suspension(harm)

    def _with_suspension(self, suspended: Suspension) -> "EnvironmentTests":
        """Return it suspended, unless it is so already, perhaps for longer."""
        if self.suspended is not None and self.suspended.lasts(suspended.since):
            return self
        return replace(self, suspended=suspended, refused=(), limited=())

    def resumed(self, now: Instant) -> "EnvironmentTests":
        """Return it as tests begin anew: each campaign at its own minute, none at once."""
        fresh = replace(self, on_since=now, round_over=False)
        return replace(fresh, suspended=None, refused=(), limited=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """All that may hold a campaign's test back."""

    login: Guard = Guard()
    host: Guard = Guard()
    environment: EnvironmentTests = field(default_factory=EnvironmentTests)
    suspended: Suspension | None = None  # at the platform: of any of its environments

    def hold(
        self, settings: TestSettings, now: Instant, *, probe: bool = False, moved_at: Instant = 0.0
    ) -> Hold | None:
        """Return what holds a test back now, and longest; None: it may go out.

        `moved_at`: since when the campaign has the config with which it would try this login.
        """
        if self.suspended is not None and self.suspended.lasts(now):
            return Hold(Reason.SUSPENDED, self.suspended.until, self.suspended.why)
        if self.environment.failing_since is not None and not probe:
            return Hold(Reason.EVERYBODY, None, "tests fail everywhere; a probe will show the end")
        all_ = self._holds(settings, now, moved_at)
        held = [one for one in all_ if one.until is None or one.until > now]
        # What nothing but an event ends counts before all spans, and of these the longest.
        return max(held, key=lambda one: one.until or float("inf"), default=None)

    def _holds(self, settings: TestSettings, now: Instant, moved_at: Instant) -> Iterator[Hold]:
        """Yield what holds a test back, or has done so until some time that is over."""
        count, blocked_since = len(self.login.fails), self.blocked_since(settings)
        if blocked_since is not None and not self.changed(settings, moved_at, now):
            since = f"has had {count} failed tests since {rfc3339(blocked_since)}"
            yield Hold(Reason.LOGIN, None, f"the login {since}, and none passed after them")
        elif 0 < count == settings.login_failures - 1:
            why = "the last test that the login may fail comes later"
            yield Hold(Reason.LOGIN, min(self.login.fails) + settings.retry_after, why)
        for reason, guard, gap in (
            (Reason.HOST, self.host, settings.host_gap),
            (Reason.LOGIN, self.login, settings.login_gap),
        ):
            busy, last_at = guard.under_way is not None, guard.last_at or 0.0
            why = f"a test of this {reason} is under way"
            # One that is under way may take as long as it likes: looked at again a gap later.
            why = why if busy else f"one test of this {reason} in {span(gap)}"
            yield Hold(reason, (now if busy else last_at) + gap, why)
        why = f"{HOST_FAILURES} logins failed at the host within {span(HOST_WITHIN)}"
        yield Hold(Reason.HOST, self.host.blocked_until, why)
        yield Hold(Reason.BUDGET, self.environment.next_at, "the share of the budget for tests")

    def changed(self, settings: TestSettings, moved_at: Instant, now: Instant) -> bool:
        """Return whether a campaign may try a blocked login, for its config is a new one."""
        blocked = self.blocked_since(settings) is not None
        tried = sum(at > now - TRIES_WITHIN for at in self.login.tries)
        return blocked and moved_at > max(self.login.fails) and tried < TRIES

    def blocked_since(self, settings: TestSettings) -> Instant | None:
        """Return the first of all the failed tests that the login may have; None: it may fail."""
        fails = self.login.fails
        return min(fails) if len(fails) >= settings.login_failures else None
