"""A config that was created and not brought into use: never tested, or switched off."""

from dataclasses import dataclass
from typing import ClassVar

from monitor.core.model import DAY, Finding, Seconds, SftpConfig, Verdict
from monitor.core.rule import (
    ConfigRule,
    Sight,
    healthy,
    setting,
    unhealthy,
    unknown,
)
from monitor.core.rules.table import by_deadline, campaign_rule, evidence_of_test
from monitor.core.text import rfc3339, span


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
            return unknown("the record of the last test is incomplete", evidence_of_test(config))
        if not config.never_tested:
            return healthy("a connection test is on record", evidence_of_test(config))
        created = config.created_at
        if created is None:
            created = sight.dated(sight.memory.first_seen_at)
        evidence = {"created_at": rfc3339(created), "grace": span(self.grace)}
        summary = (
            f"no connection test on record, created {rfc3339(created)}, allowed {span(self.grace)}"
        )
        return by_deadline(created + self.grace, sight.now, summary, evidence)


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
        summary = f"disabled since {rfc3339(since)} or earlier (allowed: {span(self.grace)})"
        finding = by_deadline(since + self.grace, sight.now, summary, evidence)
        return unhealthy(summary, evidence) if finding.verdict is Verdict.UNHEALTHY else finding
