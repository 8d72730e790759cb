"""What keeps hostile clients from doing harm: limits, security headers, no cross-site requests.

aiohttp leaves three gaps that this closes: no cap on connections, no deadline for a client that
does not read its answer, and parse errors that tell its version and skip our headers.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from monitor.core.model import Seconds

logger = logging.getLogger(__name__)

SECURITY_HEADERS: Mapping[str, str] = {
    "Server": "sftp-monitor",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""On every answer, errors included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client, or all together, may take from us."""

    connections: int = 200
    header_seconds: Seconds = 15.0
    body_seconds: Seconds = 15.0
    write_seconds: Seconds = 60.0
    body_bytes: int = 4096


class GuardedHandler(RequestHandler):
    """One connection: aiohttp's, with our headers on its own errors and a deadline for writing."""

    __slots__ = ("_write_seconds",)

    def __init__(self, server: web.Server, limits: Limits) -> None:
        # aiohttp's deadline for headers is the one for idle connections: 3,630 s unless told.
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=limits.header_seconds,
            lingering_time=1.0,
        )
        self._write_seconds = limits.write_seconds

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to a request that cannot be parsed or handled; closes the connection.

        Raises ConnectionError if an answer has begun: then only closing is left.
        """
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("a request could not be handled", exc_info=exc)
        response = web.Response(
            status=status, text=f"{HTTPStatus(status).phrase}\n", headers=SECURITY_HEADERS
        )
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; a client that does not read it loses its connection."""
        try:
            async with asyncio.timeout(self._write_seconds):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            if self.transport is not None:
                # Not close(): that waits until the client has read what is buffered.
                self.transport.abort()
            return resp, True


class _Refusal(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it: there are too many already."""
        transport.close()


def guarded(server: web.Server, limits: Limits) -> Callable[[], asyncio.Protocol]:
    """Return what makes the protocol of a new connection; one too many is closed at once."""

    def protocol() -> asyncio.Protocol:
        """Make the protocol of one connection."""
        if len(server.connections) >= limits.connections:
            return _Refusal()
        return GuardedHandler(server, limits)

    return protocol


def is_cross_site(headers: Mapping[str, str], external_url: str | None) -> bool:
    """Return whether a browser sends this request for a page that is not ours.

    Programs that are no browser send neither `Origin` nor `Sec-Fetch-Site`. Of browsers' requests
    only those are ours whose origin is `external_url`, or the very host that was asked; and that
    only by address or as localhost, for any other name may have been rebound to us.
    """
    origin = headers.get("Origin")
    if origin is None:
        return headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}
    try:
        asking, ours = urlsplit(origin), urlsplit(external_url or "")
        if external_url is not None and asking[:2] == ours[:2]:
            return False
        _must_be_address(asking.hostname or "")
    except ValueError:
        return True
    return asking.netloc != headers.get("Host")


def _must_be_address(host: str) -> None:
    if host != "localhost":
        ipaddress.ip_address(host)
