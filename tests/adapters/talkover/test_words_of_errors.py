"""The words beside a reason: what on-call reads first when a campaign cannot be read."""

import json
import tracemalloc

import httpx
import pytest

from monitor.adapters.talkover.answer import load_json
from monitor.adapters.talkover.decode import decode_sftp, observe_sftp
from monitor.adapters.talkover.listing import decode_listing
from monitor.core.model import NoConfig, Observation, Page, PollError, Reason
from monitor.http import Received
from support.misbehaving import ABSENT, CAMPAIGN, TOKEN, config

JSON = "application/json"
WRONG_TYPE = Reason.BAD_CONTENT_TYPE


def observed(status: int, content_type: str | None, body: bytes = b"null") -> Observation:
    headers = {} if content_type is None else {"content-type": content_type}
    return observe_sftp(Received(status, httpx.Headers(headers), body), CAMPAIGN, TOKEN)


@pytest.mark.parametrize(
    ("content_type", "error"),
    [
        (None, PollError(WRONG_TYPE, "no Content-Type")),
        ("text/html; charset=utf-8", PollError(WRONG_TYPE, "Content-Type text/html")),
        ("", PollError(WRONG_TYPE, "an empty Content-Type")),
        (f"{JSON}; charset=latin-1", PollError(Reason.BAD_ENCODING, "charset latin-1")),
    ],
)
def test_a_body_that_is_no_json_in_utf_8_is_said_to_be_what_it_is(
    content_type: str | None, error: PollError
) -> None:
    assert observed(200, content_type) == error


@pytest.mark.parametrize("content_type", [JSON, "application/problem+json", f"{JSON};charset=UTF8"])
def test_json_has_more_than_one_name(content_type: str) -> None:
    assert observed(404, content_type, b"{}") == NoConfig(by_404=True)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{}", "500"),
        (b"[]", "500"),
        (b"{", "500"),
        (json.dumps({"error": {"code": "E1", "message": "down"}}).encode(), "500 E1: down"),
        (json.dumps({"message": " down"}).encode(), "500  down"),
    ],
)
def test_the_apis_own_words_stand_behind_the_status(body: bytes, detail: str) -> None:
    assert observed(500, JSON, body) == PollError(Reason.HTTP_5XX, detail)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"is_enabled": "false"}, "Expected `bool`, got `str` - at `$.data.is_enabled`"),
        ({"is_enabled": None}, "Expected `bool`, got `null` - at `$.data.is_enabled`"),
        ({"port": "22"}, "Expected `int`, got `str` - at `$.data.port`"),
        ({"port": 22.0}, "Expected `int`, got `float` - at `$.data.port`"),
        ({"port": True}, "Expected `int`, got `bool` - at `$.data.port`"),
        ({"port": 0}, "Input should be greater than or equal to 1 - at `$.data.port`"),
        ({"port": 65536}, "Input should be less than or equal to 65535 - at `$.data.port`"),
        ({"host": 7}, "Expected `str`, got `int` - at `$.data.host`"),
        ({"username": ["a"]}, "Expected `str`, got `array` - at `$.data.username`"),
        ({"created_at": {}}, "Expected `str`, got `object` - at `$.data.created_at`"),
        ({"id": ABSENT}, "Field required - at `$.data.id`"),
        # Another campaign's is that before all else; of several mistakes the first is named.
        ({"campaign_id": "c-2", "port": "22"}, "the answer is about campaign c-2"),
        ({"campaign_id": "c-2", "created_at": "x"}, "the answer is about campaign c-2"),
        ({"campaign_id": "{c}", "host": ""}, "the answer is about campaign {c}"),
        ({"host": "", "port": 0}, "Expected text, got none - at `$.data.host`"),
    ],
)
def test_a_mismatch_says_where_it_is_what_was_expected_and_which_type_came(
    changes: dict[str, object], told: str
) -> None:
    seen = decode_sftp(json.dumps(config(**changes)).encode(), CAMPAIGN, TOKEN)
    assert isinstance(seen, PollError)
    assert seen.detail == told


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "Expected `object`, got `array` - at `$`"),
        ({"success": True}, "Field required - at `$.data`"),
        ({"success": True, "data": {}}, "Expected `array`, got `object` - at `$.data`"),
        ({"success": True, "data": [7]}, "Expected `object`, got `int` - at `$.data[0]`"),
        (
            {"success": True, "data": [{"id": "a/b", "name": "n", "status": "active"}]},
            "Expected an id of 1 to 64 letters, digits, '-' or '_' - at `$.data[0].id`",
        ),
    ],
)
def test_a_mismatch_of_a_listing_does_so_too(document: object, told: str) -> None:
    seen = decode_listing(json.dumps(document).encode(), 1, TOKEN)
    assert seen == PollError(Reason.SCHEMA_MISMATCH, told)


def test_a_mebibyte_of_mistakes_is_one() -> None:
    body = json.dumps({"success": True, "data": [""] * 100_000}).encode()
    tracemalloc.start()
    seen = decode_listing(body, 1, TOKEN)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    told = "Expected `object`, got `str` - at `$.data[0]`"
    assert seen == PollError(Reason.SCHEMA_MISMATCH, told)
    assert peak < 16 * 1024 * 1024


def test_a_number_of_32_digits_is_read_and_a_longer_one_is_not() -> None:
    assert load_json(b"9" * 32) == 10**32 - 1
    with pytest.raises(ValueError, match="33 digits"):
        load_json(b"9" * 33)


def listing(total: int | None, campaigns: int, **pagination: int) -> Page:
    rows = [{"id": f"c-{n}", "name": "n", "status": "active"} for n in range(campaigns)]
    said = pagination | ({} if total is None else {"total": total})
    body = {"success": True, "data": rows, "pagination": said}
    page = decode_listing(json.dumps(body).encode(), 1, TOKEN)
    assert isinstance(page, Page)
    return page


@pytest.mark.parametrize(("total", "believed"), [(2, 2), (1_000_000, 1_000_000), (1_000_001, None)])
def test_a_total_beyond_a_million_is_a_mistake(total: int, believed: int | None) -> None:
    assert listing(total, 2).total == believed


@pytest.mark.parametrize(("per_page", "last"), [(2, False), (3, True), (100, True), (101, True)])
def test_a_page_that_is_not_full_is_the_last(per_page: int, last: bool) -> None:
    assert listing(None, 2, per_page=per_page).last is last


def test_a_full_page_is_not_the_last_however_many_a_page_is_said_to_hold() -> None:
    assert not listing(None, 100, per_page=1_000).last


def test_a_listing_of_no_pages_is_a_listing_that_does_not_count_its_pages() -> None:
    assert listing(None, 100, last_page=0, total_pages=2).last is False
    assert listing(None, 2, last_page=0, total_pages=1).last is True
