"""The rules of an environment: one outage is one page, and it is over with the first answer."""

from dataclasses import replace

import pytest

from monitor.core.environment import EnvironmentInput, EnvironmentRule
from monitor.core.environment_rules import ENVIRONMENT_RULES, firing_alert
from monitor.core.model import HOUR, MINUTE, Event, Finding, NoConfig, Reason, Severity, Verdict
from monitor.core.rule import healthy, resolve_rules
from support.builders import EVIDENCE_KEYS, NOW
from support.environments import READ, WatchedEnvironment, down, rejected
from support.timeline import in_a_word


def said(events: tuple[Event, ...]) -> list[tuple[str, str]]:
    return [(event.rule, in_a_word(event)) for event in events]


def test_the_rules_stand_in_order_with_their_default_severities() -> None:
    assert {name: cls().severity.value for name, cls in ENVIRONMENT_RULES.items()} == {
        "api_unreachable": "critical",
        "token_rejected": "critical",
        "budget_insufficient": "warning",
        "api_refusing": "critical",
        "discovery_failing": "warning",
        "tests_failing": "critical",
        "tests_suspended": "critical",
    }
    assert list(resolve_rules(ENVIRONMENT_RULES, {"token_rejected": {"enabled": False}})) == [
        "api_unreachable",
        "budget_insufficient",
        "api_refusing",
        "discovery_failing",
        "tests_failing",
        "tests_suspended",
    ]


def test_a_rule_that_does_not_judge_cannot_be_made() -> None:
    unfinished: type = EnvironmentRule
    with pytest.raises(TypeError, match="evaluate"):
        unfinished()


# --- api_unreachable


@pytest.mark.parametrize(("late", "fires"), [(-1, False), (0, True), (1, True)])
def test_it_fires_once_the_breaker_has_been_open_for_after(late: float, fires: bool) -> None:
    environment = down()
    assert environment.events == []
    events = environment.call(Reason.TIMEOUT, at=NOW + 5 * MINUTE + late)
    assert said(events) == ([("api_unreachable", "fired")] if fires else [])


def test_it_is_true_since_the_first_call_that_was_not_answered() -> None:
    environment = down()
    (event,) = environment.call(Reason.HTTP_5XX, at=NOW + 5 * MINUTE)
    assert event.since == NOW - 2
    assert event.evidence == {"reason": "http_5xx", "opened_at": "2027-01-15T08:00:00Z"}
    assert event.summary == "the API does not answer since 2027-01-15T07:59:58Z: http_5xx"
    assert (event.campaign_id, event.environment, event.labels) == (
        None,
        "production",
        {"team": "sre"},
    )


@pytest.mark.parametrize("answer", [READ, NoConfig(), Reason.RATE_LIMITED, Reason.UNAUTHORIZED])
def test_the_first_answer_resolves_it(answer: object) -> None:
    environment = down()
    environment.call(Reason.TIMEOUT, at=NOW + 5 * MINUTE)
    events = environment.call(answer, at=NOW + 6 * MINUTE)  # type: ignore[arg-type]
    assert said(events) == [("api_unreachable", "resolved")]


def test_an_outage_shorter_than_after_is_not_told() -> None:
    environment = down()
    environment.call(READ, at=NOW + 5 * MINUTE - 1)
    environment.calls([Reason.TIMEOUT] * 3, at=NOW + 5 * MINUTE)
    environment.call(Reason.TIMEOUT, at=NOW + 6 * MINUTE)
    assert environment.events == []


class Breaks(EnvironmentRule):
    """A rule with a fault of its own."""

    name = "breaks"

    def evaluate(self, inputs: EnvironmentInput) -> Finding:
        """Raise, but for a later call."""
        if inputs.now < NOW + HOUR:
            raise ZeroDivisionError
        return healthy("it works again")


