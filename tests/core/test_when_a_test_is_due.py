"""When a campaign is due for a connection test of ours, by each trigger, in its time zone."""

from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.attempt import Attempt, TestSettings, Trigger, Window
from monitor.core.connection_tests import Due, Opening, Tested, next_due, plan, zone_of
from monitor.core.guards import Guard, Guards
from monitor.core.model import DAY, HOUR, MINUTE, Instant, PollError, Reason, Seconds
from support.attempts import TESTS_ON, a_tested, an_attempt, guards_on
from support.builders import NOW, a_config

LONG_AGO = NOW - 30 * DAY
ALWAYS = replace(TESTS_ON, between=None)


def at(text: str) -> Instant:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def window(text: str) -> Window:
    begin, end = (one.split(":") for one in text.split("-"))
    return Window(
        int(begin[0]) * HOUR + int(begin[1]) * MINUTE, int(end[0]) * HOUR + int(end[1]) * MINUTE
    )


def opening(text: str, zone: str = "") -> Opening:
    return Opening(window(text) if text else None, zone_of(zone))


# --- between: a part of the day, in the campaign's time zone


@pytest.mark.parametrize(
    ("between", "zone", "asked", "first"),
    [
        ("", "", "2027-01-15 03:00", "2027-01-15 03:00"),
        ("05:00-20:00", "", "2027-01-15 03:00", "2027-01-15 05:00"),
        ("05:00-20:00", "", "2027-01-15 05:00", "2027-01-15 05:00"),
        ("05:00-20:00", "", "2027-01-15 19:59", "2027-01-15 19:59"),
        ("05:00-20:00", "", "2027-01-15 20:00", "2027-01-16 05:00"),
        ("05:00-20:00", "Europe/Berlin", "2027-01-15 03:00", "2027-01-15 04:00"),
        ("05:00-20:00", "America/New_York", "2027-01-15 03:00", "2027-01-15 10:00"),
        ("05:00-20:00", "America/New_York", "2027-01-15 00:59", "2027-01-15 00:59"),
        ("22:00-04:00", "", "2027-01-15 03:59", "2027-01-15 03:59"),
        ("22:00-04:00", "", "2027-01-15 04:00", "2027-01-15 22:00"),
        ("22:00-04:00", "", "2027-01-15 23:00", "2027-01-15 23:00"),
        ("00:00-24:00", "", "2027-01-15 03:00", "2027-01-15 03:00"),
        ("05:00-05:00", "", "2027-01-15 03:00", "2027-01-15 03:00"),
        # Summer time begins: what is from five to eight by the clock comes an hour sooner.
        ("05:00-20:00", "Europe/Berlin", "2027-03-27 19:30", "2027-03-28 03:00"),
        ("05:00-20:00", "America/New_York", "2027-03-14 06:00", "2027-03-14 09:00"),
        # A window that the change cuts: 02:30 is not on that day; there is no such night of a day.
        ("02:30-03:15", "Europe/Berlin", "2027-03-28 01:20", "2027-03-29 00:30"),
        ("01:00-03:15", "Europe/Berlin", "2027-03-28 00:30", "2027-03-28 00:30"),
        ("01:00-03:15", "Europe/Berlin", "2027-03-28 01:16", "2027-03-28 23:00"),
        # It ends: the hour that comes twice counts at its first time.
        ("05:00-20:00", "Europe/Berlin", "2027-10-31 03:30", "2027-10-31 04:00"),
        ("05:00-20:00", "America/New_York", "2027-11-07 09:30", "2027-11-07 10:00"),
        ("22:00-02:30", "Europe/Berlin", "2027-10-31 00:29", "2027-10-31 00:29"),
        ("22:00-02:30", "Europe/Berlin", "2027-10-31 00:30", "2027-10-31 21:00"),
    ],
)
def test_tests_go_out_within_a_part_of_the_day(
    between: str, zone: str, asked: str, first: str
) -> None:
    assert opening(between, zone).from_(at(asked)) == at(first)


@pytest.mark.parametrize(
    "name",
    ["", "UTC", "no/such", "../../etc/passwd", "/etc/passwd", "Europe", "\0", "\ud800", "x" * 9999],
)
def test_a_time_zone_that_is_none_is_utc(name: str) -> None:
    assert datetime.fromtimestamp(NOW, zone_of(name)).utcoffset() == UTC.utcoffset(None)


# --- slots: a campaign's own minute of each day, of each `every`


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", ""])
@pytest.mark.parametrize("month", ["2027-03-08", "2027-10-28"])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.999])
def test_a_day_has_one_slot_at_the_same_time_of_the_clock_over_a_change_of_dst(
    phase: float, month: str, zone: str
) -> None:
    own, slot, days = opening("05:00-20:00", zone), at(month), []
    for _ in range(30):
        slot = own.next_slot(DAY, phase, slot)
        days.append(datetime.fromtimestamp(slot, zone_of(zone)))
    assert len({day.date() for day in days}) == 30
    assert {day.timetz().replace(tzinfo=None) for day in days} == {days[0].time()}


