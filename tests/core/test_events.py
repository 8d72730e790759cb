"""From the findings of one decision to its events: what they carry, and in which order."""

from dataclasses import replace

import pytest

from monitor.core.alerts import in_sending_order
from monitor.core.model import DAY, MINUTE, Event, EventStatus, Severity, fingerprint
from support.builders import NOW, a_config, a_target, an_untested_config, only
from support.timeline import WatchedCampaign, in_a_word


def an_event(rule: str, status: EventStatus) -> Event:
    return Event(
        status=status,
        seq=1,
        rule=rule,
        severity=Severity.INFO,
        environment="production",
        campaign_id="c-1",
        summary="",
        since=None,
        observed_at=NOW,
        decided_at=NOW,
    )


def test_a_firing_event_says_all_that_on_call_needs() -> None:
    target = a_target(only("failed_test"), name="Retail leads", labels={"team": "retail"})
    campaign = WatchedCampaign(target)
    campaign.poll(a_config(), NOW - MINUTE)
    (event,) = campaign.poll(a_config(last_test_success=False, last_test_at=NOW - 30), NOW)
    assert event == Event(
        status=EventStatus.FIRING,
        seq=1,
        rule="failed_test",
        severity=Severity.CRITICAL,
        environment="production",
        campaign_id="c-1",
        campaign_name="Retail leads",
        labels={"team": "retail"},
        sftp_host="sftp.example",
        import_schedule="daily",
        last_passed_at=NOW - DAY,
        summary="last test failed 30 s ago (2027-01-15T07:59:30Z)",
        evidence={"last_test_at": "2027-01-15T07:59:30Z", "last_test_success": "false"},
        since=NOW - 30,
        observed_at=NOW,
        decided_at=NOW,
        next_step=target.rules["failed_test"].next_step,
        impact="imports daily",
    )


def test_a_recovery_says_what_is_well_now_and_since_when_it_was_not() -> None:
    campaign = WatchedCampaign(a_target(only("failed_test")))
    campaign.poll("x", NOW)
    (event,) = campaign.poll(a_config(last_test_at=NOW), NOW + MINUTE)
    assert (event.status, event.reason) == (EventStatus.RESOLVED, "recovered")
    assert event.summary == "last test passed at 2027-01-15T08:00:00Z"
    assert event.evidence["last_test_success"] == "true"
    assert (event.since, event.severity, event.next_step) == (NOW - DAY, Severity.CRITICAL, "")


@pytest.mark.parametrize("sign", ["-", "o"])
def test_what_is_resolved_as_muted_says_what_was_told_of_it(sign: str) -> None:
    campaign = WatchedCampaign()
    (fired,) = campaign.poll("x", NOW)
    resolved = next(e for e in campaign.poll(sign, NOW + 1) if e.rule == "failed_test")
    assert resolved.reason == "muted"
    assert (resolved.summary, resolved.evidence, resolved.since) == (
        fired.summary,
        fired.evidence,
        fired.since,
    )


def test_a_reminder_carries_the_evidence_of_now_and_the_since_of_old() -> None:
    campaign = WatchedCampaign(a_target(only("failed_test")), {Severity.CRITICAL: MINUTE})
    campaign.poll("x", NOW)
    again = a_config(last_test_success=False, last_test_at=NOW + 30)
    (event,) = campaign.poll(again, NOW + MINUTE)
    assert event.status is EventStatus.REMINDER
    assert event.evidence["last_test_at"] == "2027-01-15T08:00:30Z"
    assert event.since == NOW - DAY


def test_what_is_un_muted_without_a_new_finding_carries_the_last_unhealthy_one() -> None:
    campaign = WatchedCampaign(a_target(only("failed_test")))
    (fired,) = campaign.poll("x", NOW)
    campaign.poll("o", NOW + 1)
    (again,) = campaign.poll("h", NOW + 2)
    assert again.status is EventStatus.FIRING
    assert again.summary == "last test failed 24 h ago (2027-01-14T08:00:00Z)"
    assert again.evidence == fired.evidence
    assert (fired.unmuted, again.unmuted) == (False, True)


