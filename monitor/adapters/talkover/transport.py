"""How bytes come from the API: httpx over aiohttp, with nothing taken from the environment.

No cookies, no redirects, no proxies, no netrc, no decompression, no second attempt: one call of
`exchange` is one request on the wire, or none.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.cookiejar import CookieJar
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp import AiohttpTransport

from monitor.adapters.talkover.failures import FAILURES, explain
from monitor.core.model import PollError, Reason, Seconds

BODY_MAX = 1024 * 1024
"""How many bytes of a body are read; an SFTP config has about 500, a page of campaigns 100,000."""

Lookup = Callable[..., list[tuple[Any, ...]]]
"""A function like `socket.getaddrinfo`."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came back: status and headers, and the body or why there is none."""

    status: int
    headers: httpx.Headers
    body: bytes | PollError


class Resolver(AbstractResolver):
    """Looks host names up on a thread of its own, so that a hung DNS blocks nobody else.

    One thread is enough: aiohttp looks a host up once, however many requests wait for it.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="talkover-dns")

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


def open_client(tls: ssl.SSLContext, resolver: Resolver, user_agent: str) -> httpx.AsyncClient:
    """Return a client that keeps connections alive and nothing else; it opens none by itself."""
    return httpx.AsyncClient(
        transport=AiohttpTransport(
            verify=tls, trust_env=False, client=partial(_open_session, tls, resolver)
        ),
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Cache-Control": "no-cache",
            "User-Agent": user_agent,
        },
        cookies=_NoCookies(),
        timeout=None,  # noqa: S113 - they never fire against a dripping server; `exchange` has one
        trust_env=False,
        follow_redirects=False,
        event_hooks={"response": [_set_location_aside]},
    )


def _open_session(tls: ssl.SSLContext, resolver: Resolver) -> aiohttp.ClientSession:
    # No limit here: the client has turns of its own, and waiting in a pool would cost the deadline.
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, resolver=resolver, limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )
    # aiohttp repeats a GET when a kept-alive connection dropped: a call that no budget knows of.
    session._retry_connection = False
    return session


async def _set_location_aside(response: httpx.Response) -> None:
    """Hide `Location`: httpx parses it even where it does not follow, and raises on `mailto:`."""
    location = response.headers.pop("location", None)
    if location is not None:
        response.headers["x-unfollowed-location"] = location


async def exchange(
    client: httpx.AsyncClient, url: httpx.URL, auth: httpx.Auth, within: Seconds
) -> Received | PollError:
    """Return what a GET brought within so many seconds, from connecting to the last byte.

    A status that came counts even where its body did not: a 429 is one.
    """
    head: httpx.Response | None = None
    try:
        async with asyncio.timeout(within), client.stream("GET", url, auth=auth) as response:
            head = response
            body = await _read(response)
    except TimeoutError:
        body = PollError(Reason.TIMEOUT, f"no complete answer within {within:g} s")
    except FAILURES as error:
        body = explain(error)
    if head is None:
        assert isinstance(body, PollError)
        return body
    return Received(head.status_code, head.headers, body)


async def _read(response: httpx.Response) -> bytes | PollError:
    """Return the raw body. What is left unread closes the connection."""
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.strip().lower() not in {"", "identity"}:
        return PollError(Reason.BAD_ENCODING, f"Content-Encoding {encoding}, asked for identity")
    declared = response.headers.get("content-length", "")
    too_large = PollError(Reason.TOO_LARGE, f"a body of more than {BODY_MAX} bytes")
    # Not int(), which refuses more than 4,300 digits.
    if declared.isdecimal() and float(declared) > BODY_MAX:
        return too_large
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > BODY_MAX:
            return too_large
    return bytes(body)
