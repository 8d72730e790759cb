"""Connection tests of ours: how they are set, what one was and came to; all of it is stored."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, NamedTuple

from monitor.core.causes import Kind, kind_of
from monitor.core.model import (
    DAY,
    HOUR,
    MINUTE,
    Instant,
    PollError,
    PositiveSeconds,
    Reply,
    Seconds,
    SftpConfig,
    Text,
    redated,
    setting,
)

Share = Annotated[float, "share"]  # above 0 and at most 1
Count = Annotated[int, "count"]  # at least 1
TESTS_MISSED = 3  # so many may not have run before `stale_test` says so


class Window(NamedTuple):
    """A part of the day in seconds from midnight, local time; it may go over midnight."""

    start: Seconds
    end: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSettings:
    """How the connection of a campaign is tested: the section `connection_tests`."""

    __test__ = False  # no test case of pytest's

    enabled: bool = setting(False, "true has the monitor run connection tests")
    every: PositiveSeconds = setting(DAY, "a test is due when the last one is this old")
    between: Window | None = setting(
        Window(5 * HOUR, 20 * HOUR), "when, in the campaign's time zone; empty = always"
    )
    manual: bool = setting(False, "also campaigns whose import_schedule is manual")
    after_change: Seconds = setting(5 * MINUTE, "a changed config is tested so long after; 0 = not")
    confirm_after: Seconds = setting(5 * MINUTE, "a failure that is no login failure is confirmed")
    retry_after: PositiveSeconds = setting(30 * MINUTE, "after a failure; doubled each time")
    retry_max: PositiveSeconds = setting(4 * HOUR, "the longest time to the next try")
    timeout: PositiveSeconds = setting(MINUTE, "what one test may take")
    # The others hold for a whole environment.
    budget_share: Share = setting(0.1, "the part of the monitor's budget that tests may use")
    login_gap: PositiveSeconds = setting(10 * MINUTE, "between two tests of one login")
    host_gap: PositiveSeconds = setting(3 * MINUTE, "between two tests at one host and port")
    login_failures: Count = setting(2, "failed tests of ours in a row on one login, then none")

    @property
    def missed_after(self) -> Seconds:
        """How old a test may get before too many have not run; what `between` shuts out apart."""
        shut = (self.between.start - self.between.end) % DAY if self.between else 0.0
        return TESTS_MISSED * self.every + (shut if self.every < DAY else 0.0)

    def covers(self, config: SftpConfig) -> bool:
        """Return whether a campaign with this config is tested."""
        manual = config.import_schedule == "manual"
        return self.enabled and config.is_enabled and (self.manual or not manual)


OF_ENVIRONMENTS = frozenset({"budget_share", "login_gap", "host_gap", "login_failures"})
"""The settings that no campaign and no override can have."""


class Trigger(StrEnum):
    """Why a test was run."""

    SCHEDULE = "schedule"
    CHANGE = "change"
    CONFIRM = "confirm"
    RETRY = "retry"
    PROBE = "probe"
    COMMAND = "command"


class Result(StrEnum):
    """What a test came to. Unknown: it was sent, or is about to be, and no answer says more."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


def server_of(config: SftpConfig) -> str:
    """Return the host, in lower case and without a final dot, and the port of a config."""
    return f"{config.host.lower().rstrip('.')}:{config.port or 22}"


def login_of(config: SftpConfig) -> str:
    """Return what a server locks out: user name, host and port."""
    return f"{config.username or ''}@{server_of(config)}"


@dataclass(frozen=True, slots=True)
class TestReport:
    """What the platform says of a connection test that it has run."""

    __test__ = False  # no test case of pytest's

    passed: bool
    tested_at: Instant
    cause: Text = ""
    import_path: bool | None = None  # whether it was accessible; None: not said
    export_path: bool | None = None


@dataclass(frozen=True, slots=True)
class TestAnswer(Reply[TestReport | PollError]):
    """The reply to a call that runs a connection test; `status` 0: no answer came."""

    __test__ = False

    status: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One connection test of ours, stored before it is sent; instants but one are our clock's."""

    environment: str
    campaign_id: str
    server: str
    login: str
    at: Instant
    trigger: Trigger
    by: str = ""  # the operator, for a command
    first: bool = False  # of this campaign, since tests have been on
    ended_at: Instant | None = None  # None: it is under way, or we died meanwhile
    result: Result = Result.UNKNOWN
    tested_at: Instant | None = None  # by the platform's clock
    cause: Text = ""
    import_path: bool | None = None  # whether it was accessible; None: not said
    export_path: bool | None = None

    @property
    def login_failed(self) -> bool:
        """True where a server may have counted it as a failed login."""
        reset = self.result is Result.FAILED and kind_of(self.cause) is Kind.RESET
        return reset or self.counts_at_once

    @property
    def counts_at_once(self) -> bool:
        """True where no second test is to confirm the failure: it may be a login's."""
        failed = self.result is Result.FAILED and kind_of(self.cause) in {Kind.LOGIN, Kind.OTHER}
        return failed or self.result is Result.UNKNOWN

    @property
    def inaccessible(self) -> bool:
        """True where it passed, and a path could not be reached."""
        passed = self.result is Result.PASSED
        return passed and (self.import_path is False or self.export_path is False)


