"""From a request to its answer: who may ask, what is asked for, and which view says it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from monitor.adapters.web import serializers
from monitor.adapters.web.auth import BasicAuth, WebConfigReloader, is_cross_site
from monitor.adapters.web.openapi import document
from monitor.adapters.web.responses import (
    API,
    JSON,
    accepts_gzip,
    as_json,
    chunked_response,
    error_response,
    instant,
    key,
    one_of,
    quality,
    read_query,
    render,
    row,
)
from monitor.adapters.web.schemas import CampaignDetailAnswer, EventsAnswer
from monitor.adapters.web.serializers import LIMIT, status_page, text
from monitor.core.board import Board, Health
from monitor.core.model import Instant, Seconds
from monitor.core.text import clean

_HISTORY = 100  # events that are shown with a campaign
_PROBLEM_CHARACTERS = 1024  # so much is shown of a problem of the config file
_OPENMETRICS = "application/openmetrics-text"
_Make = Callable[[], Any]

logger = logging.getLogger(__name__)


class HistoryUnreadableError(Exception):
    """The database does not give the history; the message says why, without a path."""


@dataclass(frozen=True, kw_only=True)
class WebContext:
    """All that the web server asks of the program; each callable is called on the loop.

    But for `events` (newest first, by `limit`, `environment`, `campaign_id`, `since`, and `next` of
    the page before): it is called in a thread, and may raise HistoryUnreadableError; and for what
    `metrics(openmetrics)` returns, which renders. `ready` says why the program is not (None: it
    is), `reload` the problems of the config file. `external_url` is where users reach us.
    """

    board: Callable[[], Board]
    metrics: Callable[[bool], Callable[[], bytes]]
    metrics_content_type: Callable[[bool], str]
    healthy: Callable[[], bool]
    ready: Callable[[], str | None]
    loaded: Callable[[], bool]
    reload: Callable[[], Awaitable[Sequence[str]]]
    events: Callable[..., EventsAnswer]
    version: str
    started_at: Instant
    external_url: str | None = None


class Handlers:
    """Answers to every path: of a view taken on the loop; what takes long is made in a thread."""

    def __init__(
        self, context: WebContext, config: WebConfigReloader, body_seconds: Seconds
    ) -> None:
        """Read the style sheet, and describe the API; the rest is made when asked for."""
        self._context, self._config, self._body_seconds = context, config, body_seconds
        self._auth = BasicAuth()
        # Two, so that Prometheus does not wait for somebody's large page.
        self._scrapes = ThreadPoolExecutor(1, thread_name_prefix="scrape")
        self._views = ThreadPoolExecutor(1, thread_name_prefix="view")
        self._rendering: dict[tuple[bool, bool], asyncio.Future[bytes]] = {}
        self._style = files("monitor.adapters.web").joinpath("static/style.css").read_bytes()
        self._openapi = document(context.version, context.external_url)

    def routes(self) -> list[web.RouteDef]:
        """Return every path; GET brings HEAD along."""
        views = {
            "/api/v1/status": self._status,
            "/api/v1/campaigns": self._campaigns,
            "/api/v1/campaigns/{environment}/{campaign_id}": self._campaign,
            "/api/v1/alerts": self._alerts,
            "/api/v1/events": self._events,
        }
        return [
            web.get("/", self._page),
            web.get("/static/style.css", self._stylesheet),
            web.get("/metrics", self._metrics),
            web.get("/-/healthy", self._healthy),
            web.get("/-/ready", self._ready),
            web.post("/-/reload", self._reload),
            web.get("/openapi.json", self._described),
            *(web.get(path, partial(self._json, view)) for path, view in views.items()),
        ]

    def close(self) -> None:
        """Let the threads end; nobody waits for them."""
        for threads in (self._auth.thread, self._scrapes, self._views):
            threads.shutdown(wait=False, cancel_futures=True)

    @web.middleware
    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer any request; whatever is raised becomes a status and one sentence."""
        try:
            await self._auth.require(request, self._config.access.users)
            await self._take_body(request)
            self._require_state(request)
            return await handler(request)
        except HistoryUnreadableError as error:
            return error_response(request, HTTPStatus.SERVICE_UNAVAILABLE, text(str(error)))
        except web.HTTPException as error:
            status = HTTPStatus(error.status)
            response = error_response(request, status, error.text or error.reason)
            for name in {"Allow", "WWW-Authenticate"} & error.headers.keys():
                response.headers[name] = error.headers[name]
            return response
        except Exception:
            logger.exception("%s %s could not be answered", request.method, request.path)
            sentence = "internal error; see the log"
            return error_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, sentence)

    async def _take_body(self, request: web.Request) -> None:
        """Take the body off the connection: none is used, and large ones are refused."""
        if request.body_exists:
            try:
                async with asyncio.timeout(self._body_seconds):
                    await request.read()
            except TimeoutError:
                raise web.HTTPRequestTimeout from None

    def _require_state(self, request: web.Request) -> None:
        is_data = request.path in {"/", "/metrics"} or request.path.startswith(API)
        known = request.match_info.http_exception is None
        # An empty answer would read as "nothing is wrong".
        if known and is_data and not self._context.loaded():
            raise web.HTTPServiceUnavailable(text="the state is not loaded yet")

    async def _made(
        self, request: web.Request, make: Callable[[], bytes], content_type: str
    ) -> web.Response:
        zipped = accepts_gzip(request)
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(self._views, render, make, zipped)
        return chunked_response(body, content_type, zipped=zipped)

    # -- for people, Prometheus, and whoever runs the program -------------------------------

    async def _page(self, request: web.Request) -> web.Response:
        context = self._context
        make = partial(status_page, context.board(), context.version, context.ready())
        return await self._made(request, make, "text/html; charset=utf-8")

    async def _stylesheet(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._style, content_type="text/css", charset="utf-8")

    async def _metrics(self, request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "")
        wanted = quality(accept, _OPENMETRICS)
        openmetrics = wanted > 0 and wanted >= quality(accept, "text/plain")
        zipped = accepts_gzip(request)
        # Who scrapes while a page is being made gets that page: a thousand cost as much as one.
        key = (openmetrics, zipped)
        if key not in self._rendering:
            make, loop = self._context.metrics(openmetrics), asyncio.get_running_loop()
            self._rendering[key] = loop.run_in_executor(self._scrapes, render, make, zipped)
            self._rendering[key].add_done_callback(lambda _: self._rendering.pop(key))
        # Others may wait for the same page: one request that is cancelled must not take it along.
        body = await asyncio.shield(self._rendering[key])
        content_type = self._context.metrics_content_type(openmetrics)
        return chunked_response(body, content_type, zipped=zipped, vary="Accept, Accept-Encoding")

    async def _healthy(self, _request: web.Request) -> web.Response:
        if self._context.healthy():
            return web.Response(text="healthy\n")
        return web.Response(status=503, text="the poll loop stands still\n")

    async def _ready(self, _request: web.Request) -> web.Response:
        not_ready = self._context.ready()
        if not_ready is None:
            return web.Response(text="ready\n")
        return web.Response(status=503, text=f"not ready: {text(not_ready)}\n")

    async def _reload(self, request: web.Request) -> web.Response:
        if is_cross_site(request.headers, self._context.external_url):
            raise web.HTTPForbidden(text="a page of another site may not ask for this")
        problems = await self._context.reload()
        if problems:
            lines = (f"{clean(problem, _PROBLEM_CHARACTERS)}\n" for problem in problems)
            return web.Response(status=500, text="".join(lines))
        return web.Response(text="reloaded\n")

    async def _described(self, request: web.Request) -> web.Response:
        return await self._made(request, lambda: self._openapi, JSON)

    # -- the JSON API: what is asked for, and what makes the answer --------------------------

    async def _json(
        self, view: Callable[[web.Request], _Make], request: web.Request
    ) -> web.Response:
        make = view(request)
        return await self._made(request, lambda: as_json(make()), JSON)

    def _status(self, request: web.Request) -> _Make:
        read_query(request)
        it = self._context
        return partial(serializers.status, it.board(), it.version, it.started_at, it.ready())

    def _campaigns(self, request: web.Request) -> _Make:
        board = self._context.board()
        environment, health = partial(one_of, board.environments), partial(one_of, list(Health))
        query = read_query(request, partial(key, 2), environment=environment, health=health)
        return partial(serializers.campaigns_page, board, **query)

    def _campaign(self, request: web.Request) -> _Make:
        read_query(request)
        asked = dict(request.match_info)
        environment = self._context.board().environments.get(asked["environment"])
        entry = environment and environment.campaigns.get(asked["campaign_id"])
        if environment is None or entry is None:
            raise web.HTTPNotFound(text="there is no such campaign")

        def make() -> CampaignDetailAnswer:
            """Say what the board knows, with the history where it can be read."""
            try:
                history = self._context.events(limit=_HISTORY, **asked).events
            except HistoryUnreadableError:
                history = None
            return serializers.campaign_detail(environment, entry, history)

        return make

    def _alerts(self, request: web.Request) -> _Make:
        query = read_query(request, partial(key, 3))
        return partial(serializers.alerts_page, self._context.board(), **query)

    def _events(self, request: web.Request) -> _Make:
        query = read_query(request, row, environment=str, campaign_id=str, since=instant)
        return partial(self._context.events, **{"limit": LIMIT, **query})
