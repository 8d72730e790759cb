"""When to look again: deadlines first, the sick often, the rest evenly; from memory alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.assess import assess
from monitor.core.model import DAY, HOUR, MINUTE, Instant, Seconds
from monitor.core.rule import Target
from monitor.core.schedule import NextPoll, PollIntervals, Priority, next_poll
from monitor.core.status import OURS, Ahead, CampaignStatus
from support.builders import NOW, RuleSettings, a_config, a_status, a_target, an_untested_config
from support.timeline import SIGNS, WatchedCampaign

INTERVALS = PollIntervals(interval=5 * MINUTE, unhealthy_interval=MINUTE, idle_interval=1800.0)


def watched(rules: RuleSettings | None = None) -> WatchedCampaign:
    return WatchedCampaign(a_target(rules))


def due(
    campaign: WatchedCampaign, intervals: PollIntervals = INTERVALS
) -> tuple[Instant, Priority]:
    now = campaign.status.polled_at or NOW
    found = next_poll(campaign.status, campaign.target, intervals, now)
    assert found is not None
    return found.at, found.priority


def test_a_campaign_that_was_never_polled_is_due_as_soon_as_may_be() -> None:
    assert next_poll(a_status(), a_target(), INTERVALS, NOW) is None


# --- the regular poll


def test_a_poll_that_lies_in_the_future_puts_the_next_one_off_by_no_more_than_an_interval() -> None:
    status = a_status(polled_at=NOW + 3600)
    found = next_poll(status, a_target(), INTERVALS, NOW)
    assert found is not None
    assert NOW < found.at <= NOW + 1.5 * INTERVALS.interval


@pytest.mark.slow
@given(polled_at=st.floats(0, 4e9), interval=st.floats(1, 1e5), campaign_id=st.text(max_size=8))
def test_a_healthy_campaign_is_polled_in_its_slot_about_one_interval_later(
    polled_at: float, interval: float, campaign_id: str
) -> None:
    status = CampaignStatus(environment="e", campaign_id=campaign_id, polled_at=polled_at)
    found = next_poll(
        status,
        Target(environment="e", campaign_id=campaign_id),
        PollIntervals(interval=interval, unhealthy_interval=MINUTE, idle_interval=1800.0),
        polled_at,
    )
    assert found is not None
    assert found[1] is Priority.ROUTINE
    assert 0.499 * interval <= found[0] - polled_at <= 1.501 * interval


def test_slots_come_at_the_cadence_for_ever_once_a_campaign_is_in_step() -> None:
    campaign = watched()
    campaign.poll(".", NOW)
    slots = []
    for _ in range(4):
        at, _priority = due(campaign)
        campaign.poll(".", at + 2)
        slots.append(at)
    assert [later - slots[0] for later in slots] == [0, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE]


def test_fault_29_slots_of_many_campaigns_are_spread_over_the_interval() -> None:
    tenths = set()
    for number in range(200):
        status = a_status(campaign_id=f"c-{number}", polled_at=NOW)
        found = next_poll(status, a_target(campaign_id=f"c-{number}"), INTERVALS, NOW)
        assert found is not None
        tenths.add(int((found[0] % 300) // 30))
    assert tenths == set(range(10))


def test_the_slot_is_another_in_another_environment() -> None:
    slots = {
        next_poll(a_status(environment=name, polled_at=NOW), a_target(), INTERVALS, NOW)
        for name in ("a", "b", "c")
    }
    assert len(slots) == 3


# --- the sick


@pytest.mark.parametrize("sign", ["?", "x"])
def test_a_failed_poll_or_a_young_alert_is_looked_at_often(sign: str) -> None:
    campaign = watched()
    campaign.poll(sign, NOW)
    assert due(campaign) == (NOW + MINUTE, Priority.UNHEALTHY)


def test_a_pending_alert_is_looked_at_often() -> None:
    campaign = watched({"failed_test": {"for_": HOUR}})
    campaign.poll("x", NOW)
    assert due(campaign) == (NOW + MINUTE, Priority.UNHEALTHY)


def test_an_alert_that_fired_for_an_hour_is_not_young_any_more() -> None:
    campaign = watched()
    campaign.poll("x", NOW)
    campaign.poll("x", NOW + HOUR - 1)
    assert due(campaign)[1] is Priority.UNHEALTHY
    campaign.poll("x", NOW + HOUR)
    assert due(campaign)[1] is Priority.ROUTINE


def test_a_muted_alert_does_not_make_a_campaign_sick() -> None:
    campaign = watched({"disabled": {"grace": 30 * DAY}})
    campaign.poll("o", NOW)
    assert due(campaign)[1] is Priority.ROUTINE


# --- deadlines


@pytest.mark.parametrize(
    ("observation", "deadline"),
    [
        (a_config(last_test_at=NOW + MINUTE - 30 * DAY), NOW + MINUTE),
        (an_untested_config(created_at=NOW + MINUTE - DAY), NOW + MINUTE),
    ],
    ids=["stale_test", "never_tested"],
)
def test_a_deadline_before_the_regular_poll_takes_its_place_a_second_later(
    observation: object, deadline: Instant
) -> None:
    campaign = watched({"disabled": {"enabled": False}})
    campaign.poll(observation, NOW)  # type: ignore[arg-type]
    assert due(campaign) == (deadline + 1, Priority.DEADLINE)


def test_disabled_is_due_when_its_grace_ends() -> None:
    campaign = watched({"disabled": {"grace": MINUTE}, "failed_test": {"enabled": False}})
    campaign.poll(".", NOW - 1)
    campaign.poll("o", NOW)
    assert due(campaign) == (NOW + MINUTE + 1, Priority.DEADLINE)


def test_a_test_from_the_future_is_due_when_it_is_within_tolerance() -> None:
    campaign = watched()
    campaign.poll(a_config(last_test_at=NOW + 5 * MINUTE + 20), NOW)
    assert due(campaign) == (NOW + 20 + 1, Priority.DEADLINE)


def test_a_deadline_after_the_regular_poll_changes_nothing() -> None:
    campaign = watched()
    campaign.poll(a_config(last_test_at=NOW + HOUR - 30 * DAY), NOW)
    assert due(campaign)[1] is Priority.ROUTINE


def test_the_ends_of_for_and_keep_firing_for_are_deadlines() -> None:
    campaign = watched({"failed_test": {"for_": 30.0, "keep_firing_for": 40.0}})
    campaign.poll("x", NOW)
    assert due(campaign) == (NOW + 31, Priority.DEADLINE)
    campaign.poll("x", NOW + 31)
    assert due(campaign) == (NOW + 31 + MINUTE, Priority.UNHEALTHY)
    campaign.poll(".", NOW + 60)
    assert due(campaign) == (NOW + 60 + 41, Priority.DEADLINE)


def test_a_failed_poll_at_the_deadline_is_tried_again_at_the_unhealthy_interval() -> None:
    campaign = watched()
    campaign.poll(a_config(last_test_at=NOW + 10 - 30 * DAY), NOW)
    campaign.poll("?", NOW + 11)
    assert due(campaign) == (NOW + 11 + MINUTE, Priority.UNHEALTHY)


def test_a_failed_poll_at_the_very_deadline_is_no_reason_to_hurry() -> None:
    campaign = watched()
    campaign.poll(a_config(last_test_at=NOW + 10 - 30 * DAY), NOW)
    campaign.poll("?", NOW + 10)
    assert due(campaign) == (NOW + 10 + MINUTE, Priority.UNHEALTHY)


def test_a_deadline_counts_while_the_campaign_cannot_be_read() -> None:
    campaign = watched()
    campaign.poll(a_config(last_test_at=NOW + 30 - 30 * DAY), NOW - 10)
    campaign.poll("?", NOW)
    assert due(campaign) == (NOW + 31, Priority.DEADLINE)


def test_a_deadline_that_ends_at_the_regular_poll_needs_no_poll_of_its_own() -> None:
    campaign = watched()
    campaign.poll(a_config(last_test_at=NOW + MINUTE - 30 * DAY), NOW - 10)
    campaign.poll("?", NOW)
    assert due(campaign) == (NOW + MINUTE, Priority.UNHEALTHY)


def test_the_age_of_a_config_that_is_gone_is_no_deadline() -> None:
    campaign = watched()
    campaign.poll(a_config(last_test_at=NOW + 30 - 30 * DAY), NOW - 10)
    campaign.poll("-", NOW)
    assert due(campaign) == (NOW + MINUTE, Priority.UNHEALTHY)


# --- from memory alone


def test_a_changed_threshold_moves_the_next_poll() -> None:
    campaign = watched()
    campaign.poll(".", NOW)
    assert due(campaign)[1] is Priority.ROUTINE
    campaign.reload(a_target({"stale_test": {"max_age": DAY + 20}}), NOW + 1)
    assert due(campaign) == (NOW + 21, Priority.DEADLINE)


@pytest.mark.parametrize("signs", [".", "x", "?", "-", "o", "n", "h", "x.", "x?"])
def test_a_restart_does_not_move_the_next_poll(signs: str) -> None:
    campaign = watched({"failed_test": {"keep_firing_for": HOUR}})
    for second, sign in enumerate(signs):
        campaign.poll(sign, NOW + second)
    before = due(campaign)
    campaign.restart(NOW + 10)
    assert due(campaign) == before


@given(
    st.text("x.?-ohn", min_size=1, max_size=5),
    st.sampled_from([OURS, (90.0,), (0.0, 90.0)]),
    st.sampled_from([10.0, HOUR - 1, DAY - 30]),
)
def test_with_the_findings_of_the_decision_nothing_else_comes_of_it(
    signs: str, ahead: Ahead, apart: Seconds
) -> None:
    target, status = a_target({"failed_test": {"for_": HOUR}}), a_status()
    for number, sign in enumerate(signs):
        now = NOW + number * apart
        found = assess(status, target, SIGNS[sign], now, remind_every={}, ahead=ahead)
        status = found.status
        assert next_poll(
            status, target, INTERVALS, now, ahead, findings=found.findings
        ) == next_poll(status, target, INTERVALS, now, ahead)


def test_a_longer_interval_of_a_small_budget_stretches_the_slots() -> None:
    campaign = watched()
    campaign.poll(".", NOW)
    at, _priority = due(campaign, replace(INTERVALS, interval=HOUR))
    assert HOUR / 2 <= at - NOW <= 1.5 * HOUR


# --- a deadline that comes after the regular poll, a budget that is too small, no one to tell


def a_poll_with_a_deadline(after: float, intervals: PollIntervals = INTERVALS) -> NextPoll:
    """Return the next poll of a sick campaign whose deadline lies `after` the regular one."""
    campaign = watched()
    campaign.poll(a_config(last_test_at=NOW + MINUTE + after - 30 * DAY), NOW - 10)
    campaign.poll("?", NOW)
    found = next_poll(campaign.status, campaign.target, intervals, NOW)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (-2.0, NextPoll(NOW + MINUTE - 1, Priority.DEADLINE)),
        (-1.0, NextPoll(NOW + MINUTE, Priority.UNHEALTHY, NOW + MINUTE)),
        (0.0, NextPoll(NOW + MINUTE, Priority.UNHEALTHY, NOW + MINUTE + 1)),
        (15 * MINUTE, NextPoll(NOW + MINUTE, Priority.UNHEALTHY, NOW + 16 * MINUTE + 1)),
        (15 * MINUTE + 1, NextPoll(NOW + MINUTE, Priority.UNHEALTHY)),
    ],
)
def test_a_deadline_within_three_intervals_is_kept_in_case_the_regular_poll_is_late(
    after: float, found: NextPoll
) -> None:
    assert a_poll_with_a_deadline(after) == found


def test_without_requests_to_spare_a_campaign_is_polled_an_interval_after_its_last_poll() -> None:
    campaign = watched()
    campaign.poll(".", NOW)
    assert due(campaign, replace(INTERVALS, stretched=True)) == (NOW + 5 * MINUTE, Priority.ROUTINE)


@pytest.mark.parametrize(("idle", "slots"), [(1800.0, 1800.0), (60.0, 5 * MINUTE)])
def test_a_campaign_that_is_not_told_has_slots_of_its_own_but_no_more_of_them(
    idle: float, slots: float
) -> None:
    campaign = WatchedCampaign(a_target({"failed_test": {"for_": 30.0}}, muted_status="paused"))
    campaign.poll("x", NOW)
    polls = []
    for _ in range(3):
        at, priority = due(campaign, replace(INTERVALS, idle_interval=idle))
        campaign.poll("?", at)
        polls.append((at, priority))
    assert 0 < polls[0][0] - NOW <= 1.5 * slots
    assert [(at - polls[0][0], priority) for at, priority in polls] == [
        (0, Priority.ROUTINE),
        (slots, Priority.ROUTINE),
        (2 * slots, Priority.ROUTINE),
    ]
