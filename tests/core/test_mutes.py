"""Muted means evaluated, exported and shown, but not told; and nothing is lost by it."""

from dataclasses import replace

import pytest

from monitor.core.model import DAY, HOUR, MINUTE, Event, Reason, Severity, SftpConfig
from monitor.core.rule import Target
from support.builders import NOW, a_config, a_target, an_error, an_untested_config, only
from support.timeline import WatchedCampaign, in_a_word, told_of_all

ALL = a_target()


def said(events: tuple[Event, ...]) -> list[tuple[str, str]]:
    return [(event.rule, in_a_word(event)) for event in events]


def muters(campaign: WatchedCampaign) -> dict[str, str | None]:
    return {name: alert.muted_by for name, alert in campaign.status.alerts.items() if alert.active}


# --- missing mutes all other rules


def test_a_config_that_goes_mutes_what_was_told_of_it_and_one_that_comes_back_un_mutes() -> None:
    assert told_of_all("x-?-x", WatchedCampaign(ALL)) == [
        (0, "failed_test", "fired"),
        (1, "missing", "fired"),
        (1, "failed_test", "muted by missing"),
        (4, "failed_test", "fired"),
        (4, "missing", "resolved"),
    ]


def test_what_recovered_while_it_was_muted_is_not_told_again() -> None:
    assert told_of_all("x-.", WatchedCampaign(ALL))[3:] == [(2, "missing", "resolved")]


def test_a_pending_muter_does_not_mute() -> None:
    campaign = WatchedCampaign(a_target({"missing": {"for_": 2 * MINUTE}}))
    assert told_of_all("x---", campaign) == [
        (0, "failed_test", "fired"),
        (3, "missing", "fired"),
        (3, "failed_test", "muted by missing"),
    ]


def test_a_muter_that_only_keeps_firing_does_not_mute_any_more() -> None:
    campaign = WatchedCampaign(a_target({"missing": {"keep_firing_for": HOUR}}))
    assert told_of_all("x-x", campaign)[3:] == [(2, "failed_test", "fired")]


def test_with_missing_switched_off_nothing_is_muted_by_it() -> None:
    campaign = WatchedCampaign(a_target({"missing": {"enabled": False}}))
    assert told_of_all("x--", campaign) == [(0, "failed_test", "fired")]


def test_missing_mutes_unreadable_too() -> None:
    campaign = WatchedCampaign(a_target({"unreadable": {"after": 0.0, "keep_firing_for": DAY}}))
    assert told_of_all("???-", campaign) == [
        (2, "unreadable", "fired"),
        (3, "missing", "fired"),
        (3, "unreadable", "muted by missing"),
    ]


# --- never_tested mutes disabled


def test_never_tested_mutes_disabled() -> None:
    campaign = WatchedCampaign(ALL)
    old = an_untested_config(created_at=NOW - 2 * DAY)
    assert said(campaign.poll(old, NOW)) == [("never_tested", "fired")]
    assert muters(campaign) == {"never_tested": None, "disabled": "never_tested"}


def test_once_tested_the_switched_off_config_is_told_of() -> None:
    campaign = WatchedCampaign(ALL)
    campaign.poll(an_untested_config(created_at=NOW - 2 * DAY), NOW)
    tested = a_config(is_enabled=False, last_test_at=NOW)
    assert said(campaign.poll(tested, NOW + MINUTE)) == [
        ("disabled", "fired"),
        ("never_tested", "resolved"),
    ]


def test_never_tested_in_its_grace_does_not_mute() -> None:
    campaign = WatchedCampaign(a_target({"disabled": {"grace": HOUR}}))
    young = an_untested_config(created_at=NOW - 2 * HOUR)
    assert said(campaign.poll(young, NOW)) == [("disabled", "fired")]


# --- is_enabled: false mutes what is about the test


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("failed_test", a_config(last_test_success=False)),
        ("stale_test", a_config(last_test_at=NOW - 90 * DAY)),
        ("future_test", a_config(last_test_at=NOW + DAY)),
    ],
)
def test_a_switched_off_config_mutes_what_is_about_its_test_at_once(
    rule: str, broken: SftpConfig
) -> None:
    campaign = WatchedCampaign(ALL)
    assert said(campaign.poll(broken, NOW)) == [(rule, "fired")]
    switched_off = replace(broken, is_enabled=False)
    assert said(campaign.poll(switched_off, NOW + 1)) == [(rule, "muted by disabled")]
    assert said(campaign.poll(broken, NOW + 2)) == [(rule, "fired")]


def test_a_failure_at_set_up_is_not_told_before_the_config_is_switched_on() -> None:
    campaign = WatchedCampaign(a_target({"disabled": {"grace": 30 * DAY}}))
    assert told_of_all("oo?ox", campaign) == [(4, "failed_test", "fired")]


