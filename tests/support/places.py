"""Where a store keeps its state: the same to tests of what holds on both kinds of database."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from monitor.adapters.store import Store, open_state
from monitor.adapters.store.shared import SharedStore
from support.builders import NOW
from support.postgres import Server, replica, state_on, take_over
from support.state_files import SINK, execute, select

ENVIRONMENTS = ("production", "staging")


class Place(Protocol):
    """A state, maybe of a process before, that is opened, changed and looked at from outside."""

    async def open(self) -> Store:
        """Open it as the next process does; it is the holder of every environment."""

    def execute(self, *statements: str) -> None:
        """Do something to it from outside."""

    def select(self, query: str) -> list[tuple[Any, ...]]:
        """Return what it says, looked at from outside."""


class OnDisk:
    """A state in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def open(self) -> Store:
        return Store(self._path, now=NOW)

    def execute(self, *statements: str) -> None:
        execute(self._path, *statements)

    def select(self, query: str) -> list[tuple[Any, ...]]:
        return select(self._path, query)


class OnPostgres:
    """A state on PostgreSQL, whose sink `SINK` is there from the start."""

    def __init__(self, server: Server, database: str) -> None:
        self._server, self._database = server, database

    async def open(self) -> Store:
        executor = ThreadPoolExecutor(1, "state")
        state = state_on(self._server.url(self._database))
        store = open_state(state, NOW, executor, lambda name, work: asyncio.create_task(work))
        assert isinstance(store, SharedStore)
        assert store.leases is not None
        store.add_sink(SINK)
        await store.leases.renew(replica("next", *ENVIRONMENTS))
        self.execute("UPDATE ownership SET expires_at = 0")
        await take_over(store, *ENVIRONMENTS)
        return store

    def execute(self, *statements: str) -> None:
        self._server.execute(*statements, database=self._database)

    def select(self, query: str) -> list[tuple[Any, ...]]:
        return self._server.execute(query, database=self._database)
