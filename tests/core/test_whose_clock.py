"""Whose clock is right: *now* is ours, corrected by what the API says where ours is off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.environment import (
    clock_stepped,
    corrected_now,
    with_server_date,
)
from monitor.core.model import HOUR, MINUTE
from monitor.core.status import EnvironmentStatus
from support.builders import NOW

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
