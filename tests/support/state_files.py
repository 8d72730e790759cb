"""State on real disks: events to store, disks that are full, and the simplest teller."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from monitor.adapters.store import Change, Store
from monitor.core.model import Event, EventStatus, Severity
from support.builders import NOW

SINK = "log"


def an_event(seq: int = 1, **overrides: Any) -> Event:
    """Return the `seq`-th event of an alert, decided `seq` seconds after NOW."""
    event = Event(
        status=EventStatus.FIRING,
        seq=seq,
        rule="failed_test",
        severity=Severity.CRITICAL,
        environment="production",
        campaign_id="c-1",
        summary="last test failed 2 h ago",
        since=NOW,
        observed_at=NOW,
        decided_at=NOW + seq,
    )
    return replace(event, **overrides)


def events(*seqs: int) -> Change:
    """Return a change that is nothing but these events."""
    return Change(events=tuple(an_event(seq) for seq in seqs))


def execute(path: Path, *statements: str) -> None:
    """Do something to a database from outside."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def select(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what a database says, looked at from outside."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(query).fetchall()


@contextmanager
def full_disk(path: Path, table: str = "event") -> Iterator[None]:
    """Have every transaction that adds to a table fail half-way, as on a full disk."""
    execute(
        path,
        f"CREATE TRIGGER full BEFORE INSERT ON {table}"
        " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
    )
    try:
        yield
    finally:
        execute(path, "DROP TRIGGER full")


def next_event(store: Store, sink: str = SINK) -> Event | None:
    """Return what a sink is handed next; None: nothing that it may have yet."""
    return next(iter(store.undelivered(sink)), None)


async def deliver_all(store: Store, sink: str = SINK) -> list[tuple[int, bool]]:
    """Deliver all that waits to a sink; return the (seq, durable) of each event, in order."""
    store.add_sink(sink)
    delivered = []
    while (told := next_event(store, sink)) is not None:
        delivered.append((told.seq, told.durable))
        store.mark_delivered(sink, told.event_id)
    return delivered


@asynccontextmanager
async def threaded(path: Path) -> AsyncIterator[Store]:
    """Open a store that commits in a thread, as the daemon's does; close it at the end."""
    with ThreadPoolExecutor(1, "state") as executor:
        store = Store(path, now=NOW, executor=executor)
        try:
            yield store
        finally:
            await store.aclose()


def run_script(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, with the path of a database as its argument."""
    tests = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
    )
