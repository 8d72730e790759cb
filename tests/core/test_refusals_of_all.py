"""One cause, one page: a refusal of every campaign alike is the environment's matter.

The kind: a list of reasons decides what is environment-wide. It is the run itself that does: the
same reason and status, unbroken, about ten different campaigns, or all where there are fewer. So
every reason there is, is tried; only those that have an alert of their own are left out.
"""

from dataclasses import replace

import pytest

from monitor.core.environment import UNANSWERED
from monitor.core.environment_rules import firing_alert
from monitor.core.model import HOUR, MINUTE, NoConfig, PollError, Reason, Severity
from support.builders import NOW
from support.environments import READ, Outcome, WatchedEnvironment

OF_OTHERS = {Reason.UNAUTHORIZED, Reason.FORBIDDEN, Reason.NOT_FOUND, Reason.INTERNAL_ERROR}
REFUSALS = [
    *(PollError(reason, status=200) for reason in sorted(set(Reason) - UNANSWERED - OF_OTHERS)),
    PollError(Reason.HTTP_4XX, "402 UNPAID: the bill of May", 402),
    PollError(Reason.HTTP_4XX, "406, text/html (Server: waf)", 406),
    PollError(Reason.HTTP_4XX, "410 gone", 410),
    PollError(Reason.HTTP_4XX, "451", 451),
    PollError(Reason.UNEXPECTED_STATUS, "206", 206),
]
each_refusal = pytest.mark.parametrize("refusal", REFUSALS, ids=str)
UNPAID = REFUSALS[-5]
BREAK = sorted(set(Reason) - UNANSWERED - {Reason.INTERNAL_ERROR})


def refused(campaigns: int = 12, refusal: PollError = UNPAID) -> WatchedEnvironment:
    """Return an environment that refuses all since NOW, as is seen from the tenth call on."""
    environment = WatchedEnvironment(campaigns)
    environment.calls([refusal] * min(10, campaigns), at=NOW - min(10, campaigns) + 1)
    return environment


@each_refusal
@pytest.mark.parametrize(("campaigns", "wanted"), [(3, 3), (4, 4), (10, 10), (11, 10), (500, 10)])
def test_a_run_about_ten_campaigns_or_all_opens_the_breaker(
    refusal: PollError, campaigns: int, wanted: int
) -> None:
    environment = WatchedEnvironment(campaigns)
    environment.calls([refusal] * (wanted - 1))
    environment.call(refusal, "c-0")
    assert not environment.is_open()
    environment.call(refusal, f"c-{wanted - 1}")
    assert environment.is_open()
    assert environment.status.refused_with == refusal


@each_refusal
def test_a_call_that_lasts_is_told_once_with_the_words_of_the_api(refusal: PollError) -> None:
    environment = refused(refusal=refusal)
    assert environment.status.refused_at == NOW
    assert environment.call(refusal, at=NOW + 5 * MINUTE - 1) == ()
    (event,) = environment.call(refusal, at=NOW + 5 * MINUTE)
    assert (event.rule, event.severity, event.since) == ("api_refusing", Severity.CRITICAL, NOW - 9)
    assert event.evidence["reason"] == refusal.reason
    assert event.evidence.get("detail", "") == refusal.detail
    assert firing_alert(environment.status) == "api_refusing"


@pytest.mark.parametrize("campaigns", [1, 2])
def test_fewer_than_three_campaigns_are_never_all_of_them(campaigns: int) -> None:
    environment = WatchedEnvironment(campaigns)
    for _ in range(9):
        environment.calls([UNPAID] * campaigns)
    assert not environment.is_open()


@pytest.mark.parametrize("between", [READ, NoConfig(), *BREAK])
def test_any_other_answer_breaks_the_run(between: Outcome) -> None:
    environment = WatchedEnvironment(20)
    environment.calls([*[UNPAID] * 9, between, *[UNPAID] * 9])
    assert not environment.is_open()


def test_another_status_is_another_refusal() -> None:
    environment = WatchedEnvironment(20)
    gone = PollError(Reason.HTTP_4XX, "410", 410)
    environment.calls([*[UNPAID] * 9, *[gone] * 9, UNPAID])
    assert not environment.is_open()


