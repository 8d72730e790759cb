"""What can be wrong with an SFTP config: one frozen dataclass per rule.

A rule's class is all there is to it. Its fields are its settings (config keys, types, defaults,
help), its class attributes say what it means and what to do, `judge` gives the verdict. To add
one, write the class and decorate it with `@campaign_rule`; nothing else needs to know.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from monitor.core.model import (
    DAY,
    MINUTE,
    Finding,
    Instant,
    PollError,
    Seconds,
    Severity,
    SftpConfig,
    Verdict,
)
from monitor.core.rule import (
    EVERY_OTHER_RULE,
    AgesBySchedule,
    ConfigRule,
    PositiveSeconds,
    Rule,
    Sight,
    healthy,
    setting,
    unhealthy,
    unknown,
    unread,
)
from monitor.core.text import rfc3339, span

RULES: dict[str, type[Rule]] = {}
"""Every rule of a campaign by its name, in the order in which events are told."""

_R = TypeVar("_R", bound=Rule)


def campaign_rule(cls: type[_R]) -> type[_R]:
    """Register a rule of a campaign."""
    if cls.name in RULES:
        raise ValueError(f"there is a rule named {cls.name!r} already")
    RULES[cls.name] = cls
    return cls


def resolve_rules(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Rule]:
    """Return the enabled rules with these settings (rule name → field → value), in table order."""
    made = {name: cls(**settings.get(name, {})) for name, cls in RULES.items()}
    return {name: rule for name, rule in made.items() if rule.enabled}


@campaign_rule
@dataclass(frozen=True, kw_only=True)
class Missing(Rule, alertname="SftpConfigMissing"):
    """NoConfig, where one is expected: said so (`expect_sftp`), or once seen with a config."""

    name: ClassVar[str] = "missing"
    meaning: ClassVar[str] = "the campaign has no SFTP config (any more)"
    next_step: ClassVar[str] = (
        "Ask who removed the SFTP config and create it again, or take the campaign off the list."
    )
    mutes: ClassVar[tuple[str, ...]] = (EVERY_OTHER_RULE,)

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")

    def judge(self, sight: Sight) -> Finding:
        """Return unhealthy for an expected config that is not there; an unread one is unknown."""
        match sight.observation:
            case PollError() as error:
                return unread(error)
            case SftpConfig():
                return healthy("the campaign has an SFTP config", {})
        if not sight.expected and sight.memory.config is None:
            return healthy("the campaign does not use SFTP", {})
        if not sight.gone_by_itself:
            return unknown("the SFTP config is gone; two other campaigns are asked first")
        if not sight.still_there:
            return unknown("no SFTP config; the next listing says whether the campaign is there")
        evidence = {"gone_at": rfc3339(_or_now(sight.memory.gone_at, sight.now))}
        if sight.memory.config is None:
            return unhealthy("the platform has no SFTP config for this campaign", evidence)
        return unhealthy("the SFTP config that was there is gone", evidence)


@campaign_rule
@dataclass(frozen=True, kw_only=True)
class NeverTested(ConfigRule, alertname="SftpNeverTested"):
    """No connection test on record, `grace` after the config was created."""

    name: ClassVar[str] = "never_tested"
    meaning: ClassVar[str] = "the SFTP connection was never tested"
    next_step: ClassVar[str] = (
        "Run a connection test on the campaign's SFTP page; it cannot be enabled before one passed."
    )
    mutes: ClassVar[tuple[str, ...]] = ("disabled",)

    grace: Seconds = setting(DAY, "how long a new config may stay untested")

    def judge_config(self, config: SftpConfig, sight: Sight) -> Finding:
        """Return unhealthy from creation (or, unknown, the first sight) plus `grace` on."""
        if config.half_tested:
            return unknown("the record of the last test is incomplete", _test_evidence(config))
        if not config.never_tested:
            return healthy("a connection test is on record", _test_evidence(config))
        created = config.created_at
        if created is None:
            created = sight.dated(sight.memory.first_seen_at)
        evidence = {"created_at": rfc3339(created), "grace": span(self.grace)}
        summary = (
            f"no connection test on record, created {rfc3339(created)}, allowed {span(self.grace)}"
        )
        return _by_deadline(created + self.grace, sight.now, summary, evidence)


@campaign_rule
@dataclass(frozen=True, kw_only=True)
class Disabled(ConfigRule, alertname="SftpConfigDisabled"):
    """The config has been switched off for `grace` or longer."""

    name: ClassVar[str] = "disabled"
    meaning: ClassVar[str] = "the SFTP config is switched off, so no list is imported"
    next_step: ClassVar[str] = (
        "Ask who switched it off and why; enable it again, or take the campaign off the list."
    )

    grace: Seconds = setting(DAY, "how long a config may be switched off")

    def judge_config(self, config: SftpConfig, sight: Sight) -> Finding:
        """Return unhealthy once seen off, or (never seen enabled) existing, for `grace`."""
        if config.is_enabled:
            return healthy("the SFTP config is enabled", {"is_enabled": "true"})
        memory = sight.memory
        since = sight.dated(memory.disabled_since)
        if not memory.enabled_seen and config.created_at is not None:
            since = config.created_at
        evidence = {
            "is_enabled": "false",
            "disabled_since": rfc3339(since),
            "grace": span(self.grace),
        }
        summary = f"switched off since {rfc3339(since)} at the latest, allowed {span(self.grace)}"
        finding = _by_deadline(since + self.grace, sight.now, summary, evidence)
        return unhealthy(summary, evidence) if finding.verdict is Verdict.UNHEALTHY else finding


@dataclass(frozen=True, kw_only=True)
class LastTestRule(ConfigRule):
    """A rule about the last connection test: no test is `never_tested`'s business."""

    needs_enabled: ClassVar[bool] = True

    def judge_config(self, config: SftpConfig, sight: Sight) -> Finding:
        """Return the verdict on the test on record; unknown for half a record."""
        if config.half_tested:
            return unknown("the record of the last test is incomplete", _test_evidence(config))
        if config.last_test_at is None:
            return healthy("no connection test on record", {})
        return self.judge_test(config, config.last_test_at, sight.now)

    @abstractmethod
    def judge_test(self, config: SftpConfig, tested_at: Instant, now: Instant) -> Finding:
        """Return the verdict on a test that ran at `tested_at`."""


