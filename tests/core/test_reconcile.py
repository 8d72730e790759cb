"""A start, a changed config, a campaign that goes: told once, and unchanged it changes nothing."""

from dataclasses import replace

import pytest

from monitor.core.assess import reconcile
from monitor.core.model import DAY, HOUR, EventStatus, NoConfig, Severity
from monitor.core.rules import FailedTest
from monitor.core.status import Alert, AlertState
from support.builders import NOW, a_config, a_status, a_target, only
from support.timeline import WatchedCampaign

# --- a changed config


def firing() -> WatchedCampaign:
    campaign = WatchedCampaign()
    campaign.poll("x", NOW)
    return campaign


def test_an_unchanged_config_changes_nothing() -> None:
    campaign = firing()
    before = campaign.status
    assert campaign.reload(a_target(), NOW + HOUR) == ()
    assert campaign.status == before


def test_a_changed_severity_is_told_once_as_an_update_with_what_it_was() -> None:
    campaign = firing()
    target = a_target({"failed_test": {"severity": Severity.WARNING}})
    (event,) = campaign.reload(target, NOW + 1)
    assert (event.status, event.severity) == (EventStatus.UPDATED, Severity.WARNING)
    assert (event.previous_severity, event.seq) == (Severity.CRITICAL, 2)
    assert event.next_step == FailedTest.next_step
    assert (event.observed_at, event.decided_at) == (NOW, NOW + 1)
    assert campaign.reload(target, NOW + 2) == ()
    assert campaign.poll("x", NOW + 3) == ()


def test_a_changed_config_and_a_removal_find_nothing_by_themselves() -> None:
    status, target = firing().status, a_target()
    for decision in (reconcile(status, target, NOW), reconcile(status, None, NOW, "gone")):
        assert decision.findings == {}


def test_a_changed_threshold_waits_for_the_next_observation() -> None:
    campaign = firing()
    assert campaign.reload(a_target({"stale_test": {"max_age": HOUR}}), NOW + 1) == ()
    assert [event.rule for event in campaign.poll("x", NOW + 2)] == ["stale_test"]


def test_a_rule_that_is_switched_off_resolves_what_was_told() -> None:
    campaign = firing()
    (event,) = campaign.reload(a_target({"failed_test": {"enabled": False}}), NOW + 1)
    assert (event.reason, event.muted_by, event.next_step) == ("rule_removed", None, "")
    assert event.severity is Severity.CRITICAL
    assert campaign.status.alerts == {"failed_test": Alert(rule="failed_test", seq=2)}
    assert campaign.poll("x", NOW + 2) == ()


def test_a_rule_that_is_switched_on_again_goes_on_counting_its_events() -> None:
    campaign = firing()
    campaign.reload(a_target({"failed_test": {"enabled": False}}), NOW + 1)
    campaign.reload(a_target(), NOW + 2)
    (event,) = campaign.poll("x", NOW + 3)
    assert (event.status, event.seq) == (EventStatus.FIRING, 3)


def test_events_of_a_reload_come_in_the_order_of_the_table_whichever_fired_first() -> None:
    campaign = WatchedCampaign(a_target({"missing": {"enabled": False}}))
    tested = a_config(last_test_success=False, last_test_at=NOW - 30 * DAY + 1)
    campaign.poll(tested, NOW)
    campaign.poll(replace(tested, last_test_success=True), NOW + 2)
    campaign.poll(tested, NOW + 3)
    reversed_alerts = dict(reversed(list(campaign.status.alerts.items())))
    campaign.status = replace(campaign.status, alerts=reversed_alerts)
    info = {"severity": Severity.INFO}
    events = campaign.reload(a_target({"failed_test": info, "stale_test": info}), NOW + 4)
    assert [event.rule for event in events] == ["failed_test", "stale_test"]
    campaign.status = replace(campaign.status, alerts=reversed_alerts)
    removed = campaign.remove("campaign_removed", NOW + 5)
    assert [event.rule for event in removed] == ["failed_test", "stale_test"]


def test_an_alert_of_a_rule_that_this_version_does_not_know_is_resolved() -> None:
    campaign = firing()
    known = campaign.status.alerts["failed_test"]
    campaign.status = replace(campaign.status, alerts={"bygone": replace(known, rule="bygone")})
    (event,) = campaign.reload(a_target(), NOW + 1)
    assert (event.rule, event.reason) == ("bygone", "rule_removed")


# --- a restart


