"""Field case 12: the way out. The kind: an outward path that the operator cannot choose, or change.

Whatever lies between us and the API is the operator's to say: the proxy, its user, the authority,
the name. Beside the cases: the proxy over TLS, a proxy that refuses, hangs, is not there or speaks
no HTTP; a password, an authority and an address that change while connections are kept.
"""

import os
import socket
import ssl
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest
import trustme

from monitor.config.secrets import TokenSource, proxy_of
from monitor.core.model import PollError, Reason, SftpConfig
from monitor.http import LIVES, HttpClient, prepared, request_once
from monitor.tls import client_context, missing_roots
from support.misbehaving import TOKEN, Misbehaving, answer, client_of, config, fetched, replies
from support.proxy import ConnectProxy

OK = replies(answer(config()))
NAME = "api.example"


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return path


def serving(ca: trustme.CA, name: str = NAME) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


def through(url: str, file: Path | None = None) -> Callable[[], httpx.Proxy | None]:
    return lambda: proxy_of(url, TokenSource(file) if file else None)


def a_password(folder: Path, user: str) -> Path:
    path = folder / "credentials"
    path.touch(mode=0o600)
    path.write_text(user + "\n")
    return path


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("user", ["", "me:s3cret:with:colons"])
async def test_fault_33_the_api_is_reached_through_the_proxy_alone(
    ca: trustme.CA, ca_file: Path, scheme: str, user: str
) -> None:
    file = a_password(ca_file.parent, user) if user else None
    tls = serving(ca, "127.0.0.1") if scheme == "https" else None
    async with (
        Misbehaving(OK, serving(ca)) as server,
        ConnectProxy(user, server.port, tls) as proxy,
    ):
        way = through(proxy.url, file)
        # The name is the proxy's to look up: nobody here knows it.
        seen = await fetched(f"https://{NAME}", ca_file=ca_file, proxy=way)
    assert isinstance(seen, SftpConfig)
    assert proxy.asked == [f"CONNECT {NAME}:443 HTTP/1.1"]
    assert len(proxy.users) == bool(user)
    (request,) = server.requests
    assert "proxy-authorization" not in request.headers
    assert TOKEN in request.headers["authorization"]


async def test_connections_through_it_are_kept(ca: trustme.CA, ca_file: Path) -> None:
    async with (
        Misbehaving(OK, serving(ca)) as server,
        ConnectProxy(leads_to=server.port) as proxy,
    ):
        way = through(proxy.url)
        async with client_of(f"https://{NAME}", ca_file=ca_file, proxy=way) as client:
            for _ in range(3):
                await client.fetch_sftp("c")
    assert (len(server.requests), len(proxy.asked)) == (3, 1)


