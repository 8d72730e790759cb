"""Prometheus durations, as the contract has them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.durations import DURATION_PATTERN, LONGEST, format_duration, parse_duration
from monitor.core.model import DAY, HOUR, MINUTE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 5 * MINUTE),
        ("1h30m", 90 * MINUTE),
        ("1d", DAY),
        ("7d", 7 * DAY),
        ("2w", 14 * DAY),
        ("1y", 365 * DAY),
        ("1y2w3d4h5m6s7ms", 382 * DAY + 4 * HOUR + 5 * MINUTE + 6.007),
        ("90m", 90 * MINUTE),
        ("007s", 7),
        ("10y", 3650 * DAY),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("30", "expected a duration with a unit: write 30s, 5m, 1h30m or 7d"),
        ("00", "expected a duration with a unit: write 30s, 5m, 1h30m or 7d"),
        ("-5m", "expected a duration that is not negative, such as 30s or 5m"),
        ("- 1", "expected a duration that is not negative, such as 30s or 5m"),
        ("1.5h", "expected a duration without a fraction: write 1h30m, not 1.5h"),
        (".5h", "expected a duration without a fraction: write 1h30m, not 1.5h"),
        ("1m1h", "expected the units of a duration in the order y w d h m s ms, each once"),
        ("1h1h", "expected the units of a duration in the order y w d h m s ms, each once"),
        ("11y", "expected a duration of at most 10 years"),
        ("9y1000w", "expected a duration of at most 10 years"),
        ("9" * 16 + "s", "expected a duration of at most 10 years"),
        ("9" * 100_000 + "s", "expected a duration of at most 10 years"),
    ],
)
def test_a_slip_of_the_pen_is_answered_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_duration(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "5 m", " 5m", "5m\n", "5M", "5min", "m", "NaN", ".nan", "inf", "1e3s", "٣s", "+5m"],
)
def test_whatever_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 30s, 5m, 1h30m or 7d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-1, "0s"),
        (0.25, "250ms"),
        (30, "30s"),
        (90, "1m30s"),
        (300, "5m"),
        (26 * HOUR, "26h"),
        (DAY, "1d"),
        (30 * DAY, "30d"),
        (14 * DAY, "2w"),
        (365 * DAY, "1y"),
        (1.5, "1s500ms"),
    ],
)
def test_a_span_is_written_as_people_would(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=round(LONGEST * 1000)))
def test_what_is_written_reads_back_as_it_was(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-6)


@given(st.integers(min_value=0, max_value=round(LONGEST * 1000)))
def test_what_is_written_fits_the_pattern_for_editors(milliseconds: int) -> None:
    assert re.search(DURATION_PATTERN, format_duration(milliseconds / 1000))


def is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError as error:
        # How long ten years are is more than a pattern can say.
        return "at most 10 years" in str(error)
    return True


@given(st.text(alphabet="0123456789ywdhms.-+ ", max_size=8))
def test_editors_and_the_parser_agree(text: str) -> None:
    assert is_duration(text) == bool(re.search(DURATION_PATTERN, text))
