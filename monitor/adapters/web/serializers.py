"""From a snapshot to what the JSON API answers. Pure, for any thread."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from operator import is_, itemgetter
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter

from monitor.adapters.web import schemas
from monitor.adapters.web.history import DayAnswer
from monitor.core.explanation import OriginOf, explain
from monitor.core.filters import Filters
from monitor.core.model import fingerprint
from monitor.core.rule import BaseRule
from monitor.core.snapshot import ActiveAlert, Entry, EnvironmentSnapshot, Findings, Snapshot
from monitor.core.text import clean
from monitor.serialize import TEXT_LIMITS, EventRecord, converters, shown_fields, to_json

LIMIT: Final = 1000  # items of a page: at most, and unless fewer are asked for
ALL: Final = Filters()
# What a list is ordered by, and paged on by: an item that is gone leaves its place behind.
Key = tuple[str, ...]
# Makes a text that came from outside fit to be shown.
text = partial(clean, limit=TEXT_LIMITS[0])

MOST: Final = 40_000  # texts, two of a campaign, 3 KB together
# What is encoded of campaigns, and the objects that it was made of.
_KEPT: Final[dict[Any, tuple[Sequence[Any], bytes]]] = {}

# Of which source each field of an answer is, by the types of both: looked up once.
_PLACES: Final[dict[Any, list[tuple[str, int]]]] = {}

# json's encoder takes four times as long, and twenty for a small value.
_dumped = TypeAdapter(object).serializer.to_json

_OF_CAMPAIGN: Final = converters(schemas.CampaignAnswer, reading=False)

_T = TypeVar("_T")


def as_json(answer: Any) -> bytes:
    """Return an answer as JSON in UTF-8."""
    # The items of a list one by one: the encoder holds the interpreter, and so the loop, meanwhile.
    parts = []
    fields = answer if isinstance(answer, dict) else to_json(answer)
    for name, value in fields.items():
        items = value if isinstance(value, list) else ()
        listed = b",".join(one if isinstance(one, bytes) else _dumped(one) for one in items)
        whole = b"[%b]" % listed if isinstance(value, list) else _dumped(value)
        parts.append(b"%b:%b" % (_dumped(name), whole))
    return b"{%b}" % b",".join(parts)


def campaigns_page(
    snapshot: Snapshot, limit: int = LIMIT, next: Key | None = None, filters: Filters = ALL
) -> Any:
    """Return a page of the campaigns that are asked for: a CampaignsAnswer of encoded ones."""
    keyed = ((key, (of, one)) for key, of, one in _in_order(snapshot) if one is not None)
    found, more = _page(keyed, filters.takes, limit, next)
    return {"campaigns": [_encoded(*each) for each in found], "next": more}


def alerts_page(
    snapshot: Snapshot, limit: int = LIMIT, next: Key | None = None, filters: Filters = ALL
) -> schemas.AlertsAnswer:
    """Return a page of the active alerts that are asked for."""
    keyed = (
        ((*key, active.alert.rule), (of, entry, active))
        for key, of, entry in _in_order(snapshot)
        for active in sorted((entry or of).active_alerts(), key=lambda one: one.alert.rule)
    )
    found, more = _page(keyed, filters.takes_alert, limit, next)
    return schemas.AlertsAnswer(alerts=[_alert(*each) for each in found], next=more)


def campaign(environment: EnvironmentSnapshot, entry: Entry) -> schemas.CampaignAnswer:
    """Return what is known of one campaign."""
    settled, polled = _settled(environment, entry), _polled(environment, entry)
    return schemas.CampaignAnswer(**settled, **polled, **_moment(environment, entry))


def _settled(environment: EnvironmentSnapshot, entry: Entry) -> dict[str, Any]:
    """Return what polls that find nothing new leave as it is."""
    target = entry.target
    return {
        "environment": target.environment,
        "campaign_id": target.campaign_id,
        "name": target.name,
        "labels": target.labels,
        "config": entry.status.last_known.config,
        "listing": environment.listed.get(target.campaign_id),
        "findings": _findings(environment.findings_of(entry), target.rules),
    }


def _polled(environment: EnvironmentSnapshot, entry: Entry) -> dict[str, Any]:
    """Return what polls and plans of tests change."""
    status, known = entry.status, entry.status.last_known
    return {
        "polled_at": status.polled_at,
        "evidence_at": known.last_read_at,
        "error": status.error,
        "configured": None if known.last_read_at is None else known.missing_since is None,
        "missing_since": known.missing_since,
        "last_passed_at": known.last_passed_at,
        "tests": _tests(environment, entry),
        "remembered": known,
        "failures": status.failures,
    }


def _moment(environment: EnvironmentSnapshot, entry: Entry) -> dict[str, Any]:
    """Return what time alone changes."""
    now, read_at = environment.now, entry.status.last_known.last_read_at
    impact = entry.impact(now)
    return {
        "health": environment.health(entry),
        "evidence_age_seconds": None if read_at is None else max(0.0, now - read_at),
        "impact": impact.text or None,
        "impact_at": impact.at,
        "alerts": [_alert(environment, entry, active) for active in entry.active_alerts()],
    }


def _encoded(environment: EnvironmentSnapshot, entry: Entry) -> bytes:
    """Return a campaign as JSON: what neither polls nor time have changed is encoded once."""
    target, status = entry.target, entry.status
    place = target.environment, target.campaign_id
    listing, plan = environment.listed.get(place[1]), environment.planned.get(place[1])
    outdated = None if environment.is_current(entry) else status.polled_at
    found = target, status.last_known.config, entry.findings, listing, outdated
    settled = _kept(_settled, place, found, environment, entry)
    polled = _kept(_polled, place, (target, status, plan), environment, entry)
    moment = _part(_moment(environment, entry))
    return b"%b,%b,%b" % (settled[:-1], polled[1:-1], moment[1:])


def _part(values: Mapping[str, Any]) -> bytes:
    """Return some fields of a CampaignAnswer as JSON."""
    shown = {name: _OF_CAMPAIGN[name](value, TEXT_LIMITS[0]) for name, value in values.items()}
    return _dumped(shown)


def _kept(make: Callable[..., dict[str, Any]], place: Key, of: Sequence[Any], *how: Any) -> bytes:
    """Return what is made `how` and encoded; that of before while it is `of` the same objects."""
    key = make, place
    before, text = _KEPT.get(key, ((), b""))
    if not (before and all(map(is_, before, of))):
        if len(_KEPT) >= MOST:
            _KEPT.clear()  # campaigns that are gone are among them
        text = _part(make(*how))
        _KEPT[key] = of, text
    return text


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


def _in_order(
    snapshot: Snapshot,
) -> Iterator[tuple[Key, EnvironmentSnapshot, Entry | None]]:
    """Yield what lists are ordered by: each environment itself, then its campaigns by id."""
    for environment in sorted(snapshot.environments.values(), key=lambda one: one.status.name):
        name = environment.status.name
        yield (name, ""), environment, None
        for campaign_id, entry in sorted(environment.campaigns.items(), key=itemgetter(0)):
            yield (name, campaign_id), environment, entry


def _page(
    keyed: Iterable[tuple[Key, Any]], takes: Callable[..., bool], limit: int, after: Key | None
) -> tuple[list[Any], str | None]:
    """Return the first of these that are asked for, after a key, and the `next` of their page."""
    rest = (one for one in keyed if (after is None or one[0] > after) and takes(*one[1]))
    found = list(islice(rest, limit + 1))
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
    known = snapshot.status
    tests = schemas.EnvironmentTestsAnswer(
        enabled=snapshot.tests_on,
        suspended=snapshot.suspended,
        failing_since=known.tests.failing_since,
    )
    return answer_of(
        schemas.EnvironmentAnswer,
        known,
        snapshot,
        labels=snapshot.labels.labels,
        clock_ahead_seconds=snapshot.ahead,
        reachable=known.up,
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