def test_what_was_muted_when_it_began_is_not_new_either_once_nothing_mutes_it() -> None:
    campaign = WatchedCampaign(a_target(only("failed_test")))
    campaign.poll("o", NOW)
    assert campaign.poll(a_config(is_enabled=False, last_test_success=False), NOW + 1) == ()
    (event,) = campaign.poll("x", NOW + 2)
    assert (event.status, event.unmuted) == (EventStatus.FIRING, True)


def test_the_last_passed_test_is_remembered_from_when_it_was_seen() -> None:
    campaign = WatchedCampaign(a_target(only("failed_test")))
    (never_passed,) = campaign.poll("x", NOW)
    assert never_passed.last_passed_at is None


def test_the_first_verdict_ever_on_a_campaign_is_marked_initial() -> None:
    campaign = WatchedCampaign()
    campaign.poll("?", NOW)
    (first,) = campaign.poll("x", NOW + 1)
    assert first.initial
    campaign.poll(".", NOW + 2)
    (second,) = campaign.poll("x", NOW + 3)
    assert not second.initial


def test_what_fires_later_is_not_initial_even_after_a_restart() -> None:
    campaign = WatchedCampaign()
    campaign.poll(".", NOW)
    campaign.restart(NOW + 1)
    (event,) = campaign.poll("x", NOW + 2)
    assert not event.initial


def test_events_of_one_decision_fire_before_they_resolve_then_in_the_order_of_the_table() -> None:
    campaign = WatchedCampaign(
        a_target({"disabled": {"grace": 0.0}, "stale_test": {"max_age": 0.0}})
    )
    campaign.poll(an_untested_config(created_at=NOW - 2 * DAY), NOW)
    tested = a_config(is_enabled=True, last_test_success=False, last_test_at=NOW)
    campaign.poll(tested, NOW + 1)
    assert [(e.rule, in_a_word(e)) for e in campaign.events] == [
        ("never_tested", "fired"),
        ("failed_test", "fired"),
        ("stale_test", "fired"),
        ("never_tested", "resolved"),
    ]


def test_reminders_and_updates_come_before_what_resolves() -> None:
    events = [
        an_event("a", EventStatus.RESOLVED),
        an_event("b", EventStatus.REMINDER),
        an_event("c", EventStatus.UPDATED),
        an_event("d", EventStatus.RESOLVED),
        an_event("e", EventStatus.FIRING),
    ]
    assert [event.rule for event in in_sending_order(events)] == ["b", "c", "e", "a", "d"]


def test_seq_counts_the_events_of_one_fingerprint_without_a_gap() -> None:
    campaign = WatchedCampaign(a_target(only("failed_test")), {Severity.CRITICAL: MINUTE})
    for minute, sign in enumerate("xxo.x?-x."):
        campaign.poll(sign, NOW + minute * MINUTE)
    assert [event.seq for event in campaign.events] == list(range(1, len(campaign.events) + 1))


def test_a_fingerprint_is_made_of_environment_campaign_and_rule_and_nothing_else() -> None:
    event = an_event("failed_test", EventStatus.FIRING)
    changed = replace(
        event, severity=Severity.CRITICAL, sftp_host="other", campaign_name="x", seq=9
    )
    assert (
        event.fingerprint == changed.fingerprint == fingerprint("production", "c-1", "failed_test")
    )
    assert len(event.fingerprint) == 16
    others = [("staging", "c-1", "failed_test"), ("production", "c-2", "failed_test")]
    others += [("production", "c-1", "stale_test"), ("productionc", "-1", "failed_test")]
    assert event.fingerprint not in {fingerprint(*other) for other in others}


def test_an_alert_of_the_environment_has_an_empty_campaign_id_in_its_fingerprint() -> None:
    assert fingerprint("production", None, "api_unreachable") == fingerprint(
        "production", "", "api_unreachable"
    )


def test_an_event_about_a_campaign_without_a_config_names_no_host_and_no_schedule() -> None:
    (event,) = WatchedCampaign().poll("-", NOW)
    assert (event.rule, event.sftp_host, event.import_schedule) == ("missing", "", "")


def test_a_fingerprint_is_the_same_in_every_version_for_receivers_know_alerts_by_it() -> None:
    assert fingerprint("production", "c-1", "failed_test") == "ac6c0bd52431955c"
    assert fingerprint("production", None, "api_unreachable") == "e414dae6dcfe56a7"
