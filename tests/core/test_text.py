"""Words for people and machines: what the API says is data, and never more than that."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.model import DAY, HOUR, MINUTE
from monitor.core.text import clean, plain, redact, redact_echo, rfc3339, span


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("sftp.example", "sftp.example"),
        ("Zürich – 東京", "Zürich – 東京"),
        ("a\x00b", "a b"),
        ("a\x1b[31mb", "a [31mb"),
        ("a\x9bb", "a b"),
        ("two\r\nlines", "two lines"),
        ("a\u2028b\u2029c", "a b c"),
        ("evil\u202egnp.exe", "evil gnp.exe"),
        ("zero\u200bwidth", "zero width"),
        ("lone\ud800surrogate", "lone surrogate"),
        ("  blanks\t all   around ", "blanks all around"),
        ("", ""),
    ],
)
def test_what_is_hidden_or_moves_the_cursor_becomes_one_blank(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_a_long_text_is_cut_and_says_so() -> None:
    assert clean("x" * 128) == "x" * 128
    assert clean("x" * 129) == "x" * 127 + "…"
    assert clean("y" * 1_000_000, limit=10) == "y" * 9 + "…"


@given(st.text(), st.integers(1, 200))
def test_a_cleaned_text_is_short_encodable_and_stays_as_it_is(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert len(cleaned) <= limit
    assert cleaned.encode().decode() == cleaned
    assert cleaned.isprintable()
    assert clean(cleaned, limit) == cleaned


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("token talq_abc-DEF_123 refused", "token <secret> refused"),
        ('{"auth": "talq_abc"}', '{"auth": "<secret>"}'),
        ("Authorization: Bearer abc.def", "Authorization: <secret>"),
        ("authorization: bEaReR   abc", "authorization: <secret>"),
        ("302 to TALQ_ABC.example", "302 to <secret>"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_whatever_looks_like_a_token_is_redacted(text: str, redacted: str) -> None:
    assert redact(text) == redacted


def test_known_secrets_are_redacted_in_any_case() -> None:
    assert redact("302 to hunter2.example", "Hunter2") == "302 to <secret>.example"


def test_data_is_redacted_only_where_the_secret_is_in_it() -> None:
    assert redact_echo("Bearer bonds", "hunter2") == "Bearer bonds"
    assert redact_echo("Bearer HUNTER2", "hunter2") == "Bearer <secret>"


def test_known_secrets_are_redacted_wherever_they_are() -> None:
    assert redact("xhunter2x, hunter2", "hunter2", "") == "x<secret>x, <secret>"


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (1_800_000_000.0, "2027-01-15T08:00:00Z"),
        (1_800_000_000.987, "2027-01-15T08:00:00Z"),
        (-1.0, "1969-12-31T23:59:59Z"),
        (-1e300, "0001-01-01T00:00:00Z"),
        (1e300, "9999-12-31T23:59:59Z"),
    ],
)
def test_an_instant_is_written_in_utc_and_clamped_to_the_calendar(at: float, text: str) -> None:
    assert rfc3339(at) == text


def test_an_instant_has_milliseconds_where_they_are_asked_for() -> None:
    assert rfc3339(1_800_000_000.25, milliseconds=True) == "2027-01-15T08:00:00.250Z"
    assert rfc3339(1e300, milliseconds=True) == "9999-12-31T23:59:59.000Z"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (MINUTE, "1 min"),
        (90, "90 s"),
        (2 * MINUTE + 1, "2 min"),
        (HOUR, "1 h"),
        (HOUR + 1, "60 min"),
        (DAY, "1 d"),
        (26 * HOUR + 59 * MINUTE, "26 h"),
        (31 * DAY + 23 * HOUR, "31 d"),
        (-5 * MINUTE, "-5 min"),
    ],
)
def test_a_span_is_rounded_down_in_its_largest_telling_unit(seconds: float, text: str) -> None:
    assert span(seconds) == text


@given(st.text("ab<>[]()`:/@!|& \u00e4"))
def test_in_plain_text_is_neither_markup_nor_a_link_nor_a_mention(text: str) -> None:
    made = plain(text)
    assert not re.search(r"[<>`]|://|\]\(|(?<!\w)@\w", made)
    assert plain(made) == made
    assert re.sub(r"[^\w/]", "", made) == re.sub(r"[^\w/]", "", text)
