"""The database of several replicas: what `Database` is of one file, on PostgreSQL.

Whoever writes of an environment locks its row of ownership first, and compares the fence in it with
its own: one that was overtaken writes nothing of it. A guard is of no environment, and written only
where it still is what this replica knew. Did a COMMIT's answer get lost, the same is written again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from monitor.adapters.store import outbox, rows
from monitor.adapters.store.connection import Connection, Link
from monitor.adapters.store.database import Held, Outcome, Written
from monitor.adapters.store.files import StorageError
from monitor.adapters.store.leases import LeaseTable
from monitor.config.sections import State
from monitor.core.guards import Guard

_T = TypeVar("_T")

_FENCES = (
    "SELECT environment, fence FROM ownership WHERE environment = ANY(?)"
    " ORDER BY environment FOR UPDATE"
)
_CURSORS_BACK = "UPDATE cursor SET event_row = ? WHERE environment = ? AND event_row > ?"
# Written where there is none, where it is what we knew or may have written, or is that already.
_PUT_GUARD = rows.PUT_GUARD + " WHERE guard.body = ANY(?) OR guard.body = excluded.body"


class PostgresDatabase:
    """Any thread may read and write, one after another; `place` names it in messages."""

    notice = None

    def __init__(self, state: State, name: str, *, migrate: bool) -> None:
        """Open it, known there by `name`; its schema is made or migrated where that may be.

        Raises StorageError where it does not help to wait; one that does not answer is tried again.
        """
        self._link = Link(state, f"sftp-monitor/{name}", migrate=migrate)
        self.leases = LeaseTable(Link(state, f"sftp-monitor/{name} leases", migrate=migrate))
        self.place = self._link.place
        try:
            self.newest = self.read(outbox.newest)
        except StorageError as error:
            if error.permanent:
                raise
            self.newest = 0

    def read(self, query: Callable[[Connection], _T]) -> _T:
        """Return what a query gives. Raises StorageError."""
        return self._link.transact(query)

    def write(self, writes: rows.Writes, events: Sequence[rows.Entry], held: Held) -> Outcome:
        """Commit in one transaction all that we have the right to; an error: perhaps none of it."""
        try:
            work = partial(_write, writes=writes, events=events, held=held)
            return self._link.transact(work)
        except StorageError as error:
            return error

    def abort(self) -> None:
        """Cut the connection that another thread waits for."""
        self._link.abort()

    def close(self) -> None:
        """Close both connections."""
        self._link.close()
        self.leases.close()


def guard_bodies(of: rows.Connection) -> dict[str, str]:
    """Return every guard as it is stored; the beginning of one that is too long to be ours."""
    return dict(of.execute("SELECT login_or_host, substr(body, 1, 100000) FROM guard"))


def _write(
    to: Connection, writes: rows.Writes, events: Sequence[rows.Entry], held: Held
) -> Written:
    of_writes = {key: rows.environment_of(*key) for key in writes}
    names = sorted({*of_writes.values(), *(one.event.environment for one in events)} - {""})
    fences = dict(to.execute(_FENCES, (names,))) if names else {}
    ours = {name for name in names if fences.get(name, "") == held.fences.get(name)}
    grouped: dict[str, list[tuple[str | float, ...]]] = {}
    guards = {}
    for (statement, key), value in writes.items():
        if statement == rows.PUT_GUARD:
            guards[str(key[0])] = str(value)
        elif of_writes[statement, key] in ours | {""}:
            grouped.setdefault(statement, []).append((*key, rows.encoded(value)))
    for statement, values in grouped.items():
        to.execute_many(statement, values)
    kept = [entry for entry in events if entry.event.environment in ours]
    added = to.returned_by(rows.ADD_EVENT, [entry.columns for entry in kept]) if kept else ()
    written = tuple(zip(kept, added, strict=True))
    # The numbers that a fail-over took back come again: no cursor may be behind them.
    back = [(row - 1, one.event.environment, row - 1) for one, row in written
            if row <= held.reached.get(one.event.environment, 0)]  # fmt: skip
    if back:
        to.execute_many(_CURSORS_BACK, back[::-1])
    return Written(
        written,
        tuple(name for name in names if name not in ours),
        _put_guards(to, guards, held.guards),
    )


def _put_guards(
    to: Connection, guards: Mapping[str, str], known: Mapping[str, Iterable[str]]
) -> dict[str, tuple[str, Guard]]:
    """Write guards that nobody else has changed; return the others as they stand."""
    standing = {}
    for key, body in sorted(guards.items()):
        written = to.execute(_PUT_GUARD, (key, body, list(known.get(key, ())))).rowcount
        if not written:
            found = to.execute("SELECT body FROM guard WHERE login_or_host = ?", (key,)).fetchone()
            current = found and rows.GUARD.decode(found[0])
            if found and current:
                standing[key] = (found[0], current)
            else:  # damaged: nobody knows it
                to.execute(rows.PUT_GUARD, (key, body))
    return standing
