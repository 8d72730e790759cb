"""The JSON API: what may be asked for, and which view of the board answers."""

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import datetime
from functools import partial
from typing import Any

from aiohttp import web

from monitor.adapters.web import serializers
from monitor.adapters.web.context import HistoryUnreadableError, WebContext
from monitor.adapters.web.openapi import LIMIT, document
from monitor.adapters.web.responses import JSON, BadRequestError, as_json, respond
from monitor.adapters.web.schemas import CampaignDetailAnswer
from monitor.core.board import Board, Entry, EnvironmentBoard, Health, HistoryQuery
from monitor.core.model import Instant
from monitor.core.text import clean

HISTORY = 100
"""So many events are shown with a campaign."""

Query = Mapping[str, Sequence[str]]
"""Each parameter of a URL's query with its values."""

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)

# The largest integer of SQLite; a larger one is an OverflowError when it is bound.
_ROW_MAX = 2**63 - 1


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
        _query(request)
        context = self._context
        make = partial(
            serializers.status,
            context.board(),
            version=context.version,
            started_at=context.started_at,
            not_ready=context.ready(),
        )
        return await self._json(request, make)

    async def campaigns(self, request: web.Request) -> web.Response:
        """Answer with a page of the campaigns that are asked for."""
        query = _query(request, "environment", "health", "limit", "next")
        board = self._context.board()
        wanted, limit, after = campaigns_wanted(query, board), _limit(query), _after(query, 2)
        make = partial(serializers.campaigns_page, board, wanted, limit, after)
        return await self._json(request, make)

    async def campaign(self, request: web.Request) -> web.Response:
        """Answer with one campaign and its newest events, or 404."""
        _query(request)
        name, campaign_id = request.match_info["environment"], request.match_info["campaign_id"]
        environment = self._context.board().environments.get(name)
        if environment is None or campaign_id not in environment.campaigns:
            raise web.HTTPNotFound(text="there is no such campaign")
        asked = HistoryQuery(limit=HISTORY, environment=name, campaign_id=campaign_id)
        entry = environment.campaigns[campaign_id]

        def make() -> CampaignDetailAnswer:
            """Say what the board knows, with the history where it can be read."""
            try:
                history = self._context.events(asked).events
            except HistoryUnreadableError:
                history = None
            return serializers.campaign(environment, entry, history)

        return await self._json(request, make)

    async def alerts(self, request: web.Request) -> web.Response:
        """Answer with a page of the active alerts."""
        query = _query(request, "limit", "next")
        board, limit, after = self._context.board(), _limit(query), _after(query, 3)
        return await self._json(request, partial(serializers.alerts_page, board, limit, after))

    async def events(self, request: web.Request) -> web.Response:
        """Answer with a page of the history."""
        query = _query(request, "environment", "campaign_id", "since", "limit", "next")
        asked = HistoryQuery(
            limit=_limit(query),
            environment=_single(query, "environment"),
            campaign_id=_single(query, "campaign_id"),
            since=_since(query),
            cursor=_integer(query, "next", 0, _ROW_MAX),
        )
        try:
            return await self._json(request, partial(self._context.events, asked))
        except HistoryUnreadableError as error:
            raise web.HTTPServiceUnavailable(text=serializers.text(str(error))) from error

    async def openapi(self, request: web.Request) -> web.Response:
        """Answer with the description of this API."""
        return await respond(request, self._threads, lambda: self._openapi, JSON)

    async def _json(self, request: web.Request, make: Callable[[], Any]) -> web.Response:
        return await respond(request, self._threads, lambda: as_json(make()), JSON)


def campaigns_wanted(query: Query, board: Board) -> serializers.Wanted:
    """Return the filter that `environment` and `health` (repeatable) ask for.

    Raises BadRequestError, for an environment that is not there, too: no campaigns would read as
    nothing wrong.
    """
    environment = _single(query, "environment")
    if environment is not None and environment not in board.environments:
        raise _expected("environment", f"one of {', '.join(board.environments)}", environment)
    healths = query.get("health", ())
    for value in healths:
        if value not in list(Health):
            raise _expected("health", f"one of {', '.join(Health)}", value)

    def wanted(of: EnvironmentBoard, entry: Entry) -> bool:
        """Return whether the campaign passes both filters."""
        return (environment is None or of.status.name == environment) and (
            not healths or of.health(entry) in healths
        )

    return wanted


def _query(request: web.Request, *known: str) -> Query:
    """Return the parameters of a request's query; raises BadRequestError for an unknown one."""
    for name in request.query:
        if name not in known:
            what = f"one of {', '.join(sorted(known))}" if known else "no parameter at all"
            raise BadRequestError(f"expected {what}, got {clean(name, 64)!r}")
    return {name: request.query.getall(name) for name in request.query}


def _single(query: Query, name: str) -> str | None:
    values = query.get(name, ())
    if len(values) > 1:
        raise BadRequestError(f"{name}: expected one value, got {len(values)}")
    return values[0] if values else None


def _limit(query: Query) -> int:
    return _integer(query, "limit", 1, LIMIT) or LIMIT


def _after(query: Query, parts: int) -> serializers.Key | None:
    value = _single(query, "next")
    if value is None:
        return None
    key = tuple(value.split("/"))
    if len(key) != parts:
        raise _expected("next", "the `next` of the page before", value)
    return key


def _integer(query: Query, name: str, least: int, most: int) -> int | None:
    value = _single(query, name)
    if value is None:
        return None
    # Digits only: int() takes blanks, underscores and other scripts' digits, too.
    if re.fullmatch(r"\d{1,19}", value, re.ASCII) and least <= int(value) <= most:
        return int(value)
    raise _expected(name, f"an integer from {least} to {most}", value)


def _since(query: Query) -> Instant | None:
    value = _single(query, "since")
    if value is None:
        return None
    if _RFC3339.fullmatch(value):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            pass
    raise _expected("since", "an RFC 3339 time such as 2026-10-23T09:30:00Z", value)


def _expected(name: str, what: str, value: str) -> BadRequestError:
    return BadRequestError(f"{name}: expected {what}, got {clean(value, 64)!r}")
