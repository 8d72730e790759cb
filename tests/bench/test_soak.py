"""The soak in its short form, and the statistic that its long form is judged by."""

import pytest

from torture.soak import main, theil_sen


@pytest.mark.slow(seconds=40)
def test_half_a_minute_of_bad_weather_leaves_nothing_behind() -> None:
    for figure in main(["--minutes", "0.6"]):
        assert figure.kept, figure


def test_a_line_has_its_slope_and_no_doubt() -> None:
    assert theil_sen([1.0, 3.0, 5.0, 7.0, 9.0, 11.0]) == (2.0, 2.0, 2.0)


def test_what_goes_up_and_down_has_an_interval_around_0() -> None:
    _, low, high = theil_sen([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    assert low <= 0 <= high


def test_one_step_of_the_allocator_is_no_slope_and_a_steady_climb_is_one() -> None:
    assert theil_sen([70.0] * 2 + [71.0] * 8)[1] <= 0
    assert theil_sen([70 + 0.1 * block for block in range(10)])[1] > 0
