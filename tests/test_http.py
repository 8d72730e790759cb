"""What the API's client, the sinks and the command line share of HTTP: see also their own tests."""

import base64
import ssl
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from aiohttp.http_exceptions import HttpProcessingError

from monitor.core.model import PollError, Reason
from monitor.http import HttpClient, Received, _classify, moved, prepared, request_once
from support.misbehaving import Misbehaving, Script, answer, here, replies, replies_and_closes

POSTED: dict[str, Any] = {"content": b"{}", "headers": {"Content-Type": "application/json"}}


async def got(script: Script, method: str = "GET", **parts: Any) -> Received:
    """Return what one request to a server that follows this script brought."""
    async with Misbehaving(script) as server, aclosing(HttpClient()) as client:
        return await client.send(prepared(method, server.url, **parts), within=10)


@pytest.mark.parametrize(("quoted", "password"), [("p%40ss", "p@ss"), ("p%D0%B6", "p\u0436")])
async def test_a_user_in_the_url_becomes_a_header_and_leaves_the_url(
    quoted: str, password: str
) -> None:
    async with Misbehaving(replies(answer({}))) as server:
        url = server.url.replace("//", f"//me:{quoted}@")
        assert await request_once("GET", url, within=10) == (200, b"{}")
    (request,) = server.requests
    expected = base64.b64encode(f"me:{password}".encode()).decode()
    assert request.headers["authorization"] == f"Basic {expected}"
    assert "me" not in request.headers["host"]


async def test_a_post_is_sent_once_even_when_the_connection_drops() -> None:
    async with Misbehaving(replies_and_closes(b"")) as server:
        with pytest.raises(OSError, match=r"^the connection was closed$"):
            await request_once("POST", server.url, within=10, **POSTED)
    assert (len(server.requests), server.connections) == (1, 1)


@pytest.mark.parametrize("location", ["https://elsewhere.example/", "mailto:someone", "//[broken"])
async def test_a_redirect_is_not_followed_and_its_location_not_parsed(location: str) -> None:
    data = replies_and_closes(answer(b"", "307 Moved", {"Location": location}))
    answered = await got(data, "POST", **POSTED)
    assert (answered.status, answered.headers["location"]) == (307, location)


async def test_who_asks_for_it_is_sent_on_with_all_that_it_says_and_so_often_at_most() -> None:
    headers, user = {**POSTED["headers"], "X-Key": "k"}, "//me:p@"
    async with Misbehaving(replies(answer({}))) as there:
        on = replies_and_closes(answer(b"", "307 Moved", {"Location": f"{there.url}/x"}))
        async with Misbehaving(on) as here_:
            url = here_.url.replace("//", user)
            how: dict[str, Any] = {"within": 10, "content": b"{}"}
            asked = await request_once("POST", url, follow=1, headers=headers, **how)
            assert asked == (200, b"{}")
            status, _ = await request_once("POST", url, headers=headers, **how)
            assert status == 307
    first, second = here_.requests[0], there.requests[0]
    for name in ("x-key", "authorization", "content-type"):
        assert second.headers[name] == first.headers[name]
    assert len(there.requests) == 1


@pytest.mark.parametrize(
    ("before", "to", "after"),
    [
        ("http://a:p@one.example/x", "http://two.example/x", "http://a:p@two.example/x"),
        ("http://a:p@one.example", "https://two.example/", "https://a:p@two.example/"),
    ],
)
def test_who_is_sent_on_says_the_same_password_there(before: str, to: str, after: str) -> None:
    assert moved(before, to) == after


@pytest.mark.parametrize(
    ("before", "to", "why"),
    [
        ("https://one.example", "http://two.example/", "on to http://, expected https://"),
        ("http://one.example", "ftp://two.example/", "on to ftp://, expected http://"),
        ("http://one.example", "/x", "on to no://, expected http://"),
        ("http://one.example", "http://two.example:port/", "on to what is no URL"),
    ],
)
def test_nobody_is_sent_on_to_what_is_less_safe_or_nowhere(before: str, to: str, why: str) -> None:
    with pytest.raises(OSError, match=f"^it sends us {why}$"):
        moved(before, to)


