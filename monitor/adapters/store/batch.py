"""What is to be written next: changes merged into one transaction, in order, nothing twice.

While the disk is full a batch grows by its events only: of a status, a cursor or a lease the
newest is what counts.
"""

import asyncio
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from monitor.adapters.store import codec
from monitor.adapters.store.codec import EventRow
from monitor.adapters.store.errors import StorageError
from monitor.core.discovery import Roster
from monitor.core.model import Event, Instant
from monitor.core.status import CampaignStatus, EnvironmentStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one decision changes: it is stored whole or not at all.

    By environment: `next_call_at` are leases of the budget, on the wall clock, `rosters` what its
    listings came to. Of `dropped_environments` (another shard has them now) only the event counts
    and the leases are kept; they are dropped first, then the rest is stored.
    """

    campaigns: tuple[CampaignStatus, ...] = ()
    environments: tuple[EnvironmentStatus, ...] = ()
    events: tuple[Event, ...] = ()
    next_call_at: Mapping[str, Instant] = field(default_factory=dict)
    rosters: Mapping[str, Roster] = field(default_factory=dict)
    dropped_environments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a batch: it is `written`, and so many events were pruned; or it failed.

    `rows` are (row, decided at) of the events that were added, `duplicates` is how many were there
    already, by their id.
    """

    error: StorageError | None = None
    written: "Batch | None" = None
    pruned: int = 0
    rows: tuple[tuple[int, Instant], ...] = ()
    duplicates: int = 0

    @property
    def event_ids(self) -> tuple[str, ...]:
        """The ids of the events that are on disk now."""
        return () if self.written is None else tuple(row.event_id for row in self.written.events)


@dataclass(frozen=True, slots=True)
class Pruning:
    """Events decided `before` an instant may go, once each of these sinks was told them.

    The cursor of a sink that no longer runs holds nothing back: it would for ever.
    """

    before: Instant
    sinks: frozenset[str]


@dataclass(slots=True, kw_only=True)
class Batch:
    """One transaction to be. `told` are (sink, event id) of events told before they were stored."""

    dropped: set[str] = field(default_factory=set)
    campaigns: dict[tuple[str, str], str] = field(default_factory=dict)
    environments: dict[str, str] = field(default_factory=dict)
    next_call_at: dict[str, Instant] = field(default_factory=dict)
    rosters: dict[str, str] = field(default_factory=dict)
    events: list[EventRow] = field(default_factory=list)
    cursors: dict[str, int] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)
    pruning: Pruning | None = None
    waiters: list[asyncio.Future[Outcome]] = field(default_factory=list)

    @classmethod
    def of(cls, change: Change, epoch: str) -> "Batch":
        """Return the change, encoded. ValueError: something in it cannot be."""
        return cls(
            dropped=set(change.dropped_environments),
            campaigns={
                (status.environment, status.campaign_id): codec.encode_campaign(status)
                for status in change.campaigns
            },
            environments={
                status.name: codec.encode_environment(status) for status in change.environments
            },
            next_call_at=dict(change.next_call_at),
            rosters={name: codec.encode_roster(roster) for name, roster in change.rosters.items()},
            events=[codec.event_row(event, epoch) for event in change.events],
        )

    def add(self, later: "Batch") -> None:
        """Take in what is to be written after this."""
        for name in later.dropped:
            self.drop(name)
        self.campaigns.update(later.campaigns)
        self.environments.update(later.environments)
        self.next_call_at.update(later.next_call_at)
        self.rosters.update(later.rosters)
        self.events.extend(later.events)
        self.cursors.update(later.cursors)
        self.told.extend(later.told)
        if later.pruning is not None:
            self.pruning = later.pruning
        self.waiters.extend(later.waiters)

    def drop(self, environment: str) -> None:
        """Leave nothing but the event counts of an environment that is gone, and its lease."""
        self.dropped.add(environment)
        self.rosters.pop(environment, None)
        for key in [key for key in self.campaigns if key[0] == environment]:
            left = codec.forgotten_campaign(self.campaigns.pop(key))
            if left is not None:
                self.campaigns[key] = left
        if environment in self.environments:
            left = codec.forgotten_environment(self.environments.pop(environment))
            if left is not None:
                self.environments[environment] = left


