"""The web server in tests: the real one, on a free port of this machine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from monitor.adapters.metrics import Exposition
from monitor.adapters.web import EventsAnswer, Limits, Program, WebServer
from monitor.config import Access
from monitor.config.model import Web
from monitor.core.explanation import OriginOf
from monitor.core.guards import Hold, NotRun
from monitor.core.model import DAY, HOUR, Instant, Seconds
from monitor.core.rule import Target
from monitor.core.snapshot import HistoryQuery, Snapshot
from monitor.serialize import Links
from support.boards import a_rich_snapshot
from support.builders import NOW
from support.scrapes import VERSION, some_own_metrics

HOST = "127.0.0.1"


async def no_problems() -> Sequence[str]:
    """Stand for a reload that succeeds."""
    return []


async def no_test(*_: str, force: bool, unblock: bool) -> Instant:
    """Stand for a test that is begun."""
    return NOW


def metrics_of(snapshot: Callable[[], Snapshot]) -> Callable[[bool], Callable[[], bytes]]:
    """Return the real metrics of a board, as the daemon gives them."""
    render = Exposition(some_own_metrics()).render

    def take(openmetrics: bool) -> Callable[[], bytes]:
        return partial(render, snapshot(), {}, openmetrics=openmetrics)

    return take


@dataclass
class SomeProgram:
    """A program in order."""

    snapshot: Callable[[], Snapshot]
    metrics: Callable[[bool], Callable[[], bytes]]
    healthy: Callable[[], bool] = lambda: True
    ready: Callable[[], str | None] = lambda: None
    loaded: Callable[[], bool] = lambda: True
    reload: Callable[[], Awaitable[Sequence[str]]] = no_problems
    history: Callable[[HistoryQuery], EventsAnswer] = lambda _: EventsAnswer(events=[], next=None)
    version: str = VERSION
    started_at: Instant = NOW - HOUR
    external_url: str | None = None
    retention: Seconds = 90 * DAY
    key: str = ""
    web: Web = Web()
    links: Links = Links("https://runbooks.example/{rule}")
    origins: Callable[[Target], OriginOf] = lambda _: lambda section, name: ""
    start_test: Callable[..., Coroutine[Any, Any, Instant | Hold | NotRun]] = no_test
    switch_tests: Callable[..., None] = lambda *_, on: None
    complete: Callable[[Snapshot], Snapshot] = lambda snapshot: snapshot
    elsewhere: Callable[..., str | None] = lambda _, to_act: None


def a_program(**overrides: Any) -> Program:
    """Return a program in order with everything on its board, but for `overrides`."""
    snapshot: Callable[[], Snapshot] = overrides.pop("snapshot", a_rich_snapshot)
    return SomeProgram(snapshot, **{"metrics": metrics_of(snapshot), **overrides})


@asynccontextmanager
async def listening(
    program: Program,
    limits: Limits | None = None,
    read_access: Callable[[], Access] = Access,
    host: str = HOST,
) -> AsyncIterator[int]:
    """Run the server; gives its port."""
    server = WebServer(program, host, 0, limits or Limits(), read_access)
    port = await server.start()
    try:
        yield port
    finally:
        await server.stop()


@asynccontextmanager
async def serving(
    limits: Limits | None = None, access: Access | None = None, **overrides: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Run the server on `a_program(**overrides)`, in plain text; gives a client of it."""
    async with (
        listening(a_program(**overrides), limits, lambda: access or Access()) as port,
        httpx.AsyncClient(
            base_url=f"http://{HOST}:{port}",
            headers={"Accept-Encoding": ""},
            trust_env=False,
            timeout=60,
            verify=False,  # saves the 50 ms that a TLS context costs; there is no TLS here
        ) as client,
    ):
        yield client


async def exchange(port: int, request: bytes) -> bytes:
    """Send bytes on a new connection, and return all that comes until the server closes it."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
