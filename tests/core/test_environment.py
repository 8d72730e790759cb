"""The breaker of one environment: what opens it, and what closes it."""

from dataclasses import replace

import pytest

from monitor.core.environment import (
    UNANSWERED,
    Call,
    interpret,
    observe,
    of_campaigns,
)
from monitor.core.model import HOUR, NoConfig, PollError, Reason
from monitor.core.status import EnvironmentStatus, Run
from support.builders import NOW, a_config, a_target
from support.environments import READ, Outcome, WatchedEnvironment, facts_of, rejected

FRESH = EnvironmentStatus(name="production")
NO_EVIDENCE = {Reason.INTERNAL_ERROR, Reason.CACHED}
ANSWERS = sorted(set(Reason) - UNANSWERED - NO_EVIDENCE - {Reason.UNAUTHORIZED})
NOT_FOUND = NoConfig(by_404=True)


# --- an outage


@pytest.mark.parametrize("reason", sorted(UNANSWERED))
def test_three_calls_in_a_row_that_were_not_answered_open_the_breaker(reason: Reason) -> None:
    environment = WatchedEnvironment()
    environment.calls([READ, reason, reason])
    assert not environment.is_open()
    environment.call(reason, at=NOW + 9)
    assert environment.is_open()
    assert environment.status.outage_at == NOW + 9
    assert environment.status.outage_reason is reason
    assert environment.status.unanswered_at == NOW + 1


def test_unanswered_calls_count_whatever_their_reasons_and_campaigns() -> None:
    environment = WatchedEnvironment()
    environment.calls([Reason.TIMEOUT, Reason.HTTP_5XX, Reason.REDIRECT])
    assert environment.status.outage_reason is Reason.REDIRECT


@pytest.mark.parametrize("answer", [READ, NoConfig(), *ANSWERS])
def test_an_answer_in_between_starts_the_count_anew(answer: Outcome) -> None:
    environment = WatchedEnvironment()
    environment.calls([Reason.TIMEOUT, Reason.TIMEOUT, answer, Reason.TIMEOUT, Reason.TIMEOUT])
    assert not environment.is_open()


@pytest.mark.parametrize("answer", [READ, NoConfig(), *ANSWERS])
def test_the_first_answer_closes_the_breaker(answer: Outcome) -> None:
    environment = WatchedEnvironment()
    environment.calls([Reason.TIMEOUT] * 5)
    assert environment.status.outage_at == NOW + 2
    environment.call(answer, at=NOW + HOUR)
    assert not environment.is_open()
    assert environment.status.outage_reason is None
    assert environment.status.unanswered == 0


@pytest.mark.parametrize("reason", sorted(NO_EVIDENCE))
def test_an_error_of_our_own_and_an_answer_out_of_a_cache_say_nothing_of_the_api(
    reason: Reason,
) -> None:
    environment = WatchedEnvironment()
    environment.calls([Reason.TIMEOUT, reason, Reason.TIMEOUT, Reason.TIMEOUT])
    assert environment.status.outage_at == NOW + 3


def test_a_cache_that_answers_in_an_outage_closes_no_breaker_and_resolves_nothing() -> None:
    environment = WatchedEnvironment()
    environment.calls([Reason.TIMEOUT] * 3)
    environment.call(Reason.TIMEOUT, at=NOW + HOUR)
    assert environment.call(Reason.CACHED, at=NOW + HOUR + 30) == ()
    assert environment.is_open()


def test_a_cache_does_not_know_whether_the_token_is_good() -> None:
    environment = rejected()
    environment.call(Reason.CACHED, generation=1, at=NOW + HOUR)
    assert environment.is_open()


def test_a_probe_that_broke_was_a_call_all_the_same() -> None:
    status = observe(FRESH, Call("c-1", PollError(Reason.INTERNAL_ERROR)), facts_of(10), NOW)
    assert status == replace(FRESH, called_at=NOW)


# --- is the API up