def said(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\nS3cretive".encode()


@pytest.mark.parametrize(
    ("answers", "reason", "detail"),
    [
        (said("403 S3cret"), Reason.CONNECT_ERROR, "at the proxy: it answered 403"),
        (said("407 S3cret"), Reason.CONNECT_ERROR, "at the proxy: it answered 407"),
        (said("502 S3cret"), Reason.CONNECT_ERROR, "at the proxy: it answered 502"),
        (said("302 S3cret"), Reason.CONNECT_ERROR, "at the proxy: it answered 302"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", Reason.PROTOCOL_ERROR, "Bad status line"),
        (b"HTTP/1.1 200 OK\r\n\r\nS3cret", Reason.CONNECT_ERROR, "at the proxy: "),
    ],
)
async def test_fault_33_a_proxy_that_lets_nobody_through_is_named_and_not_quoted(
    ca_file: Path, answers: bytes, reason: Reason, detail: str
) -> None:
    async with ConnectProxy(answers=answers) as proxy:
        seen = await fetched(f"https://{NAME}", ca_file=ca_file, proxy=through(proxy.url))
        await proxy.until(lambda: not proxy.open)
    assert isinstance(seen, PollError)
    assert (seen.reason, detail in seen.detail) == (reason, True)
    assert "S3cret" not in seen.detail


async def test_fault_33_a_proxy_that_hangs_is_given_up_and_its_connection_closed(
    ca_file: Path,
) -> None:
    async with ConnectProxy(answers=b"") as proxy:
        way = through(proxy.url)
        seen = await fetched(f"https://{NAME}", ca_file=ca_file, proxy=way, timeout=0.05)
        await proxy.until(lambda: not proxy.open)
    assert seen == PollError(Reason.TIMEOUT, "no complete answer within 0.05 s")


@pytest.mark.parametrize(
    ("proxy", "reason"),
    [("http://127.0.0.1:1", Reason.CONNECT_ERROR), ("http://no.invalid", Reason.DNS_ERROR)],
)
async def test_fault_33_a_proxy_that_is_not_there_is_not_taken_for_the_api(
    ca_file: Path, proxy: str, reason: Reason
) -> None:
    seen = await fetched(f"https://{NAME}", ca_file=ca_file, proxy=through(proxy))
    assert isinstance(seen, PollError)
    assert seen.reason is reason
    assert seen.detail.startswith("at the proxy: ")


async def test_fault_33_a_password_that_was_replaced_is_used_by_the_next_call(
    ca: trustme.CA, ca_file: Path
) -> None:
    file = a_password(ca_file.parent, "me:old")
    async with (
        Misbehaving(OK, serving(ca)) as server,
        ConnectProxy("me:new", server.port) as proxy,
    ):
        way = through(proxy.url, file)
        async with client_of(f"https://{NAME}", ca_file=ca_file, proxy=way) as client:
            refused = (await client.fetch_sftp("c")).observation
            a_password(ca_file.parent, "me:new")
            accepted = (await client.fetch_sftp("campaign-uuid")).observation
    assert refused == PollError(Reason.CONNECT_ERROR, "at the proxy: it answered 407")
    assert isinstance(accepted, SftpConfig)


async def test_fault_33_an_authority_that_was_replaced_is_used_by_the_next_call(
    ca: trustme.CA, ca_file: Path
) -> None:
    successor = trustme.CA()
    async with (
        Misbehaving(OK, serving(successor, "127.0.0.1")) as server,
        client_of(server.url, ca_file=ca_file) as client,
    ):
        refused = (await client.fetch_sftp("campaign-uuid")).observation
        for half in (b"", b"-----BEGIN CERTIFICATE-----\n"):
            ca_file.write_bytes(half)  # noqa: ASYNC240 - nobody waits for it
            assert isinstance((await client.fetch_sftp("c")).observation, PollError)
        successor.cert_pem.write_to_path(str(ca_file))
        accepted = (await client.fetch_sftp("campaign-uuid")).observation
    assert isinstance(refused, PollError)
    assert refused.reason is Reason.TLS_ERROR
    assert isinstance(accepted, SftpConfig)


class Ages:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def asked_at(client: HttpClient, server: Misbehaving) -> bytes | PollError:
    url = f"{'https' if server.tls else 'http'}://{NAME}:{server.port}/"
    return (await client.send(prepared("GET", url), within=10)).body


async def test_fault_32_a_connection_lives_five_minutes_though_it_is_never_idle() -> None:
    ages = Ages()
    async with Misbehaving(OK) as server:
        names = Names(server.port)
        async with aclosing(HttpClient(lookup=names, elapsed=ages)) as client:
            for ages.now in (0.0, LIVES / 2, LIVES - 1, LIVES, LIVES + 1, 2 * LIVES):
                await asked_at(client, server)
    assert (len(server.requests), server.connections) == (6, 3)


class Names:
    """A DNS in which a name leads to a port of this machine; it may move."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self, _host: str, _port: int, **_: object) -> list[tuple[object, ...]]:
        at = ("127.0.0.1", self.port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", at)]


async def test_fault_32_a_name_that_moved_is_followed_while_the_old_server_still_answers() -> None:
    ages = Ages()
    async with Misbehaving(OK) as old, Misbehaving(OK) as new:
        names = Names(old.port)
        async with aclosing(HttpClient(lookup=names, elapsed=ages)) as client:
            await asked_at(client, old)
            names.port, ages.now = new.port, LIVES
            await asked_at(client, old)
    assert (len(old.requests), len(new.requests)) == (1, 1)


async def test_a_call_that_is_under_way_ends_on_its_old_connection() -> None:
    ages = Ages()
    clients: list[HttpClient] = []

    async def script(request: object, peer: object) -> None:
        if len(server.requests) == 1:
            ages.now = LIVES
            await asked_at(clients[0], server)
        await OK(request, peer)  # type: ignore[arg-type]

    async with (
        Misbehaving(script) as server,
        aclosing(HttpClient(lookup=Names(server.port), elapsed=ages)) as client,
    ):
        clients.append(client)
        assert isinstance(await asked_at(client, server), bytes)
        assert [len(client._calls), server.connections] == [1, 2]


async def test_fault_33_an_authority_that_was_taken_away_is_trusted_for_five_minutes_at_most(
    ca: trustme.CA, ca_file: Path
) -> None:
    ages = Ages()
    async with Misbehaving(OK, serving(ca)) as server:
        names = Names(server.port)
        async with aclosing(HttpClient(ca_file, names, elapsed=ages)) as client:
            await asked_at(client, server)
            trustme.CA().cert_pem.write_to_path(str(ca_file))
            ages.now = LIVES
            seen = await asked_at(client, server)
    assert isinstance(seen, PollError)
    assert seen.reason is Reason.TLS_ERROR


@pytest.mark.parametrize("tls", [False, True])
async def test_one_request_goes_through_the_proxy_as_well(
    ca: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    async with (
        Misbehaving(OK, serving(ca) if tls else None) as server,
        ConnectProxy("me:pw", server.port) as proxy,
    ):
        way = through(proxy.url, a_password(ca_file.parent, "me:pw"))()
        url = f"http{'s' * tls}://{NAME}/hook"
        status, _ = await request_once("POST", url, proxy=way, within=10, content=b"{}")
    assert status == 200
    (asked,) = proxy.asked
    assert asked == (f"CONNECT {NAME}:443 HTTP/1.1" if tls else f"POST {url} HTTP/1.1")


PEM = "-----BEGIN CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "is not a file"),
        ("", "has no certificates in PEM format"),
        (PEM, "has no certificates in PEM format"),
    ],
)
def test_fault_33_whom_the_environment_says_to_trust_and_is_nobody_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
    told: str,
) -> None:
    path = tmp_path / "roots"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    assert list(missing_roots()) == [f"SSL_CERT_FILE: {path} {told}"]


@pytest.mark.parametrize("folder", ["", "/nowhere"])
def test_fault_33_a_system_without_any_authority_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("SSL_CERT_DIR", str(folder or tmp_path))
    told = "no certificate authority on this system: set ca_file, SSL_CERT_FILE or SSL_CERT_DIR"
    assert told in list(missing_roots())


def test_those_that_are_there_are_no_matter(ca_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    assert list(missing_roots()) == []


def test_fault_33_the_roots_of_the_system_are_read_again_when_their_bundle_was_replaced(
    ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    before = client_context()
    assert client_context() is before
    ca_file.write_text(ca_file.read_text() + "\n")
    os.utime(ca_file, ns=(0, 1))
    assert client_context() is not before
