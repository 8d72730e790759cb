"""The product in one function: what is remembered of an observation, and what comes of a change."""

from dataclasses import replace

import pytest

from monitor.core.assess import assess
from monitor.core.model import (
    DAY,
    HOUR,
    MINUTE,
    NoConfig,
    Observation,
    PollError,
    Reason,
    SftpConfig,
    Verdict,
)
from monitor.core.status import CampaignStatus, Failures, LastKnown
from support.builders import NOW, a_config, a_status, a_target, an_error, an_untested_config, only
from support.timeline import WatchedCampaign, in_a_word

# --- what is remembered


def test_before_the_first_poll_nothing_is_known() -> None:
    assert a_status().known is None


def test_the_last_observation_can_be_told_from_what_is_remembered() -> None:
    campaign = WatchedCampaign()
    observations: list[Observation] = [a_config(), an_error(), NoConfig(), an_error()]
    for second, observation in enumerate(observations):
        campaign.poll(observation, NOW + second)
        assert (campaign.status.error or campaign.status.known) == observation


def test_a_config_that_went_is_remembered_with_the_instant_from_which_it_is_gone() -> None:
    campaign = WatchedCampaign()
    for second, sign in enumerate(".-?-"):
        campaign.poll(sign, NOW + second)
    last_known = campaign.status.last_known
    assert (last_known.config, last_known.missing_since, last_known.last_read_at) == (
        a_config(),
        NOW + 1,
        NOW + 3,
    )
    campaign.poll(".", NOW + 4)
    assert campaign.status.last_known.missing_since is None


def test_failed_polls_in_a_row_are_counted_from_the_first_and_forgotten_at_an_answer() -> None:
    campaign = WatchedCampaign()
    for second, sign in enumerate(".???"):
        campaign.poll(sign, NOW + second)
    assert campaign.status.failures == Failures(3, NOW + 1)
    assert campaign.status.last_known.last_read_at == NOW
    campaign.poll("-", NOW + 4)
    assert campaign.status == replace(campaign.status, failures=None, error=None)


def test_unreadable_fires_at_the_third_failure_if_the_first_is_long_enough_ago() -> None:
    campaign = WatchedCampaign(a_target(only("unreadable")))
    fired = [
        (minute, event.since)
        for minute in (0, 7, 14, 15, 16)
        for event in campaign.poll("?", NOW + minute * MINUTE)
    ]
    assert fired == [(15, NOW)]


def test_failures_are_counted_anew_after_a_restart_and_a_firing_alert_fires_on() -> None:
    campaign = WatchedCampaign(a_target(only("unreadable", after=0.0)))
    for second in range(3):
        campaign.poll("?", NOW + second)
    assert campaign.restart(NOW + 3) == ()
    assert campaign.poll("?", NOW + 4) == ()
    assert campaign.status.failures == Failures(1, NOW + 4)
    assert campaign.status.alerts["unreadable"].notified
    assert [in_a_word(event) for event in campaign.poll(".", NOW + 5)] == ["resolved"]


def test_a_switch_counts_from_the_first_sight_of_it_since_it_was_last_on() -> None:
    campaign = WatchedCampaign()
    for hour, sign in enumerate(".oo?o"):
        campaign.poll(sign, NOW + hour * HOUR)
    assert campaign.status.last_known.disabled_since == NOW + HOUR
    campaign.poll(".", NOW + 5 * HOUR)
    campaign.poll("o", NOW + 6 * HOUR)
    assert campaign.status.last_known.disabled_since == NOW + 6 * HOUR


def test_a_config_that_took_the_place_of_another_starts_anew() -> None:
    campaign = WatchedCampaign()
    campaign.poll(".", NOW)
    campaign.poll("o", NOW + 1)
    other = an_untested_config(id="sftp-2", created_at=None)
    campaign.poll(other, NOW + DAY)
    last_known = campaign.status.last_known
    assert (last_known.enabled_seen, last_known.tested_seen) == (False, False)
    assert last_known.disabled_since == NOW + DAY


@pytest.mark.parametrize("before", ["-", "."], ids=["no config before", "another config before"])
def test_a_new_config_without_created_at_has_its_grace_from_its_own_first_sight(
    before: str,
) -> None:
    campaign = WatchedCampaign(a_target(only("never_tested")))
    campaign.poll(before, NOW)
    new = an_untested_config(id="sftp-2", created_at=None)
    assert campaign.poll(new, NOW + 40 * DAY) == ()
    assert campaign.poll(new, NOW + 41 * DAY - 1) == ()
    (event,) = campaign.poll(new, NOW + 41 * DAY)
    assert event.since == NOW + 41 * DAY


# --- an API release that drops the fields of the test


