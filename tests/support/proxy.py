"""A proxy as companies have them: a real one, on loopback, that connects to whoever is named."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self


@dataclass
class ConnectProxy:
    """An async context manager. `asked` has each request's first line, `users` who asked.

    It wants `user:password` unless that is empty, and connects to `leads_to`, whatever the name:
    for the names of tests nobody else knows. `answers` replaces its answer, with what it says.
    """

    user: str = ""
    leads_to: int | None = None
    tls: ssl.SSLContext | None = None
    answers: bytes | None = None
    asked: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    open: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self.tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        # The clients are gone by now, and so each ends by itself.
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until this is true of it."""
        while not true():
            await self.changed.wait()
            self.changed.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._serve(reader, writer)
        await _closed(writer)
        self._tasks.discard(task)
        self.open -= 1
        self.changed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *headers = head.decode().strip().split("\r\n")
        self.asked.append(line)
        said = dict(header.lower().split(": ", 1) for header in headers)
        self.users += [v for name, v in said.items() if name == "proxy-authorization"]
        self.changed.set()
        wanted = f"basic {base64.b64encode(self.user.encode()).decode()}".lower()
        answers = self.answers
        if self.user and said.get("proxy-authorization") != wanted:
            answers = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
        if answers is not None:
            writer.write(answers)
            await writer.drain()
            if not answers:
                await reader.read()
            return
        await self._tunnel(line, headers, reader, writer)

    async def _tunnel(
        self,
        line: str,
        headers: list[str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        tunnel = line.startswith("CONNECT ")
        address = line.split()[1].rpartition(":")[2] if tunnel else line.split("/")[2]
        port = self.leads_to or int(address.rpartition(":")[2])
        there, back = await asyncio.open_connection("127.0.0.1", port)
        if tunnel:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            kept = [header for header in headers if not header.lower().startswith("proxy-")]
            back.write("\r\n".join([line, *kept, "", ""]).encode())
        pumps = [asyncio.ensure_future(one) for one in (_pump(reader, back), _pump(there, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await _closed(back)


async def _closed(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.CancelledError):
        writer.close()
        await writer.wait_closed()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)
        await sink.drain()
