"""The JSON API: which view of the board answers which path."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

from aiohttp import web

from monitor.adapters.web import queries, views
from monitor.adapters.web.context import HistoryQuery, HistoryUnreadableError, WebContext
from monitor.adapters.web.large import large
from monitor.adapters.web.openapi import document, encode, encode_list


class Api:
    """Answers to every path of the JSON API; `threads` make them, and stay the caller's."""

    def __init__(self, context: WebContext, threads: Executor) -> None:
        """Make the description of the API; the rest is made when asked for."""
        self._context = context
        self._threads = threads
        self._openapi = document(context.version, context.external_url)

    def routes(self) -> list[web.RouteDef]:
        """Return every path; GET brings HEAD along."""
        return [
            web.get("/api/v1/status", self.status),
            web.get("/api/v1/campaigns", self.campaigns),
            web.get("/api/v1/campaigns/{environment}/{campaign_id}", self.campaign),
            web.get("/api/v1/alerts", self.alerts),
            web.get("/api/v1/events", self.events),
            web.get("/openapi.json", self.openapi),
        ]

    async def status(self, request: web.Request) -> web.Response:
        """Answer with the state of the monitor and of each environment."""
        queries.nothing_asked(_query(request))
        context = self._context
        make = partial(
            views.status,
            context.board(),
            version=context.version,
            shard=context.shard,
            started_at=context.started_at,
            not_ready=context.ready(),
        )
        return await self._json(lambda: encode(make()))

    async def campaigns(self, request: web.Request) -> web.Response:
        """Answer with the campaigns that are asked for."""
        board = self._context.board()
        wanted = queries.campaigns_wanted(_query(request), board)
        return await self._json(lambda: encode_list("campaigns", views.campaigns(board, wanted)))

    async def campaign(self, request: web.Request) -> web.Response:
        """Answer with one campaign and its newest events, or 404."""
        queries.nothing_asked(_query(request))
        name, campaign_id = request.match_info["environment"], request.match_info["campaign_id"]
        environment = self._context.board().environments.get(name)
        if environment is None or campaign_id not in environment.campaigns:
            raise web.HTTPNotFound(text="there is no such campaign")
        query = HistoryQuery(limit=queries.LIMIT_DEFAULT, environment=name, campaign_id=campaign_id)
        entry = environment.campaigns[campaign_id]

        def make() -> bytes:
            """Encode what the board knows, with the history where it can be read."""
            try:
                history = self._context.events(query).events
            except HistoryUnreadableError:
                history = None
            return encode(views.campaign(environment, entry, history))

        return await self._json(make)

    async def alerts(self, request: web.Request) -> web.Response:
        """Answer with every active alert."""
        queries.nothing_asked(_query(request))
        board = self._context.board()
        return await self._json(lambda: encode_list("alerts", views.alerts(board)))

    async def events(self, request: web.Request) -> web.Response:
        """Answer with one page of the history."""
        query = queries.history_query(_query(request))
        try:
            return await self._json(lambda: encode(views.events(self._context.events(query))))
        except HistoryUnreadableError as error:
            raise web.HTTPServiceUnavailable(text=views.text(str(error))) from error

    async def openapi(self, _request: web.Request) -> web.Response:
        """Answer with the description of this API."""
        return web.Response(body=self._openapi, content_type="application/json")

    async def _json(self, make: Callable[[], bytes]) -> web.Response:
        body = await asyncio.get_running_loop().run_in_executor(self._threads, make)
        return large(body, {"Content-Type": "application/json"})


def _query(request: web.Request) -> queries.Query:
    return {name: request.query.getall(name) for name in request.query}
