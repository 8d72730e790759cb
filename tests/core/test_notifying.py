"""What on-call is told of an alert: level, not edge; reminders; and of a changed config."""

from dataclasses import replace

import pytest

from monitor.core.alerts import EventSource, advance, due_event, reconcile
from monitor.core.model import DAY, HOUR, MINUTE, AlertLabels, Event, EventStatus, Severity
from monitor.core.rules import RULES, FailedTest
from monitor.core.status import Alert, AlertState
from support.builders import BAD, FIRING, NOW
from support.timeline import told

GONE = "rule_removed"
LABELS = AlertLabels(sftp_host="sftp.example")
SUBJECT = EventSource(environment="production", labels=LABELS, observed_at=NOW, decided_at=NOW)


# --- level, not edge


@pytest.mark.parametrize("was_told", [False, True])
@pytest.mark.parametrize("muted_by", [None, "disabled"])
@pytest.mark.parametrize("state", AlertState)
def test_one_event_where_what_was_told_differs_from_what_is_so_else_none(
    state: AlertState, muted_by: str | None, was_told: bool
) -> None:
    alert = Alert(rule="failed_test", state=state, muted_by=muted_by, seq=7)
    if was_told:
        alert = replace(alert, notified=True, notified_at=NOW, notified_severity=Severity.INFO)
    so_now = state is AlertState.FIRING and muted_by is None
    after, telling = due_event(alert, FailedTest(), SUBJECT, {})
    assert after.notified is so_now
    assert (after.fired_as is LABELS) is (so_now and not was_told)
    assert (telling is not None) is (so_now is not was_told)
    assert after.seq == 7 + (telling is not None)


def test_what_is_told_carries_the_severity_of_the_moment_and_starts_the_reminder_clock() -> None:
    alert = Alert(rule="failed_test", state=AlertState.FIRING)
    after, telling = due_event(alert, FailedTest(severity=Severity.WARNING), SUBJECT, {})
    assert telling is not None
    assert telling is EventStatus.FIRING
    assert (after.notified_severity, after.notified_at, after.seq) == (Severity.WARNING, NOW, 1)


# --- reminders


def test_a_reminder_comes_so_long_after_the_last_telling_and_again() -> None:
    assert told("x" * 7, remind_every={Severity.CRITICAL: 3 * MINUTE}) == [
        (0, "fired"),
        (3, "reminded"),
        (6, "reminded"),
    ]


def test_a_reminder_waits_for_a_finding_that_is_not_unknown() -> None:
    every = {Severity.CRITICAL: 2 * MINUTE}
    assert told("x????x?x", remind_every=every) == [(0, "fired"), (5, "reminded"), (7, "reminded")]


def test_a_reminder_is_due_while_it_keeps_firing_too() -> None:
    every = {Severity.CRITICAL: 2 * MINUTE}
    assert told("x..", remind_every=every, keep_firing_for=HOUR) == [(0, "fired"), (2, "reminded")]


@pytest.mark.parametrize("every", [{}, {Severity.CRITICAL: 0.0}, {Severity.WARNING: MINUTE}])
def test_zero_or_no_entry_for_the_severity_means_no_reminder(every: dict[Severity, float]) -> None:
    assert told("xxxxxx", remind_every=every) == [(0, "fired")]


def test_a_reminder_waits_while_the_rule_cannot_tell_though_the_campaign_was_read() -> None:
    every = {Severity.CRITICAL: MINUTE}
    assert told("xhhx", remind_every=every) == [(0, "fired"), (3, "reminded")]


def test_a_reminder_each_second_comes_as_often_as_polls_do() -> None:
    reminded = [(0, "fired"), (1, "reminded"), (2, "reminded")]
    assert told("xxx", remind_every={Severity.CRITICAL: 1.0}) == reminded


def test_a_muted_alert_is_not_reminded_and_its_clock_starts_anew_when_it_is_told_again() -> None:
    assert told("xooooxxx", remind_every={Severity.CRITICAL: 2 * MINUTE}) == [
        (0, "fired"),
        (1, "muted by disabled"),
        (5, "fired"),
        (7, "reminded"),
    ]


def test_a_reminder_goes_by_the_severity_that_was_told() -> None:
    every = {Severity.CRITICAL: HOUR}
    _, telling = due_event(FIRING, FailedTest(severity=Severity.WARNING), SUBJECT, every)
    assert telling is not None
    assert telling is EventStatus.REMINDER


# --- a changed config


def reconciled(alert: Alert, rule: FailedTest | None, gone: str) -> tuple[Alert, Event | None]:
    """Return the alert under a changed config, and the event that comes of it."""
    rules = {} if rule is None else {alert.rule: rule}
    after, events = reconcile({alert.rule: alert}, RULES, rules, SUBJECT, gone)
    return after.get(alert.rule, Alert(rule=alert.rule)), next(iter(events), None)


def test_a_changed_severity_of_a_told_alert_is_told_once() -> None:
    updated, event = reconciled(FIRING, FailedTest(severity=Severity.WARNING), GONE)
    assert event is not None
    assert (event.status, event.previous_severity) == (EventStatus.UPDATED, Severity.CRITICAL)
    assert (updated.notified_severity, updated.notified_at, updated.seq) == (
        Severity.WARNING,
        NOW,
        2,
    )
    assert reconciled(updated, FailedTest(severity=Severity.WARNING), GONE) == (updated, None)


@pytest.mark.parametrize(
    "alert",
    [
        Alert(rule="failed_test", seq=3),
        Alert(rule="failed_test", state=AlertState.PENDING, since=NOW, pending_at=NOW),
        Alert(rule="failed_test", state=AlertState.FIRING, muted_by="disabled"),
    ],
    ids=["inactive", "pending", "muted"],
)
def test_a_changed_severity_of_what_is_not_told_is_not_told_either(alert: Alert) -> None:
    assert reconciled(alert, FailedTest(severity=Severity.INFO), GONE) == (alert, None)


def test_a_raised_for_leaves_a_firing_alert_firing() -> None:
    assert reconciled(FIRING, FailedTest(for_=DAY), GONE) == (FIRING, None)
    assert advance(FIRING, BAD, FailedTest(for_=DAY), NOW).state is AlertState.FIRING


def test_an_unchanged_config_changes_nothing() -> None:
    assert reconciled(FIRING, FailedTest(), GONE) == (FIRING, None)


@pytest.mark.parametrize("reason", ["rule_removed", "campaign_removed", "environment_removed"])
def test_a_told_alert_whose_rule_is_gone_is_resolved_with_the_reason(reason: str) -> None:
    over, event = reconciled(FIRING, None, reason)
    assert event is not None
    assert (event.status, event.reason) == (EventStatus.RESOLVED, reason)
    assert over == Alert(rule="failed_test", seq=2)


@pytest.mark.parametrize(
    "alert",
    [
        Alert(rule="failed_test", state=AlertState.PENDING, since=NOW, pending_at=NOW, seq=4),
        Alert(rule="failed_test", state=AlertState.FIRING, muted_by="disabled", seq=4),
    ],
    ids=["pending", "muted"],
)
def test_a_pending_or_muted_alert_whose_rule_is_gone_just_ends(alert: Alert) -> None:
    assert reconciled(alert, None, GONE) == (Alert(rule="failed_test", seq=4), None)
