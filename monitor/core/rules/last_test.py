"""What the last connection test on record says: it failed, is too old, or lies in the future."""

from abc import abstractmethod

from monitor.core.model import DAY, MINUTE, Finding, Instant, Seconds, Severity, SftpConfig
from monitor.core.rule import (
    AgesBySchedule,
    ConfigRule,
    EvaluationInput,
    PositiveSeconds,
    by_deadline,
    campaign_rule,
    healthy,
    setting,
    unhealthy,
    unknown,
)
from monitor.core.text import evidence_of_test, rfc3339, span


class LastTestRule(ConfigRule):
    """A rule about the last connection test: no test is `never_tested`'s business."""

    needs_enabled = True

    def evaluate_config(self, config: SftpConfig, inputs: EvaluationInput) -> Finding:
        """Return the verdict on the test on record; unknown for half a record."""
        if config.half_tested:
            return unknown("the record of the last test is incomplete", evidence_of_test(config))
        if config.last_test_at is None:
            return healthy("no connection test on record")
        return self.evaluate_test(config, config.last_test_at, inputs.now)

    @abstractmethod
    def evaluate_test(self, config: SftpConfig, tested_at: Instant, now: Instant) -> Finding:
        """Return the verdict on a test that ran at `tested_at`."""


@campaign_rule
class FailedTest(LastTestRule, alertname="SftpTestFailed"):
    """The last connection test failed."""

    name = "failed_test"
    meaning = "the last connection test failed"
    next_step = (
        "The API does not give the cause: run the connection test on the campaign's SFTP page and "
        "read its error (credentials, host, port, paths)."
    )

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")

    def evaluate_test(self, config: SftpConfig, tested_at: Instant, now: Instant) -> Finding:
        """Return unhealthy when the test on record failed."""
        evidence = evidence_of_test(config)
        when = _when(tested_at, now)
        if config.last_test_success:
            return healthy(f"last test passed {when}", evidence)
        return unhealthy(f"last test failed {when}", evidence, since=tested_at)


@campaign_rule
class StaleTest(LastTestRule, alertname="SftpTestStale"):
    """The last connection test is `max_age` old or older: nobody knows whether it still works."""

    name = "stale_test"
    meaning = "the connection was last tested too long ago to be trusted"
    next_step = "Run a connection test on the campaign's SFTP page."
    unknown_while = ("future_test",)

    max_age: PositiveSeconds = setting(30 * DAY, "how old the last test may be")
    max_age_by_schedule: AgesBySchedule = setting({}, "instead of max_age, by import_schedule")

    def evaluate_test(self, config: SftpConfig, tested_at: Instant, now: Instant) -> Finding:
        """Return unhealthy from `last_test_at` plus the age allowed on."""
        allowed = self.max_age_for(config)
        evidence = {**evidence_of_test(config), "max_age": span(allowed)}
        summary = f"last test {_when(tested_at, now)}, allowed {span(allowed)}"
        return by_deadline(tested_at + allowed, now, summary, evidence)

    def max_age_for(self, config: SftpConfig) -> Seconds:
        """Return how old the last test of this config may be, in seconds."""
        return self.max_age_by_schedule.get(config.import_schedule or "", self.max_age)


@campaign_rule
class FutureTest(LastTestRule, alertname="SftpTestInFuture"):
    """The last test lies in the future: a clock is wrong, and no age is known."""

    name = "future_test"
    meaning = "the last test is dated in the future, so its age is unknown"
    next_step = "Run a connection test; if the date stays wrong, ask TalkOver."

    tolerance: Seconds = setting(5 * MINUTE, "how far ahead of now a test may be dated")

    def evaluate_test(self, config: SftpConfig, tested_at: Instant, now: Instant) -> Finding:
        """Return unhealthy while `last_test_at` is more than `tolerance` ahead."""
        evidence = {**evidence_of_test(config), "tolerance": span(self.tolerance)}
        ahead = tested_at - now
        if ahead <= self.tolerance:
            return healthy("the last test is not dated in the future", evidence)
        summary = f"last test dated {span(ahead)} ahead ({rfc3339(tested_at)})"
        return unhealthy(summary, evidence, recheck_at=tested_at - self.tolerance)


def _when(at: Instant, now: Instant) -> str:
    how_long = f"{span(now - at)} ago" if now >= at else f"{span(at - now)} ahead"
    return f"{how_long} ({rfc3339(at)})"
