"""Calls over HTTP: httpx is what we write against, aiohttp below it moves the bytes.

httpx's own pool costs three to ten times the CPU and leaks slots when a call is cancelled. What is
to be repaired of the pair stands here, once for the API's client, the sinks and the command line:
one call of `exchange` is one request on the wire, or none, and nothing of the environment changes
it. No cookies, no redirects, no proxies, no netrc, no decompression, no second attempt.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.cookiejar import CookieJar
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_exceptions import HttpProcessingError, PayloadEncodingError
from httpx_aiohttp import AiohttpTransport

from monitor.core.model import PollError, Reason, Seconds
from monitor.tls import client_context

BODY_MAX = 1024 * 1024
"""How many bytes of a body `whole` reads; a page of 100 campaigns has 100,000."""

LOCATION = "x-unfollowed-location"
"""The header under which an answer's `Location` is found."""

FAILURES = (
    httpx.HTTPError,
    httpx.InvalidURL,
    aiohttp.ClientError,
    HttpProcessingError,
    UnicodeError,
)
"""What a call can raise that is the other side's doing, or its address's.

The last two slip through both libraries: a broken chunk where aiohttp parses in Python, a reason
phrase that is not UTF-8, which httpx-aiohttp cannot encode again, and a host that is no IDNA.
"""

# What each type means, in words of ours where its own say too much or too little. httpx's classes
# do not say: through httpx-aiohttp 0.2 a reset, a refused and a dropped connection are all a
# `ConnectTimeout`, and a broken header is an unmapped aiohttp exception.
_KNOWN: tuple[tuple[tuple[type[BaseException], ...], Reason, str | None], ...] = (
    # The special before the general: aiohttp's DNS and TLS errors are connector errors as well.
    ((aiohttp.ClientConnectorDNSError,), Reason.DNS_ERROR, None),
    ((aiohttp.ClientSSLError, ssl.SSLError), Reason.TLS_ERROR, None),
    ((aiohttp.ClientConnectorError,), Reason.CONNECT_ERROR, None),
    (
        (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, httpx.InvalidURL),
        Reason.CONNECT_ERROR,
        "no address that can be connected to",
    ),
    # Nobody broke the protocol, the connection was cut.
    (
        (PayloadEncodingError,),
        Reason.CONNECTION_LOST,
        "the connection ended before the body did",
    ),
    ((HttpProcessingError, aiohttp.ClientResponseError), Reason.PROTOCOL_ERROR, None),
    ((UnicodeEncodeError,), Reason.PROTOCOL_ERROR, "the reason phrase is not UTF-8"),
    ((UnicodeError,), Reason.DNS_ERROR, "not a host name"),
)

Lookup = Callable[..., list[tuple[Any, ...]]]
"""A function like `socket.getaddrinfo`."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came back: status and headers, and the body or why there is none."""

    status: int
    headers: httpx.Headers
    body: bytes | PollError


Read = Callable[[httpx.Response], Awaitable[bytes | PollError]]
"""Reads the body of an answer, or says why it has none; what is left unread closes the connection.

May raise any of `FAILURES`."""


def open_client(
    tls: ssl.SSLContext, headers: Mapping[str, str], lookup: Lookup = socket.getaddrinfo
) -> httpx.AsyncClient:
    """Return a client that sends these headers, and `lookup`s hosts; it opens none by itself.

    It has no deadline of its own (httpx's never fire against a server that drips): `exchange` has.
    """
    return httpx.AsyncClient(
        transport=_Transport(tls, lookup),
        headers={"Accept-Encoding": "identity", **headers},
        cookies=_NoCookies(),
        timeout=None,  # noqa: S113
        trust_env=False,
        follow_redirects=False,
    )


async def whole(response: httpx.Response, limit: int = BODY_MAX) -> bytes | PollError:
    """Return the raw body: one of at most `limit` bytes, and not encoded. See `Read`."""
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.strip().lower() not in {"", "identity"}:
        return PollError(Reason.BAD_ENCODING, f"Content-Encoding {encoding}, asked for identity")
    declared = response.headers.get("content-length", "")
    too_large = PollError(Reason.TOO_LARGE, f"a body of more than {limit} bytes")
    # Not int(), which refuses more than 4,300 digits.
    if declared.isdecimal() and float(declared) > limit:
        return too_large
    body = await beginning(response, limit + 1)
    return body if len(body) <= limit else too_large


