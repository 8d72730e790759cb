"""What is written and how it is read, side by side, in SQL that PostgreSQL takes as well.

The core's dataclasses are the schema of the bodies: a field with a default may be added at any
time, old rows then have the default. One that is renamed or removed needs a migration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from math import isnan
from typing import Any, Generic, Protocol, TypeVar

from pydantic import TypeAdapter

from monitor.core.discovery import TargetSet
from monitor.core.guards import Guard
from monitor.core.model import Event, Instant
from monitor.core.status import CampaignStatus, EnvironmentStatus
from monitor.core.text import clean

_T = TypeVar("_T")

Value = str | float | CampaignStatus | EnvironmentStatus
Writes = dict[tuple[str, tuple[str | float, ...]], Value]
"""What is to be written: by the statement and its key the value, of which the newest counts.

A status is encoded when it is written: of many that came meanwhile only the last one.
"""


class Connection(Protocol):
    """One of SQLite's, or what does the same on PostgreSQL."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """Run a statement, and return a cursor on its rows."""


@dataclass(frozen=True)
class Body(Generic[_T]):
    """A value as JSON and back: `dump` is how."""

    adapter: TypeAdapter[_T]
    dump: Mapping[str, Any]

    def encode(self, value: _T) -> str:
        """Return the JSON. ValueError: text that is no Unicode (a lone surrogate)."""
        return self.adapter.dump_json(value, **self.dump).decode()

    def decode(self, body: str) -> _T | None:
        """Return the value, what is not stored at its default; None, and no guess, for damage."""
        try:
            return self.adapter.validate_json(body, strict=True)
        except ValueError:
            return None


STORED_OF_ENVIRONMENT = {
    "name", "unanswered", "unanswered_at", "outage_at", "outage_reason", "rejected_at",
    "rejected_by", "refused_at", "refused_with", "readable_seen", "called_at", "swept_at",
    "listed_at", "discovered_at", "discovering_since", "tests", "alerts",
}  # fmt: skip

# Failed polls in a row are this process's.
CAMPAIGN = Body(TypeAdapter(CampaignStatus), {"exclude": {"failures"}, "exclude_none": True})
_OF_ENVIRONMENT = {"include": STORED_OF_ENVIRONMENT, "exclude_none": True}
ENVIRONMENT = Body(TypeAdapter(EnvironmentStatus), _OF_ENVIRONMENT)
TARGET_SET = Body(TypeAdapter(TargetSet), {"exclude_none": True})
GUARD = Body(TypeAdapter(Guard), {"exclude_none": True})
EVENT = Body(TypeAdapter(Event), {"exclude": {"epoch", "redelivery", "durable", "unmuted"}})


def _upsert(table: str, key: str, value: str) -> str:
    marks = ", ".join("?" for _ in (*key.split(", "), value))
    return (
        f"INSERT INTO {table} ({key}, {value}) VALUES ({marks})"  # noqa: S608 - names of ours
        f" ON CONFLICT ({key}) DO UPDATE SET {value} = excluded.{value}"
    )


PUT_CAMPAIGN = _upsert("campaign", "environment, campaign_id", "status")
PUT_ENVIRONMENT = _upsert("environment", "name", "status")
PUT_TARGET_SET = _upsert("listing", "environment", "body")
PUT_LEASE = _upsert("lease", "environment", "next_call_at")
PUT_GUARD = _upsert("guard", "login_or_host", "body")
PUT_CURSOR = _upsert("cursor", "sink, environment", "event_row")
START_CURSOR = (
    "INSERT INTO cursor (sink, environment, event_row)"
    " SELECT CAST(? AS TEXT), CAST(? AS TEXT), coalesce(max(id), ?) FROM event"
    " ON CONFLICT (sink, environment) DO NOTHING"
)
FORGET_OWNERSHIP = "DELETE FROM ownership WHERE environment = ? AND fence = ?"
PRUNE_EVENTS = "DELETE FROM event WHERE decided_at < ? AND id < ?"
PRUNE_EVENTS_OF = "DELETE FROM event WHERE decided_at < ? AND environment = ? AND id < ?"

# An id that is there already would be a fault of ours; it must not jam all that comes after it.
ADD_EVENT = (
    "INSERT INTO event (event_id, decided_at, environment, campaign_id, rule, status, severity,"
    " body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (event_id) DO UPDATE SET event_id = excluded.event_id RETURNING id"
)


