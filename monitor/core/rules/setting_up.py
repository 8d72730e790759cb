"""A config that should be in use and is not: missing, never tested, or switched off."""

from dataclasses import replace

from monitor.core.model import DAY, Finding, PollError, Seconds, Severity, SftpConfig, setting
from monitor.core.rule import (
    EVERY_OTHER_RULE,
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
from monitor.core.text import evidence_of_test, rfc3339, span


@campaign_rule
class Missing(Rule, alertname="SftpConfigMissing"):
    """NoConfig, where one is expected: said so (`expect_sftp`), or once seen with a config."""

    name = "missing"
    meaning = "the campaign has no SFTP config (any more)"
    next_step = (
        "Ask who removed the SFTP config and create it again, or take the campaign off the list."
    )
    inhibits = (EVERY_OTHER_RULE,)

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")

    def evaluate(self, inputs: EvaluationInput) -> Finding:
        """Return unhealthy for an expected config that is not there; an unread one is unknown."""
        match inputs.observation:
            case PollError() as error:
                return unread(error)
            case SftpConfig():
                return plain("the campaign has an SFTP config")
        had_one = inputs.last_known.config is not None
        if not inputs.target.expected and not had_one:
            return plain("the campaign does not use SFTP")
        missing_since, others_at = inputs.last_known.missing_since, inputs.others_read_at
        # It may be gone for all: a token, an API release.
        if (
            had_one
            and missing_since is not None
            and others_at is not None
            and others_at < missing_since
        ):
            return unknown("the SFTP config is gone; two other campaigns are asked first")
        # Known from discovery alone the campaign itself may be gone.
        listed, listed_at = inputs.target.listed, inputs.target.listed_at or 0.0
        if not listed and missing_since is not None and listed_at <= missing_since:
            return unknown("no SFTP config; the next listing says whether the campaign is there")
        evidence = {
            "missing_since": rfc3339(inputs.now if missing_since is None else missing_since)
        }
        if had_one:
            return unhealthy("the SFTP config that was there is gone", evidence)
        return unhealthy("the platform has no SFTP config for this campaign", evidence)


@campaign_rule
class NeverTested(ConfigRule, alertname="SftpNeverTested"):
    """No connection test on record, `grace` after the config was created."""

    name = "never_tested"
    meaning = "the SFTP connection was never tested"
    next_step = (
        "Run a connection test on the campaign's SFTP page; it cannot be enabled before one passed."
    )
    inhibits = ("disabled",)

    grace: Seconds = setting(DAY, "how long a new config may stay untested")

    def evaluate_config(self, config: SftpConfig, inputs: EvaluationInput) -> Finding:
        """Return unhealthy `grace` after the creation (where unknown: since it was first seen)."""
        if config.half_tested:
            return unknown("the record of the last test is incomplete", evidence_of_test(config))
        if config.last_test_at is not None:
            return healthy("a connection test is on record", evidence_of_test(config))
        seen = inputs.dated(inputs.last_known.first_seen_at)
        created = seen if config.created_at is None else config.created_at
        at, grace = rfc3339(created), span(self.grace)
        summary = f"no connection test on record, created {at}, allowed {grace}"
        evidence = {"created_at": at, "grace": grace}
        return by_deadline(created + self.grace, inputs.now, summary, evidence)


_ENABLED = healthy("the SFTP config is enabled", {"is_enabled": "true"})


@campaign_rule
class Disabled(ConfigRule, alertname="SftpConfigDisabled"):
    """The config has been switched off for `grace` or longer."""

    name = "disabled"
    meaning = "the SFTP config is switched off, so no list is imported"
    next_step = (
        "Ask who switched it off and why; enable it again, or take the campaign off the list."
    )

    grace: Seconds = setting(DAY, "how long a config may be switched off")

    def evaluate_config(self, config: SftpConfig, inputs: EvaluationInput) -> Finding:
        """Return unhealthy once seen off, or (never seen enabled) existing, for `grace`."""
        if config.is_enabled:
            return _ENABLED
        last_known = inputs.last_known
        since = inputs.dated(last_known.disabled_since)
        if not last_known.enabled_seen and config.created_at is not None:
            since = config.created_at
        at, grace = rfc3339(since), span(self.grace)
        evidence = {"is_enabled": "false", "disabled_since": at, "grace": grace}
        summary = f"disabled since {at} or earlier (allowed: {grace})"
        # No instant that the platform recorded: so unhealthy since the first such observation.
        return replace(by_deadline(since + self.grace, inputs.now, summary, evidence), since=None)
