"""A new rule touches one source file: here it is this one, and everything else takes it up."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from monitor.core.model import DAY, HOUR, MINUTE, Finding, Seconds, Severity, SftpConfig, setting
from monitor.core.rule import ConfigRule, EvaluationInput, healthy, resolve_rules, unhealthy
from monitor.core.rules import RULES, campaign_rule
from monitor.core.schedule import PollIntervals, Priority, next_poll
from support.builders import NOW, a_config, a_target
from support.timeline import WatchedCampaign, in_a_word


class PasswordLogin(ConfigRule):
    """The config logs in by password, `grace` after it was last changed."""

    name = "password_login"
    meaning = "the platform logs in by password"
    next_step = "Ask the customer for a key."
    inhibits = ("stale_test",)
    needs_enabled = True

    severity: Severity = setting(Severity.INFO, "critical, warning or info")
    grace: Seconds = setting(DAY, "how long a password may be used")

    def evaluate_config(self, config: SftpConfig, inputs: EvaluationInput) -> Finding:
        """Return unhealthy for a password that was set `grace` ago."""
        if config.auth_type != "password":
            return healthy("logs in by key", {})
        deadline = (config.updated_at or inputs.now) + self.grace
        if inputs.now < deadline:
            return healthy("a new password", {}, recheck_at=deadline)
        # A finding may know better than its rule what to do.
        step = "Ask root for a key." if config.username == "root" else ""
        return unhealthy("logs in by password", {"grace": "1 d"}, since=deadline, next_step=step)


@pytest.fixture(autouse=True)
def _rule_of_our_own() -> Iterator[None]:
    campaign_rule(PasswordLogin)
    yield
    del RULES[PasswordLogin.name]


OLD_PASSWORD = a_config(auth_type="password", updated_at=NOW - 2 * DAY)


def said(campaign: WatchedCampaign, config: SftpConfig, now: float) -> list[tuple[str, str]]:
    return [(event.rule, in_a_word(event)) for event in campaign.poll(config, now)]


def test_it_decides_fires_and_is_resolved() -> None:
    campaign = WatchedCampaign(a_target())
    (event,) = campaign.poll(OLD_PASSWORD, NOW)
    assert (event.rule, event.severity, event.since) == (
        "password_login",
        Severity.INFO,
        NOW - DAY,
    )
    assert event.next_step == "Ask the customer for a key."
    by_key = replace(OLD_PASSWORD, auth_type="key")
    assert said(campaign, by_key, NOW + MINUTE) == [("password_login", "resolved")]


def test_what_to_do_is_the_findings_where_it_says_so_and_else_the_rules() -> None:
    campaign = WatchedCampaign(a_target())
    (event,) = campaign.poll(replace(OLD_PASSWORD, username="root"), NOW)
    assert event.next_step == "Ask root for a key."
    assert campaign.status.alerts["password_login"].next_step == "Ask root for a key."
    campaign.poll(OLD_PASSWORD, NOW + MINUTE)
    assert campaign.status.alerts["password_login"].next_step == "", "the rule's"
    campaign.poll(replace(OLD_PASSWORD, username="root"), NOW + 2 * MINUTE)
    campaign.poll(replace(OLD_PASSWORD, auth_type="key"), NOW + 3 * MINUTE)
    assert campaign.status.alerts["password_login"].next_step == ""


def test_its_settings_are_set_like_those_of_any_rule() -> None:
    (rule,) = (
        r
        for r in resolve_rules(RULES, {"password_login": {"grace": HOUR}}).values()
        if r.name == "password_login"
    )
    assert rule == PasswordLogin(grace=HOUR)
    assert "password_login" not in resolve_rules(RULES, {"password_login": {"enabled": False}})
    waiting = WatchedCampaign(a_target({"password_login": {"for_": HOUR}}))
    assert said(waiting, OLD_PASSWORD, NOW) == []
    assert said(waiting, OLD_PASSWORD, NOW + HOUR) == [("password_login", "fired")]


def test_it_mutes_and_is_muted() -> None:
    campaign = WatchedCampaign(a_target())
    stale = replace(OLD_PASSWORD, last_test_at=NOW - 90 * DAY)
    assert said(campaign, stale, NOW) == [("password_login", "fired")]
    assert campaign.status.alerts["stale_test"].muted_by == "password_login"
    switched_off = replace(stale, is_enabled=False)
    assert ("password_login", "muted by disabled") in said(campaign, switched_off, NOW + 1)
    assert campaign.status.alerts["stale_test"].muted_by == "password_login"


def test_its_deadline_moves_the_next_poll() -> None:
    campaign = WatchedCampaign(a_target())
    campaign.poll(replace(OLD_PASSWORD, updated_at=NOW - DAY + 10), NOW)
    intervals = PollIntervals(interval=5 * MINUTE, unhealthy_interval=MINUTE, idle_interval=1800.0)
    found = next_poll(campaign.status, campaign.target, intervals, NOW)
    assert found == (NOW + 11, Priority.DEADLINE, None)


def test_a_poll_that_failed_leaves_it_as_it_was() -> None:
    campaign = WatchedCampaign(a_target())
    campaign.poll(OLD_PASSWORD, NOW)
    assert campaign.poll("?", NOW + 1) == ()
    assert campaign.status.alerts["password_login"].notified
