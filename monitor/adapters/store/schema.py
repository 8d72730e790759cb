"""The database file: made, recognised, migrated, and set aside when it is corrupt.

A later version adds an entry to `MIGRATIONS` and to `TABLES`; one that was released is never
changed. Before a migration the file is copied to `<name>.v<schema>`: to go back is to put that
copy in its place. But for AUTOINCREMENT the tables are such as PostgreSQL takes, too.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from monitor.core.model import Instant, Seconds
from monitor.core.text import rfc3339

_T = TypeVar("_T")

MEMORY = Path(":memory:")
"""The path of a store without a disk: nothing is written, nothing outlives it."""

APPLICATION_ID = 0x53465450
"""The letters SFTP, in the header of the file: what tells our database from any other."""

# AUTOINCREMENT: after retention has deleted the newest event, its number must not come again, or
# the next event would lie behind the sinks' cursors and never be delivered.
TABLES = (
    """CREATE TABLE campaign (
        environment TEXT NOT NULL, campaign_id TEXT NOT NULL, status TEXT NOT NULL,
        PRIMARY KEY (environment, campaign_id))""",
    "CREATE TABLE environment (name TEXT PRIMARY KEY, status TEXT NOT NULL)",
    "CREATE TABLE listing (environment TEXT PRIMARY KEY, body TEXT NOT NULL)",
    """CREATE TABLE lease (
        environment TEXT PRIMARY KEY, next_call_at DOUBLE PRECISION NOT NULL)""",
    """CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE,
        decided_at DOUBLE PRECISION NOT NULL, environment TEXT NOT NULL, campaign_id TEXT,
        rule TEXT NOT NULL, status TEXT NOT NULL, severity TEXT NOT NULL, body TEXT NOT NULL)""",
    "CREATE INDEX event_by_campaign ON event (environment, campaign_id, id)",
    "CREATE INDEX event_by_time ON event (decided_at)",
    """CREATE TABLE cursor (
        sink TEXT NOT NULL, environment TEXT NOT NULL, event_row BIGINT NOT NULL,
        PRIMARY KEY (sink, environment))""",
)

FIRST = 3
"""The schema of the first release; 1 and 2 were in development versions only."""

Migrations = Sequence[tuple[str, ...]]

MIGRATIONS: Migrations = ()
"""What leads from each released schema to the next one."""

_BUSY: Seconds = 1.0
# Nobody else writes (the lock), so nothing but a reader's recovery ever makes us wait.

_COMPANIONS = ("-wal", "-shm", "-journal")

HEADER = b"SQLite format 3\0"
"""What every SQLite database begins with."""

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class StateUnusable(Exception):  # noqa: N818 - it says what is so
    """The state cannot be opened: not there, not ours, or of a newer version (exit code 74)."""


class Corrupt(Exception):  # noqa: N818 - it says what is so
    """The file is no sound SQLite database."""


def open_or_set_aside(path: Path, now: Instant) -> tuple[sqlite3.Connection, str | None]:
    """Return the writing connection, and what to say to people if a file was set aside.

    A corrupt one is renamed to `<name>.corrupt-<UTC>`, never deleted. Raises StateUnusable.
    """
    try:
        return open_for_writing(path), None
    except Corrupt as problem:
        aside = _set_aside(path, now)
        notice = f"{path}: corrupt ({problem}), set aside as {aside.name}; starting without state"
        return open_for_writing(path), notice


def open_for_writing(path: Path, migrations: Migrations = MIGRATIONS) -> sqlite3.Connection:
    """Return a connection to the database, made or migrated as need be; it is durable (WAL, FULL).

    Raises StateUnusable, or Corrupt for a damaged file.
    """
    if path != MEMORY:
        _make_file(path)
    newest = FIRST + len(migrations)
    with ExitStack() as undo:
        try:
            _check_header(path)
            connection = undo.enter_context(closing(_connect(str(path))))
            _recognise(connection, path, newest)
            _configure(connection, path)
            if 0 < _version(connection) < newest:
                _keep_copy(connection, path)
            _migrate(connection, migrations)
        except (sqlite3.Error, OSError) as error:
            if is_damage(error):
                raise Corrupt(str(error)) from error
            raise StateUnusable(f"{path}: cannot be opened ({error}); look at the disk") from error
        undo.pop_all()
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Return a read-only connection beside the writing one of this process (sqlite3.Error)."""
    return _connect(f"file:{quote(str(path))}?mode=ro", uri=True)


