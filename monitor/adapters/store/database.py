"""The one connection that writes: a batch is one transaction, whole or not at all."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from monitor.adapters.store import rows, schema
from monitor.adapters.store.lock import StateLock
from monitor.adapters.store.outbox import Entry
from monitor.adapters.store.rows import EventRow, Put
from monitor.core.model import Event, Instant

_T = TypeVar("_T")

_ABANDONED: list[sqlite3.Connection] = []
"""Held for the rest of the process: Python would close them, and SQLite would write at that."""


class StorageError(Exception):
    """The disk did not do what it was asked to: a transaction or a read failed.

    `reason` is the message without the path: what may be shown to whoever reaches the port.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


@dataclass(slots=True)
class Batch:
    """One transaction to be. `prune` are events decided before an instant, and before a row.

    While the disk is full a batch grows by its events only: of any other row the newest counts.
    """

    puts: dict[Put, str | float] = field(default_factory=dict)
    events: list[tuple[Entry, EventRow]] = field(default_factory=list)
    prune: tuple[Instant, int] | None = None
    waiters: list[asyncio.Future["Outcome"]] = field(default_factory=list)

    def add(self, later: "Batch") -> None:
        """Take in what is to be written after this."""
        self.puts.update(later.puts)
        self.events += later.events
        self.prune = later.prune or self.prune
        self.waiters += later.waiters

    def __bool__(self) -> bool:
        return bool(self.puts or self.events or self.prune)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch. `rows` are its events' rows, in order: None for an id that was there.

    With each goes which sinks had it delivered then: their cursors have passed it.
    """

    error: StorageError | None = None
    rows: tuple[tuple[int | None, tuple[str, ...]], ...] = ()
    pruned: int = 0


class Database:
    """The database of one daemon. For one thread at a time, but for what says otherwise."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: StateLock | None) -> None:
        """Write to `path` through `connection`; without a `lock` it is in memory."""
        self.path = path
        self._connection = connection
        self._lock = lock
        # Held open until the connection is closed: to close any descriptor of a file drops the
        # locks that SQLite has on it.
        self._file = None if lock is None else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._seen: StorageError | None = None
        self._damage: StorageError | None = None

    def write(self, batch: Batch) -> Outcome:
        """Commit the batch and return what became of it; failed, nothing of it was written.

        An empty one looks at whether the database is there, and can be read.
        """
        try:
            self._check()
            seen, self._seen = self._seen, None
            if seen is not None:
                return Outcome(seen)
            with self._naming("written"):
                if batch:
                    return self._commit(batch)
                rows.newest(self._connection)
                return Outcome()
        except StorageError as error:
            return Outcome(error)
        # Whatever it is: it must not end the writing for good.
        except Exception as error:
            return Outcome(self._error(f"cannot be written ({type(error).__name__}: {error})"))

    def read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Return what a query gives. Raises StorageError."""
        self._check()
        with self._naming("read"):
            return query(self._connection)

    def read_aside(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Return the same, read on a connection of its own: any thread may call it.

        What it cannot read the next `write` fails with, so that it is counted and logged.
        """
        try:
            # Before it is opened: in the place of an emptied file SQLite deletes the log.
            self._check()
            with self._naming("read"):
                if self._lock is None:
                    return query(self._connection)
                with contextlib.closing(schema.open_for_reading(self.path)) as own:
                    return query(own)
        except StorageError as error:
            self._seen = error
            raise

    def close(self) -> None:
        """Fold the WAL into the file and close it, if it is the one that was opened."""
        try:
            self._check()
        except StorageError:
            # The log would be folded into a file that is not its own.
            _ABANDONED.append(self._connection)
        else:
            self._connection.close()
            if self._file is not None:
                os.close(self._file)
        if self._lock is not None:
            self._lock.release()

    def _commit(self, batch: Batch) -> Outcome:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            outcome = self._apply(batch)
            self._connection.execute("COMMIT")
        except BaseException:
            # On a full disk SQLite has rolled back already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return outcome

    def _apply(self, batch: Batch) -> Outcome:
        execute = self._connection.execute
        for (statement, key), value in batch.puts.items():
            execute(statement, (*key, value))
        added: list[tuple[int | None, tuple[str, ...]]] = []
        for entry, event in batch.events:
            row: tuple[int] | None = execute(rows.ADD_EVENT, event).fetchone()
            # Once: the loop may add a sink to it at any moment.
            sinks = entry.delivered_to
            if row is not None:
                for sink in sinks:
                    execute(rows.PUT_CURSOR, (sink, event.environment, row[0]))
            added.append((None if row is None else row[0], sinks))
        pruned = execute(rows.PRUNE_EVENTS, batch.prune).rowcount if batch.prune else 0
        return Outcome(None, tuple(added), pruned)

    def _check(self) -> None:
        """Raise StorageError where the file is not the one that was opened, or known as damaged.

        SQLite itself commits to a deleted or emptied file without a word.
        """
        if self._damage is not None:
            raise self._damage
        if self._file is None:
            return
        try:
            same = os.path.samestat(self.path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            raise self._error("deleted while running; restart the daemon") from None
        except OSError as error:
            raise self._error(f"cannot be found any more ({error.strerror})") from error
        if not same:
            raise self._error("replaced by another file while running; restart the daemon")
        if os.pread(self._file, len(schema.HEADER), 0) != schema.HEADER:
            raise self._error("emptied or overwritten while running; restart the daemon")

    @contextlib.contextmanager
    def _naming(self, what: str) -> Iterator[None]:
        """Turn what SQLite raises into ours. Damage is remembered: nothing is written any more."""
        try:
            yield
        except sqlite3.Error as error:
            if not schema.is_damage(error):
                raise self._error(f"cannot be {what} ({error})") from error
            self._damage = self._error(
                f"damaged while running ({error}); restart the daemon, which sets it aside"
            )
            raise self._damage from error

    def _error(self, reason: str) -> StorageError:
        return StorageError(self.path, reason)


def read_history(path: Path, wanted: rows.Filter | None = None) -> dict[int, Event]:
    """Return events by row, newest first: beside a running daemon, or after one.

    Read-only: it locks nobody out and creates no file. Raises StateUnusable.
    """
    return schema.read_foreign(path, partial(rows.history, wanted=wanted or rows.Filter()))