@campaign_rule
@dataclass(frozen=True, kw_only=True)
class FailedTest(LastTestRule, alertname="SftpTestFailed"):
    """The last connection test failed."""

    name: ClassVar[str] = "failed_test"
    meaning: ClassVar[str] = "the last connection test failed"
    next_step: ClassVar[str] = (
        "The API does not give the cause: run the connection test on the campaign's SFTP page and "
        "read its error (credentials, host, port, paths)."
    )

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")

    def judge_test(self, config: SftpConfig, tested_at: Instant, now: Instant) -> Finding:
        """Return unhealthy when the test on record failed."""
        evidence = _test_evidence(config)
        when = f"{_ago(tested_at, now)} ({rfc3339(tested_at)})"
        if config.last_test_success:
            return healthy(f"last test passed {when}", evidence)
        return unhealthy(f"last test failed {when}", evidence, since=tested_at)


@campaign_rule
@dataclass(frozen=True, kw_only=True)
class StaleTest(LastTestRule, alertname="SftpTestStale"):
    """The last connection test is `max_age` old or older: nobody knows whether it still works."""

    name: ClassVar[str] = "stale_test"
    meaning: ClassVar[str] = "the connection was last tested too long ago to be trusted"
    next_step: ClassVar[str] = "Run a connection test on the campaign's SFTP page."
    unknown_while: ClassVar[tuple[str, ...]] = ("future_test",)

    max_age: PositiveSeconds = setting(30 * DAY, "how old the last test may be")
    max_age_by_schedule: AgesBySchedule = setting({}, "instead of max_age, by import_schedule")

    def judge_test(self, config: SftpConfig, tested_at: Instant, now: Instant) -> Finding:
        """Return unhealthy from `last_test_at` plus the age allowed on."""
        allowed = self.max_age_for(config)
        evidence = {**_test_evidence(config), "max_age": span(allowed)}
        when = f"{_ago(tested_at, now)} ({rfc3339(tested_at)})"
        summary = f"last test {when}, allowed {span(allowed)}"
        return _by_deadline(tested_at + allowed, now, summary, evidence)

    def max_age_for(self, config: SftpConfig) -> Seconds:
        """Return how old the last test of this config may be, in seconds."""
        return self.max_age_by_schedule.get(config.import_schedule or "", self.max_age)