@pytest.mark.parametrize(
    ("outcome", "up"),
    [
        (READ, True),
        (NoConfig(), True),
        (Reason.NOT_FOUND, True),
        (Reason.FORBIDDEN, True),
        (Reason.RATE_LIMITED, True),
        (Reason.SCHEMA_MISMATCH, True),
        (Reason.UNAUTHORIZED, False),
        (Reason.HTTP_5XX, False),
        (Reason.TIMEOUT, False),
    ],
)
def test_the_api_is_down_after_a_transport_error_a_5xx_or_a_401(outcome: Outcome, up: bool) -> None:
    environment = WatchedEnvironment()
    environment.call(outcome)
    assert environment.status.up is up
    assert environment.status.called_at == NOW


def test_before_the_first_call_nobody_knows_whether_the_api_is_up() -> None:
    assert FRESH.up is None


# --- 404 for every campaign


def test_404_for_every_campaign_opens_the_breaker_where_nothing_was_ever_readable() -> None:
    environment = WatchedEnvironment(campaigns=3)
    environment.calls([NOT_FOUND, NOT_FOUND])
    assert not environment.is_open()
    environment.call(NOT_FOUND, "c-1", at=NOW + 2)
    assert not environment.is_open()
    environment.call(NOT_FOUND, "c-2", at=NOW + 3)
    assert environment.status.outage_at == NOW + 3
    assert environment.status.outage_reason is Reason.NOT_FOUND


def test_further_404s_keep_it_open_and_a_config_that_was_read_closes_it() -> None:
    environment = WatchedEnvironment(campaigns=3)
    environment.calls([NOT_FOUND] * 5)
    assert environment.status.outage_at == NOW + 2
    environment.call(READ, at=NOW + 9)
    assert not environment.is_open()
    assert environment.status.run is None
    environment.calls([NOT_FOUND] * 3, at=NOW + 10)
    assert not environment.is_open()


def test_a_404_after_other_unanswered_calls_closes_the_outage_like_any_answer() -> None:
    environment = WatchedEnvironment(campaigns=3)
    environment.calls([Reason.TIMEOUT] * 3)
    environment.call(NOT_FOUND, at=NOW + 3)
    assert not environment.is_open()


@pytest.mark.parametrize("answer", [READ, NoConfig(by_404=False)])
def test_where_something_was_readable_once_a_404_is_a_definite_answer(answer: Outcome) -> None:
    environment = WatchedEnvironment(campaigns=3)
    environment.call(answer)
    assert interpret(environment.status, NOT_FOUND, 3) == NOT_FOUND
    environment.calls([NOT_FOUND] * 3)
    assert not environment.is_open()


def test_a_404_of_an_environment_where_nothing_was_ever_readable_is_not_definite() -> None:
    doubted = interpret(FRESH, NOT_FOUND, 3)
    assert isinstance(doubted, PollError)
    assert doubted.reason is Reason.NOT_FOUND


def test_with_fewer_than_three_campaigns_a_404_is_a_definite_answer() -> None:
    assert interpret(FRESH, NOT_FOUND, 2) == NOT_FOUND
    environment = WatchedEnvironment(campaigns=2)
    environment.calls([NOT_FOUND] * 2)
    assert not environment.is_open()


@pytest.mark.parametrize("observation", [a_config(), NoConfig(), PollError(Reason.TIMEOUT)])
def test_no_other_observation_is_interpreted(observation: Outcome) -> None:
    assert not isinstance(observation, Reason)
    assert interpret(FRESH, observation, 3) == observation


# --- a rejected token


def test_a_second_401_with_the_token_read_again_in_between_opens_the_breaker() -> None:
    environment = WatchedEnvironment()
    environment.call(Reason.UNAUTHORIZED, generation=0)
    assert environment.status.unauthorized_with == 0
    environment.call(Reason.UNAUTHORIZED, generation=1, at=NOW + 1)
    assert environment.status.rejected_at == NOW + 1
    assert environment.status.rejected_by is Reason.UNAUTHORIZED


def test_any_number_of_401s_with_the_same_token_do_not() -> None:
    environment = WatchedEnvironment()
    for second in range(9):
        environment.call(Reason.UNAUTHORIZED, generation=3, at=NOW + second)
    assert not environment.is_open()


