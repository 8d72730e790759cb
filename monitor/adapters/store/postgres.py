"""The database of several replicas: what `Database` is of one file, on PostgreSQL.

Whoever writes of an environment locks its row of ownership first, and compares the fence in it with
its own: one that was overtaken writes nothing of it. A guard is of no environment, and written only
where it still is what this replica knew. Did a COMMIT's answer get lost, the same is written again.
"""

from functools import partial

from monitor.adapters.store import outbox, rows
from monitor.adapters.store.connection import Connection, Link
from monitor.adapters.store.database import Batch, Outcome, Written
from monitor.adapters.store.files import StorageError
from monitor.adapters.store.leases import LeaseTable
from monitor.config.sections import State
from monitor.core.guards import Guard

_FENCES = (
    "SELECT environment, fence FROM ownership WHERE environment = ANY(?)"
    " ORDER BY environment FOR UPDATE"
)
# The numbers that a fail-over took back come again: no cursor may be behind them.
_ADD_EVENT = f"""
    WITH added AS ({rows.ADD_EVENT}, environment), back AS (
        UPDATE cursor SET event_row = added.id - 1 FROM added
        WHERE cursor.environment = added.environment AND event_row >= added.id)
    SELECT id FROM added"""  # noqa: S608 - ours
# Written where there is none, where it is what we knew or may have written, or is that already.
_PUT_GUARD = rows.PUT_GUARD + " WHERE guard.body = ANY(?) OR guard.body = excluded.body"


class PostgresDatabase(Link):
    """Any thread may read and write, one after another; whoever leases has a connection of his."""

    notice = None
    read = Link.transact

    def __init__(self, state: State, name: str, *, migrate: bool) -> None:
        """Open it, known there by `name`; its schema is made or migrated where that may be.

        Raises StorageError where it does not help to wait; one that does not answer is tried again.
        """
        super().__init__(state, f"sftp-monitor/{name}", migrate=migrate)
        self.leases = LeaseTable(Link(state, f"sftp-monitor/{name} leases", migrate=migrate))
        self.newest = 0
        try:
            self.newest = self.read(outbox.newest)
        except StorageError as error:
            if error.permanent:
                raise

    def write(self, batch: Batch) -> Outcome:
        """Commit in one transaction all that we have the right to; an error: perhaps none of it."""
        try:
            return self.transact(partial(_write, batch=batch))
        except StorageError as error:
            return error

    def close(self) -> None:
        """Close both connections."""
        super().close()
        self.leases.close()


def guard_bodies(of: rows.Connection) -> dict[str, str]:
    """Return every guard as it is stored; the beginning of one that is too long to be ours."""
    return dict(of.execute("SELECT login_or_host, substr(body, 1, 100000) FROM guard"))


def _write(to: Connection, batch: Batch) -> Written:
    of_writes = {key: rows.environment_of(*key) for key in batch.writes}
    names = sorted({*of_writes.values(), *(one.event.environment for one in batch.events)} - {""})
    fences = dict(to.execute(_FENCES, (names,))) if names else {}
    ours = {name for name in names if fences.get(name, "") == batch.fences.get(name)}
    grouped: dict[str, list[tuple[str | float, ...]]] = {}
    for (statement, key), value in batch.writes.items():
        if of_writes[statement, key] in ours | {""}:
            grouped.setdefault(statement, []).append((*key, rows.encoded(value)))
    cursor = to.cursor()
    for statement, values in grouped.items():
        cursor.executemany(statement, values)
    kept = [entry for entry in batch.events if entry.event.environment in ours]
    added = list[tuple[rows.Entry, int]]()
    if kept:
        cursor.executemany(_ADD_EVENT, [entry.columns for entry in kept], returning=True)
        numbers = (row for each in cursor.results() for (row,) in each)
        added = list(zip(kept, numbers, strict=True))
    return Written(
        added,
        tuple(name for name in names if name not in ours),
        _put_guards(to, batch),
    )


def _put_guards(to: Connection, batch: Batch) -> dict[str, tuple[str, Guard]]:
    """Write guards that nobody else has changed; return the others as they stand."""
    standing = {}
    for key, body in sorted(batch.guards.items()):
        written = to.execute(_PUT_GUARD, (key, body, list(batch.known.get(key, ())))).rowcount
        if not written:
            found = to.execute("SELECT body FROM guard WHERE login_or_host = ?", (key,)).fetchone()
            current = found and rows.GUARD.decode(found[0])
            if found and current:
                standing[key] = (found[0], current)
            else:  # damaged: nobody knows it
                to.execute(rows.PUT_GUARD, (key, body))
    return standing
