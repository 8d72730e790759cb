"""What a failed connection test of ours counts for, by the platform's words about it."""

from dataclasses import replace

import pytest

from monitor.core.attempt import Attempt, CampaignTests, Result, TestSettings, Trigger, Window
from monitor.core.causes import NEXT_STEPS, Kind, kind_of
from monitor.core.model import DAY, HOUR, MINUTE
from support.builders import NOW, a_config


def failed(cause: str, at: float = NOW) -> Attempt:
    return Attempt(
        environment="production",
        campaign_id="c-1",
        server="sftp.example:22",
        login="leads@sftp.example:22",
        at=at,
        trigger=Trigger.SCHEDULE,
        ended_at=at + 1,
        result=Result.FAILED,
        tested_at=at,
        cause=cause,
    )


def counts(one: Attempt, *before: Attempt) -> bool:
    return CampaignTests(attempts=(*before, one)).confirmed(one, None, 5 * MINUTE)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("Network is unreachable", Kind.REFUSED),
        ("No route to host", Kind.REFUSED),
        ("Connection reset by peer", Kind.RESET),
        ("Software caused connection abort: Connection aborted", Kind.RESET),
        ("Authentication failed: connection reset", Kind.LOGIN),
    ],
)
def test_every_kind_of_cause_has_its_next_step(cause: str, kind: Kind) -> None:
    assert kind_of(cause) is kind
    assert NEXT_STEPS[kind]


@pytest.mark.parametrize("cause", ["Network is unreachable", "Connection reset by peer"])
def test_what_may_be_a_blip_of_the_network_counts_only_when_it_is_confirmed(cause: str) -> None:
    assert not counts(failed(cause))
    assert counts(failed(cause, NOW + 30 * MINUTE), failed(cause))


def test_a_connection_that_was_reset_may_have_been_a_failed_login_to_the_server() -> None:
    assert failed("Connection reset by peer").login_failed
    assert not failed("Network is unreachable").login_failed


def test_a_pass_of_somebody_else_ends_the_row_of_failures_so_that_the_next_retry_comes_soon() -> (
    None
):
    tests = CampaignTests(attempts=(failed("Connection refused"),), failures=4)
    passed = replace(a_config(), last_test_at=NOW + HOUR, last_test_success=True)
    lagging = replace(passed, last_test_at=NOW - HOUR)
    assert tests.recorded(passed, 0.0, MINUTE).failures == 0
    assert tests.recorded(lagging, 0.0, MINUTE).failures == 4


@pytest.mark.parametrize(
    ("every", "between", "missed_after"),
    [
        (DAY, Window(5 * HOUR, 20 * HOUR), 3 * DAY),
        (6 * HOUR, Window(5 * HOUR, 20 * HOUR), 27 * HOUR),
        (HOUR, Window(5 * HOUR, 20 * HOUR), 12 * HOUR),
        (HOUR, Window(22 * HOUR, 4 * HOUR), 21 * HOUR),
        (HOUR, None, 3 * HOUR),
    ],
)
def test_a_night_in_which_no_test_may_run_is_no_missed_test(
    every: float, between: Window | None, missed_after: float
) -> None:
    assert TestSettings(enabled=True, every=every, between=between).missed_after == missed_after
