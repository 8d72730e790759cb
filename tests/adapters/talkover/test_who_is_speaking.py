"""Who is speaking: what an intermediary wrote is never taken for the platform's word.

The kind: a cache, a proxy, a firewall or a gateway stands in between, and answers in the API's
place, or adds to what it says. Each status that concludes something of the token or of a campaign
is tried with each body that somebody else may have written; each header with each form in which
gateways send it. What is not read says what came, never a parser's default.
"""

import json

import pytest

from monitor.core.environment import UNANSWERED
from monitor.core.model import NoConfig, PollError, Reason, SftpConfig
from support.misbehaving import (
    Misbehaving,
    answer,
    asked,
    client_of,
    config,
    replies,
    replies_and_closes,
)

SUNDAY = "Sun, 06 Nov 1994 08:49:37 GMT"
PAGES = {
    "html": (b"<html>Checking your browser</html>", "text/html; charset=utf-8"),
    "xhtml": (b"<html/>", "application/xhtml+xml"),
    "text": (b"RBAC: access denied", "text/plain"),
    "untyped": (b"denied", None),
    "untyped html": (b"<html>", ""),
    "json in name": (b"<html>", "application/json"),
    "null": (b"null", "application/json"),
    "a list": (b'[{"code": "NO"}]', "application/json"),
    "a string": (b'"denied"', "application/json"),
    "half a document": (b'{"code": "NO"', "application/json"),
    "json as text": (b'{"code": "NO"}', "text/html"),
}
"""What is no answer of the API: body and Content-Type."""


@pytest.mark.matrix(fast=12)
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("status", ["401 No", "403 No", "404 No", "407 No"])
async def test_fault_4_a_refusal_that_is_no_json_object_is_not_the_apis(
    status: str, page: str
) -> None:
    body, kind = PAGES[page]
    data = answer(body, status, {"Content-Type": kind, "Server": "cloudflare", "Date": SUNDAY})
    got = await asked(replies(data))
    assert isinstance(got.observation, PollError)
    assert got.observation.reason is Reason.BAD_CONTENT_TYPE
    assert got.observation.reason in UNANSWERED
    assert got.observation.status == int(status[:3])
    assert got.observation.detail.startswith(f"{status[:3]}, ")
    assert got.observation.detail.endswith("(Server: cloudflare)")
    # Nor is its clock, nor its limit.
    assert (got.server_date, got.rate) == (None, None)


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"Content-Type": "text/html"}, "403, text/html"),
        ({"Content-Type": "text/html", "Server": "nginx"}, "403, text/html (Server: nginx)"),
        (
            {"Content-Type": "text/html", "Server": "a", "Via": "1.1 squid"},
            "403, text/html (Server: a; Via: 1.1 squid)",
        ),
        ({"Content-Type": None, "Via": "1.1 squid"}, "403, no Content-Type (Via: 1.1 squid)"),
    ],
)
async def test_it_says_who_says_to_have_written_it(
    headers: dict[str, str | None], told: str
) -> None:
    got = await asked(replies(answer(b"<html>", "403 No", headers)))
    assert got.observation == PollError(Reason.BAD_CONTENT_TYPE, told)


@pytest.mark.parametrize("kind", ["application/json", "application/problem+json", None])
@pytest.mark.parametrize(
    ("status", "reason"),
    [("401 No", Reason.UNAUTHORIZED), ("403 No", Reason.FORBIDDEN), ("402 Pay", Reason.HTTP_4XX)],
)
async def test_fault_7_a_refusal_of_the_api_has_its_words(
    status: str, reason: Reason, kind: str | None
) -> None:
    body = {"code": "IP_NOT_ALLOWED", "message": "203.0.113.9 is not on the list"}
    got = await asked(replies(answer(body, status, {"Content-Type": kind})))
    words = "IP_NOT_ALLOWED: 203.0.113.9 is not on the list"
    assert isinstance(got.observation, PollError)
    assert got.observation.reason is reason
    assert words in got.observation.detail
    assert got.observation.status == int(status[:3])


@pytest.mark.parametrize("kind", ["application/json", "text/html", None])
@pytest.mark.parametrize("status", ["401 No", "403 No", "404 No"])
async def test_an_empty_body_has_no_type_to_speak_of(status: str, kind: str | None) -> None:
    seen = (await asked(replies(answer(b"", status, {"Content-Type": kind})))).observation
    assert seen == NoConfig(by_404=True) or getattr(seen, "reason", None) in {
        Reason.UNAUTHORIZED, Reason.FORBIDDEN
    }  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_the_api_is_no_proxy_whatever_a_407_says(body: bytes) -> None:
    seen = (await asked(replies(answer(body, "407 Authenticate")))).observation
    assert seen == PollError(Reason.BAD_CONTENT_TYPE, "407, application/json")


