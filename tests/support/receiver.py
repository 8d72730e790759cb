"""A receiver of POSTs on a real socket: it keeps what came, and answers to order."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Received:
    """A request as it came in."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The document in the body."""
        return json.loads(self.body)


@dataclass
class Receiver:
    """What came so far; `status` says how the next request is answered, by its document."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    status: Callable[[Any], int] = lambda document: 200
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    hold: asyncio.Event | None = None
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        """Return once the condition holds, which is looked at after every request."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._came.clear()
                await self._came.wait()

    async def answer(self, request: web.Request) -> web.Response:
        """Take a request down and answer it."""
        came = Received(request.path_qs, request.headers, await request.read())
        self.received.append(came)
        self._came.set()
        if self.hold is not None:
            await self.hold.wait()
        status = self.status(came.json)
        return web.Response(status=status, text=self.text, headers=self.headers)


@asynccontextmanager
async def receiver(status: int = 200) -> AsyncIterator[Receiver]:
    """Run a receiver that answers with this status, whatever comes."""
    made = Receiver(status=lambda document: status)
    application = web.Application()
    application.router.add_post("/{any:.*}", made.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        if made.hold is not None:
            made.hold.set()
        await runner.cleanup()
