"""The last known truth about every campaign, and a campaign in one word."""

from dataclasses import replace
from typing import Any

import pytest

from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.model import HOUR, MINUTE, Finding, Severity, Verdict
from monitor.core.rule import resolve_rules
from monitor.core.snapshot import (
    Entry,
    EnvironmentSnapshot,
    Health,
    Snapshot,
    active_alerts,
    doubts,
    in_force,
    worst_firing,
)
from monitor.core.status import Alert, AlertState, EnvironmentStatus, LastKnown
from support.builders import NOW, a_status, a_target, an_error, some_rules

RULE_OF = {
    Severity.CRITICAL: "failed_test",
    Severity.WARNING: "stale_test",
    Severity.INFO: "future_test",
}


def told(severity: Severity) -> Alert:
    return Alert(
        rule=RULE_OF[severity],
        state=AlertState.FIRING,
        notified=True,
        notified_at=NOW,
        notified_severity=severity,
        seq=1,
    )


def an_entry(*alerts: Alert, last_read_at: float | None = NOW, unread: bool = False) -> Entry:
    status = a_status(
        alerts={alert.rule: alert for alert in alerts},
        last_known=LastKnown(last_read_at=last_read_at),
        error=an_error() if unread else None,
        polled_at=NOW,
    )
    return Entry(a_target(), status)


def a_snapshot(**overrides: object) -> EnvironmentSnapshot:
    status = EnvironmentStatus(name="production")
    snapshot = EnvironmentSnapshot(status=status, now=NOW, stale_after=15 * MINUTE)
    return replace(snapshot, **overrides)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entry", "health"),
    [
        (an_entry(), Health.HEALTHY),
        (an_entry(told(Severity.INFO)), Health.HEALTHY),
        (an_entry(told(Severity.WARNING)), Health.WARNING),
        (an_entry(told(Severity.CRITICAL)), Health.CRITICAL),
        (an_entry(told(Severity.WARNING), told(Severity.CRITICAL)), Health.CRITICAL),
        (an_entry(unread=True), Health.UNKNOWN),
        (an_entry(told(Severity.WARNING), unread=True), Health.UNKNOWN),
        (an_entry(told(Severity.CRITICAL), unread=True), Health.CRITICAL),
        (an_entry(last_read_at=None), Health.UNKNOWN),
        (an_entry(last_read_at=NOW - 15 * MINUTE), Health.HEALTHY),
        (an_entry(last_read_at=NOW - 15 * MINUTE - 1), Health.UNKNOWN),
        # Our clock is back from the future: how old it is cannot be told.
        (an_entry(last_read_at=NOW + 15 * MINUTE + 1), Health.UNKNOWN),
        (an_entry(Alert(rule="r", state=AlertState.PENDING)), Health.HEALTHY),
        (an_entry(Alert(rule="r", state=AlertState.FIRING, muted_by="disabled")), Health.HEALTHY),
    ],
)
def test_a_campaign_is_as_ill_as_what_is_told_of_it_and_unknown_beats_warning(
    entry: Entry, health: Health
) -> None:
    assert a_snapshot().health(entry) is health


@pytest.mark.parametrize("field", ["outage_at", "rejected_at"])
def test_while_the_breaker_is_open_no_campaign_is_healthy(field: str) -> None:
    status = replace(EnvironmentStatus(name="production"), **{field: NOW})  # type: ignore[arg-type]
    snapshot = a_snapshot(status=status)
    assert snapshot.health(an_entry()) is Health.UNKNOWN
    assert snapshot.health(an_entry(told(Severity.CRITICAL))) is Health.CRITICAL


def test_every_health_is_counted_even_where_there_is_none() -> None:
    assert a_snapshot().counts() == dict.fromkeys(Health, 0)
    campaigns = {"a": an_entry(), "b": an_entry(unread=True), "c": an_entry()}
    assert a_snapshot(campaigns=campaigns).counts() == {
        Health.CRITICAL: 0,
        Health.UNKNOWN: 1,
        Health.WARNING: 0,
        Health.HEALTHY: 2,
    }


def test_health_is_listed_worst_first() -> None:
    assert list(Health) == [Health.CRITICAL, Health.UNKNOWN, Health.WARNING, Health.HEALTHY]


def test_entries_come_in_the_order_of_the_config_with_their_environment() -> None:
    first = a_snapshot(campaigns={"b": an_entry(), "a": an_entry(unread=True)})
    second = a_snapshot(now=NOW + HOUR, campaigns={"c": an_entry()})
    entries = list(Snapshot({"z": first, "y": second}, NOW).entries())
    assert [environment for environment, _ in entries] == [first, first, second]
    assert [entry.status.error is None for _, entry in entries] == [True, False, True]


