"""Whatever comes in, something definite comes out: properties over arbitrary bytes and JSON."""

import asyncio
import json
import math
import re
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.adapters.talkover.answer import (
    PAUSE_MAX,
    PAUSE_MIN,
    parse_http_date,
    pause,
    rate_hint,
)
from monitor.adapters.talkover.decode import decode_sftp, observe_sftp, parse_rfc3339
from monitor.core.model import NoConfig, Observation, PollError, Reason, SftpConfig
from monitor.core.text import rfc3339
from monitor.http import Received
from support.misbehaving import (
    CAMPAIGN,
    EXAMPLE,
    NOW,
    TOKEN,
    answer,
    asked,
    config,
    replies_and_closes,
)

# The example of the API's reference, letter by letter.
REFERENCE = b"""\
{
  "success": true,
  "data": {
    "id": "sftp-config-uuid-1",
    "campaign_id": "campaign-uuid",
    "host": "sftp.example.com",
    "port": 22,
    "username": "campaigns_user",
    "auth_type": "password",
    "import_path": "/inbox",
    "export_path": "/outbox",
    "import_schedule": "daily",
    "is_enabled": false,
    "last_test_at": "2024-01-10T14:30:00Z",
    "last_test_success": true,
    "created_at": "2024-01-01T10:00:00Z"
  }
}
"""

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None))
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
changes = st.dictionaries(st.sampled_from([*EXAMPLE, "updated_at", "other"]), documents, max_size=4)
headers = st.dictionaries(
    st.sampled_from(
        ["content-type", "date", "retry-after", "x-ratelimit-limit", "x-ratelimit-remaining",
         "x-ratelimit-reset", "ratelimit", "ratelimit-policy", "ratelimit-reset",
         "x-unfollowed-location"]
    ),
    st.binary(),
)  # fmt: skip


def definite(seen: Observation) -> None:
    """Assert that this is an error with a reason, or says something of this very campaign."""
    match seen:
        case PollError():
            assert isinstance(seen.reason, Reason)
        case SftpConfig():
            assert seen.campaign_id == CAMPAIGN
            texts = (seen.id, seen.host, seen.username, seen.auth_type, seen.import_path)
            assert all(text is None or text.isprintable() for text in texts)
            assert seen.id
            assert seen.host
        case NoConfig():
            pass


def test_the_example_of_the_reference_is_the_one_that_the_tests_change() -> None:
    assert json.loads(REFERENCE) == config()
    assert isinstance(decode_sftp(REFERENCE, CAMPAIGN, TOKEN), SftpConfig)


@given(st.binary())
def test_arbitrary_bytes_are_no_config(body: bytes) -> None:
    assert isinstance(decode_sftp(body, CAMPAIGN, TOKEN), PollError)


@given(documents)
def test_arbitrary_json_is_no_config(document: object) -> None:
    assert isinstance(decode_sftp(json.dumps(document).encode(), CAMPAIGN, TOKEN), PollError)


@given(changes)
def test_an_arbitrarily_changed_answer_is_an_error_or_a_config_of_the_campaign(
    changed: dict[str, Any],
) -> None:
    definite(decode_sftp(json.dumps(config(**changed)).encode(), CAMPAIGN, TOKEN))


@given(st.text(st.characters(codec=None)), st.sampled_from(["id", "host", "username"]))
def test_arbitrary_text_in_a_field_is_made_fit_to_show(text: str, field: str) -> None:
    definite(decode_sftp(json.dumps(config(**{field: text})).encode(), CAMPAIGN, TOKEN))


@given(st.integers(0, 300), st.text(max_size=3))
def test_an_answer_cut_short_is_no_config(cut: int, end: str) -> None:
    body = REFERENCE[: -1 - max(cut, 3)] + end.encode("utf-8", "replace")
    assert isinstance(decode_sftp(body, CAMPAIGN, TOKEN), PollError)


@given(st.integers(100, 999), headers, st.binary() | st.just(REFERENCE))
def test_arbitrary_statuses_and_headers_never_raise(
    status: int, fields: dict[str, bytes], body: bytes
) -> None:
    received = Received(
        status, httpx.Headers([(name.encode(), value) for name, value in fields.items()]), body
    )
    seen = observe_sftp(received, CAMPAIGN, TOKEN)
    definite(seen)
    if status not in {200, 404}:
        assert isinstance(seen, PollError)
    seconds = pause(status, received.headers, NOW)
    assert seconds is None or PAUSE_MIN <= seconds <= PAUSE_MAX
    assert (status == 429) <= (seconds is not None)
    parse_http_date(received.headers.get("date", ""))
    hint = rate_hint(received.headers, NOW)
    if hint is not None and hint.limit is not None and hint.remaining is not None:
        assert 0 <= hint.remaining <= hint.limit


@given(st.text(st.characters(codec=None)))
def test_arbitrary_text_is_a_finite_instant_or_none(text: str) -> None:
    at = parse_http_date(text)
    assert at is None or math.isfinite(at)


DATE_PARTS = ["Sun,", "06", "Nov", "1994", "08:49:37", "GMT", "-+:9"]


@given(st.lists(st.sampled_from(DATE_PARTS), max_size=8))
def test_the_parts_of_a_date_in_any_order_never_raise(parts: list[str]) -> None:
    at = parse_http_date(" ".join(parts))
    assert at is None or math.isfinite(at)


@given(st.integers(1, 253402300799))
def test_an_instant_survives_being_written_and_read(at: int) -> None:
    assert parse_rfc3339(rfc3339(at)) == at


# Hypothesis tries the texts of the program, too, and some of those are times.
@given(st.text(st.characters(codec=None)).filter(lambda text: not re.match("[0-9]{4}-", text)))
def test_arbitrary_text_is_no_rfc_3339_time(text: str) -> None:
    with pytest.raises(ValueError, match="Expected an RFC 3339 time"):
        parse_rfc3339(text)


@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_on_the_wire_never_raise(data: bytes, after_a_head: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\n" if after_a_head else b""
    got = asyncio.run(asked(replies_and_closes(head + data), timeout=0.2))
    assert isinstance(got.observation, PollError)


@given(st.binary(min_size=1, max_size=4), st.integers(0, 10_000))
def test_an_answer_with_a_few_bytes_replaced_never_raises(noise: bytes, place: int) -> None:
    whole = answer(config())
    start = place % len(whole)
    broken = whole[:start] + noise + whole[start + len(noise) :]
    definite(asyncio.run(asked(replies_and_closes(broken), timeout=0.2)).observation)
