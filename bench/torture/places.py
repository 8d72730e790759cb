"""What is around replicas: wires that may be cut, the API, and who is told, all on loopback.

The API counts who called, and refuses what is over the plan's limit; campaigns flap on it.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from support.fake_platform import FakePlatform, now
from torture.witness import Call, Record, Told

ENVIRONMENTS = [f"e{number}" for number in range(6)]
FLAPPING = [f"flapping-{number}" for number in range(3)]
STEADY = {"well": True, "broken": False}
"""What they are the whole time: nothing is told of the one, and one alert of the other."""

TESTED = "tested"
"""The campaign of each environment that is tested; all have the login in common."""

LIMIT, BUDGET = 120, 60
"""Requests a minute: of the plan, and what the monitor may use of it."""


@dataclass
class Wire:
    """A way from one client to one place, over which nothing may come for a while.

    `cut`: held back, and there late, as TCP is where packets are lost. `refuse`: reset.
    """

    target: Path | int
    port: int = 0
    _through: asyncio.Event = field(default_factory=asyncio.Event)
    _refusing: bool = False
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self) -> "Wire":
        """Listen."""
        self._through.set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def cut(self, *, refuse: bool) -> None:
        """Let nothing through from now on."""
        self._refusing = refuse
        if refuse:
            self.reset()
        else:
            self._through.clear()

    def mend(self) -> None:
        """Let all through again, what was held back first."""
        self._refusing = False
        self._through.set()

    def reset(self) -> None:
        """Reset whatever is open."""
        for one in self._open:
            one.transport.abort()

    async def aclose(self) -> None:
        """Listen no more."""
        self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)  # else nobody holds it but what it waits for
        task.add_done_callback(self._tasks.discard)
        with suppress(OSError, asyncio.CancelledError):
            if self._refusing:
                writer.transport.abort()
                return
            self._open.add(writer)
            await self._through.wait()
            there, back = await self._connect()
            self._open.add(back)
            try:
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
            finally:
                for one in (writer, back):
                    one.transport.abort()
                    self._open.discard(one)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, int):
            return await asyncio.open_connection("127.0.0.1", self.target)
        return await asyncio.open_unix_connection(self.target)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            await self._through.wait()
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError  # so that the other one ends, too


@dataclass
class Places:
    """The API and the receiver of all replicas, and what they have seen."""

    apis: dict[str, FakePlatform] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    posts: list[Call] = field(default_factory=list)
    refused: int = 0
    received: list[Told] = field(default_factory=list)
    truth: dict[tuple[str, str], bool] = field(default_factory=dict)
    port: int = 0
    recent: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ENVIRONMENTS:
            api = self.apis[name] = FakePlatform()
            for campaign, well in {**STEADY, **dict.fromkeys((*FLAPPING, TESTED), True)}.items():
                common = {"host": "sftp.example", "username": "us"} if campaign == TESTED else {}
                api.set(campaign, last_test_success=well, **common)
                self.truth[name, campaign] = well

    def flap(self, chance: random.Random) -> None:
        """Change one campaign: somebody else has run a test of it."""
        name, campaign = chance.choice(ENVIRONMENTS), chance.choice(FLAPPING)
        self.truth[name, campaign] = well = not self.truth[name, campaign]
        self.apis[name].set(campaign, last_test_success=well, last_test_at=now())

    def last_caller(self, environment: str) -> str:
        """Return the node that called last for an environment."""
        found = (one.node for one in reversed(self.calls) if one.environment == environment)
        return next(found, "")

    async def show(self, request: web.Request) -> web.Response:
        """Show a config, where the plan's limit allows it."""
        if (refused := self._note(request, self.calls)) is not None:
            return refused
        return await self.apis[request.match_info["environment"]].answer(request)

    async def test(self, request: web.Request) -> web.Response:
        """Run a test; it takes a moment, so that whoever asked for it may die meanwhile."""
        if (refused := self._note(request, self.posts)) is not None:
            return refused
        await asyncio.sleep(0.5)
        return await self.apis[request.match_info["environment"]].test(request)

    def _note(self, request: web.Request, calls: list[Call]) -> web.Response | None:
        at = asyncio.get_running_loop().time()
        name = request.match_info["environment"]
        calls.append(Call(at, request.match_info["node"], name))
        recent = [one for one in self.recent.get(name, ()) if one > at - 60]
        self.recent[name] = [*recent, at]
        if len(recent) < LIMIT:
            return None
        self.refused += 1
        return web.json_response({"success": False}, status=429)

    async def receive(self, request: web.Request) -> web.Response:
        """Take an event down."""
        record: Record = json.loads(await request.read())
        at = asyncio.get_running_loop().time()
        self.received.append(Told(at, request.match_info["node"], record))
        return web.Response()

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Serve on a port."""
        application = web.Application()
        campaign = "/{node}/{environment}/api/v1/campaigns/{campaign_id}/sftp"
        application.router.add_get(campaign, self.show)
        application.router.add_post(f"{campaign}/test-connection", self.test)
        application.router.add_post("/receiver/{node}", self.receive)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()