def apply(batch: Batch, connection: sqlite3.Connection) -> Outcome:
    """Write the batch within the transaction that is open."""
    for name in batch.dropped:
        _drop(connection, name)
    connection.executemany(
        "INSERT OR REPLACE INTO campaign (environment, campaign_id, status) VALUES (?, ?, ?)",
        ((*key, body) for key, body in batch.campaigns.items()),
    )
    _write_environments(batch, connection)
    connection.executemany(
        "INSERT OR REPLACE INTO listing (environment, body) VALUES (?, ?)", batch.rosters.items()
    )
    # An id that is there already is a fault of ours; it must not jam all that comes after it.
    insert = (
        "INSERT INTO event (event_id, decided_at, environment, campaign_id, rule, status,"
        " severity, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (event_id) DO NOTHING RETURNING id, decided_at"
    )
    added = [row for event in batch.events for row in connection.execute(insert, event)]
    duplicates = len(batch.events) - len(added)
    _move_cursors(batch, connection)
    pruned = 0 if batch.pruning is None else _prune(connection, batch.pruning)
    return Outcome(written=batch, pruned=pruned, rows=tuple(added), duplicates=duplicates)


def _write_environments(batch: Batch, connection: sqlite3.Connection) -> None:
    # Not INSERT OR REPLACE: each would wipe out the column that the other one wrote.
    connection.executemany(
        "INSERT INTO environment (name, status) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET status = excluded.status",
        batch.environments.items(),
    )
    connection.executemany(
        "INSERT INTO environment (name, next_call_at) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET next_call_at = excluded.next_call_at",
        batch.next_call_at.items(),
    )


def _move_cursors(batch: Batch, connection: sqlite3.Connection) -> None:
    connection.executemany(
        "INSERT INTO cursor (sink, event_row) VALUES (?, ?)"
        " ON CONFLICT (sink) DO UPDATE SET event_row = max(event_row, excluded.event_row)",
        batch.cursors.items(),
    )
    # Only over the very next event: one that waits before it would never be told.
    connection.executemany(
        "UPDATE cursor SET event_row = (SELECT min(id) FROM event WHERE id > event_row)"
        " WHERE sink = ? AND ? ="
        " (SELECT event_id FROM event WHERE id > event_row ORDER BY id LIMIT 1)",
        batch.told,
    )


def _prune(connection: sqlite3.Connection, pruning: Pruning) -> int:
    sinks = tuple(pruning.sinks)
    marks = ", ".join("?" * len(sinks))
    return connection.execute(
        "DELETE FROM event WHERE decided_at < ? AND NOT EXISTS"  # noqa: S608 - question marks
        f" (SELECT 1 FROM cursor WHERE event_row < event.id AND sink IN ({marks}))",
        (pruning.before, *sinks),
    ).rowcount


def _drop(connection: sqlite3.Connection, environment: str) -> None:
    connection.execute("DELETE FROM listing WHERE environment = ?", (environment,))
    campaigns = connection.execute(
        "SELECT rowid, status FROM campaign WHERE environment = ?", (environment,)
    ).fetchall()
    left = [(codec.forgotten_campaign(body), rowid) for rowid, body in campaigns]
    connection.executemany(
        "UPDATE campaign SET status = ? WHERE rowid = ?",
        (row for row in left if row[0] is not None),
    )
    connection.executemany(
        "DELETE FROM campaign WHERE rowid = ?", ((row[1],) for row in left if row[0] is None)
    )
    own = connection.execute(
        "SELECT status FROM environment WHERE name = ? AND status IS NOT NULL", (environment,)
    ).fetchall()
    connection.executemany(
        "UPDATE environment SET status = ? WHERE name = ?",
        ((codec.forgotten_environment(body), environment) for (body,) in own),
    )
