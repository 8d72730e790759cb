"""The one connection that writes: a batch is one transaction, whole or not at all."""

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

from monitor.adapters.store import schema
from monitor.adapters.store.batch import Batch, Outcome, apply
from monitor.adapters.store.errors import StorageError
from monitor.adapters.store.lock import StateLock


class Database:
    """The database of one daemon. Used by one thread at a time: the writer's."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: StateLock | None) -> None:
        """Write to `path` through `connection`; without a `lock` it is in memory."""
        self.connection = connection
        self._path = path
        self._lock = lock
        self._file = None if lock is None else path.stat()

    def write(self, batch: Batch) -> Outcome:
        """Commit the batch, or raise (sqlite3.Error, OSError, StorageError …): then nothing was."""
        # SQLite commits to a deleted file without a word, and all that is gone with the process.
        reopened = self._was_deleted()
        if reopened:
            self._recreate()
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            outcome = apply(batch, self.connection)
            self.connection.execute("COMMIT")
        except BaseException:
            # On a full disk SQLite has rolled back already.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
        return replace(outcome, reopened=reopened)

    def close(self) -> None:
        """Fold the WAL into the database file and close it."""
        self.connection.close()

    def _was_deleted(self) -> bool:
        if self._file is None:
            return False
        try:
            file = self._path.stat()
        except FileNotFoundError:
            return True
        if not os.path.samestat(file, self._file):
            raise StorageError(
                f"{self._path}: replaced by another file while running; restart the daemon"
            )
        return False

    def _recreate(self) -> None:
        """Make the deleted file anew from what the open connection still sees of it."""
        assert self._lock is not None
        self._lock.renew()
        # Under another name until it is whole: a crash must not leave half a copy as the state.
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.unlink(missing_ok=True)
        copy = schema.open_for_writing(fresh)
        try:
            self.connection.backup(copy)
        finally:
            copy.close()
        # SQLite would take the old WAL, which goes by the same name, for the new file's.
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        fresh.rename(self._path)
        self._file = self._path.stat()
        self.connection.close()
        self.connection = schema.open_for_writing(self._path)