def test_pending_firing_and_muted_alerts_of_rules_in_force_are_active_with_their_severity() -> None:
    pending = Alert(rule="stale_test", state=AlertState.PENDING)
    muted = Alert(rule="failed_test", state=AlertState.FIRING, muted_by="missing")
    firing = replace(told(Severity.INFO), rule="missing")
    ended = Alert(rule="disabled", seq=4)
    gone = Alert(rule="bygone", state=AlertState.FIRING)
    rules = a_target().rules
    alerts = {alert.rule: alert for alert in (pending, muted, firing, ended, gone)}
    assert list(active_alerts(alerts, rules)) == [
        (pending, rules["stale_test"], Severity.WARNING),
        (muted, rules["failed_test"], Severity.CRITICAL),
        # What on-call was paged with, whatever is configured by now.
        (firing, rules["missing"], Severity.INFO),
    ]


def test_active_alerts_come_with_whose_they_are_those_of_environments_first() -> None:
    outage = replace(told(Severity.CRITICAL), rule="api_unreachable")
    status = EnvironmentStatus(name="production", alerts={"api_unreachable": outage})
    entry = an_entry(told(Severity.WARNING))
    down = a_snapshot(
        status=status, rules=resolve_rules(ENVIRONMENT_RULES, {}), campaigns={"a": an_entry()}
    )
    ill = a_snapshot(campaigns={"b": entry})
    snapshot = Snapshot({"ill": ill, "down": down}, NOW)
    assert [(env, of, active.alert.rule) for env, of, active in snapshot.active_alerts()] == [
        (down, None, "api_unreachable"),
        (ill, entry, "stale_test"),
    ]
    assert worst_firing(down.active_alerts()) is Health.CRITICAL


# --- findings


FOUND = {
    "missing": Finding(Verdict.HEALTHY, "the campaign has an SFTP config", recheck_at=NOW + 1),
    "failed_test": Finding(Verdict.UNHEALTHY, "last test failed", {"grace": "1 h"}, NOW - HOUR),
    "stale_test": Finding(Verdict.UNKNOWN, "cannot be told"),
}


def test_findings_are_shown_as_they_were_decided_while_they_are_evidence() -> None:
    entry = replace(an_entry(), findings=FOUND)
    assert a_snapshot().findings_of(entry) == FOUND
    assert a_snapshot().findings_of(an_entry()) is None


@pytest.mark.parametrize(
    ("snapshot", "status"),
    [
        (a_snapshot(now=NOW + 16 * MINUTE), {}),
        (a_snapshot(now=NOW - 16 * MINUTE), {}),
        (a_snapshot(status=EnvironmentStatus(name="production", outage_at=NOW)), {}),
        (a_snapshot(status=EnvironmentStatus(name="production", rejected_at=NOW)), {}),
        (a_snapshot(), {"error": an_error()}),
        (a_snapshot(), {"last_known": LastKnown()}),
    ],
    ids=["old", "from the future", "outage", "rejected", "failed", "never read"],
)
def test_what_was_healthy_is_unknown_once_its_evidence_does_not_count_and_nothing_else_changes(
    snapshot: EnvironmentSnapshot, status: dict[str, Any]
) -> None:
    entry = replace(an_entry(), findings=FOUND)
    shown = snapshot.findings_of(replace(entry, status=replace(entry.status, **status)))
    assert shown is not None
    assert shown["missing"] == Finding(
        Verdict.UNKNOWN,
        "not read since 2027-01-15T08:00:00Z; it was healthy then",
        recheck_at=NOW + 1,
    )
    assert {**shown, "missing": FOUND["missing"]} == FOUND


def test_a_rule_that_is_gone_has_lost_its_finding_and_a_new_one_has_none() -> None:
    rules = some_rules("missing", "failed_test", "unreadable")
    assert in_force(FOUND, rules) == {name: FOUND[name] for name in ("missing", "failed_test")}
    assert in_force(FOUND, a_target().rules) is FOUND
    assert in_force(None, rules) is None


def test_doubts_are_said_once_and_not_where_there_is_no_config_to_have_them_of() -> None:
    half = (Verdict.UNKNOWN, "half a record")
    none = (Verdict.UNKNOWN, "there is no SFTP config to look at")
    gone = (Verdict.UNKNOWN, "the next listing tells")
    assert doubts([gone, none, half, (Verdict.HEALTHY, "fine"), half]) == [gone[1], half[1]]
