"""The history for `sftp-monitor events`: read beside a running daemon, or after one."""

import sqlite3
from contextlib import closing
from pathlib import Path

from monitor.adapters.store import reading, schema
from monitor.adapters.store.errors import StateUnusable
from monitor.adapters.store.reading import Filter, StoredEvent
from monitor.core.model import Instant


def read_history(
    path: Path,
    *,
    since: Instant | None = None,
    environment: str | None = None,
    campaign_id: str | None = None,
    before_row: int | None = None,
    limit: int = 100,
) -> list[StoredEvent]:
    """Return the events that pass the filters, newest first; like `Store.history`.

    Read-only: it locks nobody out and creates no file. Raises StateUnusable.
    """
    wanted = Filter(since=since, environment=environment, campaign_id=campaign_id)
    with closing(schema.open_foreign(path)) as connection:
        try:
            return reading.history(connection, wanted, before_row, limit)
        except sqlite3.Error as error:
            raise StateUnusable(f"{path}: cannot be read ({error})") from error
