"""The web server in tests: the real one, on a free port of this machine."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import httpx

from monitor.adapters.metrics import Exposition, content_type
from monitor.adapters.web import EventsAnswer, Limits, WebContext, WebServer
from monitor.config import Access
from monitor.core.board import Board
from monitor.core.model import HOUR
from support.boards import a_rich_board
from support.builders import NOW
from support.scrapes import VERSION, some_own_metrics

HOST = "127.0.0.1"


async def no_problems() -> Sequence[str]:
    """Stand for a reload that succeeds."""
    return []


def metrics_of(board: Callable[[], Board]) -> Callable[[bool], Callable[[], bytes]]:
    """Return the real metrics of a board, as the daemon gives them."""
    render = Exposition(some_own_metrics()).render

    def take(openmetrics: bool) -> Callable[[], bytes]:
        return partial(render, board(), [], openmetrics=openmetrics)

    return take


def a_context(**overrides: Any) -> WebContext:
    """Return a program in order with everything on its board, but for `overrides`."""
    board: Callable[[], Board] = overrides.pop("board", a_rich_board)
    context = WebContext(
        board=board,
        metrics=metrics_of(board),
        metrics_content_type=content_type,
        healthy=lambda: True,
        ready=lambda: None,
        loaded=lambda: True,
        reload=no_problems,
        events=lambda **query: EventsAnswer(events=[], next=None),
        version=VERSION,
        started_at=NOW - HOUR,
    )
    return replace(context, **overrides)


@asynccontextmanager
async def listening(
    context: WebContext,
    limits: Limits | None = None,
    read_access: Callable[[], Access] = Access,
) -> AsyncIterator[int]:
    """Run the server; gives its port."""
    server = WebServer(context, HOST, 0, limits or Limits(), read_access)
    port = await server.start()
    try:
        yield port
    finally:
        await server.stop()


@asynccontextmanager
async def serving(
    limits: Limits | None = None, access: Access | None = None, **overrides: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Run the server on `a_context(**overrides)`, in plain text; gives a client of it."""
    async with (
        listening(a_context(**overrides), limits, lambda: access or Access()) as port,
        httpx.AsyncClient(
            base_url=f"http://{HOST}:{port}",
            headers={"Accept-Encoding": ""},
            trust_env=False,
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
