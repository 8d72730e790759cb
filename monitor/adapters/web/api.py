"""The JSON API: what may be asked for, and which view of the board answers."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from aiohttp import web

from monitor.adapters.web import serializers
from monitor.adapters.web.schemas import CampaignDetailAnswer, EventsAnswer
from monitor.adapters.web.serializers import LIMIT, Key
from monitor.core.board import Board, Health
from monitor.core.model import Instant
from monitor.core.text import clean

_HISTORY = 100  # events that are shown with a campaign
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)

_Make = Callable[[], Any]
_Reader = Callable[[str], Any]


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


View = Callable[[WebContext, web.Request], _Make]
"""Reads on the loop what is asked for, and returns what makes the answer, in a thread."""


def _status(context: WebContext, request: web.Request) -> _Make:
    _read_query(request)
    made_of = context.board(), context.version, context.started_at, context.ready()
    return partial(serializers.status, *made_of)


def _campaigns(context: WebContext, request: web.Request) -> _Make:
    board = context.board()
    environment, health = partial(_one_of, board.environments), partial(_one_of, list(Health))
    query = _read_query(request, partial(_key, 2), environment=environment, health=health)
    return partial(serializers.campaigns_page, board, **query)


def _campaign(context: WebContext, request: web.Request) -> _Make:
    _read_query(request)
    asked = dict(request.match_info)
    environment = context.board().environments.get(asked["environment"])
    entry = None if environment is None else environment.campaigns.get(asked["campaign_id"])
    if environment is None or entry is None:
        raise web.HTTPNotFound(text="there is no such campaign")

    def make() -> CampaignDetailAnswer:
        """Say what the board knows, with the history where it can be read."""
        try:
            history = context.events(limit=_HISTORY, **asked).events
        except HistoryUnreadableError:
            history = None
        return serializers.campaign_detail(environment, entry, history)

    return make


def _alerts(context: WebContext, request: web.Request) -> _Make:
    query = _read_query(request, partial(_key, 3))
    return partial(serializers.alerts_page, context.board(), **query)


def _events(context: WebContext, request: web.Request) -> _Make:
    # The largest integer of SQLite; a larger one is an OverflowError when it is bound.
    row = partial(_integer, 0, 2**63 - 1)
    query = _read_query(request, row, environment=str, campaign_id=str, since=_instant)
    return partial(context.events, **{"limit": LIMIT, **query})


VIEWS: Mapping[str, View] = {
    "/api/v1/status": _status,
    "/api/v1/campaigns": _campaigns,
    "/api/v1/campaigns/{environment}/{campaign_id}": _campaign,
    "/api/v1/alerts": _alerts,
    "/api/v1/events": _events,
}
"""The view of each path."""


def _read_query(
    request: web.Request, read_next: _Reader | None = None, **known: _Reader
) -> dict[str, Any]:
    """Return the parameters that a request gives; only `health` may be repeated, and is a list.

    A reader raises ValueError with what it expects. What has pages has `limit` and `next`, too.
    """
    if read_next is not None:
        known |= {"limit": partial(_integer, 1, LIMIT), "next": read_next}
    query = dict[str, Any]()
    for name in request.query:
        if name not in known:
            what = f"one of {', '.join(sorted(known))}" if known else "no parameter at all"
            raise web.HTTPBadRequest(text=f"expected {what}, got {clean(name, 64)!r}")
        values = request.query.getall(name)
        if len(values) > 1 and name != "health":
            raise web.HTTPBadRequest(text=f"{name}: expected one value, got {len(values)}")
        for value in values:
            try:
                read = known[name](value)
            except ValueError as error:
                what = f"{name}: expected {error}, got {clean(value, 64)!r}"
                raise web.HTTPBadRequest(text=what) from error
        query[name] = values if name == "health" else read
    return query


def _one_of(words: Collection[str], value: str) -> str:
    if value not in words:
        raise ValueError(f"one of {', '.join(words)}")
    return value


def _integer(least: int, most: int, value: str) -> int:
    # Digits only: int() takes blanks, underscores and other scripts' digits, too.
    if re.fullmatch(r"\d{1,19}", value, re.ASCII) and least <= int(value) <= most:
        return int(value)
    raise ValueError(f"an integer from {least} to {most}")


def _key(parts: int, value: str) -> Key:
    if value.count("/") != parts - 1:
        raise ValueError("the `next` of the page before")
    return tuple(value.split("/"))


def _instant(value: str) -> Instant:
    with suppress(ValueError):
        if _RFC3339.fullmatch(value):
            return datetime.fromisoformat(value).timestamp()
    raise ValueError("an RFC 3339 time such as 2026-10-23T09:30:00Z")