@given(
    st.sampled_from([20.0, 5 * MINUTE, HOUR, 6 * HOUR, 20 * HOUR, DAY, 2 * DAY, 7 * DAY, 30 * DAY]),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(["", "05:00-20:00", "22:00-04:00", "12:00-12:01"]),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Pacific/Kiritimati"]),
    st.integers(0, 400 * 24 * 60),
)
def test_the_next_slot_is_later_within_between_and_at_most_every_and_a_night_away(
    every: Seconds, phase: float, between: str, zone: str, minute: int
) -> None:
    own, after = opening(between, zone), NOW + minute * MINUTE
    slot = own.next_slot(every, phase, after)
    assert after < slot <= after + max(every, DAY) + DAY + HOUR
    assert own.from_(slot) == slot
    assert own.next_slot(every, phase, slot - 1) == slot


@pytest.mark.parametrize(("every", "slots"), [(20.0, 45 * 60), (HOUR, 15), (6 * HOUR, 3), (DAY, 1)])
def test_a_day_has_as_many_slots_as_fit_between(every: Seconds, slots: int) -> None:
    own, day = opening("05:00-20:00"), at("2027-01-15 00:00")
    found, slot = 0, own.next_slot(every, 0.01, day)
    while slot < day + DAY:
        found, slot = found + 1, own.next_slot(every, 0.01, slot)
    assert found == slots


@pytest.mark.parametrize("days", [2, 7, 30])
def test_of_several_days_one_has_the_slot(days: int) -> None:
    own, slot, found = opening("05:00-20:00"), NOW, set[date]()
    for _ in range(10):
        slot = own.next_slot(days * DAY, 0.4, slot)
        found.add(datetime.fromtimestamp(slot, UTC).date())
    assert max(found).toordinal() - min(found).toordinal() == 9 * days


# --- due by the schedule


def slot_of(campaign: Tested, after: Instant) -> Instant:
    """Return the campaign's first own slot after an instant."""
    return next_due(replace(campaign, status=campaign.status), after).at


def test_it_is_due_at_its_first_own_slot_after_half_of_every() -> None:
    campaign = a_tested(a_config(last_test_at=NOW - HOUR))
    due = next_due(campaign, LONG_AGO)
    assert due.trigger is Trigger.SCHEDULE
    assert NOW + 11 * HOUR < due.at <= NOW + 11 * HOUR + 1.5 * DAY
    assert next_due(replace(campaign, now=due.at), LONG_AGO) == due


def test_a_test_of_somebody_else_moves_it() -> None:
    due = next_due(a_tested(), LONG_AGO)
    moved = next_due(a_tested(a_config(last_test_at=due.at - HOUR), now=due.at), LONG_AGO)
    assert moved.at == due.at + DAY


def test_the_first_tests_are_spread_over_every() -> None:
    before = a_config(last_test_at=NOW - 9 * DAY)
    due = sorted(
        next_due(a_tested(before, key=f"c-{number}", settings=ALWAYS), NOW).at
        for number in range(200)
    )
    assert NOW < due[0] < due[-1] <= NOW + DAY
    assert max(late - early for early, late in pairwise(due)) < HOUR


def test_what_a_test_from_before_they_were_switched_on_asks_for_waits_for_its_own_minute() -> None:
    failed_before = an_attempt(NOW - DAY, "denied")
    due = next_due(a_tested(a_config(last_test_success=False), failed_before), NOW)
    assert due.trigger is Trigger.SCHEDULE


@pytest.mark.parametrize("lost", [DAY, HOUR + 1, 2 * MINUTE])
def test_a_record_from_the_future_is_no_test(lost: Seconds) -> None:
    future = a_tested(a_config(last_test_at=NOW + lost), first_seen_at=LONG_AGO - 1)
    assert next_due(future, LONG_AGO).at <= NOW
    # By the platform's clock, where that counts, it is none.
    assert next_due(replace(future, ahead=lost), LONG_AGO).at > NOW


def test_a_record_that_lags_behind_a_test_of_ours_has_it_not_run_again() -> None:
    ours = an_attempt(NOW - MINUTE)
    due = next_due(a_tested(a_config(last_test_at=NOW - 2 * DAY), ours), LONG_AGO)
    assert due.at > NOW + 11 * HOUR


# --- after a look, a change, a failure


