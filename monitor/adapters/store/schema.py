"""The database: made, recognised, migrated, and set aside when it is corrupt.

A later version adds an entry to `MIGRATIONS` and to `TABLES`; one that was released is never
changed. But for AUTOINCREMENT the tables are such as PostgreSQL takes, too.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from monitor.adapters.store import files
from monitor.adapters.store.files import StorageError
from monitor.core.model import Instant
from monitor.core.text import rfc3339

_T = TypeVar("_T")

MEMORY = Path(":memory:")
"""The path of a store without a disk: nothing is written, nothing outlives it."""

APPLICATION_ID = 0x53465450
"""The letters SFTP, in the header of our files alone."""

# AUTOINCREMENT: after retention has deleted the newest event, its number must not come again, or
# the next event would lie behind the sinks' cursors and never be delivered.
TABLES = (
    """CREATE TABLE campaign (
        environment TEXT NOT NULL, campaign_id TEXT NOT NULL, status TEXT NOT NULL,
        PRIMARY KEY (environment, campaign_id))""",
    "CREATE TABLE environment (name TEXT PRIMARY KEY, status TEXT NOT NULL)",
    "CREATE TABLE listing (environment TEXT PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE guard (login_or_host TEXT PRIMARY KEY, body TEXT NOT NULL)",
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

FIRST = 5
"""The schema of the first release."""

MIGRATIONS: Sequence[tuple[str, ...]] = ()
"""The statements that lead from each released schema to the next one."""


class Corrupt(StorageError):  # noqa: N818 - it says what is so
    """The file is no sound SQLite database."""


def open_or_set_aside(
    path: Path, now: Instant, notice: str | None = None
) -> tuple[int | None, sqlite3.Connection, str | None]:
    """Return the file, held, the writing connection, and a notice if a corrupt one was set aside.

    The file is to be closed after the connection: to close any descriptor of a file drops the
    locks that SQLite has on it. In memory there is none.
    """
    with ExitStack() as undo:
        if (file := None if path == MEMORY else files.hold(path)) is not None:
            undo.callback(os.close, file)
        try:
            connection = open_for_writing(path)
        except Corrupt as corrupt:
            notice = f"{corrupt}, set aside as {_set_aside(path, now)}; starting without state"
            return open_or_set_aside(path, now, notice)
        undo.pop_all()
    return file, connection, notice


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Return a connection, the file made or migrated as need be. Raises StorageError or Corrupt."""
    with ExitStack() as undo:
        try:
            connection = undo.enter_context(closing(connect(path, "mode=rwc")))
            version = _version(connection, path)
            verdict: str = _pragma(connection, "quick_check(1)")
            if verdict != "ok":
                raise Corrupt(path, f"corrupt ({verdict.splitlines()[-1]})")
            _configure(connection, path)
            if version is None:
                _migrate(connection, (TABLES,))
            elif steps := MIGRATIONS[version - FIRST :]:
                _keep_copy(connection, path, version)
                _migrate(connection, steps)
            connection.execute("SELECT max(id) FROM event")
        except (sqlite3.Error, OSError) as error:
            if is_damage(error):
                raise Corrupt(path, f"corrupt ({error})") from error
            why = f"cannot be opened ({error}); look at the disk, restore a backup, or move the"
            why += f" file away to start without state{files.whose(path)}"
            raise StorageError(path, why) from error
        undo.pop_all()
    for one in files.family(path):
        with suppress(OSError):  # not there, or not ours
            one.chmod(0o600)
    return connection


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Return a connection that is opened in this mode (`mode=ro`). Raises sqlite3.Error."""
    name = f"file:{quote(str(path))}?{mode}"
    # Opened by one thread and used by another, but never by two at once. Nobody else writes (the
    # lock): only a reader's recovery ever makes it wait, as long as a second.
    made = sqlite3.connect(name, 1.0, isolation_level=None, check_same_thread=False, uri=True)
    # What is no UTF-8 must not end the whole query: no value is made of it (`rows.Body.decode`).
    made.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
    return made


def read_foreign(path: Path, query: Callable[[sqlite3.Connection], _T]) -> _T:
    """Return what a query gives another process; it creates no file. Raises StorageError."""
    path = Path(os.path.realpath(path))  # beside which SQLite has its log
    if not os.path.isfile(path):
        why = "there is no state; is state.path right, did the daemon run?"
        raise StorageError(path, why + files.whose(path, os.R_OK | os.X_OK))
    # Without a WAL nobody has it open, and SQLite would make one, perhaps as root, in the
    # daemon's way; `immutable` keeps it from that.
    wal = path.with_name(f"{path.name}-wal")
    mode = "mode=ro&readonly_shm=1" if wal.exists() else "immutable=1"
    try:
        with closing(connect(path, mode)) as connection:
            if _version(connection, path) is None:
                raise StorageError(path, files.NOT_OURS)
            return query(connection)
    except sqlite3.Error as error:
        raise StorageError(path, f"cannot be read ({error}){files.whose(path, os.R_OK)}") from error


def is_damage(error: Exception) -> bool:
    """Return whether the error says that the file is no sound SQLite database."""
    # The low byte is the primary code; `sqlite_errorcode` is missing where Python itself raised.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _version(connection: sqlite3.Connection, path: Path) -> int | None:
    """Return the schema, None for a new file. Raises StorageError for one that we cannot use."""
    newest = FIRST + len(MIGRATIONS)
    version: int = _pragma(connection, "user_version")
    application = _pragma(connection, "application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application == version == tables == 0:
        return None
    # Before the first release there were others, which nobody has.
    if application != APPLICATION_ID or version < FIRST:
        raise StorageError(path, files.NOT_OURS)
    if version > newest:
        raise StorageError(
            path,
            f"written by a newer sftp-monitor (schema {version}, this one knows {newest}); upgrade,"
            f" or put the copy {path.name}.v{newest} from before the upgrade in its place",
        )
    return version


def _configure(connection: sqlite3.Connection, path: Path) -> None:
    """Make every COMMIT durable, and read back that it is so: SQLite ignores what it cannot do."""
    wanted = "memory" if path == MEMORY else "wal"
    if _pragma(connection, f"journal_mode = {wanted}") != wanted:
        why = "this file system has no shared memory for SQLite's WAL; "
        raise StorageError(path, f"{why}put state.path on a local disk")
    connection.execute("PRAGMA synchronous = FULL")


def _migrate(connection: sqlite3.Connection, steps: Sequence[tuple[str, ...]]) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for statements in steps:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FIRST + len(MIGRATIONS)}")


def _keep_copy(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Copy the database as it is before its migration, in place of an older copy like it."""
    part = path.with_name(f"{path.name}.new")
    part.unlink(missing_ok=True)
    with os.fdopen(files.open_file(part), "rb") as file:
        connection.execute("VACUUM INTO ?", (str(part),))
        os.fsync(file.fileno())
    part.replace(path.with_name(f"{path.name}.v{version}"))


def _pragma(connection: sqlite3.Connection, text: str) -> Any:
    return connection.execute(f"PRAGMA {text}").fetchone()[0]


def _set_aside(path: Path, now: Instant) -> str:
    """Rename the file, and what SQLite has beside it; return its new name."""
    stamp = rfc3339(now).replace("-", "").replace(":", "")
    aside, n = f"{path.name}.corrupt-{stamp}", 1
    while path.with_name(aside).exists():
        n += 1
        aside = f"{path.name}.corrupt-{stamp}.{n}"
    for suffix in ("-wal", "-shm", "-journal", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(path.with_name(aside + suffix))
    return aside