def test_a_restart_tells_nothing_and_keeps_alerts_since_and_the_reminder_clock() -> None:
    campaign = WatchedCampaign(a_target(), {Severity.CRITICAL: HOUR})
    campaign.poll("x", NOW)
    before = campaign.status.alerts
    assert campaign.restart(NOW + 10) == ()
    assert campaign.status.alerts == before
    assert campaign.poll("x", NOW + HOUR - 1) == ()
    (event,) = campaign.poll("x", NOW + HOUR)
    assert (event.status, event.since) == (EventStatus.REMINDER, NOW - DAY)


@pytest.mark.parametrize("restarts", [True, False], ids=["after a restart", "while it runs"])
def test_a_status_from_the_future_is_clamped_and_brings_no_burst_of_reminders(
    restarts: bool,
) -> None:
    year = 365 * DAY
    campaign = WatchedCampaign(a_target(only("failed_test")), {Severity.CRITICAL: HOUR})
    campaign.poll("x", NOW + year)
    assert not restarts or campaign.restart(NOW) == ()
    assert campaign.poll("x", NOW + 1) == ()
    alert = campaign.status.alerts["failed_test"]
    assert (alert.notified_at, alert.fired_at, alert.since) == (NOW + 1, NOW + 1, NOW - DAY)
    assert campaign.poll("x", NOW + HOUR) == ()
    assert len(campaign.poll("x", NOW + HOUR + 1)) == 1
    assert campaign.poll("x", NOW + HOUR + 2) == ()


def test_a_start_on_a_clock_that_is_behind_makes_no_reminder_early() -> None:
    campaign = WatchedCampaign(a_target(only("failed_test")), {Severity.CRITICAL: 2 * HOUR})
    campaign.poll("x", NOW)
    campaign.restart(NOW - HOUR)
    campaign.poll("?", NOW - HOUR + 1)
    # Here an answer has told whose clock is right.
    assert campaign.poll("x", NOW + 2 * HOUR - 1) == ()
    assert len(campaign.poll("x", NOW + 2 * HOUR)) == 1


def test_what_is_remembered_from_the_future_is_clamped_as_well() -> None:
    year = 365 * DAY
    campaign = WatchedCampaign()
    for day, sign in enumerate(".o-"):
        campaign.poll(sign, NOW + year + day * DAY)
    campaign.poll("-", NOW)
    last_known = campaign.status.last_known
    assert campaign.status.polled_at == NOW
    assert (last_known.first_seen_at, last_known.last_read_at, last_known.missing_since) == (
        NOW,
        NOW,
        NOW,
    )
    assert last_known.disabled_since == NOW
    assert last_known.config == a_config(last_test_success=False, is_enabled=False)


def test_an_alert_of_a_campaign_that_was_never_polled_is_resolved_as_of_now() -> None:
    campaign = firing()
    campaign.status = replace(campaign.status, polled_at=None)
    (event,) = campaign.remove("campaign_removed", NOW + 1)
    assert (event.observed_at, event.decided_at) == (NOW + 1, NOW + 1)


# --- a campaign that goes


@pytest.mark.parametrize("reason", ["campaign_removed", "environment_removed"])
def test_a_removed_campaign_resolves_what_was_told_and_leaves_a_tombstone(reason: str) -> None:
    campaign = firing()
    (event,) = campaign.remove(reason, NOW + 1)
    assert (event.rule, event.reason, event.seq) == ("failed_test", reason, 2)
    assert (event.observed_at, event.decided_at) == (NOW, NOW + 1)
    assert campaign.status == a_status(alerts={"failed_test": Alert(rule="failed_test", seq=2)})


def test_a_campaign_that_comes_back_goes_on_counting_its_events() -> None:
    campaign = firing()
    campaign.remove("campaign_removed", NOW + 1)
    (event,) = campaign.poll("x", NOW + 2)
    assert (event.status, event.seq) == (EventStatus.FIRING, 3)


def test_pending_and_muted_alerts_of_a_removed_campaign_just_end() -> None:
    campaign = WatchedCampaign(
        a_target({"failed_test": {"for_": HOUR}, "disabled": {"grace": 30 * DAY}})
    )
    campaign.poll("o", NOW)
    assert campaign.status.alerts["failed_test"].state is AlertState.PENDING
    assert campaign.remove("campaign_removed", NOW + 1) == ()
    assert campaign.status == a_status()


def test_a_campaign_that_merely_answers_404_resolves_nothing_but_by_its_mute() -> None:
    campaign = WatchedCampaign(a_target({"missing": {"enabled": False}}))
    campaign.poll("x", NOW)
    assert campaign.poll(NoConfig(by_404=True), NOW + 1) == ()
    assert campaign.status.alerts["failed_test"].notified
