"""The database of one daemon: locked, open, and looked at before each use.

SQLite itself commits to a deleted or emptied file without a word.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from monitor.adapters.store import files, outbox, rows, schema
from monitor.adapters.store.files import StorageError
from monitor.core.guards import Guard
from monitor.core.model import Instant

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a transaction: its events with their rows, in order, and what was left out.

    Of `overtaken` environments all was, for another replica has them; of guards those that another
    has changed: by their key what is stored, as text and as it reads.
    """

    events: Sequence[tuple[rows.Entry, int]]
    overtaken: Sequence[str] = ()
    guards: Mapping[str, tuple[str, Guard]] = field(default_factory=dict)


@dataclass(slots=True)
class Batch:
    """One transaction to be; `tried` is done once it was attempted, with the error if it failed.

    Where others write, too, it is by right of each environment's fence, and a guard is written
    only where what stands is `known`: one of several bodies, where nobody knows which of our
    transactions were committed.
    """

    writes: rows.Writes = field(default_factory=dict)
    guards: dict[str, str] = field(default_factory=dict)
    events: list[rows.Entry] = field(default_factory=list)
    tried: asyncio.Future[StorageError | None] | None = None
    fences: dict[str, str] = field(default_factory=dict)
    known: dict[str, tuple[str, ...]] = field(default_factory=dict)


Outcome = StorageError | Written
"""Why a transaction failed, or what became of it."""

_ABANDONED: list[sqlite3.Connection] = []
"""Held for the rest of the process: Python would close them, and SQLite would write at that."""


class Database:
    """Any thread may read, one at a time may write.

    `notice` says that a file was set aside, or None; `newest` is the row of the newest event then.
    """

    def __init__(self, path: Path, now: Instant) -> None:
        """Open it. Raises StorageError."""
        on_disk = path != schema.MEMORY
        # As SQLite does: else a symbolic link would have a lock, and copies, of its own.
        self.path = path = Path(os.path.realpath(path)) if on_disk else path
        with ExitStack() as undo:
            # First of all: opening may migrate the file, or set it aside.
            self._lock = files.lock(path) if on_disk else None
            if self._lock is not None:
                undo.callback(os.close, self._lock)
            self._file, self._connection, self.notice = schema.open_or_set_aside(path, now)
            undo.pop_all()
        self.newest = outbox.newest(self._connection)
        self._damage: StorageError | None = None

    def read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Return what a query gives, on a connection of its own. Raises StorageError."""
        # Checked before it is opened: in the place of an emptied file SQLite deletes the log.
        with self._checked("read"):
            if self._file is None:
                return query(self._connection)
            with closing(schema.connect(self.path, "mode=ro")) as own:
                return query(own)

    def write(self, batch: Batch) -> Outcome:
        """Commit all of it in one transaction; failed, nothing of it was written."""
        added = []
        if self._lock is not None:
            with suppress(OSError, StorageError):  # nobody shall start on what is put here instead
                self._lock = files.lock(self.path, self._lock)
        try:
            with self._checked("written"), self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                # So that an empty one, too, looks at whether it can be read.
                outbox.newest(connection)
                for (statement, key), value in batch.writes.items():
                    connection.execute(statement, (*key, rows.encoded(value)))
                connection.executemany(rows.PUT_GUARD, batch.guards.items())
                for entry in batch.events:
                    (row,) = connection.execute(rows.ADD_EVENT, entry.columns).fetchone()
                    for sink in entry.delivered_to:
                        connection.execute(rows.PUT_CURSOR, (sink, entry.event.environment, row))
                    added.append((entry, row))
        except StorageError as error:
            return error
        return Written(added)

    def close(self) -> None:
        """Let another daemon have the file."""
        try:
            with self._checked("closed"):
                self._connection.close()
        except StorageError:
            # The log would be folded into a file that is not its own.
            _ABANDONED.append(self._connection)
        else:
            if self._file is not None:
                os.close(self._file)
        if self._lock is not None:
            os.close(self._lock)

    @contextmanager
    def _checked(self, what: str) -> Iterator[None]:
        """Turn whatever is raised into a StorageError: it must not end the writing for good."""
        try:
            self._check()
            yield
        except StorageError:
            raise
        except Exception as error:
            if schema.is_damage(error):  # remembered: nothing is written any more
                why = f"damaged while running ({error}); restart the daemon, which sets it aside"
                self._damage = StorageError(self.path, why)
                raise self._damage from error
            # An OSError has the path in its text; what is no error of a disk says too little.
            text = str(error) if isinstance(error, sqlite3.Error) else repr(error)
            cause = error.strerror if isinstance(error, OSError) else text
            raise StorageError(self.path, f"cannot be {what} ({cause})") from error

    def _check(self) -> None:
        """Raise StorageError where the file is not the one that was opened, or known as damaged."""
        if self._damage is not None:
            raise self._damage
        if self._file is None:
            return
        try:
            same = os.path.samestat(self.path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            found = "deleted"
        else:
            if same and os.pread(self._file, len(files.HEADER), 0) == files.HEADER:
                return
            found = "emptied or overwritten" if same else "replaced by another file"
        raise StorageError(self.path, f"{found} while running; restart the daemon")
