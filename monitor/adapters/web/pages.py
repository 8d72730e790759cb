"""From a snapshot to rows, in which order, and to the pages: HTML that needs no script. Pure."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from monitor.adapters.web.api import (
    FILTERS,
    IN_PATH,
    OF_EVENTS,
    Endpoint,
    HistoryUnreadableError,
    Parameter,
    Program,
    campaign,
    filters_of,
)
from monitor.adapters.web.history import ALL_RULES, KINDS, counted, instant_of, query_of
from monitor.adapters.web.schemas import CampaignDetailAnswer
from monitor.adapters.web.serializers import ALL, text
from monitor.config.types import whole_number
from monitor.core.alerts import Impact
from monitor.core.explanation import why_unread
from monitor.core.filters import Filters
from monitor.core.model import Instant, Severity
from monitor.core.snapshot import (
    ActiveAlert,
    Entry,
    EnvironmentSnapshot,
    Health,
    Snapshot,
    doubts,
    worst_firing,
)
from monitor.core.text import relative, rfc3339, span
from monitor.serialize import Links, to_json

ROWS: Final = 100  # campaigns on a page
FIRST: Final = 25  # campaigns of a group; its others come after all groups
STATES: Final = (
    *list(Health)[:-1], "info", "pending", "partly unknown", "muted", Health.HEALTHY
)  # fmt: skip
"""What a campaign is shown as, in the order of the page; of the last two each has but a line."""

_QUIET, _LED = STATES[-2:], ("pending", Health.CRITICAL, Health.WARNING)
_SHOWN_AS = ("firing", "pending", "muted")

_NO_LINKS: Final = Links("")
_TEMPLATES = Environment(
    loader=PackageLoader("monitor.adapters.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(
    text=text,
    exact=rfc3339,
    span=span,
    ago=lambda at, now: relative(now - (instant_of(at, now) if isinstance(at, str) else at)),
)


class Row(NamedTuple):
    """A campaign as it is shown: under `title`, a rule or why it is unknown, and since when.

    `alerts` begin with that rule's, at whose `host` it is; under none it is at no host. `why` says
    what is unknown of it, where something is.
    """

    environment: EnvironmentSnapshot
    entry: Entry
    health: Health
    state: str
    title: str
    since: Instant
    host: str
    alerts: Sequence[ActiveAlert]
    why: str

    @property
    def led(self) -> bool:
        """Whether it stands under a rule."""
        return bool(self.alerts) and self.alerts[0].alert.rule == self.title

    @property
    def impact(self) -> Impact:
        """What is at stake now."""
        return self.entry.impact(self.environment.now)


class Part(NamedTuple):
    """Rows of a group, the oldest first: of `rows` those that are `shown`, from `begin` on."""

    rows: Sequence[Row]
    shown: Sequence[Row]
    begin: int


def _urgency(active: ActiveAlert, rule: str = "") -> tuple[Any, ...]:
    """Return what alerts are sorted by: those that fire first, of them those of `rule`, if any."""
    alert = active.alert
    severity, since = [*Severity].index(active.severity), alert.since or 0.0
    return _SHOWN_AS.index(alert.shown_as), rule not in ("", alert.rule), severity, since


def row_of(rule: str, environment: EnvironmentSnapshot, entry: Entry) -> Row:
    """Return a campaign's row; it stands under `rule`, if any, where that fires."""
    health = environment.health(entry)
    alerts, known = [*entry.active_alerts()], entry.status.last_known
    if len(alerts) > 1:
        alerts.sort(key=partial(_urgency, rule=rule))
    config, shown_as = known.config, alerts[0].alert.shown_as if alerts else ""
    why, state = _unknown(environment, entry), str(health)
    if health is Health.HEALTHY:
        disabled = config is not None and not config.is_enabled
        quiet = disabled or entry.target.muted_status is not None
        calm = "muted" if quiet else "partly unknown" if why else state
        state = {"": calm, "firing": "info"}.get(shown_as, shown_as)
    title, since, host = why or "unknown", known.last_read_at or 0.0, ""
    if state in _QUIET:
        title, since = "", 0.0  # by name alone, all together
    elif shown_as == "firing" or state in _LED:
        title, since = alerts[0].alert.rule, alerts[0].alert.since or since
        host = config.host if config else ""
    return Row(environment, entry, health, state, title, since, host, alerts, why)


def _unknown(environment: EnvironmentSnapshot, entry: Entry) -> str:
    """Return why a campaign, or what rules say of it, is unknown; empty: it is not."""
    if why := why_unread(environment, entry):
        return why
    if entry.findings is None:  # which are never stored: what others hold is shown without
        return "not read since the start" if environment.holder is None else ""
    return "; ".join(doubts((one.verdict, one.summary) for one in entry.findings.values()))


def groups_of(rows: Iterable[Row]) -> Sequence[Sequence[Row]]:
    """Return the rows of the same trouble at the same place together: the worst and oldest first.

    Where it has but one campaign at its host, it is together with others of that trouble.
    """
    ordered = sorted(rows, key=lambda row: (row.since, row.entry.target.name))
    crowds = Counter((row.state, row.title, row.host) for row in ordered)
    groups = dict[tuple[str, str, str], list[Row]]()
    for row in ordered:
        place = row.state, row.title, row.host
        groups.setdefault(place if crowds[place] > 1 else (*place[:2], ""), []).append(row)
    return sorted(groups.values(), key=lambda group: STATES.index(group[0].state))


