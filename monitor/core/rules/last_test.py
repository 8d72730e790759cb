"""What the last connection test on record says: it failed, is too old, or lies in the future."""

from abc import abstractmethod

from monitor.core.attempt import Attempt, TestSettings
from monitor.core.causes import NEXT_STEPS, kind_of
from monitor.core.model import (
    DAY,
    MINUTE,
    Finding,
    Instant,
    PositiveSeconds,
    Seconds,
    Severity,
    SftpConfig,
    setting,
)
from monitor.core.rule import (
    AgesBySchedule,
    ConfigRule,
    EvaluationInput,
    by_deadline,
    campaign_rule,
    healthy,
    plain,
    unhealthy,
    unknown,
)
from monitor.core.status import CONNECTION
from monitor.core.text import evidence_of_test, rfc3339, span


class LastTestRule(ConfigRule):
    """A rule about the last connection test: no test is `never_tested`'s business."""

    needs_enabled = True

    def evaluate_config(self, config: SftpConfig, inputs: EvaluationInput) -> Finding:
        """Return the verdict on the test on record; unknown for half a record."""
        if config.half_tested:
            return unknown("the record of the last test is incomplete", evidence_of_test(config))
        if config.last_test_at is None:
            return plain("no connection test on record")
        return self.evaluate_test(config, config.last_test_at, inputs)

    @abstractmethod
    def evaluate_test(
        self, config: SftpConfig, tested_at: Instant, inputs: EvaluationInput
    ) -> Finding:
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

    inhibits = ("changed_untested",)

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")

    def evaluate_test(
        self, config: SftpConfig, tested_at: Instant, inputs: EvaluationInput
    ) -> Finding:
        """Return unhealthy when the test on record failed, and if it is ours, was confirmed."""
        evidence, when = evidence_of_test(config), _when(tested_at, inputs.now)
        at = rfc3339(tested_at)
        tests, testing = inputs.status.tests, inputs.testing
        if config.last_test_success:
            guards, settings = testing.guards, inputs.target.tests
            blocked = None if guards is None else guards.blocked_since(settings)
            if blocked is not None and tested_at < inputs.dated(blocked):
                why = f"last test passed at {at}, but tests of its login fail since"
                return unknown(f"{why} {rfc3339(blocked)}", evidence)
            return healthy(f"last test passed at {at}", evidence)
        ours = tests.on_record(config)
        if ours is None and tests.may_be(tested_at, inputs.ahead, inputs.target.tests.timeout):
            return unknown("a test is under way, and its answer says more", evidence)
        if ours is None:
            return unhealthy(f"last test failed {when}", evidence, since=tested_at)
        said = f'TalkOver says: "{ours.cause}"' if ours.cause else "no cause is known"
        more = {"cause": said, "tested_by": "monitor", **_changed_before(inputs, ours)}
        if testing.same_login > 1 and ours.login_failed:
            more["same_login"] = str(testing.same_login)
        evidence = {**evidence, **more}
        after, passed_at = inputs.target.tests.confirm_after, inputs.last_known.last_passed_at
        if not tests.confirmed(ours, passed_at, after):
            return unknown(f"a test failed at {at}, to be confirmed by another: {said}", evidence)
        row, step = tests.failed_since(passed_at) or [ours], NEXT_STEPS[kind_of(ours.cause)]
        summary = f"last test failed {when}: {said}"
        return unhealthy(summary, evidence, since=row[0].tested_at, next_step=step)


@campaign_rule
class StaleTest(LastTestRule, alertname="SftpTestStale"):
    """The last connection test is `max_age` old or older: nobody knows whether it still works."""

    name = "stale_test"
    meaning = "the connection was last tested too long ago to be trusted"
    next_step = "Run a connection test on the campaign's SFTP page."
    unknown_while = ("future_test",)

    max_age: PositiveSeconds = setting(30 * DAY, "how old the last test may be")
    max_age_by_schedule: AgesBySchedule = setting({}, "instead of max_age, by import_schedule")

    def evaluate_test(
        self, config: SftpConfig, tested_at: Instant, inputs: EvaluationInput
    ) -> Finding:
        """Return unhealthy from `last_test_at` plus the age allowed on."""
        guards, held = inputs.testing.guards, inputs.testing.held
        since = None if guards is None else guards.environment.on_since
        stale_at = self.stale_at(config, tested_at, inputs.target.tests, since)
        allowed = stale_at - tested_at
        evidence = {**evidence_of_test(config), "max_age": span(allowed)}
        why = f"; none runs: {held}" if held else ""
        # Before it is too old no age is said: it would be one of the last decision.
        late = inputs.now >= stale_at
        when = _when(tested_at, inputs.now) if late else f"at {rfc3339(tested_at)}"
        summary = f"last test {when}, allowed {span(allowed)}{why}"
        return by_deadline(stale_at, inputs.now, summary, evidence)

    def stale_at(
        self, config: SftpConfig, tested_at: Instant, tests: TestSettings, since: Instant | None
    ) -> Instant:
        """Return when a test is too old; `since`: when tests of ours were switched on."""
        allowed = self.max_age_by_schedule.get(config.import_schedule or "", self.max_age)
        if since is None or not tests.covers(config):
            return tested_at + allowed
        # Nobody must fail to notice that they have stopped, nor be paged because they began.
        return min(tested_at + allowed, max(tested_at, since) + tests.missed_after)


@campaign_rule
class FutureTest(LastTestRule, alertname="SftpTestInFuture"):
    """The last test lies in the future: a clock is wrong, and no age is known."""

    name = "future_test"
    meaning = "the last test is dated in the future, so its age is unknown"
    next_step = "Run a connection test; if the date stays wrong, ask TalkOver."

    tolerance: Seconds = setting(5 * MINUTE, "how far ahead of now a test may be dated")

    def evaluate_test(
        self, config: SftpConfig, tested_at: Instant, inputs: EvaluationInput
    ) -> Finding:
        """Return unhealthy while `last_test_at` is more than `tolerance` ahead."""
        evidence = {**evidence_of_test(config), "tolerance": span(self.tolerance)}
        ahead = tested_at - inputs.now
        if ahead <= self.tolerance:
            return healthy("the last test is not dated in the future", evidence)
        summary = f"last test dated {span(ahead)} ahead ({rfc3339(tested_at)})"
        return unhealthy(summary, evidence, recheck_at=tested_at - self.tolerance)


def _when(at: Instant, now: Instant) -> str:
    how_long = f"{span(now - at)} ago" if now >= at else f"{span(at - now)} ahead"
    return f"{how_long} ({rfc3339(at)})"


def _changed_before(inputs: EvaluationInput, ours: Attempt) -> dict[str, str]:
    """Return the last change of the connection before a test, if there was one, as evidence."""
    before = (one for one in inputs.last_known.changes if one.at <= ours.at)
    changes = [one for one in before if one.fields.keys() & {*CONNECTION}]
    if not changes:
        return {}
    words = ", ".join(
        f"{name} changed from {was or 'nothing'} to {now or 'nothing'}"
        for name, (was, now) in changes[-1].fields.items()
    )
    return {"changed": f"{words} {span(ours.at - changes[-1].at)} before"}
