"""The web server: sockets, threads and their end. It runs in the daemon's own event loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from monitor.adapters.web.api import Api
from monitor.adapters.web.context import WebContext
from monitor.adapters.web.guard import Limits, guarded
from monitor.adapters.web.handlers import Handlers
from monitor.adapters.web.middlewares import (
    add_headers,
    bodies_within,
    data_when_loaded,
    tell_errors,
)
from monitor.core.model import Seconds

GRACE: Seconds = 2.0
"""How long requests in progress may take to end when the server stops."""

LIMITS = Limits()


class WebServer:
    """Serves what a `WebContext` gives on one address; `host` "" is every interface."""

    def __init__(self, context: WebContext, host: str, port: int, limits: Limits = LIMITS) -> None:
        """Prepare everything but the socket; a `port` of 0 takes a free one."""
        self._host, self._port, self._limits = host, port, limits
        # Two, so that Prometheus does not wait for somebody's large page.
        self._scrapes = ThreadPoolExecutor(1, thread_name_prefix="scrape")
        self._views = ThreadPoolExecutor(1, thread_name_prefix="view")
        app = web.Application(
            # The first is the outermost: it tells what the other two raise, too.
            middlewares=[tell_errors, bodies_within(limits), data_when_loaded(context)],
            client_max_size=limits.body_bytes,
        )
        app.on_response_prepare.append(add_headers)
        app.add_routes(Handlers(context, self._scrapes, self._views).routes())
        app.add_routes(Api(context, self._views).routes())
        self._runner = web.AppRunner(app, shutdown_timeout=GRACE)
        self._listener: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen, and return the port; raises OSError if it cannot be had."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()
        # Not a TCPSite: that serves aiohttp's own protocol, which knows none of our limits.
        self._listener = await loop.create_server(
            guarded(server, self._limits), self._host, self._port
        )
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Close the socket, then every connection; requests in progress have `GRACE` seconds."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()
        for threads in (self._scrapes, self._views):
            threads.shutdown(wait=False, cancel_futures=True)