def without_test_fields(config: SftpConfig) -> SftpConfig:
    return replace(config, last_test_at=None, last_test_success=None, has_test_fields=False)


@pytest.mark.parametrize(
    ("before", "config"),
    [
        (None, a_config()),
        (a_config(), a_config(is_enabled=False)),
        (a_config(is_enabled=False), a_config(is_enabled=False)),
    ],
    ids=["enabled", "was enabled", "once tested"],
)
def test_fault_20_absent_test_fields_are_a_mismatch_where_a_test_must_have_been(
    before: SftpConfig | None, config: SftpConfig
) -> None:
    campaign = WatchedCampaign()
    if before is not None:
        campaign.poll(before, NOW - 1)
    campaign.poll(without_test_fields(config), NOW)
    detail = "last_test_at or last_test_success is absent"
    assert campaign.status.error == PollError(Reason.SCHEMA_MISMATCH, detail)
    assert campaign.status.last_known.config == before


@pytest.mark.parametrize("before", [None, an_untested_config(), a_config(id="another")])
def test_absent_test_fields_of_a_new_switched_off_config_mean_never_tested(
    before: SftpConfig | None,
) -> None:
    campaign = WatchedCampaign()
    if before is not None:
        campaign.poll(before, NOW - 1)
    campaign.poll(without_test_fields(an_untested_config()), NOW)
    assert campaign.status.error is None
    assert "never_tested" in campaign.status.alerts


# --- exact time, on fresh evidence


def test_a_stale_test_is_told_on_the_first_poll_after_it_became_stale() -> None:
    campaign = WatchedCampaign(a_target(only("stale_test")))
    tested = a_config(last_test_at=NOW - 30 * DAY)
    assert campaign.poll(tested, NOW - 1) == ()
    (event,) = campaign.poll(tested, NOW + 1)
    assert (event.since, event.observed_at) == (NOW, NOW + 1)


def test_a_test_that_someone_ran_a_minute_earlier_prevents_a_false_page() -> None:
    campaign = WatchedCampaign(a_target(only("stale_test")))
    campaign.poll(a_config(last_test_at=NOW - 30 * DAY), NOW - HOUR)
    assert campaign.poll(a_config(last_test_at=NOW - MINUTE), NOW + 1) == ()


def test_nothing_fires_on_old_evidence() -> None:
    campaign = WatchedCampaign(a_target(only("stale_test")))
    campaign.poll(a_config(last_test_at=NOW - 30 * DAY), NOW - HOUR)
    assert campaign.poll(an_error(), NOW + 1) == ()


# --- the decision as a whole


def test_an_alert_that_fires_again_is_true_since_the_test_that_failed_this_time() -> None:
    campaign = WatchedCampaign()
    for tested_at, success in ((NOW - DAY, False), (NOW - HOUR, True), (NOW - MINUTE, False)):
        campaign.poll(a_config(last_test_at=tested_at, last_test_success=success), NOW)
    assert [event.since for event in campaign.events] == [NOW - DAY, NOW - DAY, NOW - MINUTE]


@pytest.mark.parametrize(("listed_at", "told"), [(NOW, []), (NOW + 1, ["missing"])])
def test_a_discovered_campaign_misses_its_config_once_a_later_listing_still_has_it(
    listed_at: float, told: list[str]
) -> None:
    campaign = WatchedCampaign(a_target(listed=False, listed_at=listed_at))
    campaign.poll(".", NOW - 1)
    campaign.poll("-", NOW)
    campaign.poll("-", NOW + 2)
    assert [event.rule for event in campaign.events] == told


def test_a_decision_has_a_finding_of_every_enabled_rule() -> None:
    target = a_target({"disabled": {"enabled": False}})
    decision = assess(a_status(), target, a_config(), NOW, remind_every={})
    assert list(decision.findings) == list(target.rules)
    others = {name: one for name, one in decision.findings.items() if name != "path_inaccessible"}
    assert {finding.verdict for finding in others.values()} == {Verdict.HEALTHY}
    # Nobody can know of a test that is not ours.
    assert decision.findings["path_inaccessible"].verdict is Verdict.UNKNOWN
    assert decision.status.alerts == {}


def test_what_was_before_is_never_changed() -> None:
    last_known = LastKnown()
    before = CampaignStatus(environment="production", campaign_id="c-1", last_known=last_known)
    campaign = WatchedCampaign()
    campaign.status = before
    campaign.poll("x", NOW)
    assert before == a_status()
    assert campaign.status != before


def test_an_internal_error_is_a_failed_poll_like_any_other() -> None:
    campaign = WatchedCampaign()
    campaign.poll("x", NOW)
    assert campaign.poll(PollError(Reason.INTERNAL_ERROR), NOW + 1) == ()
    assert campaign.status.failures == Failures(1, NOW + 1)