def read_foreign(path: Path, query: Callable[[sqlite3.Connection], _T]) -> _T:
    """Return what a query gives, for another process than the daemon; it creates no file.

    Raises StateUnusable.
    """
    if not path.is_file():
        raise StateUnusable(f"{path}: there is no state; is state.path right, did the daemon run?")
    # Without a WAL nobody has it open, and SQLite would make one, perhaps as root, in the
    # daemon's way; `immutable` keeps it from that.
    wal = path.with_name(f"{path.name}-wal")
    mode = "mode=ro&readonly_shm=1" if wal.exists() else "immutable=1"
    try:
        with closing(_connect(f"file:{quote(str(path))}?{mode}", uri=True)) as connection:
            _check_identity(connection, path, FIRST + len(MIGRATIONS))
            return query(connection)
    except sqlite3.Error as error:
        raise StateUnusable(f"{path}: cannot be read ({error})") from error


def _connect(database: str, *, uri: bool = False) -> sqlite3.Connection:
    # Opened by one thread and used by another, but never by two at once.
    return sqlite3.connect(
        database, timeout=_BUSY, isolation_level=None, check_same_thread=False, uri=uri
    )


def _make_file(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StateUnusable(
            f"{path}: cannot be opened ({error.strerror}); "
            "state.path must be a file in an existing directory that the daemon can write to"
        ) from error


def _recognise(connection: sqlite3.Connection, path: Path, newest: int) -> None:
    """Raise StateUnusable for a database that is not ours or newer, Corrupt for a damaged one."""
    _check_identity(connection, path, newest, new_allowed=True)
    verdict = _pragma(connection, "quick_check(1)")
    if verdict != "ok":
        raise Corrupt(str(verdict).splitlines()[-1])


def _check_identity(
    connection: sqlite3.Connection, path: Path, newest: int, *, new_allowed: bool = False
) -> None:
    application, version = _pragma(connection, "application_id"), _version(connection)
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if new_allowed and application == 0 and version == 0 and tables == 0:
        return
    if application != APPLICATION_ID:
        raise _not_ours(path)
    if version > newest:
        raise StateUnusable(
            f"{path}: written by a newer sftp-monitor (schema {version}, this one knows {newest}); "
            f"upgrade, or put the copy {path.name}.v{newest} from before the upgrade in its place"
        )
    if version < FIRST:
        raise StateUnusable(
            f"{path}: written by a development version of sftp-monitor (schema {version}), which "
            "cannot be taken over; move the file away to start without state"
        )


def _not_ours(path: Path) -> StateUnusable:
    return StateUnusable(
        f"{path}: this is not a database of sftp-monitor; give state.path another name"
    )


def _configure(connection: sqlite3.Connection, path: Path) -> None:
    """Make every COMMIT durable, and read back that it is so: SQLite ignores what it cannot do."""
    wanted = "memory" if path == MEMORY else "wal"
    if _pragma(connection, f"journal_mode = {wanted}") != wanted:
        raise StateUnusable(
            f"{path}: this file system has no shared memory for SQLite's WAL; "
            "put state.path on a local disk"
        )
    connection.execute("PRAGMA synchronous = FULL")
    if _pragma(connection, "synchronous") != 2:
        raise StateUnusable(f"{path}: SQLite does not sync to disk (built without it?)")


def _migrate(connection: sqlite3.Connection, migrations: Migrations) -> None:
    version, newest = _version(connection), FIRST + len(migrations)
    if version == newest:
        return
    steps = (TABLES,) if version == 0 else migrations[version - FIRST :]
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in steps:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _keep_copy(connection: sqlite3.Connection, path: Path) -> None:
    """Copy the database as it is before its migration, in place of an older copy like it."""
    part = path.with_name(f"{path.name}.new")
    for suffix in ("", *_COMPANIONS):
        part.with_name(part.name + suffix).unlink(missing_ok=True)
    _make_file(part)
    with closing(_connect(str(part))) as copy:
        connection.backup(copy)
    part.replace(path.with_name(f"{path.name}.v{_version(connection)}"))


def _version(connection: sqlite3.Connection) -> int:
    return int(str(_pragma(connection, "user_version")))


def _check_header(path: Path) -> None:
    """Raise StateUnusable for what is no database: it is somebody's file, named by mistake."""
    if path != MEMORY:
        with path.open("rb") as file:
            # SQLite would take the shortest ones for an empty database.
            if file.read(len(HEADER)) not in {b"", HEADER}:
                raise _not_ours(path)


def _pragma(connection: sqlite3.Connection, text: str) -> object:
    (value,) = connection.execute(f"PRAGMA {text}").fetchone()
    return value


def is_damage(error: Exception) -> bool:
    """Return whether the error says that the file is no sound SQLite database."""
    # The low byte is the primary code; `sqlite_errorcode` is missing where Python itself raised.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def _set_aside(path: Path, now: Instant) -> Path:
    stamp = rfc3339(now).replace("-", "").replace(":", "")
    aside, n = path.with_name(f"{path.name}.corrupt-{stamp}"), 1
    while aside.exists():
        n += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}.{n}")
    for suffix in _COMPANIONS:
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    path.rename(aside)
    return aside
