"""What is written and how it is read, side by side: the bodies, the statements, the queries.

The dataclasses of the core are the schema of the bodies: a field with a default may be added there
at any time, old rows then have the default. One that is renamed or removed needs a migration. The
statements are such as PostgreSQL takes, too.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NewType, TypeVar

from pydantic import ConfigDict, TypeAdapter

from monitor.core.discovery import Roster
from monitor.core.model import Event, Instant
from monitor.core.status import CampaignStatus, EnvironmentStatus
from monitor.serialize import HistoryQuery

_T = TypeVar("_T")

Writes = dict[tuple[str, tuple[str | float, ...]], str | float]
"""What is to be written: by the statement and its key the value, of which the newest counts."""

EventRow = tuple[str | float | None, ...]
"""An event as `ADD_EVENT` takes it."""


class Body(Generic[_T]):
    """A value as JSON and back."""

    def __init__(self, adapter: TypeAdapter[_T], **dump: Any) -> None:
        """Encode as pydantic's `dump_json` does with these settings."""
        self._adapter = adapter
        self._dump = dump

    def encode(self, value: _T) -> str:
        """Return the JSON. ValueError: text that is no Unicode (a lone surrogate)."""
        return self._adapter.dump_json(value, **self._dump).decode()

    def decode(self, body: str) -> _T | None:
        """Return the value, what is not stored at its default; None, and no guess, for damage."""
        try:
            return self._adapter.validate_json(body, strict=True)
        except ValueError:
            return None


STORED_OF_ENVIRONMENT = {
    "name", "unanswered", "unanswered_at", "outage_at", "outage_reason", "rejected_at",
    "rejected_by", "readable_seen", "called_at", "swept_at", "listed_at",
    "alerts",
}  # fmt: skip

# Failed polls in a row are this process's.
CAMPAIGN = Body(TypeAdapter(CampaignStatus), exclude={"failures"}, exclude_none=True)
ENVIRONMENT = Body(TypeAdapter(EnvironmentStatus), include=STORED_OF_ENVIRONMENT, exclude_none=True)
ROSTER = Body(TypeAdapter(Roster), exclude_none=True)
# Under a name of its own, for pydantic takes no settings for a dataclass. No two events have the
# same texts: its cache of strings would grow for days, and serve nothing.
_StoredEvent = NewType("_StoredEvent", Event)
_EVENT: TypeAdapter[Event] = TypeAdapter(_StoredEvent, config=ConfigDict(cache_strings="keys"))
EVENT = Body(_EVENT, exclude={"epoch", "redelivery", "durable"})


def _upsert(table: str, key: str, value: str) -> str:
    marks = ", ".join("?" for _ in (*key.split(", "), value))
    return (
        f"INSERT INTO {table} ({key}, {value}) VALUES ({marks})"  # noqa: S608 - names of ours
        f" ON CONFLICT ({key}) DO UPDATE SET {value} = excluded.{value}"
    )


PUT_CAMPAIGN = _upsert("campaign", "environment, campaign_id", "status")
PUT_ENVIRONMENT = _upsert("environment", "name", "status")
PUT_ROSTER = _upsert("listing", "environment", "body")
PUT_LEASE = _upsert("lease", "environment", "next_call_at")
PUT_CURSOR = _upsert("cursor", "sink, environment", "event_row")
PRUNE_EVENTS = "DELETE FROM event WHERE decided_at < ? AND id < ?"

