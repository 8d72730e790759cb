"""The JSON API: each path with its parameters, its view, and what OpenAPI says of them."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Protocol

from aiohttp import web

from monitor.adapters.web import schemas, serializers
from monitor.adapters.web.serializers import LIMIT
from monitor.core.model import Instant
from monitor.core.snapshot import Health, Snapshot
from monitor.core.text import clean

_HISTORY = 100  # events that are shown with a campaign
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class HistoryUnreadableError(Exception):
    """The database does not give the history; the message says why, without a path."""


class Program(Protocol):
    """What the web server asks of the program: on the loop, but for `history`."""

    version: str
    started_at: Instant
    external_url: str | None  # where users reach us

    def snapshot(self) -> Snapshot:
        """Return all environments as they are known now."""

    def metrics(self, openmetrics: bool, /) -> Callable[[], bytes]:
        """Return what renders the metrics as they are now; that is called in a thread."""

    def healthy(self) -> bool:
        """Say whether every poll loop turns."""

    def loaded(self) -> bool:
        """Say whether the state is loaded: before that there is nothing to show."""

    def ready(self) -> str | None:
        """Return why the monitor is not ready, or None when it is."""

    def reload(self) -> Awaitable[Sequence[str]]:
        """Take the config file anew; returns its problems."""

    def history(self, *, limit: int, **wanted: Any) -> schemas.EventsAnswer:
        """Return events, newest first, in a thread; raises HistoryUnreadableError."""


_Make = Callable[[], Any]


def _status(program: Program) -> _Make:
    snapshot, not_ready = program.snapshot(), program.ready()
    return lambda: schemas.StatusAnswer(
        version=program.version,
        started_at=program.started_at,
        # The wall clock may have been set back since.
        uptime_seconds=max(0.0, snapshot.now - program.started_at),
        ready=not_ready is None,
        not_ready=not_ready,
        environments=[serializers.environment(one) for one in snapshot.environments.values()],
    )


def _campaigns(program: Program, **query: Any) -> _Make:
    snapshot = program.snapshot()
    if "environment" in query:
        _read("environment", query["environment"], partial(_one_of, snapshot.environments))
    return partial(serializers.campaigns_page, snapshot, **query)


def _campaign(program: Program, environment: str, campaign_id: str) -> _Make:
    of = program.snapshot().environments.get(environment)
    entry = None if of is None else of.campaigns.get(campaign_id)
    if of is None or entry is None:
        raise web.HTTPNotFound(text="there is no such campaign")
    asked = {"environment": environment, "campaign_id": campaign_id}

    def make() -> schemas.CampaignDetailAnswer:
        """Say what the snapshot knows, with the history where it can be read."""
        try:
            history = program.history(limit=_HISTORY, **asked).events
        except HistoryUnreadableError:
            history = None
        shape, known = schemas.CampaignDetailAnswer, serializers.campaign(of, entry)
        return serializers.answer_of(shape, known, history=history)

    return make


def _alerts(program: Program, **query: Any) -> _Make:
    return partial(serializers.alerts_page, program.snapshot(), **query)


def _events(program: Program, **query: Any) -> _Make:
    return partial(program.history, **{"limit": LIMIT, **query})


def _one_of(words: Collection[str], value: str) -> str:
    if value not in words:
        raise ValueError(f"one of {', '.join(words)}")
    return value


def _integer(least: int, most: int, value: str) -> int:
    # Digits only: int() takes blanks, underscores and other scripts' digits, too.
    if re.fullmatch(r"\d{1,19}", value, re.ASCII) and least <= int(value) <= most:
        return int(value)
    raise ValueError(f"an integer from {least} to {most}")


def _key(parts: int, value: str) -> tuple[str, ...]:
    if value.count("/") != parts - 1:
        raise ValueError("the `next` of the page before")
    return tuple(value.split("/"))


def _instant(value: str) -> Instant:
    with suppress(ValueError):
        if _RFC3339.fullmatch(value):
            return datetime.fromisoformat(value).timestamp()
    raise ValueError("an RFC 3339 time such as 2026-10-23T09:30:00Z")


class Parameter(NamedTuple):
    """What OpenAPI says of a parameter; `read` raises ValueError with what it expects."""

    about: str
    schema: Mapping[str, Any] = {"type": "string"}
    read: Callable[[str], Any] = str


class Endpoint(NamedTuple):
    """A path: `view` gets the program and the parameters, and returns what makes the answer."""

    summary: str
    answer: type
    view: Callable[..., _Make]
    parameters: Mapping[str, Parameter] = {}

    def ask(self, program: Program, request: web.Request) -> _Make:
        """Return what makes the answer, in a thread; raises HTTPBadRequest, HTTPNotFound."""
        in_path, query = request.match_info, dict[str, Any]()
        known = self.parameters.keys() - in_path.keys()
        for name in request.query:
            if name not in known:
                what = f"one of {', '.join(sorted(known))}" if known else "no parameter at all"
                raise web.HTTPBadRequest(text=f"expected {what}, got {clean(name, 64)!r}")
            values = request.query.getall(name)
            # Of these alone there may be several.
            if len(values) > 1 and name != "health":
                raise web.HTTPBadRequest(text=f"{name}: expected one value, got {len(values)}")
            read = [_read(name, value, self.parameters[name].read) for value in values]
            query[name] = read if name == "health" else read[0]
        return self.view(program, **in_path, **query)


def _paged(what: str, read_next: Callable[[str], Any]) -> dict[str, Parameter]:
    limit = {"type": "integer", "minimum": 1, "maximum": LIMIT, "default": LIMIT}
    return {
        "next": Parameter("next of the page before", read=read_next),
        "limit": Parameter(f"{what} a page", limit, partial(_integer, 1, LIMIT)),
    }


_ENVIRONMENT = {"environment": Parameter("only of this environment")}
_HEALTHS = [health.value for health in Health]
_OF_HEALTH = {"type": "array", "items": {"enum": _HEALTHS}}
_HEALTH = Parameter("only of this health; may be repeated", _OF_HEALTH, partial(_one_of, _HEALTHS))
_OF_CAMPAIGNS = {**_ENVIRONMENT, "health": _HEALTH, **_paged("campaigns", partial(_key, 2))}
_OF_EVENTS = {
    **_ENVIRONMENT,
    "campaign_id": Parameter("only of this campaign"),
    "since": Parameter("not older", {"type": "string", "format": "date-time"}, _instant),
    # The largest integer of SQLite; a larger one is an OverflowError when it is bound.
    **_paged("events", partial(_integer, 0, 2**63 - 1)),
}
_IN_PATH = {
    "environment": Parameter("name of the environment"),
    "campaign_id": Parameter("id of the campaign"),
}

ENDPOINTS: Mapping[str, Endpoint] = {
    "/api/v1/status": Endpoint("The monitor and its environments", schemas.StatusAnswer, _status),
    "/api/v1/campaigns": Endpoint("Campaigns", schemas.CampaignsAnswer, _campaigns, _OF_CAMPAIGNS),
    "/api/v1/campaigns/{environment}/{campaign_id}": Endpoint(
        "One campaign with its history", schemas.CampaignDetailAnswer, _campaign, _IN_PATH
    ),
    "/api/v1/alerts": Endpoint(
        "Active alerts", schemas.AlertsAnswer, _alerts, _paged("alerts", partial(_key, 3))
    ),
    "/api/v1/events": Endpoint(
        "History of alert events, newest first", schemas.EventsAnswer, _events, _OF_EVENTS
    ),
}
"""What is served, and described in `/openapi.json`."""


def _read(name: str, value: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(value)
    except ValueError as error:
        what = f"{name}: expected {error}, got {clean(value, 64)!r}"
        raise web.HTTPBadRequest(text=what) from error
