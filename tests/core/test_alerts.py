"""When a finding becomes an alert, and when it is over: the state machine as timelines.

One character a poll, one poll a minute; see `support.timeline`.
"""

from dataclasses import replace
from itertools import pairwise

import pytest

from monitor.core.alerts import advance, ended, recheck_at
from monitor.core.model import DAY, HOUR, MINUTE, Finding, Verdict
from monitor.core.rules import FailedTest
from monitor.core.status import Alert, AlertState
from support.builders import BAD, FIRING, NOW
from support.timeline import told

GOOD = Finding(Verdict.HEALTHY, "good")
NO_IDEA = Finding(Verdict.UNKNOWN, "no idea")


# --- firing and resolved


@pytest.mark.parametrize(
    ("timeline", "events"),
    [
        ("....", []),
        ("x", [(0, "fired")]),
        ("..x", [(2, "fired")]),
        ("xx?x..", [(0, "fired"), (4, "resolved")]),
        ("x.x.", [(0, "fired"), (1, "resolved"), (2, "fired"), (3, "resolved")]),
    ],
)
def test_a_fact_is_told_at_once_and_once(timeline: str, events: list[tuple[int, str]]) -> None:
    assert told(timeline) == events


@pytest.mark.parametrize(
    ("timeline", "events"),
    [
        ("????", []),
        ("?x", [(1, "fired")]),
        ("x????", [(0, "fired")]),
        ("x??.", [(0, "fired"), (3, "resolved")]),
        ("x?h-?x", [(0, "fired")]),
        (".?x?.", [(2, "fired"), (4, "resolved")]),
    ],
)
def test_unknown_neither_fires_nor_resolves(timeline: str, events: list[tuple[int, str]]) -> None:
    assert told(timeline) == events


# --- `for`


@pytest.mark.parametrize(
    ("timeline", "events"),
    [
        ("xx", []),
        ("xxx", [(2, "fired")]),
        ("xx.xx", []),
        ("xx.xxx", [(5, "fired")]),
        ("x??", []),
        ("x??x", [(3, "fired")]),
        ("x?.?x", []),
        ("?x?x", [(3, "fired")]),
        ("xxx.", [(2, "fired"), (3, "resolved")]),
    ],
)
def test_for_has_passed_when_a_finding_of_it_is_made_at_its_end_or_later(
    timeline: str, events: list[tuple[int, str]]
) -> None:
    assert told(timeline, for_=2 * MINUTE) == events


@pytest.mark.parametrize(("late", "state"), [(-0.001, "pending"), (0, "firing"), (1, "firing")])
def test_for_is_exact_to_the_instant(late: float, state: str) -> None:
    rule = FailedTest(for_=HOUR)
    pending = advance(Alert(rule="failed_test"), BAD, rule, NOW)
    assert pending.state is AlertState.PENDING
    assert advance(pending, BAD, rule, NOW + HOUR + late).state == state


def test_a_pending_alert_that_recovers_ends_without_a_word() -> None:
    rule = FailedTest(for_=HOUR)
    pending = advance(Alert(rule="failed_test"), BAD, rule, NOW)
    assert advance(pending, GOOD, rule, NOW + MINUTE) == Alert(rule="failed_test")


# --- `keep_firing_for`


@pytest.mark.parametrize(
    ("timeline", "events"),
    [
        ("x..", [(0, "fired")]),
        ("x...", [(0, "fired"), (3, "resolved")]),
        ("x..x...", [(0, "fired"), (6, "resolved")]),
        ("x..x..", [(0, "fired")]),
        ("x.??", [(0, "fired")]),
        ("x.??.", [(0, "fired"), (4, "resolved")]),
        ("x.?x..", [(0, "fired")]),
    ],
)
def test_it_keeps_firing_until_a_healthy_finding_at_the_end_of_keep_firing_for(
    timeline: str, events: list[tuple[int, str]]
) -> None:
    assert told(timeline, keep_firing_for=2 * MINUTE) == events


@pytest.mark.parametrize(("late", "state"), [(-0.001, "firing"), (0, "inactive"), (1, "inactive")])
def test_keep_firing_for_is_exact_to_the_instant(late: float, state: str) -> None:
    rule = FailedTest(keep_firing_for=HOUR)
    recovering = advance(FIRING, GOOD, rule, NOW)
    assert recovering.healthy_at == NOW
    assert advance(recovering, GOOD, rule, NOW + HOUR + late).state == state


def test_unhealthy_again_stops_keep_firing_for() -> None:
    rule = FailedTest(keep_firing_for=HOUR)
    recovering = advance(FIRING, GOOD, rule, NOW)
    assert not recovering.unhealthy
    again = advance(recovering, BAD, rule, NOW + MINUTE)
    assert again.unhealthy
    assert (again.healthy_at, again.since, again.fired_at) == (None, NOW - HOUR, NOW - HOUR)


