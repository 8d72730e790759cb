"""The words beside a reason: what on-call reads first when a campaign cannot be read."""

import json
import ssl

import httpx
import pytest

from monitor.adapters.talkover.answer import observe_sftp
from monitor.adapters.talkover.document import load_json
from monitor.adapters.talkover.failures import explain
from monitor.adapters.talkover.listing import decode_listing
from monitor.adapters.talkover.transport import Received
from monitor.core.model import ListingPage, NoConfig, Observation, PollError, Reason
from support.misbehaving import CAMPAIGN, TOKEN

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
        ("", PollError(WRONG_TYPE, "Content-Type text/plain")),
        (f"{JSON}; charset=latin-1", PollError(Reason.BAD_ENCODING, "charset latin-1")),
    ],
)
def test_a_body_that_is_no_json_in_utf_8_is_said_to_be_what_it_is(
    content_type: str | None, error: PollError
) -> None:
    assert observed(200, content_type) == error


@pytest.mark.parametrize("content_type", [JSON, "application/problem+json", f"{JSON};charset=UTF8"])
def test_json_has_more_than_one_name(content_type: str) -> None:
    assert observed(404, content_type) == NoConfig(by_404=True)


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


def test_the_innermost_cause_has_the_words() -> None:
    error, between, innermost = RuntimeError("outer"), OSError(5, "noise"), OSError(104, "reset")
    error.__cause__, between.__cause__ = between, innermost
    assert explain(error) == PollError(Reason.CONNECTION_LOST, "reset")


@pytest.mark.parametrize("error", [ssl.SSLError(), ssl.SSLCertVerificationError()])
def test_a_tls_error_without_a_reason_is_a_tls_error_nevertheless(error: ssl.SSLError) -> None:
    assert explain(error) == PollError(Reason.TLS_ERROR, "tls failed")


def test_a_number_of_32_digits_is_read_and_a_longer_one_is_not() -> None:
    assert load_json(b"9" * 32) == 10**32 - 1
    with pytest.raises(ValueError, match="33 digits"):
        load_json(b"9" * 33)


def listing(total: int | None, campaigns: int, **pagination: int) -> ListingPage:
    rows = [{"id": f"c-{n}", "name": "n", "status": "active"} for n in range(campaigns)]
    said = pagination | ({} if total is None else {"total": total})
    body = {"success": True, "data": rows, "pagination": said}
    page = decode_listing(json.dumps(body).encode(), 1, TOKEN)
    assert isinstance(page, ListingPage)
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
