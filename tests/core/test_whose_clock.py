"""Whose clock is right: *now* is ours, corrected by what the API says where ours is off."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.environment import (
    clock_stepped,
    corrected_now,
    with_server_date,
)
from monitor.core.environment_rules import next_probe
from monitor.core.model import HOUR, MINUTE, Reason
from monitor.core.status import EnvironmentStatus
from support.builders import NOW
from support.environments import WatchedEnvironment, down, rejected

FRESH = EnvironmentStatus(name="production")


def skewed(*skews: float) -> EnvironmentStatus:
    status = FRESH
    for skew in skews:
        status = with_server_date(status, NOW + skew, NOW)
    return status


@pytest.mark.parametrize(
    ("skews", "now"),
    [
        ((), NOW),
        ((60,), NOW),
        ((-60,), NOW),
        ((61,), NOW + 61),
        ((-61,), NOW - 61),
        ((100, 31), NOW + 65.5),
        ((100, 30, 30, 30), NOW + 30),
        ((100, 29, 29, 29), NOW),
        ((-100, -29, -29, -29), NOW),
        ((100, 29, 29, 29, 61, 61), NOW),
    ],
)
def test_the_correction_comes_on_above_60_seconds_and_goes_off_below_30(
    skews: tuple[float, ...], now: float
) -> None:
    assert corrected_now(skewed(*skews), NOW) == now


def test_one_wrong_date_among_five_moves_nothing() -> None:
    assert corrected_now(skewed(0, 1, 9 * HOUR, 0, -1), NOW) == NOW
    assert corrected_now(skewed(70, 71, -9 * HOUR, 72, 73), NOW) == NOW + 71


def test_only_the_last_five_dates_count() -> None:
    status = skewed(1, 2, 100, 101, 102, 103, 104)
    assert list(status.skews) == [100, 101, 102, 103, 104]
    assert corrected_now(status, NOW) == NOW + 102


def test_an_answer_without_a_date_changes_nothing() -> None:
    status = skewed(100)
    assert with_server_date(status, None, NOW) == status


@given(
    skews=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5),
    step=st.floats(-1e8, 1e8),
)
def test_a_step_of_our_clock_moves_now_by_less_than_what_goes_uncorrected(
    skews: list[float], step: float
) -> None:
    before = skewed(*skews)
    after = clock_stepped(before, step)
    moved = corrected_now(after, NOW + step) - corrected_now(before, NOW)
    smooth = before.corrected and after.corrected
    assert abs(moved) <= (0 if smooth else 2 * MINUTE) + 1e-3


def test_a_clock_that_steps_an_hour_is_corrected_at_once() -> None:
    for step in (HOUR, -HOUR):
        status = clock_stepped(skewed(0, 0, 0), step)
        assert status.corrected
        assert corrected_now(status, NOW + step) == NOW


def test_a_small_step_keeps_a_correction_that_is_in_force() -> None:
    status = clock_stepped(skewed(100), 50)
    assert corrected_now(status, NOW + 50) == NOW + 100


def test_a_clock_that_is_put_right_ends_the_correction_without_a_jump() -> None:
    status = clock_stepped(skewed(HOUR), HOUR)
    assert not status.corrected
    assert corrected_now(status, NOW + HOUR) == NOW + HOUR


def test_where_the_clock_of_the_api_is_unknown_ours_is_taken() -> None:
    assert corrected_now(clock_stepped(FRESH, HOUR), NOW + HOUR) == NOW + HOUR


def test_a_slow_drift_of_a_minute_is_no_correction() -> None:
    assert not skewed(*(MINUTE * tenth / 10 for tenth in range(11))).corrected


# --- a step of our clock while the API's is not known, as in an outage


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_an_outage_lasts_as_long_as_it_lasts_though_our_clock_steps(step: float) -> None:
    environment = down()
    environment.status = clock_stepped(environment.status, step)
    told = NOW + step + 5 * MINUTE
    assert environment.call(Reason.TIMEOUT, at=told - 1) == ()
    (event,) = environment.call(Reason.TIMEOUT, at=told)
    assert (event.rule, event.since) == ("api_unreachable", NOW + step - 2)


@pytest.mark.parametrize("environment", [down(), rejected()], ids=["outage", "rejected token"])
def test_the_next_probe_waits_neither_longer_nor_shorter_though_our_clock_steps(
    environment: WatchedEnvironment,
) -> None:
    after = clock_stepped(environment.status, HOUR)
    probes = [
        next_probe(status, environment.rules, environment.facts, 30.0, 300.0)
        for status in (environment.status, after)
    ]
    assert probes[1] == probes[0] + HOUR
    assert after.rejected_at == (None if after.outage_at else NOW + HOUR)


def test_what_is_not_so_does_not_become_so_by_a_step_of_our_clock() -> None:
    assert clock_stepped(FRESH, HOUR) == FRESH


def test_an_alert_that_waits_or_was_told_goes_on_as_if_our_clock_had_not_stepped() -> None:
    environment = down()
    environment.call(Reason.TIMEOUT, at=NOW + 5 * MINUTE)
    told = environment.status.alerts["api_unreachable"]
    healthy = replace(told, healthy_at=NOW + 6 * MINUTE, pending_at=NOW)
    status = replace(environment.status, alerts={"api_unreachable": healthy})
    after = clock_stepped(status, -HOUR).alerts["api_unreachable"]
    assert (after.told_at, after.fired_at) == (NOW + 5 * MINUTE - HOUR,) * 2
    assert (after.healthy_at, after.pending_at) == (NOW + 6 * MINUTE - HOUR, NOW - HOUR)
    assert after.since == told.since
