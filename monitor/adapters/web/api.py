"""The JSON API: each path with its view and its parameters, as they are read and described."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

from aiohttp import web

from monitor.adapters.web import history, schemas, serializers
from monitor.adapters.web.history import EventsAnswer
from monitor.adapters.web.serializers import LIMIT
from monitor.adapters.web.serializers import Key as Place
from monitor.config.keys import Key
from monitor.config.model import Web
from monitor.config.types import matching, one_of, whole_number
from monitor.core.explanation import OriginOf
from monitor.core.filters import Filters
from monitor.core.guards import Hold, NotRun
from monitor.core.model import Instant, Seconds
from monitor.core.rule import Target
from monitor.core.snapshot import Entry, EnvironmentSnapshot, Health, HistoryQuery, Snapshot
from monitor.core.text import clean
from monitor.serialize import Links


class HistoryUnreadableError(web.HTTPServiceUnavailable):
    """The database does not give the history; the message says why, without a path."""


class Program(Protocol):
    """What the web server asks of the program: on the loop, but for `history`."""

    version: str
    started_at: Instant
    external_url: str | None  # where users reach us

    @property
    def key(self) -> str:
        """What shows that somebody may read the state, by the key beside it; empty: nothing."""

    @property
    def web(self) -> Web:
        """What the config says of the web now."""

    @property
    def links(self) -> Links:
        """Where people are sent now."""

    def origins(self, target: Target, /) -> OriginOf:
        """Return what says where the settings of a campaign are set."""

    async def start_test(
        self, environment: str, campaign_id: str, by: str, /, *, force: bool, unblock: bool
    ) -> Instant | Hold | NotRun:
        """Begin a connection test for an operator, and return when; or why it was not."""

    def switch_tests(self, environment: str | None, by: str, /, *, on: bool) -> None:
        """Suspend or resume an environment's tests, or all; raises KeyError."""

    def snapshot(self) -> Snapshot:
        """Return all environments as they are known now."""

    def complete(self, snapshot: Snapshot, /) -> Snapshot:
        """Return it with what other replicas hold, in a thread."""

    def elsewhere(self, environment: str, /, *, to_act: bool) -> str | None:
        """Return the URL of the replica that is to answer for an environment; None: this one.

        Empty: none polls it now. `to_act`: more than what is known is asked for.
        """

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

    @property
    def retention(self) -> Seconds:
        """How long the history is kept."""

    def history(self, wanted: HistoryQuery, /) -> EventsAnswer:
        """Return events, newest first, in a thread; raises HistoryUnreadableError."""


def loaded(program: Program) -> Program:
    """Return the program once its state is loaded; raises HTTPServiceUnavailable before that."""
    # An empty answer would read as "nothing is wrong".
    if not program.loaded():
        raise web.HTTPServiceUnavailable(text="the state is not loaded yet")
    return program


def _status(program: Program, snapshot: Snapshot) -> schemas.StatusAnswer:
    return serializers.answer_of(
        schemas.StatusAnswer,
        program,
        snapshot,
        # The wall clock may have been set back since.
        uptime_seconds=max(0.0, snapshot.now - program.started_at),
        ready=snapshot.not_ready is None,
        environments=[serializers.environment(one) for one in snapshot.environments.values()],
    )


def _campaigns(
    _: Program, snapshot: Snapshot, limit: int = LIMIT, next: Place | None = None, **asked: Any
) -> schemas.CampaignsAnswer:
    page = serializers.campaigns_page(snapshot, limit, next, filters_of(snapshot, **asked))
    return cast(schemas.CampaignsAnswer, page)


def found(
    snapshot: Snapshot, environment: str, campaign_id: str
) -> tuple[EnvironmentSnapshot, Entry]:
    """Return a campaign with its environment; raises HTTPNotFound."""
    try:
        of = snapshot.environments[environment]
        return of, of.campaigns[campaign_id]
    except KeyError:
        raise web.HTTPNotFound(text="there is no such campaign") from None


def campaign(program: Program, snapshot: Snapshot, **asked: Any) -> schemas.CampaignDetailAnswer:
    """Return what is known of a campaign; raises HTTPNotFound."""
    of, entry = found(snapshot, **asked)
    detail = partial(serializers.campaign_detail, of, entry, program.origins(entry.target))
    try:
        newest = program.history(HistoryQuery(**asked)).events
        return detail(newest, history.days(program.history, program.retention, of, entry))
    except HistoryUnreadableError:
        return detail(None, None)


def _alerts(
    _: Program, snapshot: Snapshot, limit: int = LIMIT, next: Place | None = None, **asked: Any
) -> schemas.AlertsAnswer:
    return serializers.alerts_page(snapshot, limit, next, filters_of(snapshot, **asked))


def _events(program: Program, snapshot: Snapshot, **asked: Any) -> EventsAnswer:
    return program.history(history.query_of(snapshot, {"limit": LIMIT, **asked}))


_TEXT = Key(str, "text", {"type": "string"})
_LABEL = "label.NAME"  # one parameter for each name of a label
_LABELS = r"label\.[a-zA-Z_][a-zA-Z0-9_]*"


class Parameter(NamedTuple):
    """What OpenAPI says of a parameter; its text is read as that of a key of the config."""

    about: str
    key: Key = _TEXT
    repeated: bool = False


# As an object in OpenAPI, whose properties are parameters by themselves.
_OF_LABELS = {"type": "object", "patternProperties": {f"^{_LABELS}$": {"type": "string"}}}