async def beginning(response: httpx.Response, size: int) -> bytes:
    """Return at most so many bytes of the raw body. See `Read`."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= size:
            break
    return bytes(body[:size])


async def exchange(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    within: Seconds,
    read: Read = whole,
    auth: httpx.Auth | None = None,
    **parts: Any,
) -> Received | PollError:
    """Return what one request brought within so many seconds, from connecting to the last byte.

    `parts` are httpx's: params, headers, content. A status that came counts even where its body did
    not: a 429 is one.
    """
    head: httpx.Response | None = None
    # httpx takes None for no authentication at all, not even by the user in the URL.
    given = httpx.USE_CLIENT_DEFAULT if auth is None else auth
    try:
        async with (
            asyncio.timeout(within),
            client.stream(method, url, auth=given, **parts) as response,
        ):
            head = response
            body = await read(response)
    except TimeoutError:
        body = PollError(Reason.TIMEOUT, f"no complete answer within {within:g} s")
    except FAILURES as error:
        body = classify_error(error)
    if head is None:
        assert isinstance(body, PollError)
        return body
    return Received(head.status_code, head.headers, body)


async def request_once(method: str, url: str, **how: Any) -> tuple[int, bytes]:
    """Return the status and the body of one request, over a connection of its own.

    `how` is as for `exchange`. Raises OSError where no answer came whole; it names no URL.
    """
    async with open_client(client_context(), {}) as client:
        answer = await exchange(client, method, url, **how)
    if isinstance(answer, PollError):
        raise OSError(answer.detail)
    if isinstance(answer.body, PollError):
        raise OSError(answer.body.detail)
    return answer.status, answer.body


def classify_error(error: BaseException) -> PollError:
    """Return why a call failed that raised one of `FAILURES`; what is unknown is a lost connection.

    The first known type in the chain of causes decides. The words are those of the innermost: the
    outer ones repeat it with more noise. They never quote the peer.
    """
    causes = list(_chain(error))
    known = (row for cause in causes for row in _KNOWN if isinstance(cause, row[0]))
    _, reason, _ = next(known, (None, Reason.CONNECTION_LOST, None))
    return PollError(reason, _words(causes[-1]))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _words(cause: BaseException) -> str:
    for types, _, ours in _KNOWN:
        if ours is not None and isinstance(cause, types):
            return ours
    match cause:
        # Where Python raised it and not OpenSSL, it has neither of these attributes.
        case ssl.SSLCertVerificationError(verify_message=str(words)):
            return words
        case ssl.SSLError():
            return (getattr(cause, "reason", None) or "TLS failed").lower().replace("_", " ")
        case HttpProcessingError():
            # aiohttp quotes what it could not read after a colon; that may be a secret.
            return cause.message.partition(":")[0]
        case OSError(strerror=str(words)):
            return words
    return "the connection was closed"


class _Transport(AiohttpTransport):
    """httpx-aiohttp's, with a session and a resolver of our own, and two requests repaired."""

    def __init__(self, tls: ssl.SSLContext, lookup: Lookup) -> None:
        self._resolver = _Resolver(lookup)
        session = partial(_open_session, tls, self._resolver)
        super().__init__(verify=tls, trust_env=False, client=session)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request whose URL has no user any more, and hide an answer's `Location`."""
        # httpx has made a header of it, and aiohttp refuses both in one request.
        if request.url.userinfo:
            request.url = request.url.copy_with(userinfo=b"")
        response = await super().handle_async_request(request)
        # httpx parses it even where it does not follow, and raises on `mailto:`.
        location = response.headers.pop("location", None)
        if location is not None:
            response.headers[LOCATION] = location
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await super().aclose()
        await self._resolver.close()


def _open_session(tls: ssl.SSLContext, resolver: AbstractResolver) -> aiohttp.ClientSession:
    # No limit here: a client has turns of its own, and waiting in a pool would cost the deadline.
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, resolver=resolver, limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )
    # aiohttp repeats a GET when a kept-alive connection dropped: a call that no budget knows of.
    session._retry_connection = False
    return session


class _Resolver(AbstractResolver):
    """Looks host names up on a thread of its own, so that a hung DNS blocks nobody else.

    One thread is enough: aiohttp looks a host up once, however many requests wait for it.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises `OSError` where there are none."""
        ask = partial(self._lookup, host, port, family=family, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._executor, ask)
        # A label that is empty or too long fails in the IDNA codec, before any look-up.
        except UnicodeError:
            raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None
        except RuntimeError:
            raise socket.gaierror(socket.EAI_AGAIN, "no thread to look it up with") from None
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Let go of the thread, even while it hangs."""
        self._executor.shutdown(wait=False, cancel_futures=True)


class _NoCookies(CookieJar):
    def extract_cookies(self, response: Any, request: Any) -> None:
        """Keep nothing; not even parse it."""
