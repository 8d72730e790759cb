"""An API that misbehaves to order: raw bytes on a real socket, with or without TLS.

A script is called for every request and says what the peer does with it. Nothing here sleeps: a
server that drips goes on until the client hangs up, one that hangs waits for just that.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from monitor.adapters.talkover import Talkover
from monitor.core.model import Answer, Observation, Reason
from monitor.http import HttpClient

CAMPAIGN = "campaign-uuid"
TOKEN = "talq_canary5ecret"
NOW = 1_800_000_000.0

EXAMPLE = {
    "id": "sftp-config-uuid-1",
    "campaign_id": CAMPAIGN,
    "host": "sftp.example.com",
    "port": 22,
    "username": "campaigns_user",
    "auth_type": "password",
    "import_path": "/inbox",
    "export_path": "/outbox",
    "import_schedule": "daily",
    "is_enabled": False,
    "last_test_at": "2024-01-10T14:30:00Z",
    "last_test_success": True,
    "created_at": "2024-01-01T10:00:00Z",
}
"""The `data` of the answer in the API's reference."""

ABSENT = object()
"""As a value: take the key away."""


@dataclass(frozen=True)
class Request:
    """A request as it came: the head's first line, and its headers with names in small letters."""

    line: str
    headers: Mapping[str, str]


@dataclass
class Peer:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    over: bool = False

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        self.writer.write(data)
        await self.writer.drain()

    async def hang(self) -> None:
        """Say nothing until the client hangs up."""
        self.over = True
        await self.reader.read()

    async def pause(self) -> None:
        """Let the client read what was sent: give it 10 ms, less if it hangs up."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.reader.read(1), 0.01)

    async def drip(self, data: bytes) -> None:
        """Send this every 10 ms until the client hangs up."""
        self.over = True
        hung_up = asyncio.ensure_future(self.reader.read())
        while not hung_up.done():
            self.writer.write(data)
            await asyncio.wait({hung_up}, timeout=0.01)
        with contextlib.suppress(OSError):
            await hung_up

    def reset(self) -> None:
        """Break the connection off with a RST."""
        self.over = True
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    def end(self) -> None:
        """Close the connection, in good order, once all is sent."""
        self.over = True


Script = Callable[[Request, Peer], Awaitable[None]]


@dataclass
class Misbehaving:
    """The server; an async context manager. `requests` and `connections` tell what came in."""

    script: Script
    tls: ssl.SSLContext | None = None
    greeting: bytes = b""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self.tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The base URL for a client."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/api/v1"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        # A client that breaks off is what many a test is about.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._serve(Peer(reader, writer))
        with contextlib.suppress(OSError, asyncio.CancelledError):
            writer.close()
            await writer.wait_closed()
        self._tasks.discard(task)
        self.closed.set()

    async def _serve(self, peer: Peer) -> None:
        await peer.send(self.greeting)
        while not peer.over:
            head = (await peer.reader.readuntil(b"\r\n\r\n")).decode("ascii")
            line, *headers = head.strip().split("\r\n")
            pairs = (header.split(": ", 1) for header in headers)
            request = Request(line, {name.lower(): value for name, value in pairs})
            self.requests.append(request)
            await self.script(request, peer)


def answer(
    body: bytes | object = b"",
    status: str = "200 OK",
    headers: Mapping[str, str | None] | None = None,
) -> bytes:
    """Return a whole answer; a body that is not bytes is written as JSON. A None drops a header."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    usual: dict[str, str | None] = {
        "Content-Type": "application/json",
        "Content-Length": str(len(raw)),
    }
    lines = [f"{name}: {value}" for name, value in {**usual, **(headers or {})}.items() if value]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1") + raw


def config(**changes: object) -> dict[str, object]:
    """Return the reference's example document with these changes to its `data`."""
    data = {**EXAMPLE, **changes}
    return {"success": True, "data": {k: v for k, v in data.items() if v is not ABSENT}}


def replies(*data: bytes) -> Script:
    """Return a script that sends one of these per request, the last one for ever."""
    left = list(data)

    async def script(_: Request, peer: Peer) -> None:
        await peer.send(left.pop(0) if len(left) > 1 else left[0])

    return script


def replies_and_closes(data: bytes) -> Script:
    """Return a script that sends this and closes the connection."""

    async def script(_: Request, peer: Peer) -> None:
        await peer.send(data)
        peer.end()

    return script


def replies_and_resets(data: bytes) -> Script:
    """Return a script that sends this and resets the connection."""

    async def script(_: Request, peer: Peer) -> None:
        await peer.send(data)
        peer.reset()

    return script


def drips(head: bytes, data: bytes) -> Script:
    """Return a script that sends `head`, and then `data` again and again."""

    async def script(_: Request, peer: Peer) -> None:
        await peer.send(head)
        await peer.drip(data)

    return script


async def hangs(_: Request, peer: Peer) -> None:
    """Take the request and never answer."""
    await peer.hang()


@dataclass
class Calls:
    """What a client's `observe` was told, and the clock that it measured with."""

    seen: list[tuple[str, float, Reason | None]] = field(default_factory=list)
    clock: float = 0.0

    def observe(self, endpoint: str, seconds: float, reason: Reason | None) -> None:
        """Take it down."""
        self.seen.append((endpoint, seconds, reason))

    def monotonic(self) -> float:
        """Return a clock that is a quarter of a second further on each time it is read."""
        self.clock += 0.25
        return self.clock


@contextlib.asynccontextmanager
async def client_of(base_url: str, **settings: Any) -> AsyncIterator[Talkover]:
    """Give a client of this API, with these settings of it and of `HttpClient`; close it then."""
    calls = Calls()
    own = ("ca_file", "lookup", "proxy")
    ours = {name: settings.pop(name) for name in own if name in settings}
    usual: dict[str, Any] = {
        "token": TOKEN,
        "timeout": 10.0,
        "concurrency": 8,
        "now": lambda: NOW,
        "elapsed": calls.monotonic,
        "observe": calls.observe,
        "client": HttpClient(**ours),
    }
    client = Talkover(base_url=base_url, **{**usual, **settings})
    try:
        yield client
    finally:
        await client.aclose()


async def asked(script: Script, tls: ssl.SSLContext | None = None, **settings: Any) -> Answer:
    """Return what a client makes of a server that follows this script."""
    async with Misbehaving(script, tls) as server, client_of(server.url, **settings) as client:
        return await client.fetch_sftp(CAMPAIGN)


async def reason_of(script: Script, **settings: Any) -> Reason | None:
    """Return why the poll of a server with this script failed, or None."""
    observation = (await asked(script, **settings)).observation
    return getattr(observation, "reason", None)


async def fetched(base_url: str, **settings: Any) -> Observation:
    """Return what a client with these settings sees at this base URL."""
    async with client_of(base_url, **settings) as client:
        return (await client.fetch_sftp(CAMPAIGN)).observation


def here(_host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
    """Say of every name that it is this machine."""
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]
