"""From a snapshot to the pages: HTML that needs no script. Pure, for any thread."""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from monitor.adapters.web.api import (
    IN_PATH,
    OF_EVENTS,
    Endpoint,
    HistoryUnreadableError,
    Program,
    campaign,
)
from monitor.adapters.web.history import ALL_RULES, KINDS, counted, instant_of, query_of
from monitor.adapters.web.parameters import FILTERS, Parameter, filters_of
from monitor.adapters.web.rows import ROWS, Row, banners, groups_of, on_page, row_of
from monitor.adapters.web.schemas import CampaignDetailAnswer
from monitor.adapters.web.serializers import ALL, text
from monitor.config.types import whole_number
from monitor.core.filters import Filters
from monitor.core.snapshot import Health, Snapshot, worst_firing
from monitor.core.text import relative, rfc3339, span
from monitor.serialize import Links, to_json

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
