"""The history as it is asked for and answered, and what it says of each of the last days."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from aiohttp import web

from monitor.config import parse_duration
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.model import DAY, EventKind, EventStatus, Instant, Seconds, Sentence, Severity
from monitor.core.rules import RULES
from monitor.core.snapshot import ActiveAlert, Entry, EnvironmentSnapshot, HistoryQuery, Snapshot
from monitor.core.text import clean, rfc3339
from monitor.serialize import EventRecord

KINDS: Final = {"alert": EventKind.ALERT, "test": EventKind.TEST, "change": EventKind.CHANGE}
"""The kinds of entries of the history, by the words to ask for them with."""

ALL_RULES: Final = (*RULES, *ENVIRONMENT_RULES)
DAYS: Final = 90  # today included
UNREAD: Final = {"api_unreachable", "token_rejected", "api_refusing"}
"""Alerts of an environment that keep its campaigns from being read."""

_ALWAYS: Final = {"firing": "fired", "resolved": "resolved"}  # said even of none
_WORDS: Final = {**_ALWAYS, "updated": "updated", "reminder": "reminded", "recorded": "recorded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsAnswer:
    """A page of events, newest first. next asks for the page after; null: the last.

    counts has how many of each status the filters let through, on all pages.
    """

    events: Sequence[EventRecord]
    counts: Mapping[str, int] = field(default_factory=dict)
    next: str | None


def counted(counts: Mapping[str, int]) -> str:
    """Return how many events there were, in words: `3 fired, 2 resolved`."""
    said = [status for status in _WORDS if counts.get(status) or status in _ALWAYS]
    return ", ".join(f"{counts.get(status, 0)} {_WORDS[status]}" for status in said)


def instant_of(since: str, now: Instant) -> Instant:
    """Return the instant that an RFC 3339 time, or a duration before `now`, means; ValueError."""
    if "T" in since:
        return datetime.fromisoformat(since).timestamp()
    return now - parse_duration(since)


def query_of(snapshot: Snapshot, asked: Mapping[str, Any]) -> HistoryQuery:
    """Return what these parameters ask for; may raise HTTPBadRequest."""
    query = dict(asked)
    if "since" in query:
        query["since"] = instant_of(query["since"], snapshot.now)
    if "kind" in query:
        query["kind"] = KINDS[query["kind"]]
    if query.get("campaign_id"):
        query |= _campaign(snapshot, query["campaign_id"], query.get("environment"))
    return HistoryQuery(**query)


def _campaign(snapshot: Snapshot, wanted: str, environment: str | None) -> dict[str, str]:
    """Return what asks for the campaign of that id, ENV/ID or name; one that is gone has an id."""
    targets = [one.target for _, one in snapshot.entries()]
    known = [one for one in targets if environment in (None, one.environment)]
    named = [f"{one.environment}/{one.campaign_id}" for one in known if one.name == wanted]
    if any(one.campaign_id == wanted for one in known):
        named = []
    if len(named) > 1:
        text = f"campaign_id: expected one of {', '.join(named)}: all have that name"
        raise web.HTTPBadRequest(text=clean(text, 1024))
    place, _, campaign_id = (named[0] if named else wanted).rpartition("/")
    if place and environment in (None, place):
        return {"environment": place, "campaign_id": campaign_id}
    return {"campaign_id": wanted}


@dataclass(frozen=True, slots=True)
class DayAnswer:
    """A day in UTC: the worst that fired; else unknown; or healthy, where all of it is known."""

    date: str
    state: str
    summary: Sentence


class Span(NamedTuple):
    """From when to when an alert fired; without a severity: why nothing is known of that time."""

    begin: Instant
    end: Instant
    what: str
    severity: Severity | None = None


def days(
    history: Callable[[HistoryQuery], EventsAnswer],
    kept: Seconds,
    environment: EnvironmentSnapshot,
    entry: Entry,
) -> list[DayAnswer]:
    """Return a campaign's last days, oldest first; events are `kept` so long."""
    now, known = environment.now, entry.status.last_known
    seen_at = known.first_seen_at or known.missing_since or now
    spans = [Span(0.0, seen_at, "not watched yet"), Span(0.0, now - kept, "no longer kept")]
    if not environment.is_current(entry):
        spans.append(Span(known.last_read_at or 0.0, now, "not read"))
    since, name = now - DAYS * DAY, environment.status.name
    asked = HistoryQuery(limit=1000, environment=name, kind=EventKind.ALERT, since=since)
    alerts = {entry.target.campaign_id: entry.active_alerts(), "": environment.active_alerts()}
    for campaign_id, active in alerts.items():
        found = history(replace(asked, campaign_id=campaign_id))
        if found.next is not None:
            spans.append(Span(0.0, found.events[-1].timestamp, "too many events"))
        fired = spans_of(found.events, active, now)
        spans += [one for one in fired if one.what not in ENVIRONMENT_RULES]
        spans += [one._replace(severity=None) for one in fired if one.what in UNREAD]
    today = now - now % DAY
    return [_day(spans, today - back * DAY) for back in reversed(range(DAYS))]


def spans_of(
    events: Sequence[EventRecord], alerts: Iterable[ActiveAlert], now: Instant
) -> list[Span]:
    """Return when alerts fired, by their events, newest first, and by what is active `now`."""
    going, spans = dict[str, tuple[Instant, Severity]](), list[Span]()
    for one in reversed(events):
        if one.status is not EventStatus.FIRING:
            # The event in which it fired is no longer kept: this one says since when it is true.
            since = min(one.since or one.timestamp, one.timestamp)
            going.setdefault(one.rule, (since, one.previous_severity or one.severity))
        if one.rule in going:
            begin, severity = going.pop(one.rule)
            spans.append(Span(begin, one.timestamp, one.rule, severity))
        if one.status is not EventStatus.RESOLVED:
            going[one.rule] = one.timestamp, one.severity
    for active in alerts:
        if active.alert.notified:
            own = active.alert.fired_at or now, active.severity
            begin, severity = going.pop(active.rule.name, own)
            spans.append(Span(begin, now, active.rule.name, severity))
    # What is left fires no more, though no event says when that ended.
    return spans + [Span(at, at, name, severity) for name, (at, severity) in going.items()]


def _day(spans: Iterable[Span], begin: Instant) -> DayAnswer:
    within = [
        one for one in spans if one.begin < begin + DAY and (one.end > begin or one.begin >= begin)
    ]
    said = dict[str, str]()
    for severity in (*Severity, None):
        what = dict.fromkeys(one.what for one in within if one.severity is severity)
        said |= {severity or "unknown": ", ".join(what)} if what else {}
    summary = "; ".join(f"{state}: {what}" for state, what in said.items())
    return DayAnswer(rfc3339(begin)[:10], next(iter(said), "healthy"), summary or "no alert")