def on_page(groups: Sequence[Sequence[Row]], page: int) -> Iterator[Part]:
    """Yield what is on a page: the first rows of each group, then the others, the quiet last."""
    loud = [group for group in groups if group[0].state not in _QUIET]
    pieces = [(group, 0, FIRST) for group in loud] + [(group, FIRST, len(group)) for group in loud]
    skip, left = (page - 1) * ROWS, ROWS
    for group, begin, end in pieces + [(group, 0, len(group)) for group in groups[len(loud) :]]:
        rows = group[begin:end][skip : skip + left]
        if rows:
            yield Part(group, rows, begin + skip)
        skip, left = max(0, skip - len(group[begin:end])), left - len(rows)


def banners(snapshot: Snapshot) -> Sequence[Sequence[tuple[EnvironmentSnapshot, ActiveAlert]]]:
    """Return the environments' own alerts, those of a rule together; muted ones are left out."""
    all_own = ((of, one) for of in snapshot.environments.values() for one in of.active_alerts())
    own = [(of, active) for of, active in all_own if active.alert.muted_by is None]
    found = dict[tuple[str, str], list[tuple[EnvironmentSnapshot, ActiveAlert]]]()
    for of, active in sorted(own, key=lambda each: _urgency(each[1])):
        found.setdefault((active.alert.rule, active.alert.shown_as), []).append((of, active))
    return list(found.values())


def _campaign(program: Program, snapshot: Snapshot, **asked: Any) -> bytes:
    return campaign_page(campaign(program, snapshot, **asked), program.version)


def campaign_page(detail: CampaignDetailAnswer, version: str) -> bytes:
    """Return a campaign's page in UTF-8."""
    it = to_json(detail)
    return _rendered("campaign.html", it=it, now=detail.as_of, version=version, root="../../")


def _events(program: Program, snapshot: Snapshot, **asked: Any) -> bytes:
    answer = program.history(query_of(snapshot, asked))
    newest = {name: value for name, value in asked.items() if name != "next"}
    return _rendered(
        "events.html",
        it=to_json(answer),
        now=snapshot.now,
        version=program.version,
        asked=asked,
        newest=newest,
        after={**newest, "next": answer.next} if answer.next else {},
        counted=counted(answer.counts),
        choices={"environment": snapshot.environments, "rule": ALL_RULES, "kind": KINDS},
    )


def _rendered(template: str, root: str = "./", **what: Any) -> bytes:
    page = _TEMPLATES.get_template(template)
    context = page.new_context({"root": root, **what})
    body = "".join(page.root_render_func(context)).encode()
    # Its macros and it hold each other: the rows of all campaigns would wait for the collector.
    context.parent.clear()
    return body


def overview_page(
    snapshot: Snapshot,
    version: str,
    filters: Filters = ALL,
    page: int = 1,
    links: Links = _NO_LINKS,
    happened: tuple[str, str] = ("", ""),
) -> bytes:
    """Return the overview in UTF-8: what is wrong with all campaigns, and those asked for.

    `happened`: since when, as it was asked, and what events there were.
    """
    all_rows = [row_of(filters.rule, *each) for each in snapshot.entries()]
    pairs, rows, since = filters.pairs(), all_rows, [("since", happened[0])] if happened[0] else []
    if pairs:
        rows = [one for one in all_rows if filters.takes(one.environment, one.entry)]

    def link(*changed: tuple[str, object], but: Container[tuple[str, str]] = ()) -> str:
        """Return where the page is with these filters set, and without others."""
        names = {name for name, _ in changed}
        kept = [pair for pair in pairs + since if pair[0] not in names and pair not in but]
        # A lone surrogate of a label or host cannot be in a URL.
        query = urlencode([*kept, *changed], errors="replace")
        return f"?{query}" if query else "./"

    return _rendered(
        "overview.html",
        version=version,
        snapshot=snapshot,
        links=links,
        **_of_all(snapshot, all_rows),
        found=len(rows),
        parts=list(on_page(groups_of(rows), page)),
        page=page,
        pages=-(-len(rows) // ROWS) or 1,
        pairs=pairs,
        since=happened[0],
        happened=happened[1],
        link=link,
        rules=ALL_RULES,
    )


def _of_all(snapshot: Snapshot, rows: Sequence[Row]) -> dict[str, Any]:
    """Return what the page says of everything, whatever is asked for."""
    healths = Counter(row.health for row in rows)
    ill = Counter(worst_firing(of.active_alerts()) for of in snapshot.environments.values())
    ill[Health.HEALTHY] = 0
    return {
        "healths": {health: healths[health] for health in Health},
        "worst": next((one for one in Health if healths[one] + ill[one]), Health.HEALTHY),
        "ill": ill,
        "total": len(rows),
        "banners": banners(snapshot),
        "states": Counter(row.state for row in rows),
    }


def _overview(
    program: Program, snapshot: Snapshot, page: int = 1, since: str = "", **asked: Any
) -> bytes:
    filters, events = filters_of(snapshot, **asked), ""
    if since:
        wanted = query_of(snapshot, {"since": since, "kind": "alert", "limit": 1})
        try:
            events = counted(program.history(wanted).counts)
        except HistoryUnreadableError:
            events = "the history cannot be read now"
    happened = since, events
    return overview_page(snapshot, program.version, filters, page, program.links, happened)


_PAGE = Parameter("of the campaigns", whole_number(1, 10**6))
_OF_OVERVIEW = {**FILTERS, "page": _PAGE, "since": OF_EVENTS["since"]}
PAGES: Mapping[str, Endpoint] = {
    "/": Endpoint("The overview", _overview, _OF_OVERVIEW, form=True),
    "/campaigns/{environment}/{campaign_id}": Endpoint("A campaign", _campaign, IN_PATH),
    "/events": Endpoint("The history", _events, OF_EVENTS, form=True),
}
"""What is served to people, with the parameters of the JSON API."""