def test_one_that_was_never_tested_is_due_soon_after_the_first_look() -> None:
    untested = a_config(last_test_at=None, last_test_success=None)
    campaign = a_tested(untested, first_seen_at=NOW - 10)
    assert next_due(campaign, LONG_AGO) == Due(NOW - 10 + 5 * MINUTE, Trigger.CHANGE)


def test_one_that_was_never_tested_when_they_were_switched_on_waits_for_its_own_minute() -> None:
    untested = a_config(last_test_at=None, last_test_success=None)
    due = next_due(a_tested(untested, first_seen_at=NOW - DAY), NOW - HOUR)
    assert due.trigger is Trigger.SCHEDULE


@pytest.mark.parametrize(
    ("changed", "last_test", "after_change", "due_in"),
    [
        (-MINUTE, -DAY, 5 * MINUTE, 4 * MINUTE),
        (-MINUTE, -DAY, 2 * HOUR, 119 * MINUTE),
        (-MINUTE, -DAY, 0.0, None),
        (-MINUTE, -30, 5 * MINUTE, None),  # somebody has tested it since
        (-40 * DAY, -41 * DAY, 5 * MINUTE, None),  # before tests were on
    ],
)
def test_a_changed_config_is_tested_soon(
    changed: Seconds, last_test: Seconds, after_change: Seconds, due_in: Seconds | None
) -> None:
    campaign = a_tested(
        a_config(last_test_at=NOW + last_test),
        changed_at=NOW + changed,
        settings=replace(TESTS_ON, after_change=after_change),
    )
    due = next_due(campaign, LONG_AGO)
    assert (due.at - NOW if due.trigger is Trigger.CHANGE else None) == due_in


@pytest.mark.parametrize(
    ("came_to", "failures", "due"),
    [
        ("timeout", 1, (5 * MINUTE, Trigger.CONFIRM, True)),
        ("denied", 1, (30 * MINUTE, Trigger.RETRY, False)),
        ("unknown", 1, (30 * MINUTE, Trigger.RETRY, False)),
        ("under way", 0, (30 * MINUTE, Trigger.RETRY, False)),  # we died meanwhile
        ("denied", 2, (HOUR, Trigger.RETRY, False)),
        ("denied", 3, (2 * HOUR, Trigger.RETRY, False)),
        ("denied", 4, (4 * HOUR, Trigger.RETRY, False)),
        ("denied", 5, (4 * HOUR, Trigger.RETRY, False)),
        ("denied", 5000, (4 * HOUR, Trigger.RETRY, False)),
    ],
)
def test_a_failure_is_confirmed_or_tried_again_later_and_later(
    came_to: str, failures: int, due: tuple[Seconds, Trigger, bool]
) -> None:
    failed = a_config(last_test_at=NOW, last_test_success=False)
    campaign = a_tested(
        failed, an_attempt(NOW, came_to), failures=failures, last_passed_at=NOW - DAY
    )
    found = next_due(campaign, LONG_AGO)
    assert (found.at - NOW, found.trigger, found.always) == due


def test_a_second_failure_confirms_the_first_one_and_is_tried_again() -> None:
    failures = an_attempt(NOW - 10 * MINUTE, "timeout"), an_attempt(NOW, "timeout")
    failed = a_config(last_test_at=NOW, last_test_success=False)
    campaign = a_tested(failed, *failures, last_passed_at=NOW - DAY)
    assert next_due(campaign, LONG_AGO) == Due(NOW + HOUR, Trigger.RETRY)


def test_a_failure_that_took_longer_than_its_confirmation_is_confirmed_all_the_same() -> None:
    slow = an_attempt(NOW, "timeout", tested_at=NOW + 55)
    fast = an_attempt(NOW + 5 * MINUTE, "timeout", tested_at=NOW + 5 * MINUTE)
    campaign = a_tested(None, slow, fast)
    assert campaign.status.tests.confirmed(fast, NOW - DAY, 5 * MINUTE)


@pytest.mark.parametrize(
    ("paths", "others", "due_in"),
    [
        ({"import_path": False}, None, 30 * MINUTE),
        ({"export_path": False}, None, 30 * MINUTE),
        ({"import_path": False}, 20 * MINUTE, 30 * MINUTE),  # what that found is not on record
        ({"import_path": None}, None, None),
    ],
)
def test_a_path_that_cannot_be_reached_is_tried_again_at_any_time_of_day(
    paths: dict[str, Any], others: Seconds | None, due_in: Seconds | None
) -> None:
    record = a_config(last_test_at=NOW + (others or 0))
    campaign = a_tested(record, an_attempt(**paths), now=NOW + (others or 0))
    due = next_due(campaign, LONG_AGO)
    assert (due.at - NOW if due.trigger is Trigger.RETRY else None) == due_in
    assert due.always is (due_in is not None)