def all_redated(attempts: tuple[Attempt, ...], by: Seconds, latest: Instant) -> tuple[Attempt, ...]:
    """Return attempts with their instants on our clock redated."""
    return tuple(redated(one, "at", "ended_at", by=by, latest=latest) for one in attempts)


KEPT = 3  # of a campaign's attempts: one on record, the one before it, one under way
SAME_TEST: Seconds = 1.0  # our attempt and the record differ by at most so much
# How far from an attempt without an answer a test on record may be to be that one: by so much the
# platform's clock may differ from ours before it counts.
NEAR: Seconds = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignTests:
    """What is remembered of a campaign's tests of ours."""

    attempts: tuple[Attempt, ...] = ()  # the newest last
    failures: int = 0  # in a row, of tests that failed or could not reach a path
    suspect: int = 0  # so many more answers may show that a failed test switched it off
    not_before: Instant = 0.0  # an import was running

    @property
    def last(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    def on_record(self, config: SftpConfig) -> Attempt | None:
        """Return our attempt that is the test on record; None: that is somebody else's."""
        at, passed = config.last_test_at, config.last_test_success
        if at is None or passed is None:
            return None
        result = Result.PASSED if passed else Result.FAILED
        for one in reversed(self.attempts):
            if one.result is result and abs((one.tested_at or 0.0) - at) <= SAME_TEST:
                return one
        return None

    def confirmed(self, failed: Attempt, passed_at: Instant | None, after: Seconds) -> bool:
        """Return whether a failed attempt counts: a login failure, or not the first of its kind.

        `passed_at` is the last passed test on record, `after` what lies between two at least.
        """
        until = failed.at - after + SAME_TEST
        before = self.failed_since(passed_at)
        return failed.counts_at_once or any(one.at <= until for one in before)

    def failed_since(self, passed_at: Instant | None) -> list[Attempt]:
        """Return the tests that failed since the last passed one on record, the newest last."""
        failed = (one for one in self.attempts if one.result is Result.FAILED)
        return [one for one in failed if (one.tested_at or 0.0) > (passed_at or 0.0)]

    def redated(self, by: Seconds = 0.0, latest: Instant = float("inf")) -> "CampaignTests":
        """Return it with all instants of our clock redated; one may lie ahead by an hour."""
        after = redated(self, "not_before", by=by, latest=latest + HOUR)
        attempts = all_redated(self.attempts, by, latest)
        return after if attempts == self.attempts else replace(after, attempts=attempts)

    def begun(self, attempt: Attempt) -> "CampaignTests":
        """Return it with an attempt that is about to be sent."""
        # The first failure that another one is to confirm must stay.
        return replace(self, attempts=(*self.attempts, attempt)[-KEPT:])

    def withdrawn(self, attempt: Attempt) -> "CampaignTests":
        """Return it without an attempt that was not sent after all, or was turned away."""
        return replace(self, attempts=tuple(one for one in self.attempts if one.at != attempt.at))

    def ended(self, attempt: Attempt) -> "CampaignTests":
        """Return it with what an attempt came to."""
        attempts = tuple(attempt if one.at == attempt.at else one for one in self.attempts)
        good = attempt.result is Result.PASSED and not attempt.inaccessible
        failures = 0 if good else self.failures + 1
        suspect = SUSPECT_ANSWERS if attempt.result is Result.FAILED else 0
        return replace(self, attempts=attempts, failures=failures, suspect=suspect)

    def may_be(self, at: Instant, ahead: Seconds, within: Seconds) -> bool:
        """Return whether a test that ran at `at` may be our last one, whose result is not known."""
        last = self.last
        if last is None or last.tested_at is not None:
            return False
        return -NEAR <= at - ahead - last.at <= within + NEAR

    def recorded(self, config: SftpConfig, ahead: Seconds, within: Seconds) -> "CampaignTests":
        """Return it after a definite answer: an attempt without a result takes the record's.

        `ahead` is how far the platform's clock is ahead of ours, `within` what a test may take.
        """
        last, at = self.last, config.last_test_at
        if last is None or at is None:
            return self
        if config.last_test_success and at - ahead > last.at + within + NEAR:
            return replace(self, failures=0)  # somebody else's has passed: the row has ended
        if not self.may_be(at, ahead, within):
            return self
        result = Result.PASSED if config.last_test_success else Result.FAILED
        # It is ended anew, as it was counted as failed, or died with us and was not counted.
        after = replace(self, failures=self.failures - (last.ended_at is not None))
        return after.ended(replace(last, result=result, tested_at=at))


SUSPECT_ANSWERS = 4
"""Definite answers in which being switched off speaks against a failed test of ours."""