# An id that is there already is a fault of ours; it must not jam all that comes after it.
ADD_EVENT = (
    "INSERT INTO event (event_id, decided_at, environment, campaign_id, rule, status, severity,"
    " body) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING RETURNING id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one decision changes: it is stored whole or not at all.

    By environment: `next_call_at` are leases of the budget, on the wall clock, `rosters` what its
    listings came to. `removed` is the environment that this is all that is left of.
    """

    campaigns: tuple[CampaignStatus, ...] = ()
    environments: tuple[EnvironmentStatus, ...] = ()
    events: tuple[Event, ...] = ()
    next_call_at: Mapping[str, Instant] = field(default_factory=dict)
    rosters: Mapping[str, Roster] = field(default_factory=dict)
    removed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What was remembered: campaigns by (environment, id), all else by the environment's name.

    `next_call_at` are instants on the wall clock. `problems` has one line for each row that could
    not be decoded: nothing is left of it.
    """

    campaigns: dict[tuple[str, str], CampaignStatus] = field(default_factory=dict)
    environments: dict[str, EnvironmentStatus] = field(default_factory=dict)
    next_call_at: dict[str, Instant] = field(default_factory=dict)
    rosters: dict[str, Roster] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Entry:
    """An event that waits for the sinks. `row_id` is None until it is committed.

    `before` is the id of the event before it, where it comes from the last process. `delivered_to`
    are the sinks that had it before its COMMIT.
    """

    event: Event
    row_id: int | None = None
    before: str | None = None
    delivered_to: tuple[str, ...] = ()


def writes(change: Change) -> Writes:
    """Return the rows of a change but for its events. ValueError: something cannot be encoded."""
    rows: Writes = {(PUT_LEASE, (name,)): at for name, at in change.next_call_at.items()}
    for campaign in change.campaigns:
        key = (campaign.environment, campaign.campaign_id)
        rows[PUT_CAMPAIGN, key] = CAMPAIGN.encode(campaign)
    for environment in change.environments:
        rows[PUT_ENVIRONMENT, (environment.name,)] = ENVIRONMENT.encode(environment)
    for name, roster in change.rosters.items():
        rows[PUT_ROSTER, (name,)] = ROSTER.encode(roster)
    return rows


def event_row(event: Event) -> EventRow:
    """Return the columns of an event. ValueError: it cannot be encoded."""
    return (
        event.event_id, event.decided_at, event.environment, event.campaign_id, event.rule,
        event.status.value, event.severity.value, EVENT.encode(event),
    )  # fmt: skip


def load(connection: sqlite3.Connection) -> Loaded:
    """Return everything that is remembered but the events. Each row stands for itself."""
    problems: list[str] = []

    def read(
        what: str, query: str, body: Body[_T], key: Callable[[_T], tuple[str, ...]] | None = None
    ) -> Iterator[tuple[tuple[str, ...], _T]]:
        """Yield key and value of each row whose body decodes, and has that key in it."""
        for *place, text in connection.execute(query):
            value = body.decode(text)
            if value is None or (key is not None and key(value) != tuple(place)):
                problems.append(f"the stored {what} {'/'.join(place)} cannot be read")
            else:
                yield tuple(place), value

    campaigns = read(
        "status of",
        "SELECT environment, campaign_id, status FROM campaign",
        CAMPAIGN,
        lambda status: (status.environment, status.campaign_id),
    )
    environments = read(
        "status of environment",
        "SELECT name, status FROM environment",
        ENVIRONMENT,
        lambda status: (status.name,),
    )
    listings = read("listing of environment", "SELECT environment, body FROM listing", ROSTER)
    known = {(name, key): status for (name, key), status in campaigns}
    # Where its own row is damaged: else its campaigns would be nobody's.
    implied = {name: EnvironmentStatus(name=name) for name, _ in known}
    return Loaded(
        campaigns=known,
        environments=implied | {name: status for (name,), status in environments},
        rosters={name: roster for (name,), roster in listings},
        next_call_at=dict(connection.execute("SELECT environment, next_call_at FROM lease")),
        problems=tuple(problems),
    )


def newest(connection: sqlite3.Connection) -> int:
    """Return the row of the newest event; 0 where there is none."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()[0])


def waiting(connection: sqlite3.Connection, sink: str, lost: set[str]) -> list[Entry] | None:
    """Return what waits for a sink, in order; None: the sink is new.

    What cannot be decoded is left out, and named in `lost`.
    """
    began = connection.execute(
        "SELECT event_row FROM cursor WHERE sink = ? AND environment = ''", (sink,)
    ).fetchone()
    if began is None:
        return None
    query = (
        "SELECT event.id, event.event_id, event.body,"
        " (SELECT event_id FROM event AS e WHERE e.id < event.id ORDER BY e.id DESC LIMIT 1)"
        " FROM event LEFT JOIN cursor"
        " ON cursor.sink = ? AND cursor.environment = event.environment"
        " WHERE event.id > ? AND event.id > coalesce(cursor.event_row, 0) ORDER BY event.id"
    )
    entries = []
    for row_id, event_id, body, before in connection.execute(query, (sink, *began)):
        if (event := _event(event_id, body)) is None:
            lost.add(f"the stored event {event_id} cannot be read")
        else:
            entries.append(Entry(event, row_id, before))
    return entries


def history(connection: sqlite3.Connection, wanted: HistoryQuery) -> dict[int, Event]:
    """Return the events that pass the filter, newest first; what cannot be decoded is left out."""
    conditions = {
        "decided_at >= ?": wanted.since,
        "environment = ?": wanted.environment,
        "campaign_id = ?": wanted.campaign_id,
        "id < ?": wanted.cursor,
    }
    asked = {text: value for text, value in conditions.items() if value is not None}
    where = " AND ".join(asked) or "TRUE"
    query = f"SELECT id, event_id, body FROM event WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608
    found = connection.execute(query, (*asked.values(), wanted.limit))
    events = ((row_id, _event(event_id, body)) for row_id, event_id, body in found)
    return {row_id: event for row_id, event in events if event is not None}


def _event(event_id: str, body: str) -> Event | None:
    """Return a stored event, with the epoch that is in its id; None: it cannot be decoded."""
    event = EVENT.decode(body)
    return event and replace(event, epoch=event_id.split("-")[1])