@pytest.mark.parametrize(
    ("success", "ours"),
    [
        (True, an_attempt(NOW, "timeout")),
        (False, an_attempt(NOW, "timeout")),
        (False, an_attempt(NOW, "denied")),
        (False, an_attempt(import_path=False)),
    ],
)
def test_after_a_test_of_somebody_else_a_failure_of_ours_is_not_tried_again(
    success: bool, ours: Attempt
) -> None:
    record = a_config(last_test_at=NOW + 20 * MINUTE, last_test_success=success)
    campaign = a_tested(record, ours, now=NOW + 20 * MINUTE)
    assert next_due(campaign, LONG_AGO).trigger is Trigger.SCHEDULE


def test_a_test_of_ours_that_took_longer_than_a_minute_is_not_somebody_elses() -> None:
    slow = an_attempt(NOW, "timeout", tested_at=NOW + 61)
    record = a_config(last_test_at=NOW + 61, last_test_success=False)
    campaign = a_tested(record, slow, now=NOW + 70, last_passed_at=NOW - DAY)
    assert next_due(campaign, LONG_AGO).trigger is Trigger.CONFIRM


def test_what_failed_before_the_platform_was_back_is_due_before_all_that_was_missed() -> None:
    failed = a_tested(
        a_config(last_test_at=NOW - HOUR, last_test_success=False),
        an_attempt(NOW - HOUR, "denied"),
        failures=4,
    )
    assert next_due(failed, LONG_AGO, back_at=NOW) == Due(NOW - HOUR, Trigger.RETRY)
    assert next_due(failed, LONG_AGO, back_at=NOW - 2 * HOUR).at == NOW + 3 * HOUR


# --- the plan


def planned(campaign: Tested, guards: Guards | None = None) -> Seconds | None:
    found = plan(campaign, guards or guards_on(LONG_AGO))
    return None if found is None or found.at is None else found.at - NOW


def failing(came_to: str, now: str) -> Tested:
    """Return a campaign of UTC whose test of ours has just failed."""
    record = a_config(last_test_at=at(now), last_test_success=False)
    return a_tested(record, an_attempt(at(now), came_to), now=at(now), last_passed_at=at(now) - DAY)


@pytest.mark.parametrize(
    ("came_to", "now", "goes_out"),
    [
        ("timeout", "2027-01-15 19:57", "2027-01-15 20:02"),  # a confirmation may come later
        ("denied", "2027-01-15 19:57", "2027-01-16 05:00"),
        ("denied", "2027-01-15 08:00", "2027-01-15 08:30"),
    ],
)
def test_only_a_confirmation_goes_out_at_night(came_to: str, now: str, goes_out: str) -> None:
    found = plan(failing(came_to, now), guards_on(LONG_AGO))
    assert found is not None
    assert found.at == at(goes_out)


def test_a_test_that_was_missed_by_day_does_not_go_out_at_night() -> None:
    overdue = a_tested(a_config(last_test_at=NOW - 9 * DAY), now=at("2027-01-15 22:00"))
    assert plan(overdue, guards_on(LONG_AGO)) is not None
    assert planned(overdue) == at("2027-01-16 05:00") - NOW
    # By day it keeps its place among all that are overdue.
    assert (planned(replace(overdue, now=at("2027-01-15 12:00"))) or 0) < -6 * DAY


def test_what_waits_for_a_gap_waits_for_the_next_opening_too() -> None:
    busy = replace(guards_on(LONG_AGO), login=Guard(last_at=at("2027-01-15 19:55")))
    overdue = a_tested(a_config(last_test_at=NOW - 9 * DAY), now=at("2027-01-15 19:58"))
    assert planned(overdue, busy) == at("2027-01-16 05:00") - NOW


def test_while_an_import_runs_it_waits() -> None:
    overdue = a_tested(a_config(last_test_at=NOW - 9 * DAY), not_before=NOW + 9 * MINUTE)
    assert planned(overdue) == 9 * MINUTE


@pytest.mark.parametrize(
    "campaign",
    [
        a_tested(settings=TestSettings()),
        a_tested(a_config(is_enabled=False)),
        a_tested(a_config(import_schedule="manual")),
        a_tested(muted="paused"),
        a_tested(missing_since=NOW - HOUR),
        a_tested(error=PollError(Reason.TIMEOUT)),
    ],
    ids=["off", "disabled", "manual", "muted", "no config", "unreadable"],
)
def test_it_is_not_tested(campaign: Tested) -> None:
    assert plan(campaign, guards_on(LONG_AGO)) is None


def test_manual_ones_are_tested_where_that_is_set() -> None:
    campaign = a_tested(a_config(import_schedule="manual"), settings=replace(TESTS_ON, manual=True))
    assert plan(campaign, guards_on(LONG_AGO)) is not None