@pytest.mark.parametrize("status", [402, 406, 410, 429, 451, 500, 503])
async def test_a_page_under_any_other_status_is_named_beside_it(status: int) -> None:
    data = answer(b"<html>", f"{status} Hm", {"Content-Type": "text/html", "Server": "waf"})
    seen = (await asked(replies(data))).observation
    assert isinstance(seen, PollError)
    assert seen.detail == f"{status}, text/html (Server: waf)"


def head(*lines: bytes, status: bytes = b"200 OK", length: bool = True) -> bytes:
    """Return an answer with these lines in its head, and what they leave out."""
    body = json.dumps(config()).encode()
    own = [b"HTTP/1.1 " + status, *lines]
    if not any(line.lower().startswith(b"content-type") for line in lines):
        own.append(b"Content-Type: application/json")
    if length:
        own.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(own) + b"\r\n\r\n" + body


JSON = b"Content-Type: application/json"
READ = {
    "a header of 9 KB": head(b"X-Trace: " + b"a" * 9_000),
    "a header of 20 KB": head(b"Content-Security-Policy: " + b"a" * 20_000),
    "headers of 60 KB": head(*[b"X-%d: " % n + b"a" * 10_000 for n in range(6)]),
    "a reason phrase of 9 KB": head(status=b"200 " + b"O" * 9_000),
    "300 headers": head(*[b"X-%d: a" % n for n in range(300)]),
    "300 cookies": head(*[b"Set-Cookie: a%d=b" % n for n in range(300)]),
    "Content-Type twice the same": head(JSON, JSON),
    "Content-Type twice but for the charset": head(JSON, JSON + b"; charset=utf-8"),
    "charset=us-ascii": head(JSON + b"; charset=us-ascii"),
    "charset in quotes": head(JSON + b'; charset="US-ASCII"'),
    "charset by RFC 2231": head(JSON + b"; charset*=utf-8''utf-8"),
    "a reason phrase in Latin-1": head(status=b"200 D\xe9j\xe0 vu"),
    "a reason phrase in UTF-8": head(status="200 Déjà vu".encode()),
    "no reason phrase": head(status=b"200"),
    "identity twice": head(b"Content-Encoding: identity", b"Content-Encoding: identity"),
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + head(),
    "headers in Latin-1": head(b"X-City: K\xf6ln"),
}
NAMED = {
    "Content-Type given twice: application/json, text/html": head(JSON, b"Content-Type: text/html"),
    "Content-Type application/json, application/json": head(JSON + b", application/json"),
    "an empty Content-Type": head(b"Content-Type: "),
    "charset utf-16": head(JSON + b"; charset=utf-16"),
    "charset utf-7": head(JSON, JSON + b"; charset=utf-7"),
    "Content-Encoding identity, gzip, asked for identity": head(
        b"Content-Encoding: identity", b"Content-Encoding: gzip"
    ),
    "Duplicate Content-Length": head(b"Content-Length: 5"),
    "Got more than 65536 bytes when reading": head(b"X: " + b"a" * 70_000),
    "Got more than 65536 bytes of headers": head(*[b"X-%d: " % n + b"a" * 9_000 for n in range(8)]),
    "Too many headers received": head(*[b"X: a"] * 1_100),
}


@pytest.mark.parametrize("what", READ)
async def test_fault_32_what_gateways_do_to_a_head_is_read(what: str) -> None:
    seen = (await asked(replies_and_closes(READ[what]))).observation
    assert isinstance(seen, SftpConfig)


@pytest.mark.parametrize("told", NAMED)
async def test_what_is_not_read_says_what_came(told: str) -> None:
    seen = (await asked(replies_and_closes(NAMED[told]))).observation
    assert isinstance(seen, PollError)
    assert seen.detail.startswith(told)


async def test_fault_4_answers_out_of_a_cache_are_none_and_every_request_asks_for_a_fresh_one() -> (
    None
):
    kept = {"Age": "10800", "Date": SUNDAY, "X-Cache": "Hit from cloudfront"}
    server = Misbehaving(replies(answer(config(), headers=kept)))
    async with server, client_of(server.url) as client:
        got = await client.fetch_sftp("campaign-uuid")
        listed = await client.fetch_campaigns(1)
        tested = await client.run_test("campaign-uuid", 5)
    words = PollError(Reason.CACHED, "200 out of a cache, 3 h old (Age)")
    assert (got.observation, listed.observation, tested.observation) == (words, words, words)
    assert {got.server_date, listed.server_date, tested.server_date} == {None}
    assert [one.headers["cache-control"] for one in server.requests] == ["no-cache"] * 3
