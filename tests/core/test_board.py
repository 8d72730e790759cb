"""The last known truth about every campaign, and a campaign in one word."""

from dataclasses import replace

import pytest

from monitor.core.board import Board, Entry, EnvironmentBoard, Health, active_alerts
from monitor.core.model import HOUR, MINUTE, Alert, AlertState, Severity
from monitor.core.status import EnvironmentStatus, Memory
from support.builders import NOW, a_status, a_target, an_error


def told(severity: Severity) -> Alert:
    return Alert(
        rule=severity.value,
        state=AlertState.FIRING,
        told=True,
        told_at=NOW,
        told_severity=severity,
        seq=1,
    )


def an_entry(*alerts: Alert, seen_at: float | None = NOW, unread: bool = False) -> Entry:
    status = a_status(
        alerts={alert.rule: alert for alert in alerts},
        memory=Memory(seen_at=seen_at),
        error=an_error() if unread else None,
        polled_at=NOW,
    )
    return Entry(a_target(), status)


def a_board(**overrides: object) -> EnvironmentBoard:
    status = EnvironmentStatus(name="production")
    board = EnvironmentBoard(status=status, now=NOW, stale_after=15 * MINUTE)
    return replace(board, **overrides)  # type: ignore[arg-type]


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
        (an_entry(seen_at=None), Health.UNKNOWN),
        (an_entry(seen_at=NOW - 15 * MINUTE), Health.HEALTHY),
        (an_entry(seen_at=NOW - 15 * MINUTE - 1), Health.UNKNOWN),
        # Our clock is back from the future: how old it is cannot be told.
        (an_entry(seen_at=NOW + 15 * MINUTE + 1), Health.UNKNOWN),
        (an_entry(Alert(rule="r", state=AlertState.PENDING)), Health.HEALTHY),
        (an_entry(Alert(rule="r", state=AlertState.FIRING, muted_by="disabled")), Health.HEALTHY),
    ],
)
def test_a_campaign_is_as_ill_as_what_is_told_of_it_and_unknown_beats_warning(
    entry: Entry, health: Health
) -> None:
    assert a_board().health(entry) is health


@pytest.mark.parametrize("field", ["outage_at", "rejected_at"])
def test_while_the_breaker_is_open_no_campaign_is_healthy(field: str) -> None:
    status = replace(EnvironmentStatus(name="production"), **{field: NOW})  # type: ignore[arg-type]
    board = a_board(status=status)
    assert board.health(an_entry()) is Health.UNKNOWN
    assert board.health(an_entry(told(Severity.CRITICAL))) is Health.CRITICAL


def test_every_health_is_counted_even_where_there_is_none() -> None:
    assert a_board().counts() == dict.fromkeys(Health, 0)
    campaigns = {"a": an_entry(), "b": an_entry(unread=True), "c": an_entry()}
    assert a_board(campaigns=campaigns).counts() == {
        Health.CRITICAL: 0,
        Health.UNKNOWN: 1,
        Health.WARNING: 0,
        Health.HEALTHY: 2,
    }


def test_health_is_listed_worst_first() -> None:
    assert list(Health) == [Health.CRITICAL, Health.UNKNOWN, Health.WARNING, Health.HEALTHY]


def test_entries_come_in_the_order_of_the_config_with_their_environment() -> None:
    first = a_board(campaigns={"b": an_entry(), "a": an_entry(unread=True)})
    second = a_board(now=NOW + HOUR, campaigns={"c": an_entry()})
    entries = list(Board({"z": first, "y": second}, NOW).entries())
    assert [environment for environment, _ in entries] == [first, first, second]
    assert [entry.status.error is None for _, entry in entries] == [True, False, True]


def test_pending_firing_and_muted_alerts_are_active_ended_ones_are_not() -> None:
    pending = Alert(rule="a", state=AlertState.PENDING)
    muted = Alert(rule="b", state=AlertState.FIRING, muted_by="missing")
    ended = Alert(rule="c", seq=4)
    assert active_alerts([pending, muted, ended]) == [pending, muted]
