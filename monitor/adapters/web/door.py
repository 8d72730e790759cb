"""How connections come in: so many at once, each in plain text or by TLS, and none for ever.

aiohttp leaves gaps that this closes: no cap on connections, no deadline for a client that does not
read its answer, parse errors that tell its version and skip our headers, and a TLS that stays what
it was at the start.
"""

import asyncio
import logging
from asyncio.sslproto import SSLProtocol
from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from monitor.adapters.web.gate import Gate
from monitor.adapters.web.guard import Limits
from monitor.core.model import Seconds

FAREWELL: Seconds = 1.0
"""How long a client may take to take leave of us: to end its body, or to close its TLS."""

logger = logging.getLogger(__name__)


class Door:
    """Makes the protocol of each connection, and knows all that are open.

    There is always room for one more: at the limit, the connection that has waited longest for its
    client is cut off. Whoever holds many without using them pushes out his own.
    """

    def __init__(self, server: web.Server, limits: Limits, gate: Gate) -> None:
        """Lead to aiohttp's `server`; `gate` says who may come in."""
        self.server, self.limits, self.gate = server, limits, gate
        # In the order in which they began to wait for their client.
        self._inside: dict[GuardedHandler, asyncio.Transport] = {}

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a connection that is about to be made."""
        return _Arrival(self)

    def enter(self, transport: asyncio.Transport) -> None:
        """Take a connection in, at the cost of another one where there are too many."""
        self._make_room()
        handler = GuardedHandler(self)
        self._inside[handler] = transport
        context = self.gate.access.tls
        protocol: asyncio.BaseProtocol = handler
        if context is not None:
            # create_server's own TLS would show us connections only when they have shaken hands,
            # and a client that never does is just what has to be counted.
            protocol = cast(Any, SSLProtocol)(
                asyncio.get_running_loop(),
                handler,
                context,
                waiter=None,
                server_side=True,
                ssl_handshake_timeout=self.limits.header_seconds,
                ssl_shutdown_timeout=FAREWELL,
            )
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def waits(self, handler: "GuardedHandler") -> None:
        """Note that a connection has had its answer, and waits for its client from now on."""
        if handler in self._inside:
            self._inside[handler] = self._inside.pop(handler)

    def close(self) -> None:
        """Cut off every connection that is still open."""
        for transport in self._inside.values():
            transport.abort()

    def _make_room(self) -> None:
        self._inside = {one: way for one, way in self._inside.items() if not way.is_closing()}
        while len(self._inside) >= self.limits.connections:
            # A request under way may be slow by our own fault, so those go last.
            idle = (one for one in self._inside if not one.busy)
            first = next(idle, None) or next(iter(self._inside))
            self._inside.pop(first).abort()


class _Arrival(asyncio.Protocol):
    def __init__(self, door: Door) -> None:
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand it over to the door, now that it is there."""
        self._door.enter(cast(asyncio.Transport, transport))


class GuardedHandler(RequestHandler):
    """One connection: aiohttp's, with our headers on its own errors and a deadline for writing."""

    __slots__ = ("_door",)

    def __init__(self, door: Door) -> None:
        # aiohttp's deadline for headers is the one for idle connections: 3,630 s unless told.
        super().__init__(
            door.server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=door.limits.header_seconds,
            lingering_time=FAREWELL,
        )
        self._door = door

    @property
    def busy(self) -> bool:
        """Whether a request is under way: its headers are complete, its answer is not out."""
        return self._request_in_progress

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve, unless the client's certificate has none of the wanted names."""
        super().connection_made(transport)
        wanted = self._door.gate.access.allowed_sans
        if wanted and wanted.isdisjoint(names_of(transport.get_extra_info("peercert"))):
            cast(asyncio.Transport, transport).abort()

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
        text = f"{HTTPStatus(status).phrase}\n"
        response = web.Response(status=status, text=text, headers=self._door.gate.headers)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; a client that does not read it loses its connection."""
        try:
            async with asyncio.timeout(self._door.limits.write_seconds):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            if self.transport is not None:
                # Not close(): that waits until the client has read what is buffered.
                self.transport.abort()
            return resp, True
        finally:
            self._door.waits(self)


def names_of(certificate: Mapping[str, Any] | None) -> set[str]:
    """Return the alternative names of a client's certificate, as `ssl` gives it; None has none."""
    names = (certificate or {}).get("subjectAltName", ())
    # OpenSSL writes IPv6 addresses in full.
    return {str(ip_address(name)) if kind == "IP Address" else name for kind, name in names}