FILTERS: Mapping[str, Parameter] = {
    "q": Parameter("only with this in the name, the id or the host; capitals or not"),
    "health": Parameter("only of this health; may be repeated", one_of(*Health), True),
    "environment": Parameter("only of this environment"),
    "rule": Parameter("only with an active alert of this rule", one_of(*history.ALL_RULES)),
    "host": Parameter("only on this SFTP host", matching(".+", "a host")),
    _LABEL: Parameter(
        "only with this label, such as label.team=retail", replace(_TEXT, schema=_OF_LABELS)
    ),
}
"""The parameters of `Filters`, those of labels as one."""


def read(name: str, value: str, key: Key) -> Any:
    """Return what a value means; raises HTTPBadRequest with what was expected."""
    try:
        # In a query `${` is nothing but text.
        return replace(key, expands=False).read(value)
    except ValueError:
        what = f"{name}: expected {key.expected}, got {clean(value, 64)!r}"
        raise web.HTTPBadRequest(text=what) from None


def read_query(
    known: Mapping[str, Parameter], request: web.Request, *, form: bool = False
) -> dict[str, Any]:
    """Return what is asked for, by parameter; raises HTTPBadRequest with what was expected.

    `form`: a browser sends the empty fields of a form, too, and those ask for nothing.
    """
    asked = dict[str, Any]()
    for name in dict.fromkeys(request.query):
        wanted = known.get(_LABEL if re.fullmatch(_LABELS, name) else name)
        if wanted is None:
            what = f"one of {', '.join(sorted(known))}" if known else "no parameter at all"
            raise web.HTTPBadRequest(text=f"expected {what}, got {clean(name, 64)!r}")
        values = [value for value in request.query.getall(name) if value or not form]
        if len(values) > 1 and not wanted.repeated:
            raise web.HTTPBadRequest(text=f"{name}: expected one value, got {len(values)}")
        found = [read(name, value, wanted.key) for value in values]
        if name.startswith("label.") and found:
            asked.setdefault("labels", {})[name.removeprefix("label.")] = found[0]
        elif found:
            asked[name] = found if wanted.repeated else found[0]
    return asked


def filters_of(snapshot: Snapshot, **asked: Any) -> Filters:
    """Return the filters that are asked for; raises HTTPBadRequest for an unknown environment."""
    if "environment" in asked:
        read("environment", asked["environment"], one_of(*snapshot.environments))
    return Filters(**asked)


class Endpoint(NamedTuple):
    """A path: `view` makes the answer of the program, its snapshot and the parameters."""

    summary: str
    view: Callable[..., Any]
    parameters: Mapping[str, Parameter] = {}
    form: bool = False  # the query comes from a form, with its empty fields

    def ask(self, program: Program, request: web.Request) -> Callable[[], Any]:
        """Return what makes the answer, in a thread; both may raise an HTTPException."""
        in_path = request.match_info
        known = {name: one for name, one in self.parameters.items() if name not in in_path}
        query, snapshot = read_query(known, request, form=self.form), program.snapshot()
        # In the thread, and only where others' environments may be among what is shown.
        return lambda: self.view(
            program, snapshot if in_path else program.complete(snapshot), **in_path, **query
        )


def _paged(
    what: str, pattern: str, convert: Callable[[str], Any] = lambda key: tuple(key.split("/"))
) -> dict[str, Parameter]:
    about, schema = "the `next` of the page before", {"type": "string"}
    after = Key(convert, about, schema, pattern=pattern)
    return {"next": Parameter("next of the page before", after), "limit": Parameter(what, _LIMIT)}


_LIMIT = whole_number(1, LIMIT)
_LIMIT.schema["default"] = LIMIT
_SINCE = Key(
    str,
    "an RFC 3339 time such as 2026-10-23T09:30:00Z, or a duration such as 8h",
    {"type": "string"},
    pattern=r"(?a:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)|[^T]*[a-z])",
    fits=lambda text: isinstance(history.instant_of(text, 0.0), float),
)

_OF_CAMPAIGNS = {**FILTERS, **_paged("campaigns a page", "[^/]*/[^/]*")}
_OF_ALERTS = {**FILTERS, **_paged("alerts a page", "[^/]*/[^/]*/[^/]*")}
OF_EVENTS = {
    "environment": FILTERS["environment"],
    "campaign_id": Parameter("only of this campaign, by id, ENV/ID or name; empty: of no campaign"),
    "rule": Parameter("only of this rule", FILTERS["rule"].key),
    "kind": Parameter("only of this kind", one_of(*history.KINDS)),
    "since": Parameter("not older than this time, or than so long ago", _SINCE),
    # One digit more might be too much for SQLite: an OverflowError when it is bound.
    **_paged("events a page", "[0-9]{1,18}", int),
}
"""The parameters of the history."""

IN_PATH = {
    "environment": Parameter("name of the environment"),
    "campaign_id": Parameter("id of the campaign"),
}
"""The parameters in paths."""

ENDPOINTS: Mapping[str, Endpoint] = {
    "/api/v1/status": Endpoint("The monitor and its environments", _status),
    "/api/v1/campaigns": Endpoint("Campaigns", _campaigns, _OF_CAMPAIGNS),
    "/api/v1/campaigns/{environment}/{campaign_id}": Endpoint(
        "One campaign, why its alerts fire or do not, and its history", campaign, IN_PATH
    ),
    "/api/v1/alerts": Endpoint("Active alerts", _alerts, _OF_ALERTS),
    "/api/v1/events": Endpoint("History of alert events, newest first", _events, OF_EVENTS),
}
"""What is served, and described in `/openapi.json`."""
