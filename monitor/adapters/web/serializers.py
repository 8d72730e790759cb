"""From a snapshot to what the JSON API answers. Pure, for any thread."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from heapq import nsmallest
from operator import itemgetter
from typing import Any, Final, TypeVar

from monitor.adapters.web import schemas
from monitor.adapters.web.history import DayAnswer
from monitor.core.explanation import OriginOf, explain
from monitor.core.filters import Filters
from monitor.core.model import fingerprint
from monitor.core.rule import BaseRule
from monitor.core.snapshot import ActiveAlert, Entry, EnvironmentSnapshot, Findings, Snapshot
from monitor.core.text import clean
from monitor.serialize import TEXT_LIMITS, EventRecord, shown_fields

LIMIT: Final = 1000  # items of a page: at most, and unless fewer are asked for
ALL: Final = Filters()
# What a list is ordered by, and paged on by: an item that is gone leaves its place behind.
Key = tuple[str, ...]
# Makes a text that came from outside fit to be shown.
text = partial(clean, limit=TEXT_LIMITS[0])

# Of which source each field of an answer is, by the types of both: looked up once.
_PLACES: Final[dict[Any, list[tuple[str, int]]]] = {}

_T = TypeVar("_T")


def campaigns_page(
    snapshot: Snapshot, limit: int = LIMIT, next: Key | None = None, filters: Filters = ALL
) -> schemas.CampaignsAnswer:
    """Return a page of the campaigns that are asked for."""
    chosen = (
        ((of.status.name, entry.target.campaign_id), (of, entry))
        for of, entry in snapshot.entries()
        if filters.takes(of, entry)
    )
    found, more = _page(chosen, limit, next)
    return schemas.CampaignsAnswer(campaigns=[campaign(*each) for each in found], next=more)


def alerts_page(
    snapshot: Snapshot, limit: int = LIMIT, next: Key | None = None, filters: Filters = ALL
) -> schemas.AlertsAnswer:
    """Return a page of the active alerts that are asked for."""
    keyed = (
        ((of.status.name, entry.target.campaign_id if entry else "", active.alert.rule), each)
        for each in snapshot.active_alerts()
        for of, entry, active in [each]
        if filters.takes_alert(*each)
    )
    found, more = _page(keyed, limit, next)
    return schemas.AlertsAnswer(alerts=[_alert(*each) for each in found], next=more)


def campaign(environment: EnvironmentSnapshot, entry: Entry) -> schemas.CampaignAnswer:
    """Return what is known of one campaign."""
    known, last_known = entry.status, entry.status.last_known
    last_read_at = last_known.last_read_at
    age = None if last_read_at is None else max(0.0, environment.now - last_read_at)
    impact = entry.impact(environment.now)
    return answer_of(
        schemas.CampaignAnswer,
        entry.target,
        known,
        last_known,
        health=environment.health(entry),
        evidence_at=last_read_at,
        evidence_age_seconds=age,
        configured=None if last_read_at is None else last_known.missing_since is None,
        tests=_tests(environment, entry),
        impact=impact.text or None,
        impact_at=impact.at,
        listing=environment.listed.get(entry.target.campaign_id),
        remembered=last_known,
        findings=_findings(environment.findings_of(entry), entry.target.rules),
        alerts=[_alert(environment, entry, active) for active in entry.active_alerts()],
    )


def campaign_detail(
    environment: EnvironmentSnapshot,
    entry: Entry,
    origin: OriginOf,
    history: Sequence[EventRecord] | None,
    days: Sequence[DayAnswer] | None,
) -> schemas.CampaignDetailAnswer:
    """Return one campaign with why its alerts fire or do not, and its history."""
    return answer_of(
        schemas.CampaignDetailAnswer,
        campaign(environment, entry),
        as_of=environment.now,
        explanation=explain(environment, entry, origin),
        days=days,
        history=history,
    )


def _tests(environment: EnvironmentSnapshot, entry: Entry) -> schemas.TestsAnswer | None:
    tests, config = entry.status.tests, entry.status.last_known.config
    last = tests.last
    if last is None and not entry.target.tests.enabled:
        return None
    at, trigger, hold = environment.planned.get(entry.target.campaign_id) or (None, None, None)
    return schemas.TestsAnswer(
        last=None if last is None else answer_of(schemas.AttemptAnswer, last),
        on_record=config is not None and tests.on_record(config) is not None,
        next_at=at,
        next_trigger=trigger,
        held=None if hold is None else answer_of(schemas.HoldAnswer, hold),
    )


def answer_of(cls: type[_T], *sources: Any, **more: Any) -> _T:
    """Return an answer of `more`, and of what the sources have by the same names as its fields."""
    how: Any = cls, *map(type, sources), *more
    if (found := _PLACES.get(how)) is None:
        names = shown_fields(how[0]).keys() - more.keys()
        places = {name: [hasattr(one, name) for one in sources].index(True) for name in names}
        found = _PLACES[how] = [*places.items()]
    for name, place in found:
        more[name] = getattr(sources[place], name)
    return cls(**more)


def _page(
    keyed: Iterable[tuple[Key, _T]], limit: int, after: Key | None
) -> tuple[list[_T], str | None]:
    """Return the first items after a key, and the `next` of their page."""
    rest = (each for each in keyed if after is None or each[0] > after)
    found = nsmallest(limit + 1, rest, key=itemgetter(0))
    more = "/".join(found[limit - 1][0]) if len(found) > limit else None
    return [item for _, item in found[:limit]], more


def _alert(
    environment: EnvironmentSnapshot, entry: Entry | None, active: ActiveAlert
) -> schemas.AlertAnswer:
    alert, name, at = active.alert, environment.status.name, active.changes_at
    campaign_id = None if entry is None else entry.target.campaign_id
    return answer_of(
        schemas.AlertAnswer,
        alert,
        active,
        alert.fired_as or (environment if entry is None else entry).labels,
        environment=name,
        campaign_id=campaign_id,
        state=alert.shown_as,
        changes_in_seconds=None if at is None else max(0.0, at - environment.now),
        next_step=active.next_step,
        fingerprint=fingerprint(name, campaign_id, alert.rule),
    )


def environment(snapshot: EnvironmentSnapshot) -> schemas.EnvironmentAnswer:
    """Return the state of one environment."""
    known, suspended = snapshot.status, snapshot.suspended
    tests = schemas.EnvironmentTestsAnswer(
        enabled=snapshot.tests_on,
        suspended=suspended and answer_of(schemas.SuspensionAnswer, suspended, since=suspended.at),
        failing_since=known.tests.failing_since,
    )
    return answer_of(
        schemas.EnvironmentAnswer,
        known,
        snapshot,
        labels=snapshot.labels.labels,
        clock_ahead_seconds=snapshot.ahead,
        reachable=known.up,
        holder=snapshot.holder and answer_of(schemas.HolderAnswer, snapshot.holder),
        outage_since=known.outage_at,
        token_rejected_since=known.rejected_at,
        refused_since=known.refused_at,
        budget=answer_of(schemas.BudgetAnswer, snapshot),
        counts=schemas.CountsAnswer(**snapshot.counts()),
        tests=tests,
        sweep=answer_of(schemas.SweepAnswer, known, snapshot, campaigns=len(snapshot.campaigns)),
        findings=_findings(snapshot.findings, snapshot.rules),
        alerts=[_alert(snapshot, None, active) for active in snapshot.active_alerts()],
    )


def _findings(
    found: Findings | None, rules: Mapping[str, BaseRule]
) -> list[schemas.FindingAnswer] | None:
    made = partial(answer_of, schemas.FindingAnswer)
    return None if found is None else [made(found[name], rules[name], rule=name) for name in found]
