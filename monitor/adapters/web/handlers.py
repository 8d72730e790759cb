"""What is answered to people, to Prometheus and to whoever runs the program."""

import asyncio
from concurrent.futures import Executor
from functools import partial
from importlib.resources import files

from aiohttp import web

from monitor.adapters.web.context import WebContext
from monitor.adapters.web.page import status_page
from monitor.adapters.web.responses import (
    accepts_gzip,
    chunked_response,
    quality,
    render,
    respond,
)
from monitor.adapters.web.security import is_cross_site
from monitor.adapters.web.serializers import text
from monitor.core.text import clean

PROBLEM_CHARACTERS = 1024
"""A problem of the config file is cut to this length."""

OPENMETRICS = "application/openmetrics-text"


class Handlers:
    """Answers to every path outside of the JSON API.

    `scrapes` and `views` are threads for what takes long; they stay the caller's.
    """

    def __init__(self, context: WebContext, scrapes: Executor, views: Executor) -> None:
        """Read the style sheet; the rest is made when asked for."""
        self._context = context
        self._scrapes = scrapes
        self._views = views
        self._rendering: dict[tuple[bool, bool], asyncio.Future[bytes]] = {}
        self._style = files("monitor.adapters.web").joinpath("static/style.css").read_bytes()

    def routes(self) -> list[web.RouteDef]:
        """Return every path with its method; GET brings HEAD along."""
        return [
            web.get("/", self.page),
            web.get("/static/style.css", self.style),
            web.get("/metrics", self.metrics),
            web.get("/-/healthy", self.healthy),
            web.get("/-/ready", self.ready),
            web.post("/-/reload", self.reload),
        ]

    async def page(self, request: web.Request) -> web.Response:
        """Answer with the status page."""
        context = self._context
        make = partial(status_page, context.board(), context.version, context.ready())
        return await respond(request, self._views, make, "text/html; charset=utf-8")

    async def style(self, _request: web.Request) -> web.Response:
        """Answer with the style sheet of the page."""
        return web.Response(body=self._style, content_type="text/css", charset="utf-8")

    async def metrics(self, request: web.Request) -> web.Response:
        """Answer with all metrics, in the format and the encoding that were asked for."""
        accept = request.headers.get("Accept", "")
        wanted = quality(accept, OPENMETRICS)
        openmetrics = wanted > 0 and wanted >= quality(accept, "text/plain")
        zipped = accepts_gzip(request)
        # Others may wait for the same page: one request that is cancelled must not take it along.
        body = await asyncio.shield(self._rendered(openmetrics, zipped))
        content_type = self._context.metrics_content_type(openmetrics)
        vary = "Accept, Accept-Encoding"
        return chunked_response(body, content_type, zipped=zipped, vary=vary)

    async def healthy(self, _request: web.Request) -> web.Response:
        """Answer 200 while the poll loop turns, 503 when it stands still."""
        if self._context.healthy():
            return web.Response(text="healthy\n")
        return web.Response(status=503, text="the poll loop stands still\n")

    async def ready(self, _request: web.Request) -> web.Response:
        """Answer 200 when the monitor does its work, else 503 and why it does not."""
        not_ready = self._context.ready()
        if not_ready is None:
            return web.Response(text="ready\n")
        return web.Response(status=503, text=f"not ready: {text(not_ready)}\n")

    async def reload(self, request: web.Request) -> web.Response:
        """Load the config file anew; answer 200, or 500 with all its problems."""
        if is_cross_site(request.headers, self._context.external_url):
            raise web.HTTPForbidden(text="a page of another site may not ask for this")
        problems = await self._context.reload()
        if problems:
            lines = (f"{clean(problem, PROBLEM_CHARACTERS)}\n" for problem in problems)
            return web.Response(status=500, text="".join(lines))
        return web.Response(text="reloaded\n")

    def _rendered(self, openmetrics: bool, zipped: bool) -> asyncio.Future[bytes]:
        # Who scrapes while a page is being made gets that page: a thousand cost as much as one.
        key = (openmetrics, zipped)
        if key not in self._rendering:
            make = self._context.metrics(openmetrics)
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._scrapes, render, make, zipped)
            self._rendering[key] = future
            future.add_done_callback(lambda _: self._rendering.pop(key))
        return self._rendering[key]
