"""Calls over HTTP: httpx says what a request and an answer are, aiohttp moves the bytes.

httpx's own pool costs three to ten times the CPU and leaks slots when a call is cancelled; its
client parses redirects and keeps cookies. One call of `HttpClient.send` is one request on the
wire, or none, and nothing of the environment changes it. No cookies, no redirects, no netrc, no
decompression, no second attempt, no proxy but the one that is given.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import structlog
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError, PayloadEncodingError
from httpx_aiohttp import AiohttpTransport

from monitor.core.model import MINUTE, PollError, Reason, Seconds
from monitor.core.outcomes import NOT_SENT
from monitor.resolver import Lookup, Resolver
from monitor.tls import client_context

log = structlog.get_logger()

LIVES: Seconds = 5 * MINUTE
"""The age at which connections are replaced: a host that moved is followed while the old one still
answers, and what `ca_file` and a proxy's password are by then is used."""

# What each type means, in words of ours where its own say too much or too little. httpx's classes
# do not say: through httpx-aiohttp 0.2 a reset, a refused and a dropped connection are all a
# `ConnectTimeout`, and a broken header is an unmapped aiohttp exception. The special before the
# general: aiohttp's DNS and TLS errors are connector errors as well.
_KNOWN: dict[type[BaseException], tuple[Reason, str]] = {
    aiohttp.ClientConnectorDNSError: (Reason.DNS_ERROR, ""),
    ssl.SSLError: (Reason.TLS_ERROR, ""),
    aiohttp.ClientHttpProxyError: (Reason.CONNECT_ERROR, ""),
    aiohttp.ClientConnectorError: (Reason.CONNECT_ERROR, ""),
    httpx.UnsupportedProtocol: (Reason.CONNECT_ERROR, "no address that can be connected to"),
    httpx.InvalidURL: (Reason.CONNECT_ERROR, "no address that can be connected to"),
    # Nobody broke the protocol, the connection was cut.
    PayloadEncodingError: (Reason.CONNECTION_LOST, "the connection ended before the body did"),
    # These slip through both libraries: a broken chunk where aiohttp parses in Python; a host that
    # is no IDNA, or has a label that is empty or too long.
    HttpProcessingError: (Reason.PROTOCOL_ERROR, ""),
    UnicodeError: (Reason.DNS_ERROR, "not a host name"),
}

# What a call can raise that is the other side's doing, or its address's.
_FAILURES: tuple[type[BaseException], ...] = (httpx.HTTPError, aiohttp.ClientError, *_KNOWN)

# All headers of an answer together, in bytes, and how many there may be: gateways send many.
_HEAD_MAX, _HEADERS_MAX = 64 * 1024, 1000


@dataclass(frozen=True)
class Received:
    """What came back: the body or why there is none. Status 0, no headers: no answer came."""

    status: int
    headers: httpx.Headers
    body: bytes | PollError

    @cached_property
    def named(self) -> Mapping[str, str]:
        """The headers by their names in small letters: httpx looks through all for each."""
        return dict(self.headers.items())


@dataclass(eq=False, repr=False)
class HttpClient:
    """Sends requests over connections that it keeps. Close it with `aclose`.

    `ca_file` and ValueError are as for `client_context`, `lookup` resolves host names, `proxy`
    returns the way out or raises ValueError; `elapsed` measures how long a connection lives.
    """

    ca_file: Path | None = None
    lookup: Lookup = socket.getaddrinfo
    proxy: Callable[[], httpx.Proxy | None] = lambda: None
    elapsed: Callable[[], Seconds] = float

    def __post_init__(self) -> None:
        """Open no connection yet."""
        self._resolver = Resolver(self.lookup)
        self._calls = Counter[AiohttpTransport]()  # those under way
        self._renew()

    async def send(
        self, request: httpx.Request, *, within: Seconds, most: int = 1 << 20, whole: bool = True
    ) -> Received:
        """Return what a `prepared` request brought within so many seconds, to its last byte.

        A body of more than `most` bytes is an error; without `whole` its beginning is taken. A
        status counts even where its body did not come: a 429 is one.
        """
        status, answered = 0, httpx.Headers()
        try:
            async with (
                self._connections() as young,
                asyncio.timeout(within),
                aclosing(await young.handle_async_request(request)) as response,
            ):
                status, answered = response.status_code, response.headers
                # What is left unread closes the connection.
                body = await _read(response, most, whole=whole)
        except TimeoutError:
            body = PollError(Reason.TIMEOUT, f"no complete answer within {within:g} s")
        except _FAILURES as error:
            body = self._failed(_classify(error))
        return Received(status, answered, body)

    async def aclose(self) -> None:
        """Close all connections; calls under way fail."""
        for transport in {self._transport, *self._calls}:
            await transport.aclose()
        await self._resolver.close()

    def _renew(self) -> None:
        self._until = self.elapsed() + LIVES
        tls, proxy = client_context(self.ca_file), self.proxy()
        opens = partial(self._open_session, tls)
        self._transport = AiohttpTransport(verify=tls, proxy=proxy, client=opens)

    @asynccontextmanager
    async def _connections(self) -> AsyncIterator[AiohttpTransport]:
        """Give young ones; older ones are closed when no call is under way on them."""
        before = self._transport
        if self.elapsed() >= self._until:
            try:
                self._renew()
            except ValueError as error:
                # Half a file, or none for a moment: what was read before may still do.
                log.warning("connection_settings_unreadable", problem=str(error))
            await self._close_idle(before)
        used = self._transport
        self._calls[used] += 1
        try:
            yield used
        finally:
            self._calls[used] -= 1
            await self._close_idle(used)

    async def _close_idle(self, used: AiohttpTransport) -> None:
        if used is not self._transport and not self._calls[used]:
            del self._calls[used]
            await used.aclose()

    def _failed(self, error: PollError) -> PollError:
        # Nobody but the proxy is looked up and connected to; it looks up the others.
        at_proxy = self._transport.proxy and error.reason in {
            Reason.CONNECT_ERROR,
            Reason.DNS_ERROR,
        }
        if at_proxy or error.reason is Reason.TLS_ERROR:
            self._until = self.elapsed()  # an authority or a password may have been replaced
        return replace(error, detail=f"at the proxy: {error.detail}") if at_proxy else error

    def _open_session(self, tls: ssl.SSLContext) -> aiohttp.ClientSession:
        # No limit here: a client has turns of its own; waiting in a pool would cost the deadline.
        connector = aiohttp.TCPConnector(ssl=tls, resolver=self._resolver, limit=0)
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            response_class=_Response,
            max_line_size=_HEAD_MAX,
            max_field_size=_HEAD_MAX,
            max_headers=_HEADERS_MAX,
        )
        # aiohttp repeats a GET when a kept-alive connection dropped: a call no budget knows of.
        session._retry_connection = False
        return session