# --- unknown, and what is stored


@pytest.mark.parametrize(
    "alert",
    [
        Alert(rule="failed_test"),
        Alert(rule="failed_test", state=AlertState.PENDING, since=NOW, pending_at=NOW),
        FIRING,
        replace(FIRING, healthy_at=NOW),
        replace(FIRING, muted_by="disabled", notified=False),
    ],
    ids=["inactive", "pending", "firing", "keeps firing", "muted"],
)
def test_unknown_changes_nothing_not_even_a_stored_instant(alert: Alert) -> None:
    assert advance(alert, NO_IDEA, FailedTest(), NOW + DAY) == alert


def test_since_is_what_the_finding_says_and_is_fixed_when_the_alert_begins() -> None:
    first = advance(Alert(rule="failed_test"), replace(BAD, since=NOW - DAY), FailedTest(), NOW)
    assert first.since == NOW - DAY
    later = advance(first, replace(BAD, since=NOW - HOUR), FailedTest(), NOW + MINUTE)
    assert later.since == NOW - DAY


def test_since_is_the_first_unhealthy_observation_where_the_finding_does_not_know() -> None:
    rule = FailedTest(for_=HOUR)
    pending = advance(Alert(rule="failed_test"), BAD, rule, NOW)
    assert advance(pending, BAD, rule, NOW + HOUR).since == NOW


def test_an_alert_keeps_the_evidence_of_its_last_unhealthy_finding() -> None:
    rule = FailedTest(keep_firing_for=HOUR)
    worse = Finding(Verdict.UNHEALTHY, "worse", {"detail": "worse"})
    assert advance(FIRING, worse, rule, NOW).summary == "worse"
    assert advance(advance(FIRING, worse, rule, NOW), GOOD, rule, NOW).evidence == worse.evidence


def test_what_ended_is_as_new_but_for_what_was_told() -> None:
    over = ended(FIRING)
    assert over.seq == 1
    assert over.notified
    assert replace(over, notified=False, notified_at=None, notified_severity=None, seq=0) == Alert(
        rule="failed_test"
    )


# --- deadlines, and clocks that were wrong


def test_the_end_of_a_running_span_is_a_deadline() -> None:
    rule = FailedTest(for_=HOUR, keep_firing_for=2 * HOUR)
    pending = Alert(rule="failed_test", state=AlertState.PENDING, pending_at=NOW)
    assert recheck_at(pending, rule) == NOW + HOUR
    assert recheck_at(replace(FIRING, healthy_at=NOW), rule) == NOW + 2 * HOUR
    assert recheck_at(FIRING, rule) is None
    assert recheck_at(Alert(rule="failed_test"), rule) is None


def test_stored_instants_from_the_future_are_clamped_by_what_is_known_and_since_stays() -> None:
    future = NOW + DAY
    alert = replace(
        FIRING,
        since=future,
        pending_at=future,
        fired_at=future,
        healthy_at=future,
        notified_at=future,
    )
    lingering = FailedTest(keep_firing_for=HOUR)
    clamped = advance(alert, GOOD, lingering, NOW)
    assert clamped.since == future
    instants = (clamped.pending_at, clamped.fired_at, clamped.healthy_at, clamped.notified_at)
    assert instants == (NOW,) * 4
    assert advance(alert, NO_IDEA, lingering, NOW) == alert


def test_what_is_muted_is_shown_as_muted_only_if_it_would_be_told() -> None:
    pending = Alert(rule="failed_test", state=AlertState.PENDING, muted_by="disabled")
    assert pending.shown_as == "pending"
    assert replace(pending, state=AlertState.FIRING).shown_as == "muted"
    assert FIRING.shown_as == "firing"


def test_the_states_of_the_diagram_follow_each_other_and_no_others_do() -> None:
    rule = FailedTest(for_=MINUTE, keep_firing_for=MINUTE)
    alert, seen = Alert(rule="failed_test"), ["inactive"]
    for minute, finding in enumerate([BAD, BAD, NO_IDEA, GOOD, BAD, GOOD, GOOD, BAD, GOOD]):
        alert = advance(alert, finding, rule, NOW + minute * MINUTE)
        seen.append(alert.state.value)
    changes = [(before, after) for before, after in pairwise(seen) if before != after]
    assert changes == [
        ("inactive", "pending"),
        ("pending", "firing"),
        ("firing", "inactive"),
        ("inactive", "pending"),
        ("pending", "inactive"),
    ]