@pytest.mark.parametrize("outcome", [READ, NoConfig(), Reason.SCHEMA_MISMATCH, Reason.FORBIDDEN])
def test_an_accepted_token_in_between_starts_anew(outcome: Outcome) -> None:
    environment = WatchedEnvironment()
    environment.call(Reason.UNAUTHORIZED, generation=0)
    environment.call(outcome, generation=1)
    environment.call(Reason.UNAUTHORIZED, generation=1)
    assert not environment.is_open()


@pytest.mark.parametrize("outcome", [READ, NoConfig(), Reason.SCHEMA_MISMATCH, Reason.HTTP_4XX])
def test_an_accepted_token_closes_the_breaker(outcome: Outcome) -> None:
    environment = rejected()
    environment.call(outcome, generation=2)
    assert not environment.is_open()
    assert environment.status.unauthorized_with is None
    assert environment.status.rejected_by is None


@pytest.mark.parametrize("outcome", [Reason.TIMEOUT, Reason.HTTP_5XX, Reason.RATE_LIMITED])
def test_what_says_nothing_of_the_token_leaves_it_rejected(outcome: Outcome) -> None:
    environment = rejected()
    environment.call(outcome, generation=2, at=NOW + HOUR)
    assert environment.status.rejected_at == NOW


def test_further_401s_do_not_move_the_instant_of_the_rejection() -> None:
    environment = rejected()
    environment.call(Reason.UNAUTHORIZED, generation=7, at=NOW + HOUR)
    assert environment.status.rejected_at == NOW


# --- 403 to every campaign


def test_403_to_all_of_at_least_three_campaigns_opens_the_breaker() -> None:
    environment = WatchedEnvironment(campaigns=3)
    environment.calls([Reason.FORBIDDEN] * 2)
    environment.call(Reason.FORBIDDEN, "c-0", at=NOW + 2)
    assert not environment.is_open()
    environment.call(Reason.FORBIDDEN, "c-2", at=NOW + 3)
    assert environment.status.rejected_at == NOW + 3
    assert environment.status.rejected_by is Reason.FORBIDDEN


def test_fault_7_403_to_one_campaign_is_its_own_matter() -> None:
    environment = WatchedEnvironment(campaigns=3)
    for _ in range(9):
        environment.call(Reason.FORBIDDEN, "c-0")
    assert not environment.is_open()


def test_one_readable_campaign_in_between_and_it_is_not_all_of_them() -> None:
    environment = WatchedEnvironment(campaigns=3)
    environment.calls([Reason.FORBIDDEN, Reason.FORBIDDEN])
    environment.call(READ, "c-1")
    environment.call(Reason.FORBIDDEN, "c-2")
    assert not environment.is_open()


def test_with_fewer_than_three_campaigns_403_opens_nothing() -> None:
    environment = WatchedEnvironment(campaigns=2)
    environment.calls([Reason.FORBIDDEN] * 2)
    assert not environment.is_open()


def test_further_403s_keep_it_open_and_the_first_other_answer_closes_it() -> None:
    environment = WatchedEnvironment(campaigns=3)
    environment.calls([Reason.FORBIDDEN] * 5)
    assert environment.status.rejected_at == NOW + 2
    environment.call(Reason.TIMEOUT)
    assert environment.status.rejected_at == NOW + 2
    environment.call(READ)
    assert not environment.is_open()


# --- the run of one refusal


def test_a_run_of_403_about_ten_campaigns_is_enough_where_there_are_more() -> None:
    environment = WatchedEnvironment(campaigns=500)
    environment.calls([Reason.FORBIDDEN] * 9)
    assert not environment.is_open()
    environment.call(Reason.FORBIDDEN, "c-9", at=NOW + 9)
    assert environment.status.rejected_at == NOW + 9
    assert environment.status.rejected_by is Reason.FORBIDDEN


@pytest.mark.parametrize(
    "answer", [READ, NoConfig(), *sorted({*ANSWERS, Reason.CACHED} - {Reason.FORBIDDEN})]
)
def test_any_other_answer_breaks_the_run(answer: Outcome) -> None:
    environment = WatchedEnvironment(campaigns=12)
    environment.calls([*[Reason.FORBIDDEN] * 9, answer, *[Reason.FORBIDDEN] * 9])
    assert not environment.is_open()
    environment.calls([Reason.FORBIDDEN] * 10)
    assert environment.is_open()