async def test_nothing_of_the_environment_changes_a_post(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    ok = replies_and_closes(answer({}))
    async with Misbehaving(ok) as proxy, Misbehaving(ok) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        await request_once("POST", server.url, within=10, **POSTED)
    assert proxy.connections == 0
    assert "authorization" not in server.requests[0].headers


async def test_a_cookie_is_not_kept_for_a_host_that_has_a_name() -> None:
    # aiohttp's own jar takes none from an address, so that one would prove nothing.
    data = replies(answer({}, headers={"Set-Cookie": "session=1; Path=/"}))
    async with (
        Misbehaving(data) as server,
        aclosing(HttpClient(lookup=here)) as client,
    ):
        for _ in range(2):
            await client.send(prepared("GET", f"http://api.example:{server.port}/"), within=10)
    assert len(server.requests) == 2
    assert not any("cookie" in request.headers for request in server.requests)


async def test_a_header_that_is_too_long_is_said_without_what_is_in_it() -> None:
    data = b"HTTP/1.1 200 OK\r\nX: " + b"S3cret" * 11_000 + b"\r\n\r\n"
    with pytest.raises(OSError, match="Got more than 65536 bytes when reading") as refused:
        async with Misbehaving(replies_and_closes(data)) as server:
            await request_once("POST", server.url, within=10, **POSTED)
    assert "S3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:1/S3cret", "Connect call failed"),
        ("http://127.1/S3cret", "no address that can be connected to"),
        ("http://a..b/S3cret", "not a host name"),
        ("http://xn--a/S3cret", "not a host name"),
        ("http://xn--/S3cret", "not a host name"),
        ("http://256.1.1.1/S3cret", "no address that can be connected to"),
        ("http://[v1.x]/S3cret", "no address that can be connected to"),
        ("no-url/S3cret", "no address that can be connected to"),
        ("ftp://127.0.0.1/S3cret", "no address that can be connected to"),
    ],
)
async def test_a_url_that_leads_nowhere_is_explained_and_not_repeated(url: str, told: str) -> None:
    with pytest.raises(OSError, match=f"^{told}") as refused:
        await request_once("GET", url, within=10)
    assert "S3cret" not in str(refused.value)


@pytest.mark.parametrize(("size", "kept"), [(0, 0), (9, 9), (10, 10), (11, 10), (70_000, 10)])
async def test_the_beginning_of_a_body_is_at_most_so_long(size: int, kept: int) -> None:
    async with Misbehaving(replies(answer(b"x" * size))) as server:
        answered = await request_once("GET", server.url, within=10, most=10, whole=False)
    assert answered == (200, b"x" * kept)


@pytest.mark.parametrize(("size", "fits"), [(0, True), (10, True), (11, False), (70_000, False)])
@pytest.mark.parametrize("length", ["declared", "undeclared"])
async def test_a_whole_body_has_its_limit(size: int, fits: bool, length: str) -> None:
    header = {} if length == "declared" else {"Content-Length": None}
    script = replies_and_closes(answer(b"x" * size, headers=header))
    async with Misbehaving(script) as server, aclosing(HttpClient()) as client:
        answered = await client.send(prepared("GET", server.url), within=10, most=10)
    too_large = PollError(Reason.TOO_LARGE, "a body of more than 10 bytes")
    assert answered.body == (b"x" * size if fits else too_large)


async def test_what_has_no_whole_body_is_no_answer_to_one_request() -> None:
    script = replies(answer(b"x", headers={"Content-Encoding": "br"}))
    async with Misbehaving(script) as server:
        with pytest.raises(OSError, match="Content-Encoding br, asked for identity"):
            await request_once("GET", server.url, within=10)


async def test_no_compression_is_asked_for_whatever_else_is() -> None:
    async with (
        Misbehaving(replies(answer({}))) as server,
        aclosing(HttpClient()) as client,
    ):
        parts: dict[str, Any] = {"params": {"a": "b c"}, "headers": {"X-Ours": "1"}}
        await client.send(prepared("GET", server.url, **parts), within=10)
    (request,) = server.requests
    assert request.line == "GET /api/v1?a=b+c HTTP/1.1"
    assert (request.headers["x-ours"], request.headers["accept-encoding"]) == ("1", "identity")


def test_the_innermost_cause_has_the_words() -> None:
    error, between, innermost = RuntimeError("outer"), OSError(5, "noise"), OSError(104, "reset")
    error.__cause__, between.__cause__ = between, innermost
    assert _classify(error) == PollError(Reason.CONNECTION_LOST, "reset")


@pytest.mark.parametrize("error", [ssl.SSLError(), ssl.SSLCertVerificationError()])
def test_a_tls_error_without_a_reason_is_a_tls_error_nevertheless(error: ssl.SSLError) -> None:
    assert _classify(error) == PollError(Reason.TLS_ERROR, "tls failed")


def test_what_could_not_be_parsed_is_not_quoted() -> None:
    error = HttpProcessingError(message="Invalid header token:\n\n  b'S3cret'")
    told = PollError(Reason.PROTOCOL_ERROR, "Invalid header token")
    assert _classify(error) == told
