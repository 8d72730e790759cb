"""The web server: aiohttp's, with a cap on connections, write deadlines, headers on any answer."""

import asyncio
import logging
import resource
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from monitor.adapters.web.api import Program
from monitor.adapters.web.auth import SECURITY_HEADERS, WebConfigReloader
from monitor.adapters.web.handlers import Handlers, error_response
from monitor.config import Access
from monitor.config.formats import is_loopback
from monitor.core.model import Seconds

_STOP_GRACE: Seconds = 2.0  # for requests in progress when the server stops
_CLOSE_GRACE: Seconds = 1.0  # for a client to end its body, or its TLS, when we close
_BODY_BYTES = 4096  # that a request may have; few need one

logger = logging.getLogger(__name__)


def _usual_connections() -> int:
    """Return how many leave most of the file descriptors to polls and the state."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(8, min(200, files // 4))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client, or all together, may take from us; TLS is set up in `header_seconds`."""

    connections: int = field(default_factory=_usual_connections)
    header_seconds: Seconds = 15.0
    body_seconds: Seconds = 15.0
    write_seconds: Seconds = 15.0  # to take the next 64 KB of an answer


class WebServer:
    """Serves what a `Program` shows on one address; `host` "" is every interface, `port` 0 any.

    `read_access` reads the web config file; what it raises at first is passed on.
    """

    def __init__(
        self,
        program: Program,
        host: str,
        port: int,
        limits: Limits | None = None,
        read_access: Callable[[], Access] = Access,
    ) -> None:
        self._host, self._port, self.limits = host, port, limits or Limits()
        self.web_config = WebConfigReloader(read_access)
        body_seconds, local = self.limits.body_seconds, is_loopback(host)
        self._handlers = Handlers(program, self.web_config, body_seconds, local=local)
        app = web.Application(middlewares=[self._handlers.answer], client_max_size=_BODY_BYTES)
        app.add_routes(self._handlers.routes())
        # The work of a client that has left is dropped.
        self._runner = web.AppRunner(app, shutdown_timeout=_STOP_GRACE, handler_cancellation=True)
        self._listener: asyncio.Server | None = None
        # All connections, those that still shake hands among them; the longest idle is the first.
        self._open: dict[LimitedHandler, asyncio.Transport] = {}

    async def start(self) -> int:
        """Listen, and return the port; raises OSError if it cannot be had."""
        await self._runner.setup()
        # As many are accepted at one go, before we can close any for them.
        backlog = min(100, max(4, self.limits.connections // 2))
        # Not a TCPSite: that makes aiohttp's own connections, which know none of our limits.
        make = partial(LimitedHandler, self, cast(web.Server, self._runner.server))
        create = asyncio.get_running_loop().create_server
        self._listener = await create(make, self._host, self._port, backlog=backlog)
        ports = [int(one.getsockname()[1]) for one in self._listener.sockets]
        if len({*ports}) > 1:
            # Of "any port" IPv4 and IPv6 got one each, of which we can name one.
            self._listener.close()
            self._listener = await create(make, self._host, ports[0], backlog=backlog)
        return ports[0]

    async def stop(self) -> None:
        """Close the socket, then every connection; requests in progress have 2 s."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()
        for transport in self._open.values():
            transport.abort()
        self._handlers.close()

    def admit(self, handler: "LimitedHandler", transport: asyncio.Transport) -> None:
        """Count a connection; at the limit the one that has been idle longest is closed for it."""
        self._open = {one: way for one, way in self._open.items() if not way.is_closing()}
        while len(self._open) >= self.limits.connections:
            # A request in progress may be slow by our own fault, so those go last.
            idle = (one for one in self._open if not one.busy)
            self._open.pop(next(idle, None) or next(iter(self._open))).abort()
        self._open[handler] = transport

    def sent(self, handler: "LimitedHandler", response: web.StreamResponse) -> None:
        """Note that a connection has had this answer, and is idle from now on."""
        self._handlers.sent(response)
        if handler in self._open:
            self._open[handler] = self._open.pop(handler)


class LimitedHandler(RequestHandler):
    """aiohttp's handler of a connection, with our headers on any answer and a write deadline."""

    def __init__(self, server: WebServer, inner: web.Server) -> None:
        # aiohttp's deadline for headers is the one for idle connections, by default 3,630 s.
        super().__init__(
            inner,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=server.limits.header_seconds,
            lingering_time=_CLOSE_GRACE,
            auto_decompress=False,
        )
        self._server = server

    @property
    def busy(self) -> bool:
        """Whether a request is in progress: its headers are complete, its answer is not out."""
        return self._request_in_progress

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection when it is accepted; and again when its TLS, if any, is set up."""
        # It is counted before TLS, whose config may change meanwhile.
        access, way = self._server.web_config.access, cast(asyncio.Transport, transport)
        # An answer is out once nothing of it waits here: else a client that does not read its end
        # would have us wait, when we close, for ever.
        plain = way.get_extra_info("sslcontext") is None
        # asyncio's TLS pauses at its limit, not above it: with 0 it would wait on an empty buffer.
        way.set_write_buffer_limits(high=0 if plain else 1)
        if plain:
            self._server.admit(self, way)
            if access.tls is not None:
                protocol = cast(Any, _Tls)(
                    self._loop,
                    self,
                    access.tls,
                    waiter=None,
                    server_side=True,
                    ssl_handshake_timeout=self._server.limits.header_seconds,
                    ssl_shutdown_timeout=_CLOSE_GRACE,
                )
                way.set_protocol(protocol)
                protocol.connection_made(way)
                return
        super().connection_made(way)
        allowed = access.allowed_sans
        if allowed and allowed.isdisjoint(names_of(way.get_extra_info("peercert"))):
            way.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to what cannot be handled; ConnectionError if one has begun already."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("a request could not be handled", exc_info=exc)
        response = error_response(request, status, HTTPStatus(status).phrase)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send any answer with our headers; a client that does not read it is cut off."""
        resp.headers.update({**SECURITY_HEADERS, **self._server.web_config.access.headers})
        seconds, time = self._server.limits.write_seconds, self._loop.time
        try:
            async with asyncio.timeout(seconds) as deadline:
                # By progress: a large answer over a slow line may take as long as it needs.
                request.writer.on_body_write = lambda *_: deadline.reschedule(time() + seconds)
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            if self.transport is not None:
                # Not close(): that waits until the client has read what is buffered.
                self.transport.abort()
            return resp, True
        finally:
            self._server.sent(self, resp)


class _Tls(SSLProtocol):
    """asyncio's, which also sends a client that is refused the alert of TLS that says why."""

    def _on_handshake_complete(self, handshake_exc: BaseException | None) -> None:
        if handshake_exc is not None:
            # Without it a scrape fails with nothing but the end of the connection.
            cast(Any, self)._process_outgoing()
        super()._on_handshake_complete(handshake_exc)


def names_of(certificate: Mapping[str, Any] | None) -> set[str]:
    """Return the alternative names of a client's certificate, as `ssl` gives it; None has none."""
    names = (certificate or {}).get("subjectAltName", ())
    # OpenSSL writes IPv6 addresses in full.
    return {str(ip_address(name)) if kind == "IP Address" else name for kind, name in names}
