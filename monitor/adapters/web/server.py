"""The web server: sockets, threads and their end. It runs in the daemon's own event loop."""

import asyncio
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from aiohttp import web

from monitor.adapters.web.api import Api
from monitor.adapters.web.context import WebContext
from monitor.adapters.web.door import Door
from monitor.adapters.web.gate import Gate, with_password
from monitor.adapters.web.guard import Limits
from monitor.adapters.web.handlers import Handlers
from monitor.adapters.web.middlewares import (
    bodies_within,
    data_when_loaded,
    headers_from,
    tell_errors,
)
from monitor.config import Access
from monitor.core.model import Seconds

GRACE: Seconds = 2.0
"""How long requests in progress may take to end when the server stops."""


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

        `read_access` reads who may come in, now and whenever its files change; what it raises now
        is passed on.
        """
        limits = limits or _usual_limits()
        self._host, self._port, self._limits = host, port, limits
        self.gate = Gate(read_access)
        # Two, so that Prometheus does not wait for somebody's large page.
        self._scrapes = ThreadPoolExecutor(1, thread_name_prefix="scrape")
        self._views = ThreadPoolExecutor(1, thread_name_prefix="view")
        app = web.Application(
            # The first is the outermost: it tells what the others raise, too.
            middlewares=[
                tell_errors,
                with_password(self.gate),
                bodies_within(limits),
                data_when_loaded(context),
            ],
            client_max_size=limits.body_bytes,
        )
        app.on_response_prepare.append(headers_from(self.gate))
        app.add_routes(Handlers(context, self._scrapes, self._views).routes())
        app.add_routes(Api(context, self._views).routes())
        self._runner = web.AppRunner(app, shutdown_timeout=GRACE)
        self._listener: asyncio.Server | None = None
        self._door: Door | None = None

    @property
    def scheme(self) -> str:
        """`https`, or `http` without TLS: that never changes."""
        return "http" if self.gate.access.tls is None else "https"

    async def start(self) -> int:
        """Listen, and return the port; raises OSError if it cannot be had."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()
        # Not a TCPSite: that serves aiohttp's own protocol, which knows none of our limits.
        self._door = Door(server, self._limits, self.gate)
        # As many are accepted at one go, before the door can make room for any of them.
        backlog = min(100, max(4, self._limits.connections // 2))
        self._listener = await loop.create_server(
            self._door, self._host, self._port, backlog=backlog
        )
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Close the socket, then every connection; requests in progress have `GRACE` seconds."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()
        if self._door is not None:
            self._door.close()
        self.gate.passwords.close()
        for threads in (self._scrapes, self._views):
            threads.shutdown(wait=False, cancel_futures=True)


def _usual_limits() -> Limits:
    """Return the limits that leave most of the file descriptors to polls and the state."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = Limits()
    return replace(limits, connections=max(8, min(limits.connections, files // 4)))