class _Response(aiohttp.ClientResponse):
    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read the head: all of it counts, not only each header, and not the reason phrase."""
        await super().start(connection)
        if sum(len(name) + len(value) for name, value in self.raw_headers) > _HEAD_MAX:
            raise HttpProcessingError(message=f"Got more than {_HEAD_MAX} bytes of headers")
        self.reason = None  # httpx-aiohttp takes none in Latin-1
        return self


async def request_once(method: str, url: str, *, follow: int = 0, **how: Any) -> tuple[int, bytes]:
    """Return the status and the body of one request, over a connection of its own.

    `how` is as for `prepared` and `send`; `proxy` may be there, too. So many 307 are followed, as
    `moved` says. Raises OSError where no
    answer came whole; it names no URL, and is a ConnectionError where nothing was sent.
    """
    again, proxy = dict(how), how.pop("proxy", None)
    limits = {name: how.pop(name) for name in ("within", "most", "whole") if name in how}
    try:
        request = prepared(method, url, **how)
    except _FAILURES as error:
        raise ConnectionError(_classify(error).detail) from None
    async with aclosing(HttpClient(proxy=lambda: proxy)) as client:
        answer = await client.send(request, **limits)
    if follow and answer.status == httpx.codes.TEMPORARY_REDIRECT:
        to = moved(url, answer.named.get("location", ""))
        return await request_once(method, to, follow=follow - 1, **again)
    if isinstance(answer.body, PollError):
        raise (ConnectionError if answer.body.reason in NOT_SENT else OSError)(answer.body.detail)
    return answer.status, answer.body


def moved(url: str, to: str) -> str:
    """Return where a server sends us on to, with the user of `url`; OSError: nowhere that is safe.

    What was asked for over TLS, with a password perhaps, is never asked for without.
    """
    try:
        before, after = httpx.URL(url), httpx.URL(to)
    except _FAILURES:
        raise OSError("it sends us on to what is no URL") from None
    if not after.host or after.scheme not in {"https", before.scheme}:
        raise OSError(f"it sends us on to {after.scheme or 'no'}://, expected {before.scheme}://")
    return str(after.copy_with(userinfo=before.userinfo))


def prepared(method: str, url: str, **parts: Any) -> httpx.Request:
    """Return a request, of httpx's parts, as `send` takes it, any number of times."""
    request = httpx.Request(method, url, **parts)
    request.headers["Accept-Encoding"] = "identity"
    if request.url.userinfo:
        # Not left to aiohttp, which would have it in Latin-1.
        user = httpx.BasicAuth(request.url.username, request.url.password)
        request = next(user.sync_auth_flow(request))
        request.url = request.url.copy_with(userinfo=b"")
    return request


async def _read(response: httpx.Response, most: int, *, whole: bool) -> bytes | PollError:
    encoding = response.headers.get("content-encoding", "identity")
    declared = response.headers.get("content-length", "")
    too_large = PollError(Reason.TOO_LARGE, f"a body of more than {most} bytes")
    named = {one.strip().lower() for one in encoding.split(",")}
    if whole and not named <= {"", "identity"}:
        return PollError(Reason.BAD_ENCODING, f"Content-Encoding {encoding}, asked for identity")
    # Not int(), which refuses more than 4,300 digits.
    if whole and declared.isdecimal() and float(declared) > most:
        return too_large
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= most + whole:
            return too_large if whole else bytes(body[:most])
    return bytes(body)


def _classify(error: BaseException) -> PollError:
    # The first known type in the chain of causes decides; the words are the innermost's: the outer
    # ones repeat it with more noise. They never quote the peer.
    chain = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    known = (said for one in chain for kind, said in _KNOWN.items() if isinstance(one, kind))
    reason, words = next(known, (Reason.CONNECTION_LOST, ""))
    return PollError(reason, words or _words(chain[-1]))


def _words(cause: BaseException) -> str:
    match cause:
        # Where Python raised it and not OpenSSL, it has neither of these attributes.
        case ssl.SSLCertVerificationError(verify_message=str(words)):
            return words
        case ssl.SSLError():
            return (getattr(cause, "reason", None) or "TLS failed").lower().replace("_", " ")
        case aiohttp.ClientHttpProxyError(status=int(status)):
            return f"it answered {status}"
        case HttpProcessingError():
            # aiohttp quotes what it could not read after a colon; that may be a secret.
            return cause.message.partition(":")[0]
        case OSError(strerror=str(words)):
            return words
    return "the connection was closed"
