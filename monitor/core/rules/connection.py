"""What connection tests of ours, and changes of the config, say beside the record."""

from monitor.core.model import HOUR, Finding, Seconds, Severity, SftpConfig, setting
from monitor.core.rule import (
    NOT_OURS,
    ConfigRule,
    EvaluationInput,
    by_deadline,
    campaign_rule,
    healthy,
    unhealthy,
    unknown,
)
from monitor.core.status import CONNECTION, Alert, values_of
from monitor.core.text import rfc3339, span


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
            return healthy("the connection has not changed since its last passed test")
        pairs = zip(last_known.passed_for, values_of(config), strict=True)
        changes = {
            name: f"{was or 'nothing'} → {by_now or 'nothing'}"
            for name, (was, by_now) in zip(CONNECTION, pairs, strict=True)
            if was != by_now
        }
        on = inputs.target.muted_status is None and inputs.target.tests.covers(config)
        if on and not inputs.testing.held:
            return healthy("the connection has changed, and is about to be tested", changes)
        since = inputs.dated(last_known.untested_since)
        words = ", ".join(name.replace("_", " ") for name in changes)
        summary = f"{words} changed, seen at {rfc3339(since)}, and not tested since"
        evidence = {**changes, "grace": span(self.grace)}
        return by_deadline(since + self.grace, inputs.now, summary, evidence)