@campaign_rule
@dataclass(frozen=True, kw_only=True)
class FutureTest(LastTestRule, alertname="SftpTestInFuture"):
    """The last test lies in the future: a clock is wrong, and no age can be told."""

    name: ClassVar[str] = "future_test"
    meaning: ClassVar[str] = "the last test is dated in the future, so its age cannot be told"
    next_step: ClassVar[str] = "Run a connection test; if the date stays wrong, ask TalkOver."

    tolerance: Seconds = setting(5 * MINUTE, "how far ahead of now a test may be dated")

    def judge_test(self, config: SftpConfig, tested_at: Instant, now: Instant) -> Finding:
        """Return unhealthy while `last_test_at` is more than `tolerance` ahead."""
        evidence = {**_test_evidence(config), "tolerance": span(self.tolerance)}
        ahead = tested_at - now
        if ahead <= self.tolerance:
            return healthy("the last test is not dated in the future", evidence)
        summary = f"last test dated {span(ahead)} ahead ({rfc3339(tested_at)})"
        return unhealthy(summary, evidence, recheck_at=tested_at - self.tolerance)


@campaign_rule
@dataclass(frozen=True, kw_only=True)
class Unreadable(Rule, alertname="SftpConfigUnreadable"):
    """The config could not be read for `after` or longer: nothing is known about it any more."""

    FAILURES: ClassVar[int] = 3
    name: ClassVar[str] = "unreadable"
    meaning: ClassVar[str] = "the SFTP config cannot be read, so nothing is known about it"
    next_step: ClassVar[str] = (
        "Look at the reason: forbidden is a matter of the token's rights, the others of the API; "
        "open the campaign's SFTP page to see it with your own eyes."
    )

    after: Seconds = setting(15 * MINUTE, "how long polls must have failed")

    def judge(self, sight: Sight) -> Finding:
        """Return unhealthy at a failed poll: 3 in a row, the first of them `after` ago."""
        error, failures = sight.observation, sight.failures
        if not isinstance(error, PollError):
            return healthy("the SFTP config can be read", {})
        if failures is None:
            return unread(error)
        evidence = {
            "reason": error.reason.value,
            "detail": error.detail,
            "failures": str(failures.count),
            "first_failure_at": rfc3339(failures.first_at),
        }
        first = rfc3339(failures.first_at)
        summary = f"{failures.count} polls in a row failed since {first}: {error.reason}"
        if failures.count < self.FAILURES or sight.since(failures.first_at) < self.after:
            return unknown(summary, evidence)
        return unhealthy(summary, evidence, since=failures.first_at)


def _by_deadline(
    deadline: Instant, now: Instant, summary: str, evidence: Mapping[str, str]
) -> Finding:
    """Return unhealthy from `deadline` on; before it healthy, to be rechecked then."""
    if now >= deadline:
        return unhealthy(summary, evidence, since=deadline)
    return healthy(f"{summary}; the limit is at {rfc3339(deadline)}", evidence, recheck_at=deadline)


def _test_evidence(config: SftpConfig) -> dict[str, str]:
    evidence = {}
    if config.last_test_at is not None:
        evidence["last_test_at"] = rfc3339(config.last_test_at)
    if config.last_test_success is not None:
        evidence["last_test_success"] = "true" if config.last_test_success else "false"
    return evidence


def _ago(at: Instant, now: Instant) -> str:
    return f"{span(now - at)} ago" if now >= at else f"{span(at - now)} ahead"


def _or_now(at: Instant | None, now: Instant) -> Instant:
    return now if at is None else at