def test_switched_off_mutes_by_the_fact_even_where_the_rule_disabled_is_off() -> None:
    campaign = WatchedCampaign(a_target(only("failed_test")))
    assert told_of_all("xo", campaign) == [
        (0, "failed_test", "fired"),
        (1, "failed_test", "muted by disabled"),
    ]


def test_switched_off_stays_in_force_through_unknown() -> None:
    campaign = WatchedCampaign(a_target({"missing": {"enabled": False}}))
    assert told_of_all("xo??-?-", campaign)[2:] == []
    assert muters(campaign)["failed_test"] == "disabled"


def test_switched_off_does_not_mute_missing_never_tested_disabled_or_unreadable() -> None:
    rules = {"unreadable": {"after": 0.0}, "never_tested": {"grace": 0.0}}
    campaign = WatchedCampaign(a_target(rules))
    words = told_of_all("n???-", campaign)
    assert (0, "never_tested", "fired") in words
    assert (3, "unreadable", "fired") in words
    assert (4, "missing", "fired") in words


def test_half_a_record_is_unknown_but_its_switch_is_a_fact_all_the_same() -> None:
    campaign = WatchedCampaign(ALL)
    campaign.poll("x", NOW)
    half = a_config(last_test_success=None, is_enabled=False)
    assert said(campaign.poll(half, NOW + 1)) == [("failed_test", "muted by disabled")]


# --- the status of the campaign


def paused() -> Target:
    return replace(ALL, muted_status="paused")


def test_a_campaign_whose_status_is_not_told_has_everything_muted() -> None:
    campaign = WatchedCampaign(paused(), {Severity.CRITICAL: MINUTE})
    assert told_of_all("xx-??.x", campaign) == []
    assert muters(campaign) == {"failed_test": "campaign_status"}


def test_it_is_told_of_once_its_status_is_told_again_with_the_next_definite_answer() -> None:
    campaign = WatchedCampaign(paused())
    campaign.poll("x", NOW)
    assert said(campaign.reload(ALL, NOW + 1)) == []
    assert said(campaign.poll("?", NOW + 2)) == []
    assert said(campaign.poll("x", NOW + 3)) == [("failed_test", "fired")]


def test_a_status_that_is_not_told_any_more_resolves_what_was_told_as_muted() -> None:
    campaign = WatchedCampaign(ALL)
    campaign.poll("x", NOW)
    campaign.reload(paused(), NOW + 1)
    events = campaign.poll("x", NOW + 2)
    assert said(events) == [("failed_test", "muted by campaign_status")]
    assert (events[0].reason, events[0].muted_by) == ("muted", "campaign_status")


# --- the environment


def test_unreadable_is_muted_while_an_alert_of_its_environment_fires() -> None:
    campaign = WatchedCampaign(a_target({"unreadable": {"after": 0.0}}))
    error = an_error(Reason.UNAUTHORIZED)
    campaign.poll(error, NOW)
    campaign.poll(error, NOW + 1)
    assert said(campaign.poll(error, NOW + 2, "token_rejected")) == []
    assert muters(campaign) == {"unreadable": "token_rejected"}
    assert said(campaign.poll(error, NOW + 3)) == [("unreadable", "fired")]
    assert said(campaign.poll(error, NOW + 4, "api_unreachable")) == [
        ("unreadable", "muted by api_unreachable")
    ]


def test_an_alert_of_the_environment_mutes_nothing_but_unreadable() -> None:
    campaign = WatchedCampaign(ALL)
    assert said(campaign.poll("x", NOW, "api_unreachable")) == [("failed_test", "fired")]


# --- precedence


@pytest.mark.parametrize(
    ("observation", "rule", "muter"),
    [
        ("-", "failed_test", "missing"),
        ("-", "disabled", "missing"),
        ("-", "unreadable", "missing"),
        ("-", "missing", "campaign_status"),
        ("o", "failed_test", "disabled"),
        ("o", "disabled", "campaign_status"),
        ("n", "disabled", "never_tested"),
        ("n", "never_tested", "campaign_status"),
        ("?", "unreadable", "campaign_status"),
    ],
)
def test_the_first_muter_in_the_order_of_precedence_is_named(
    observation: str, rule: str, muter: str
) -> None:
    rules = {
        "never_tested": {"grace": 0.0, "keep_firing_for": DAY},
        "disabled": {"grace": 0.0, "keep_firing_for": DAY},
        "unreadable": {"after": 0.0, "keep_firing_for": DAY},
    }
    campaign = WatchedCampaign(a_target(rules, muted_status="paused"))
    for second, sign in enumerate(["o", "?", "?", "?", observation]):
        campaign.poll(sign, NOW + second, "api_unreachable")
    assert muters(campaign)[rule] == muter


def test_muting_with_the_recovery_in_one_poll_reads_as_a_recovery() -> None:
    campaign = WatchedCampaign(ALL)
    campaign.poll("x", NOW)
    recovered_and_off = a_config(is_enabled=False)
    assert said(campaign.poll(recovered_and_off, NOW + 1)) == [("failed_test", "resolved")]
