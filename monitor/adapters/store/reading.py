"""What is read back: the state at start, and events page by page. Each row stands for itself."""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from monitor.adapters.store import codec
from monitor.core.discovery import Roster
from monitor.core.model import Event, Instant
from monitor.core.status import CampaignStatus, EnvironmentStatus

_T = TypeVar("_T")

EventRows = Sequence[tuple[int, "StoredEvent | None"]]
"""Rows of events by their number; None where one cannot be decoded."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event on disk: its place in the order of telling, its id, and the epoch in that."""

    row_id: int
    event_id: str
    epoch: str
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What was remembered: campaigns by (environment, id), all else by the environment's name.

    `next_call_at` are instants on the wall clock. `problems` has one line for each row that could
    not be decoded; of such a campaign or environment only the event counts are left, and of such
    a roster nothing.
    """

    campaigns: dict[tuple[str, str], CampaignStatus]
    environments: dict[str, EnvironmentStatus]
    next_call_at: dict[str, Instant]
    rosters: dict[str, Roster]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events: decided at `since` or later, of one environment, of one campaign id."""

    since: Instant | None = None
    environment: str | None = None
    campaign_id: str | None = None


def load(connection: sqlite3.Connection, but: Collection[str]) -> Loaded:
    """Return everything that is remembered but the events and the environments in `but`."""

    def rows(query: str) -> Iterator[tuple[Any, ...]]:
        """Yield what a query finds; its first column is the environment's name."""
        return (row for row in connection.execute(query) if row[0] not in but)

    problems: list[str] = []
    campaigns = {}
    query = "SELECT environment, campaign_id, status FROM campaign"
    for environment, campaign_id, body in rows(query):
        status = _decoded(codec.decode_campaign, body)
        if status is None or (status.environment, status.campaign_id) != (environment, campaign_id):
            problems.append(f"the stored status of {environment}/{campaign_id} cannot be read")
            counts = _event_counts(connection, environment, campaign_id)
            status = codec.campaign_tombstone(environment, campaign_id, counts)
        campaigns[environment, campaign_id] = status
    environments, next_call_at = {}, {}
    for name, body, at in rows("SELECT name, status, next_call_at FROM environment"):
        if at is not None:
            next_call_at[name] = at
        if body is None:
            continue
        own = _decoded(codec.decode_environment, body)
        if own is None or own.name != name:
            problems.append(f"the stored status of environment {name} cannot be read")
            own = codec.environment_tombstone(name, _event_counts(connection, name, None))
        environments[name] = own
    return Loaded(
        campaigns=campaigns,
        environments=environments,
        next_call_at=next_call_at,
        rosters=_rosters(rows("SELECT environment, body FROM listing"), problems),
        problems=tuple(problems),
    )


def _rosters(rows: Iterable[tuple[str, str]], problems: list[str]) -> dict[str, Roster]:
    rosters = {}
    for name, body in rows:
        roster = _decoded(codec.decode_roster, body)
        if roster is None:
            problems.append(f"the stored listing of environment {name} cannot be read")
        else:
            rosters[name] = roster
    return rosters


def cursors(connection: sqlite3.Connection) -> dict[str, int]:
    """Return by sink the row of the last event that was told there."""
    return dict(connection.execute("SELECT sink, event_row FROM cursor"))


def newest_row(connection: sqlite3.Connection) -> int:
    """Return the row of the newest event; 0 where there is none."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()[0])


def events_after(connection: sqlite3.Connection, row_id: int, limit: int) -> EventRows:
    """Return at most `limit` events after a row, in the order of telling."""
    rows = connection.execute(
        "SELECT id, event_id, body FROM event WHERE id > ? ORDER BY id LIMIT ?", (row_id, limit)
    )
    return [(row[0], _stored(row)) for row in rows]


def waiting(connection: sqlite3.Connection, row_id: int) -> list[tuple[int, Instant]]:
    """Return (row, decided at) of each event after a row, in order."""
    query = "SELECT id, decided_at FROM event WHERE id > ? ORDER BY id"
    return list(connection.execute(query, (row_id,)))


def history(
    connection: sqlite3.Connection, wanted: Filter, before_row: int | None, limit: int
) -> list[StoredEvent]:
    """Return at most `limit` events that pass the filter, newest first, older than `before_row`."""
    conditions = {
        "decided_at >= ?": wanted.since,
        "environment = ?": wanted.environment,
        "campaign_id = ?": wanted.campaign_id,
        "id < ?": before_row,
    }
    asked = {text: value for text, value in conditions.items() if value is not None}
    where = " AND ".join(asked) or "TRUE"
    rows = connection.execute(
        f"SELECT id, event_id, body FROM event WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
        (*asked.values(), limit),
    )
    found = (_stored(row) for row in rows)
    return [stored for stored in found if stored is not None]


def _stored(row: tuple[int, str, str]) -> StoredEvent | None:
    row_id, event_id, body = row
    # That of the start in which it was decided.
    epoch = event_id.split("-")[1]
    event = _decoded(codec.decode_event, body)
    return None if event is None else StoredEvent(row_id, event_id, epoch, event)


def _decoded(decode: Callable[[str], _T], body: str) -> _T | None:
    try:
        return decode(body)
    except ValueError:
        return None


def _event_counts(
    connection: sqlite3.Connection, environment: str, campaign_id: str | None
) -> dict[str, int]:
    """Return the highest `seq` of each rule, by what the history knows."""
    rows = connection.execute(
        # IS, since the id is NULL for an event of the environment itself.
        "SELECT rule, event_id FROM event WHERE environment = ? AND campaign_id IS ?",
        (environment, campaign_id),
    )
    counts: dict[str, int] = {}
    for rule, event_id in rows:
        counts[rule] = max(counts.get(rule, 0), int(event_id.rpartition("-")[2]))
    return counts
