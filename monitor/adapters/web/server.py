"""The web server: its socket, the connections that it takes, its threads, and their end.

It runs in the daemon's own event loop. aiohttp leaves gaps that are closed here: no cap on
connections, no deadline for a client that does not read its answer, and parse errors that name its
version and lack our headers. Its TLS counts a connection when the handshake is over, so a client
that never ends it would hold a file descriptor for 60 s, and shows the certificate of the start for
ever; so each connection is counted when it is accepted, and shakes hands by the context of the day.
"""

import asyncio
import logging
import resource
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from monitor.adapters.web.api import Api
from monitor.adapters.web.auth import BasicAuth, WebConfigReloader
from monitor.adapters.web.context import WebContext
from monitor.adapters.web.handlers import Handlers
from monitor.adapters.web.security import (
    Limits,
    bodies_within,
    error_middleware,
    require_loaded,
)
from monitor.config import Access
from monitor.core.model import Seconds

STOP_GRACE: Seconds = 2.0
"""How long requests in progress may take to end when the server stops."""

CLOSE_GRACE: Seconds = 1.0
"""How long a client may take to end its body, or to close its TLS, when we close a connection."""

logger = logging.getLogger(__name__)


class WebServer:
    """Serves what a `WebContext` gives on one address; `host` "" is every interface."""

    def __init__(
        self,
        context: WebContext,
        host: str,
        port: int,
        limits: Limits | None = None,
        read_access: Callable[[], Access] = Access,
    ) -> None:
        """Prepare everything but the socket; a `port` of 0 takes a free one.

        `read_access` reads the web config file, now and whenever its files change; what it raises
        now is passed on.
        """
        limits = limits or _usual_limits()
        self._host, self._port, self._limits = host, port, limits
        self.web_config = WebConfigReloader(read_access)
        self._auth = BasicAuth()
        # Two, so that Prometheus does not wait for somebody's large page.
        self._scrapes = ThreadPoolExecutor(1, thread_name_prefix="scrape")
        self._views = ThreadPoolExecutor(1, thread_name_prefix="view")
        app = web.Application(
            # The first is the outermost: it answers for what the others raise, too.
            middlewares=[
                error_middleware,
                self._auth.required(self.web_config),
                bodies_within(limits),
                require_loaded(context),
            ],
            client_max_size=limits.body_bytes,
        )
        app.on_response_prepare.append(self._add_headers)
        app.add_routes(Handlers(context, self._scrapes, self._views).routes())
        app.add_routes(Api(context, self._views).routes())
        self._runner = web.AppRunner(app, shutdown_timeout=STOP_GRACE)
        self._listener: asyncio.Server | None = None
        self._limiter: ConnectionLimiter | None = None

    @property
    def scheme(self) -> str:
        """`https`, or `http` without TLS: that never changes."""
        return "http" if self.web_config.access.tls is None else "https"

    async def start(self) -> int:
        """Listen, and return the port; raises OSError if it cannot be had."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        limiter = self._limiter = ConnectionLimiter(server, self._limits, self.web_config)
        # As many are accepted at one go, before the limiter can close any for them.
        backlog = min(100, max(4, self._limits.connections // 2))
        # Not a TCPSite: that makes aiohttp's own connections, which know none of our limits.
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: _AcceptedConnection(limiter), self._host, self._port, backlog=backlog
        )
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def _add_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self.web_config.headers)

    async def stop(self) -> None:
        """Close the socket, then every connection; requests in progress have `STOP_GRACE`."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()
        if self._limiter is not None:
            self._limiter.close()
        self._auth.close()
        for threads in (self._scrapes, self._views):
            threads.shutdown(wait=False, cancel_futures=True)


class ConnectionLimiter:
    """All open connections, those that still shake hands among them: never more than allowed.

    At the limit the connection that has been idle longest is closed.
    """

    def __init__(self, server: web.Server, limits: Limits, web_config: WebConfigReloader) -> None:
        """Let connections to aiohttp's `server`."""
        self.server, self.limits, self.web_config = server, limits, web_config
        # In the order in which they have become idle.
        self._open: dict[LimitedHandler, asyncio.Transport] = {}

    def admit(self, transport: asyncio.Transport) -> None:
        """Serve an accepted connection, at the cost of another one where there are too many."""
        self._make_room()
        handler = LimitedHandler(self)
        self._open[handler] = transport
        context = self.web_config.access.tls
        protocol: asyncio.BaseProtocol = handler
        if context is not None:
            protocol = cast(Any, SSLProtocol)(
                asyncio.get_running_loop(),
                handler,
                context,
                waiter=None,
                server_side=True,
                ssl_handshake_timeout=self.limits.header_seconds,
                ssl_shutdown_timeout=CLOSE_GRACE,
            )
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def idle(self, handler: "LimitedHandler") -> None:
        """Note that a connection has had its answer, and is idle from now on."""
        if handler in self._open:
            self._open[handler] = self._open.pop(handler)

    def close(self) -> None:
        """Close every connection that is still open."""
        for transport in self._open.values():
            transport.abort()

    def _make_room(self) -> None:
        self._open = {one: way for one, way in self._open.items() if not way.is_closing()}
        while len(self._open) >= self.limits.connections:
            # A request in progress may be slow by our own fault, so those go last.
            idle = (one for one in self._open if not one.busy)
            first = next(idle, None) or next(iter(self._open))
            self._open.pop(first).abort()


class _AcceptedConnection(asyncio.Protocol):
    """Stands in for the protocol of a connection until its transport is there."""

    def __init__(self, limiter: ConnectionLimiter) -> None:
        self._limiter = limiter

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the limiter what it can close."""
        self._limiter.admit(cast(asyncio.Transport, transport))


class LimitedHandler(RequestHandler):
    """aiohttp's handler of a connection, with our headers on its errors and a write deadline."""

    __slots__ = ("_limiter",)

    def __init__(self, limiter: ConnectionLimiter) -> None:
        # aiohttp's deadline for headers is the one for idle connections, by default 3,630 s.
        super().__init__(
            limiter.server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=limiter.limits.header_seconds,
            lingering_time=CLOSE_GRACE,
        )
        self._limiter = limiter

    @property
    def busy(self) -> bool:
        """Whether a request is in progress: its headers are complete, its answer is not out."""
        return self._request_in_progress

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve, unless the client's certificate has none of the allowed names."""
        super().connection_made(transport)
        allowed = self._limiter.web_config.access.allowed_sans
        if allowed and allowed.isdisjoint(names_of(transport.get_extra_info("peercert"))):
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
        headers = self._limiter.web_config.headers
        response = web.Response(status=status, text=text, headers=headers)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; a client that does not read it loses its connection."""
        try:
            async with asyncio.timeout(self._limiter.limits.write_seconds):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            if self.transport is not None:
                # Not close(): that waits until the client has read what is buffered.
                self.transport.abort()
            return resp, True
        finally:
            self._limiter.idle(self)


def names_of(certificate: Mapping[str, Any] | None) -> set[str]:
    """Return the alternative names of a client's certificate, as `ssl` gives it; None has none."""
    names = (certificate or {}).get("subjectAltName", ())
    # OpenSSL writes IPv6 addresses in full.
    return {str(ip_address(name)) if kind == "IP Address" else name for kind, name in names}


def _usual_limits() -> Limits:
    """Return the limits that leave most of the file descriptors to polls and the state."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = Limits()
    return replace(limits, connections=max(8, min(limits.connections, files // 4)))
