"""The one connection that writes: a batch is one transaction, whole or not at all."""

import os
import sqlite3
from pathlib import Path

from monitor.adapters.store.batch import Batch, Outcome, apply
from monitor.adapters.store.errors import StorageError
from monitor.adapters.store.lock import StateLock
from monitor.adapters.store.schema import HEADER, is_damage

_ABANDONED: list[sqlite3.Connection] = []
"""Held for the rest of the process: Python would close them, and SQLite would write at that."""


class Database:
    """The database of one daemon. `write` is for one thread at a time: the writer's."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: StateLock | None) -> None:
        """Write to `path` through `connection`; without a `lock` it is in memory."""
        self.connection = connection
        self.path = path
        # Held open until the connection is closed: to close any descriptor of a file drops the
        # locks that SQLite has on it.
        self._file = None if lock is None else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._seen: StorageError | None = None
        self._damage: StorageError | None = None

    def write(self, batch: Batch) -> Outcome:
        """Commit the batch, or raise (sqlite3.Error, OSError, StorageError …): then nothing was."""
        self.check()
        self._raise_what_a_reader_saw()
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            outcome = apply(batch, self.connection)
            self.connection.execute("COMMIT")
        except BaseException as error:
            # On a full disk SQLite has rolled back already.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise self.failed("written", error) from error
            raise
        return outcome

    def check(self) -> None:
        """Raise StorageError where the file is not the one that was opened, or known as damaged.

        SQLite itself commits to a deleted or emptied file without a word. Any thread may call it.
        """
        if self._damage is not None:
            raise self._damage
        if self._file is None:
            return
        try:
            same = os.path.samestat(self.path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            raise self._error("deleted while running; restart the daemon") from None
        if not same:
            raise self._error("replaced by another file while running; restart the daemon")
        if os.pread(self._file, len(HEADER), 0) != HEADER:
            raise self._error("emptied or overwritten while running; restart the daemon")

    def failed(self, what: str, error: sqlite3.Error) -> StorageError:
        """Return what SQLite said as ours. Damage is remembered: nothing is written any more."""
        if not is_damage(error):
            return self._error(f"cannot be {what} ({error})")
        self._damage = self._error(
            f"damaged while running ({error}); restart the daemon, which sets it aside"
        )
        return self._damage

    def seen_by_reader(self, error: StorageError) -> None:
        """Have the next `write` fail with what a reader has seen: it is counted and logged there.

        Any thread may call it.
        """
        self._seen = error

    def close(self) -> None:
        """Fold the WAL into the database file and close it, if it is the one that was opened."""
        try:
            self.check()
        except (StorageError, OSError):
            # The log would be folded into a file that is not its own.
            _ABANDONED.append(self.connection)
            return
        self.connection.close()
        if self._file is not None:
            os.close(self._file)

    def _raise_what_a_reader_saw(self) -> None:
        seen, self._seen = self._seen, None
        if seen is not None:
            raise seen

    def _error(self, reason: str) -> StorageError:
        return StorageError(self.path, reason)
