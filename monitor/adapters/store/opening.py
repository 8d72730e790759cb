"""The state of a config: opened by the daemon, or read beside it by the commands."""

import os
import socket
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from monitor.adapters.store import outbox, rows, schema
from monitor.adapters.store.store import KeepRunning, Store
from monitor.config.sections import State
from monitor.core.model import Event, Instant
from monitor.core.snapshot import HistoryQuery

if TYPE_CHECKING:
    from monitor.adapters.store.postgres import PostgresDatabase

_T = TypeVar("_T")


def open_state(
    state: State, now: Instant, executor: Executor | None, keep_running: KeepRunning
) -> Store:
    """Open the state of a config, made or migrated as need be. Raises StorageError.

    `now` dates a file that is set aside; `executor` and `keep_running` as for `Store`.
    """
    if state.url is None:
        return Store(state.path, now=now, executor=executor, keep_running=keep_running)
    from monitor.adapters.store.shared import SharedStore  # noqa: PLC0415 - not everywhere

    return SharedStore(_postgres(state, migrate=state.migrate), executor, keep_running)


def migrate_state(state: State) -> str:
    """Bring the schema on PostgreSQL up to date; return its name. Raises StorageError."""
    database = _postgres(state, migrate=True)
    try:
        database.read(outbox.newest)
    finally:
        database.close()
    return database.place


def read_history(state: State | Path, wanted: HistoryQuery | None = None) -> dict[int, Event]:
    """Return events by row, newest first, beside a running daemon or none. Raises StorageError."""
    return _read(state, partial(outbox.history, wanted=wanted or HistoryQuery()))


def read_state(state: State | Path) -> rows.Loaded:
    """Return what is remembered, beside a running daemon or none. Raises StorageError."""
    return _read(state, rows.load)


def read_replicas(state: State) -> tuple[str, list[str]]:
    """Return the key of the replicas on PostgreSQL, and the URLs of those that live, latest first.

    Raises StorageError.
    """
    from monitor.adapters.store.connection import NOW, web_key  # noqa: PLC0415 - not everywhere

    living = f"SELECT address FROM replica WHERE expires_at > {NOW} ORDER BY expires_at DESC"  # noqa: S608
    return _read(state, lambda on: (web_key(on), [url for (url,) in on.execute(living)]))


def _read(state: State | Path, query: Callable[[rows.Connection], _T]) -> _T:
    if isinstance(state, Path) or state.url is None:
        return schema.read_foreign(state if isinstance(state, Path) else state.path, query)
    database = _postgres(state, migrate=False)
    try:
        return database.read(query)
    finally:
        database.close()


def _postgres(state: State, *, migrate: bool) -> "PostgresDatabase":
    from monitor.adapters.store.postgres import PostgresDatabase  # noqa: PLC0415 - not everywhere

    # What people see in pg_stat_activity.
    return PostgresDatabase(state, f"{socket.gethostname()}-{os.getpid()}", migrate=migrate)