@pytest.mark.parametrize("reason", [*sorted(UNANSWERED), Reason.INTERNAL_ERROR])
def test_what_is_no_answer_breaks_no_run(reason: Reason) -> None:
    environment = WatchedEnvironment(20)
    environment.calls([*[UNPAID] * 9, reason, UNPAID])
    assert environment.is_open()


def test_only_campaigns_that_on_call_is_notified_of_count() -> None:
    environment = WatchedEnvironment(20, notified=4)
    for number in range(16):
        environment.call(UNPAID, f"idle-{number}", notified=False)
        environment.call(UNPAID, f"c-{number % 3}")
    assert not environment.is_open()
    environment.call(UNPAID, "c-3")
    assert environment.is_open()


@pytest.mark.parametrize("answer", [READ, NoConfig(), Reason.MALFORMED, Reason.UNAUTHORIZED])
def test_the_first_other_answer_closes_it_and_resolves(answer: Outcome) -> None:
    environment = refused()
    environment.call(UNPAID, at=NOW + 5 * MINUTE)
    (event,) = environment.call(answer, at=NOW + HOUR)
    assert (event.rule, event.reason) == ("api_refusing", "recovered")
    assert not environment.is_open()


@pytest.mark.parametrize("nothing", [Reason.CACHED, Reason.RATE_LIMITED, Reason.INTERNAL_ERROR])
def test_a_pause_a_cache_and_a_mistake_of_ours_say_not_how_it_would_answer(nothing: Reason) -> None:
    environment = refused()
    environment.call(UNPAID, at=NOW + 5 * MINUTE)
    assert environment.call(nothing, at=NOW + HOUR) == ()
    assert environment.is_open()


def test_an_outage_meanwhile_holds_the_alert() -> None:
    environment = refused()
    environment.call(UNPAID, at=NOW + 5 * MINUTE)
    for second in range(4):
        environment.call(Reason.TIMEOUT, at=NOW + HOUR + second)
    assert [event.rule for event in environment.events] == ["api_refusing"]
    environment.call(UNPAID, at=NOW + 2 * HOUR)
    assert environment.is_open()
    assert [event.rule for event in environment.events] == ["api_refusing"]


def test_a_restart_hides_nothing() -> None:
    """What is stored is enough: a run that is forgotten does not close the breaker."""
    environment = refused()
    environment.status = replace(environment.status, run=None, error=None)
    (event,) = environment.call(UNPAID, at=NOW + 5 * MINUTE)
    assert (event.rule, event.evidence["detail"]) == ("api_refusing", UNPAID.detail)


# --- the API's words, for the other alerts of the environment


def test_a_rejected_token_has_the_apis_words_and_forbidden_a_next_step_of_its_own() -> None:
    error = PollError(Reason.FORBIDDEN, "403 IP_NOT_ALLOWED: not on the list", 403)
    environment = refused(refusal=error)
    (event,) = [*environment.events, *environment.call(error, at=NOW + 4 * MINUTE)]
    assert (event.rule, event.evidence["detail"]) == ("token_rejected", error.detail)
    assert "address" in event.next_step
    assert "new environment token" not in event.next_step
    unknown = WatchedEnvironment()
    said = PollError(Reason.UNAUTHORIZED, "401 REVOKED: by hand", 401)
    for generation, at in ((0, NOW), (1, NOW), (1, NOW + HOUR)):
        unknown.call(said, generation=generation, at=at)
    (event,) = unknown.events
    assert event.evidence["detail"] == said.detail
    assert "new environment token" in event.next_step


def test_a_page_in_the_apis_place_is_an_outage_that_names_it() -> None:
    environment = WatchedEnvironment(12)
    page = PollError(Reason.BAD_CONTENT_TYPE, "403, text/html (Server: cloudflare)", 403)
    environment.calls([page] * 3, at=NOW - 2)
    (event,) = environment.call(page, at=NOW + 5 * MINUTE)
    assert (event.rule, event.evidence["detail"]) == ("api_unreachable", page.detail)
