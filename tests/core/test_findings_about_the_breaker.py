"""What the rules of an environment say: the words, the evidence, and what they wait for."""

from dataclasses import replace

import pytest

from monitor.core.assess import assess_environment, reconcile_environment
from monitor.core.environment import (
    Call,
    EnvironmentContext,
    EnvironmentInput,
    EnvironmentRule,
    interpret,
)
from monitor.core.environment_rules import ApiUnreachable, BudgetInsufficient, TokenRejected
from monitor.core.model import (
    MINUTE,
    Event,
    EventStatus,
    Finding,
    NoConfig,
    PollError,
    Reason,
    Severity,
    Verdict,
)
from monitor.core.status import AlertState, EnvironmentStatus
from support.builders import NOW
from support.environments import READ, WatchedEnvironment, down, facts_of, rejected
from support.timeline import in_a_word

CONTEXT = facts_of(10)
SINCE = "2027-01-15T08:00:00Z"
FRESH = EnvironmentStatus(name="production")
UNANSWERED = replace(FRESH, unanswered=2, unanswered_at=NOW)
ONCE_REJECTED = replace(FRESH, unauthorized_with=0)


def evaluated(
    rule: EnvironmentRule, status: EnvironmentStatus, context: EnvironmentContext = CONTEXT
) -> Finding:
    return rule.evaluate(EnvironmentInput(status, context, NOW + MINUTE))


def test_an_outage_that_goes_on_is_told_again_as_often_as_is_asked_for() -> None:
    status, told = down().status, []
    context = facts_of(10, remind_every={Severity.CRITICAL: 10 * MINUTE})
    call = Call("c-1", PollError(Reason.TIMEOUT))
    for minutes in range(5, 20):
        now = NOW + minutes * MINUTE
        status, _, events = assess_environment(status, call, context, now)
        told += [(minutes, in_a_word(event)) for event in events]
    assert told == [(5, "fired"), (15, "reminded")]


def test_a_rule_that_was_switched_off_ends_its_alert_by_that_name() -> None:
    environment = down()
    environment.call(Reason.TIMEOUT, at=NOW + 5 * MINUTE)
    _, (event,) = reconcile_environment(
        environment.status, replace(environment.context, rules={}), NOW + 6 * MINUTE
    )
    assert event.reason == "rule_removed"


def test_a_404_of_a_base_url_that_was_never_right_says_so() -> None:
    seen = interpret(FRESH, NoConfig(by_404=True), campaigns=3)
    assert seen == PollError(Reason.NOT_FOUND, "404, and no campaign could be read so far")


@pytest.mark.parametrize(
    ("rule", "status", "verdict", "summary"),
    [
        (ApiUnreachable(), FRESH, Verdict.HEALTHY, "the API answers"),
        (
            ApiUnreachable(),
            UNANSWERED,
            Verdict.UNKNOWN,
            "2 calls in a row were not answered",
        ),
        (TokenRejected(), FRESH, Verdict.HEALTHY, "the API accepts the token"),
        (TokenRejected(), UNANSWERED, Verdict.UNKNOWN, "the API does not answer"),
        (
            TokenRejected(),
            ONCE_REJECTED,
            Verdict.UNKNOWN,
            "the token was rejected once and is read again",
        ),
        (
            BudgetInsufficient(),
            FRESH,
            Verdict.HEALTHY,
            "10 campaigns are read every 5 min, wanted within 15 min",
        ),
    ],
)
def test_each_verdict_has_its_words(
    rule: EnvironmentRule, status: EnvironmentStatus, verdict: Verdict, summary: str
) -> None:
    finding = evaluated(rule, status)
    assert (finding.verdict, finding.summary) == (verdict, summary)


@pytest.mark.parametrize("rule", [ApiUnreachable(), TokenRejected()])
def test_where_all_is_well_there_is_no_evidence(rule: EnvironmentRule) -> None:
    assert evaluated(rule, FRESH).evidence == {}


def test_an_open_breaker_is_evidence_before_it_is_an_alert() -> None:
    finding = evaluated(ApiUnreachable(), down().status)
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.recheck_at == NOW + 5 * MINUTE
    assert finding.summary == "the API does not answer since 2027-01-15T07:59:58Z: timeout"
    assert finding.evidence == {"reason": "timeout", "opened_at": SINCE}


@pytest.mark.parametrize(("campaigns", "what"), [(10, "every campaign"), (0, "the listing")])
def test_a_404_for_all_there_is_names_what_was_asked_for(campaigns: int, what: str) -> None:
    status = replace(FRESH, outage_at=NOW, outage_reason=Reason.NOT_FOUND)
    finding = evaluated(ApiUnreachable(), status, replace(CONTEXT, campaigns=campaigns))
    assert finding.summary == f"404 for {what}: base_url is wrong, or the API has moved"


def test_a_rejected_token_is_rejected_since_the_breaker_opened() -> None:
    finding = evaluated(TokenRejected(), rejected().status)
    assert (finding.verdict, finding.since) == (Verdict.UNHEALTHY, NOW)
    assert finding.summary == f"the API rejects the token since {SINCE}: unauthorized"


def test_a_budget_that_suffices_says_by_how_much() -> None:
    evidence = evaluated(BudgetInsufficient(), FRESH).evidence
    assert evidence == {"effective_interval": "5 min", "allowed": "15 min"}


def test_an_event_of_a_reload_is_of_this_environment_with_its_labels_and_of_now() -> None:
    environment = down()
    environment.call(Reason.TIMEOUT, at=NOW + 5 * MINUTE)
    (event,) = environment.reload(None, NOW + 6 * MINUTE, "environment_removed")
    assert told_of(event) == ("production", {"team": "sre"}, NOW + 6 * MINUTE, NOW + 6 * MINUTE)
    assert (event.status, event.reason) == (EventStatus.RESOLVED, "environment_removed")


def test_an_event_of_a_call_is_observed_when_it_is_decided() -> None:
    environment = down()
    (event,) = environment.call(Reason.TIMEOUT, at=NOW + 5 * MINUTE)
    assert told_of(event) == ("production", {"team": "sre"}, NOW + 5 * MINUTE, NOW + 5 * MINUTE)


def told_of(event: Event) -> tuple[str, dict[str, str], float, float]:
    return event.environment, dict(event.labels), event.observed_at, event.decided_at


def test_a_single_campaign_that_is_forbidden_says_nothing_of_the_token() -> None:
    environment = WatchedEnvironment(campaigns=1)
    environment.call(READ)
    environment.call(Reason.FORBIDDEN, at=NOW + 1)
    assert not environment.is_open()


def test_a_token_that_is_rejected_waits_for_three_minutes_before_it_fires() -> None:
    environment = rejected()
    states = [environment.status.alerts["token_rejected"].state]
    environment.call(Reason.UNAUTHORIZED, generation=1, at=NOW + 3 * MINUTE)
    states.append(environment.status.alerts["token_rejected"].state)
    assert states == [AlertState.PENDING, AlertState.FIRING]