@dataclass(frozen=True, slots=True)
class Change:
    """What one decision changes, stored whole or not at all; leases are on the wall clock.

    `removed`: it is all that is left of an environment. `encodable`: of what was saved before
    only instants have moved, so that it need not be encoded to know that it can be.
    """

    campaigns: tuple[CampaignStatus, ...] = ()
    environments: tuple[EnvironmentStatus, ...] = ()
    events: tuple[Event, ...] = ()
    _: KW_ONLY
    next_call_at: Mapping[str, Instant] = field(default_factory=dict)
    target_sets: Mapping[str, TargetSet] = field(default_factory=dict)
    guards: Mapping[str, Guard] = field(default_factory=dict)
    removed: bool = False
    encodable: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was remembered, by (environment, id) or environment; `problems` names damaged rows."""

    campaigns: dict[tuple[str, str], CampaignStatus] = field(default_factory=dict)
    environments: dict[str, EnvironmentStatus] = field(default_factory=dict)
    next_call_at: dict[str, Instant] = field(default_factory=dict)
    target_sets: dict[str, TargetSet] = field(default_factory=dict)
    guards: dict[str, Guard] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Entry:
    """An event that waits for the sinks. Until its COMMIT it has `columns` and no `row_id`.

    `before` is the id of the event before it, where the last process decided it; `delivered_to` has
    the sinks that had it before its COMMIT.
    """

    event: Event
    columns: tuple[str | float | None, ...] = ()
    row_id: int | None = None
    before: str | None = None
    delivered_to: tuple[str, ...] = ()


def writes(change: Change) -> Writes:
    """Return the rows of a change but for events and guards. ValueError: it cannot be encoded."""
    rows: Writes = {(PUT_LEASE, (name,)): at for name, at in change.next_call_at.items()}
    late = change.encodable
    for one in change.campaigns:
        encoded = one if late else CAMPAIGN.encode(one)
        rows[PUT_CAMPAIGN, (one.environment, one.campaign_id)] = encoded
    for environment in change.environments:
        rows[PUT_ENVIRONMENT, (environment.name,)] = (
            environment if late else ENVIRONMENT.encode(environment)
        )
    for name, target_set in change.target_sets.items():
        rows[PUT_TARGET_SET, (name,)] = TARGET_SET.encode(target_set)
    return rows


def environment_of(statement: str, key: tuple[str | float, ...]) -> str:
    """Return of which environment a row is that is to be written; "": of none."""
    if statement == PRUNE_EVENTS:
        return ""
    return str(key[1 if statement in {PUT_CURSOR, START_CURSOR, PRUNE_EVENTS_OF} else 0])


def encoded(value: Value) -> str | float:
    """Return a value as it is written."""
    match value:
        case CampaignStatus():
            return CAMPAIGN.encode(value)
        case EnvironmentStatus():
            return ENVIRONMENT.encode(value)
    return value


def columns(event: Event) -> tuple[str | float | None, ...]:
    """Return an event as `ADD_EVENT` takes it. ValueError: it cannot be encoded."""
    return (
        event.event_id, event.decided_at, event.environment, event.campaign_id, event.rule,
        event.status.value, event.severity.value, EVENT.encode(event),
    )  # fmt: skip


def load(connection: Connection, of: str | None = None) -> Loaded:
    """Return all that is remembered but the events, or that `of` one environment and all guards.

    Each row stands for itself.
    """
    problems: list[str] = []
    only: tuple[str, ...] = () if of is None else (of,)

    def read(what: str, body: Body[_T], table: str, value: str, *keys: str) -> dict[Any, _T]:
        """Return the values by their keys; of a row that cannot be read, a problem."""
        found = {}
        texts = ", ".join(f"CAST({key} AS TEXT)" for key in keys)
        query = f"SELECT {value}, {texts} FROM {table}"  # noqa: S608 - names of ours
        some = only if table != "guard" else ()
        for text, *place in connection.execute(query + f" WHERE {keys[0]} = ?" * len(some), some):
            one = body.decode(text)
            # A status has its keys in it, too.
            own = [getattr(one, key, at) for key, at in zip(keys, place, strict=True)]
            if one is None or own != place or None in place:
                problems.append(f"the stored {what} {'/'.join(map(str, place))} cannot be read")
            else:
                found[tuple(place) if len(place) > 1 else place[0]] = one
        return found

    campaigns = read("status of", CAMPAIGN, "campaign", "status", "environment", "campaign_id")
    environments = read("status of environment", ENVIRONMENT, "environment", "status", "name")
    target_sets = read("listing of environment", TARGET_SET, "listing", "body", "environment")
    guards = read("guard of", GUARD, "guard", "body", "login_or_host")
    # Where its own row is damaged: else its campaigns would be nobody's.
    implied = {name: EnvironmentStatus(name=name) for name, _ in campaigns}
    query = "SELECT environment, next_call_at FROM lease"
    found = dict(connection.execute(query + " WHERE environment = ?" * len(only), only))
    leases = {name: at for name, at in found.items() if isinstance(at, float) and not isnan(at)}
    problems += [f"the stored lease of {one} cannot be read" for one in found.keys() - leases]
    known = implied | environments
    return Loaded(
        campaigns, known, leases, target_sets, guards, tuple(clean(one, 300) for one in problems)
    )
