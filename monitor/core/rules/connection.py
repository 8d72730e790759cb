"""What the record does not say: it cannot be read, our tests of the paths, what was changed."""

from monitor.core.model import (
    HOUR,
    MINUTE,
    Finding,
    PollError,
    Seconds,
    Severity,
    SftpConfig,
    setting,
)
from monitor.core.rule import (
    NOT_OURS,
    ConfigRule,
    EvaluationInput,
    Rule,
    by_deadline,
    campaign_rule,
    healthy,
    plain,
    unhealthy,
    unknown,
    unread,
)
from monitor.core.status import Alert, changes_of, values_of
from monitor.core.text import arrow, rfc3339, span


@campaign_rule
class Unreadable(Rule, alertname="SftpConfigUnreadable"):
    """The config could not be read for `after` or longer: nothing is known about it any more."""

    FAILURES = 3
    name = "unreadable"
    meaning = "the SFTP config cannot be read, so nothing is known about it"
    next_step = (
        "Look at the reason: forbidden is a matter of the token's rights, the others of the API; "
        "open the campaign's SFTP page to verify."
    )

    after: Seconds = setting(15 * MINUTE, "how long polls must have failed")

    def evaluate(self, inputs: EvaluationInput) -> Finding:
        """Return unhealthy at a failed poll: 3 in a row, the first of them `after` ago."""
        error, failures = inputs.observation, inputs.status.failures
        if not isinstance(error, PollError):
            return plain("the SFTP config can be read")
        if failures is None:
            return unread(error)
        first = rfc3339(failures.first_at)
        evidence = {
            "reason": error.reason.value,
            "detail": error.detail,
            "failures": str(failures.count),
            "first_failure_at": first,
        }
        summary = f"{failures.count} polls in a row failed since {first}: {error.reason}"
        lasted = inputs.now - inputs.dated(failures.first_at)
        if failures.count < self.FAILURES or lasted < self.after:
            return unknown(summary, evidence)
        return unhealthy(summary, evidence, since=failures.first_at)


@campaign_rule
class PathInaccessible(ConfigRule, alertname="SftpPathInaccessible"):
    """A test of ours passed, and could not reach the import path, or the export path."""

    name = "path_inaccessible"
    meaning = "the connection works, but a folder of it cannot be reached"
    next_step = "Check the path in the SFTP config, and on the server whether the user may open it."
    needs_enabled = True

    severity: Severity = setting(Severity.CRITICAL, "of the import path")
    severity_export: Severity = setting(Severity.WARNING, "of the export path alone")

    def severity_of(self, found: Finding | Alert) -> Severity:
        """Return how loud it is: by which path cannot be reached."""
        return self.severity if "import_path" in found.evidence else self.severity_export

    def evaluate_config(self, config: SftpConfig, inputs: EvaluationInput) -> Finding:
        """Return unhealthy where the test on record is ours, and did not reach a path."""
        ours = inputs.status.tests.on_record(config)
        if ours is None or not config.last_test_success:
            return unknown(NOT_OURS)
        paths = {"import_path": config.import_path, "export_path": config.export_path}
        lost = {
            name: path or "not set" for name, path in paths.items() if getattr(ours, name) is False
        }
        if not lost:
            if any(path and getattr(ours, name) is None for name, path in paths.items()):
                return unknown(NOT_OURS)
            return healthy(f"a test of ours reached the paths at {rfc3339(ours.at)}")
        evidence = {
            **lost,
            "tested_by": "monitor",
            "last_test_at": rfc3339(ours.tested_at or ours.at),
        }
        words = " and ".join(f"{name.replace('_', ' ')} {path}" for name, path in lost.items())
        return unhealthy(f"{words} cannot be reached", evidence, since=ours.tested_at)


@campaign_rule
class ChangedUntested(ConfigRule, alertname="SftpChangedUntested"):
    """The connection differs from the one that the last passed test was for, since `grace`."""

    name = "changed_untested"
    meaning = "the SFTP config was changed, and not tested since"
    next_step = "Run a connection test on the campaign's SFTP page."
    needs_enabled = True

    grace: Seconds = setting(HOUR, "how long a changed config may stay untested")

    def evaluate_config(self, config: SftpConfig, inputs: EvaluationInput) -> Finding:
        """Return unhealthy `grace` after the change, unless the monitor itself is to test it."""
        last_known = inputs.last_known
        if last_known.untested_since is None:
            return plain("the connection has not changed since its last passed test")
        differ = changes_of(last_known.passed_for, values_of(config))
        changes = {name: arrow(pair) for name, pair in differ.items()}
        on = inputs.target.muted_status is None and inputs.target.tests.covers(config)
        if on and not inputs.testing.held:
            return healthy("the connection has changed, and is about to be tested", changes)
        since = inputs.dated(last_known.untested_since)
        words = ", ".join(name.replace("_", " ") for name in changes)
        summary = f"{words} changed, seen at {rfc3339(since)}, and not tested since"
        evidence = {**changes, "grace": span(self.grace)}
        return by_deadline(since + self.grace, inputs.now, summary, evidence)
