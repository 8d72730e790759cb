"""Builders of the core's values: everything is in order unless a test says otherwise."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from monitor.core.model import (
    DAY,
    HOUR,
    Finding,
    Instant,
    Observation,
    PollError,
    Reason,
    Severity,
    SftpConfig,
    Verdict,
)
from monitor.core.rule import EvaluationInput, Rule, Target, resolve_rules
from monitor.core.rules import RULES
from monitor.core.status import Alert, AlertState, CampaignStatus, Failures, LastKnown

NOW: Instant = 1_800_000_000.0
"""2027-01-15T08:00:00Z: the present, in every test that has one."""

EVIDENCE_KEYS = frozenset({
    "allowed", "created_at", "detail", "disabled_since", "effective_interval", "failures",
    "first_failure_at", "missing_since", "grace", "is_enabled", "last_test_at", "last_test_success",
    "max_age", "opened_at", "reason", "tolerance",
    "cause", "changed", "same_login", "tested_by",
    "id", "host", "port", "username", "auth_type", "import_path", "export_path",
})  # fmt: skip
"""Every key that a finding's evidence may have: log pipelines index by them."""

BAD = Finding(Verdict.UNHEALTHY, "bad", {"reason": "bad"})

FIRING = Alert(
    rule="failed_test",
    state=AlertState.FIRING,
    since=NOW - HOUR,
    pending_at=NOW - HOUR,
    fired_at=NOW - HOUR,
    notified=True,
    notified_at=NOW - HOUR,
    notified_severity=Severity.CRITICAL,
    seq=1,
    summary="bad",
)
"""It fired an hour ago and was told at once; `BAD` is what a rule found."""

RuleSettings = Mapping[str, Mapping[str, Any]]
"""Rule name → field → value, as `resolve_rules` takes it."""


def a_config(**overrides: Any) -> SftpConfig:
    """Return an enabled config whose last test passed a day ago."""
    config = SftpConfig(
        id="sftp-1",
        campaign_id="c-1",
        host="sftp.example",
        is_enabled=True,
        port=22,
        import_schedule="daily",
        last_test_at=NOW - DAY,
        last_test_success=True,
        created_at=NOW - 10 * DAY,
    )
    return replace(config, **overrides)


def an_untested_config(**overrides: Any) -> SftpConfig:
    """Return a config without a test on record; switched off, as it cannot be enabled yet."""
    untested = a_config(is_enabled=False, last_test_at=None, last_test_success=None)
    return replace(untested, **overrides)


def an_error(reason: Reason = Reason.TIMEOUT) -> PollError:
    """Return the outcome of a poll that failed."""
    return PollError(reason)


def only(*names: str, **settings: Any) -> dict[str, dict[str, Any]]:
    """Return settings that switch all rules off but these, which all get `settings`."""
    return {name: settings if name in names else {"enabled": False} for name in RULES}


def some_rules(*names: str, **settings: Any) -> dict[str, Rule]:
    """Return these rules and no others, each with `settings`."""
    return resolve_rules(RULES, only(*names, **settings))


def a_target(rules: RuleSettings | None = None, **overrides: Any) -> Target:
    """Return a listed campaign with all rules as they are by default, but for `rules`."""
    target = Target(
        environment="production", campaign_id="c-1", rules=resolve_rules(RULES, rules or {})
    )
    return replace(target, **overrides)


def a_status(**overrides: Any) -> CampaignStatus:
    """Return what is known of a campaign that was never polled."""
    return replace(CampaignStatus(environment="production", campaign_id="c-1"), **overrides)


def an_input(
    observation: Observation,
    *,
    now: Instant = NOW,
    listed: bool = True,
    listed_at: Instant | None = None,
    expected: bool | None = None,
    failures: Failures | None = None,
    others_read_at: Instant | None = None,
    **last_known: Any,
) -> EvaluationInput:
    """Return what a rule sees; `last_known` are fields of what is remembered of the campaign.

    A listed campaign is expected to have a config, another one is not, unless it is said.
    """
    expected = listed if expected is None else expected
    target = a_target(listed=listed, listed_at=listed_at, expected=expected)
    status = a_status(last_known=LastKnown(**last_known), failures=failures)
    return EvaluationInput(observation, status, target, now, others_read_at)