def test_a_rule_that_breaks_costs_its_own_verdict_alone_and_is_tried_at_the_next_call() -> None:
    environment = down()
    environment.context = replace(
        environment.context, rules={"breaks": Breaks(), **environment.context.rules}
    )
    assert said(environment.call(Reason.TIMEOUT, at=NOW + 6 * MINUTE)) == [
        ("api_unreachable", "fired")
    ]
    environment.call(READ, at=NOW + 7 * MINUTE)
    environment.call(READ, at=NOW + 8 * MINUTE)
    assert environment.evaluated is not None
    broken = environment.evaluated.findings["breaks"]
    assert (broken.verdict, type(broken.error)) == (Verdict.UNKNOWN, ZeroDivisionError)
    environment.call(READ, at=NOW + HOUR)
    assert environment.evaluated.findings["breaks"].verdict is Verdict.HEALTHY


def test_a_failed_call_after_the_recovery_does_not_resolve_what_still_keeps_firing() -> None:
    environment = WatchedEnvironment(rules={"api_unreachable": {"keep_firing_for": MINUTE}})
    environment.calls([Reason.TIMEOUT] * 3, at=NOW)
    environment.call(Reason.TIMEOUT, at=NOW + 6 * MINUTE)
    environment.call(READ, at=NOW + 7 * MINUTE)
    assert environment.call(Reason.TIMEOUT, at=NOW + 9 * MINUTE) == ()
    assert said(environment.call(READ, at=NOW + 9 * MINUTE + 1)) == [
        ("api_unreachable", "resolved")
    ]


def test_404_for_every_campaign_says_that_the_base_url_is_wrong() -> None:
    environment = WatchedEnvironment(campaigns=3)
    environment.calls([NoConfig(by_404=True)] * 3, at=NOW)
    (event,) = environment.call(NoConfig(by_404=True), at=NOW + 6 * MINUTE)
    assert event.summary == "404 for every campaign: base_url is wrong, or the API has moved"
    assert event.since == NOW + 2


def test_404_for_every_campaign_counts_from_its_own_first_instant() -> None:
    environment = WatchedEnvironment(campaigns=3)
    environment.calls([Reason.TIMEOUT, *[NoConfig(by_404=True)] * 2, Reason.TIMEOUT], at=NOW - HOUR)
    environment.calls([NoConfig(by_404=True)] * 3, at=NOW)
    (event,) = environment.call(NoConfig(by_404=True), at=NOW + 6 * MINUTE)
    assert event.since == NOW


# --- token_rejected


def test_a_rejected_token_is_told_once_it_has_lasted() -> None:
    environment = rejected()
    assert environment.call(Reason.UNAUTHORIZED, generation=1, at=NOW + 3 * MINUTE - 1) == ()
    (event,) = environment.call(Reason.UNAUTHORIZED, generation=1, at=NOW + 3 * MINUTE)
    assert (event.rule, event.severity, event.since) == (
        "token_rejected",
        Severity.CRITICAL,
        NOW,
    )
    assert event.evidence == {"reason": "unauthorized", "opened_at": "2027-01-15T08:00:00Z"}


def test_a_token_that_works_again_resolves_it() -> None:
    environment = rejected()
    environment.call(Reason.UNAUTHORIZED, generation=1, at=NOW + 3 * MINUTE)
    assert said(environment.call(READ, generation=2, at=NOW + 4 * MINUTE)) == [
        ("token_rejected", "resolved")
    ]


def test_one_401_is_unknown_and_resolves_nothing() -> None:
    environment = WatchedEnvironment(rules={"token_rejected": {"keep_firing_for": MINUTE}})
    environment.call(Reason.UNAUTHORIZED, generation=0, at=NOW)
    environment.call(Reason.UNAUTHORIZED, generation=1, at=NOW)
    environment.call(Reason.UNAUTHORIZED, generation=1, at=NOW + 3 * MINUTE)
    environment.call(READ, generation=2, at=NOW + 4 * MINUTE)
    assert environment.call(Reason.UNAUTHORIZED, generation=2, at=NOW + 6 * MINUTE) == ()