@pytest.mark.parametrize("nothing", [Reason.TIMEOUT, Reason.HTTP_5XX, Reason.INTERNAL_ERROR])
def test_what_is_no_answer_of_the_api_does_not_break_it(nothing: Reason) -> None:
    environment = WatchedEnvironment(campaigns=12)
    environment.calls([*[Reason.FORBIDDEN] * 9, nothing, Reason.FORBIDDEN])
    assert environment.status.rejected_by is Reason.FORBIDDEN


def test_campaigns_count_once_and_only_those_that_on_call_is_notified_of() -> None:
    environment = WatchedEnvironment(campaigns=20, notified=4)
    for number in range(16):
        environment.call(Reason.FORBIDDEN, f"idle-{number}", notified=False)
        environment.call(Reason.FORBIDDEN, f"c-{number % 3}")
    assert not environment.is_open()
    environment.call(Reason.FORBIDDEN, "c-3")
    assert environment.is_open()


@pytest.mark.parametrize("notified", [0, 1, 2])
def test_where_on_call_is_notified_of_fewer_than_three_403_opens_nothing(notified: int) -> None:
    environment = WatchedEnvironment(campaigns=20, notified=notified)
    for number in range(20):
        environment.call(Reason.FORBIDDEN, f"c-{number}", notified=number < notified)
    assert not environment.is_open()


def test_404_must_be_the_answer_for_every_campaign_idle_ones_too() -> None:
    environment = WatchedEnvironment(campaigns=20, notified=4)
    for number in range(19):
        environment.call(NOT_FOUND, f"c-{number}", notified=number < 4)
    assert not environment.is_open()
    environment.call(NOT_FOUND, "c-19", notified=False)
    assert environment.status.outage_reason is Reason.NOT_FOUND


def test_one_campaign_that_answers_otherwise_and_404_is_not_the_answer_for_every_one() -> None:
    environment = WatchedEnvironment(campaigns=3)
    for _ in range(5):
        environment.calls([NOT_FOUND, NOT_FOUND, Reason.FORBIDDEN])
    assert not environment.is_open()


def test_a_run_says_how_many_refused_since_when_and_of_whom() -> None:
    environment = WatchedEnvironment(campaigns=12)
    environment.calls([READ, *[Reason.FORBIDDEN] * 2])
    environment.call(Reason.FORBIDDEN, "c-1", at=NOW + 3)
    of_whom = frozenset({"c-1", "c-2"})
    assert environment.status.run == Run(Reason.FORBIDDEN, 3, NOW + 1, of_whom)
    environment.call(Reason.SCHEMA_MISMATCH, "c-3", at=NOW + 4)
    assert environment.status.run == Run(Reason.SCHEMA_MISMATCH, 1, NOW + 4, frozenset({"c-3"}))


def test_a_run_keeps_no_more_campaigns_than_decide() -> None:
    environment = WatchedEnvironment(campaigns=500)
    environment.calls([Reason.FORBIDDEN] * 500)
    assert environment.status.run is not None
    assert (environment.status.run.count, len(environment.status.run.campaigns)) == (500, 10)


@pytest.mark.parametrize(
    ("reason", "left"), [(Reason.FORBIDDEN, {"c-1"}), (Reason.NOT_FOUND, {"c-1", "c-3"})]
)
def test_campaigns_that_left_or_do_not_count_any_more_are_not_in_the_run(
    reason: Reason, left: set[str]
) -> None:
    run = Run(reason, 9, NOW, frozenset({"c-1", "c-2", "c-3"}))
    targets = {key: a_target(campaign_id=key) for key in ("c-1", "c-3", "c-4")}
    targets["c-3"] = replace(targets["c-3"], muted_status="ended")
    status = of_campaigns(replace(FRESH, run=run), targets)
    assert status == replace(FRESH, run=replace(run, campaigns=frozenset(left)))
    assert of_campaigns(FRESH, targets) == FRESH