def test_an_outage_while_the_token_is_rejected_holds_the_alert() -> None:
    environment = rejected()
    environment.call(Reason.UNAUTHORIZED, generation=1, at=NOW + 3 * MINUTE)
    for second in range(4):
        environment.call(Reason.TIMEOUT, at=NOW + 4 * MINUTE + second)
    assert [event.rule for event in environment.events] == ["token_rejected"]
    assert environment.status.alerts["token_rejected"].notified


def test_a_call_that_was_not_answered_says_nothing_of_the_token() -> None:
    environment = rejected()
    assert environment.call(Reason.TIMEOUT, at=NOW + 3 * MINUTE) == ()
    assert said(environment.call(Reason.UNAUTHORIZED, generation=1, at=NOW + 4 * MINUTE)) == [
        ("token_rejected", "fired")
    ]


def test_while_404_comes_for_every_campaign_nothing_is_known_of_the_token() -> None:
    environment = WatchedEnvironment(campaigns=3)
    environment.calls([NoConfig(by_404=True)] * 3)
    inputs = EnvironmentInput(environment.status, environment.context, NOW)
    finding = environment.context.rules["token_rejected"].evaluate(inputs)
    assert finding.verdict is Verdict.UNKNOWN


def test_403_to_every_campaign_is_a_rejected_token() -> None:
    environment = WatchedEnvironment(campaigns=3)
    environment.calls([Reason.FORBIDDEN] * 3, at=NOW)
    (event,) = environment.call(Reason.FORBIDDEN, at=NOW + 4 * MINUTE)
    assert (event.rule, event.evidence["reason"]) == ("token_rejected", "forbidden")


# --- budget_insufficient


def test_fault_30_an_interval_longer_than_unreadable_after_is_told_after_half_an_hour() -> None:
    environment = WatchedEnvironment(campaigns=900, effective_interval=15 * MINUTE + 1)
    environment.call(READ, at=NOW)
    assert environment.call(READ, at=NOW + 30 * MINUTE - 1) == ()
    (event,) = environment.call(READ, at=NOW + 30 * MINUTE)
    assert (event.rule, event.severity, event.since) == (
        "budget_insufficient",
        Severity.WARNING,
        NOW,
    )
    assert event.summary == "900 campaigns are read every 15 min, wanted within 15 min"
    assert set(event.evidence) <= EVIDENCE_KEYS


def test_an_interval_of_just_unreadable_after_is_enough() -> None:
    environment = WatchedEnvironment(effective_interval=15 * MINUTE)
    environment.call(READ, at=NOW)
    environment.call(READ, at=NOW + HOUR)
    assert environment.events == []
    assert environment.status.alerts == {}


# --- what it means for the campaigns


def test_the_firing_alert_of_the_environment_is_named_for_its_campaigns() -> None:
    environment = down()
    assert firing_alert(environment.status) is None
    environment.call(Reason.TIMEOUT, at=NOW + 5 * MINUTE)
    assert firing_alert(environment.status) == "api_unreachable"
    environment.call(READ, at=NOW + 6 * MINUTE)
    assert firing_alert(environment.status) is None


def test_a_pending_alert_of_the_environment_mutes_nothing_yet() -> None:
    environment = rejected()
    environment.call(Reason.UNAUTHORIZED, generation=1, at=NOW + MINUTE)
    assert "token_rejected" in environment.status.alerts
    assert firing_alert(environment.status) is None
    environment.call(Reason.UNAUTHORIZED, generation=1, at=NOW + 3 * MINUTE)
    assert firing_alert(environment.status) == "token_rejected"


def test_a_small_budget_mutes_nothing() -> None:
    environment = WatchedEnvironment(
        effective_interval=HOUR, rules={"budget_insufficient": {"for_": 0.0}}
    )
    assert said(environment.call(READ)) == [("budget_insufficient", "fired")]
    assert firing_alert(environment.status) is None
