"""A TalkOver API on a real socket that is not the demo's: it answers to order and counts.

Every campaign has its own answer, which a test may change at any time; a campaign without one is
a 404. `listed` are those of GET /campaigns, with their status. Nothing happens by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from monitor.clocks import SystemClock
from monitor.core.model import DAY, HOUR, Instant
from monitor.core.text import rfc3339

TOKEN = "talq_canary5ecret"
"""The environment's token, and the word that no output may contain."""

CLOCK = SystemClock()

_INSTANTS = ("last_test_at", "created_at")


def now() -> Instant:
    """Return the wall clock's instant: the program under test has no other clock."""
    return CLOCK.wall()


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in: when (seconds, monotonic), about whom, and with which header."""

    at: float
    campaign_id: str
    authorization: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered; `held` is waited for first."""

    status: int
    body: object
    held: asyncio.Event | None = None


NOT_FOUND = Reply(404, {"success": False, "error": {"code": "NOT_FOUND", "message": "gone"}})
FORBIDDEN = Reply(403, {"success": False, "error": {"code": "FORBIDDEN", "message": "no"}})
NO_DATA = Reply(200, {"success": True, "data": None})
BROKEN = Reply(500, {"success": False, "error": {"code": "SERVER_ERROR", "message": "oops"}})


def a_config(campaign_id: str, /, **changes: Any) -> Reply:
    """Return the answer for a healthy config that was tested an hour ago, with `changes`.

    Instants are given in seconds since the epoch; they go out with milliseconds.
    """
    data: dict[str, Any] = {
        "id": f"sftp-of-{campaign_id}",
        "campaign_id": campaign_id,
        "host": f"{campaign_id}.example.com",
        "port": 22,
        "username": "campaigns_user",
        "auth_type": "password",
        "import_path": "/inbox",
        "export_path": "/outbox",
        "import_schedule": "daily",
        "is_enabled": True,
        "last_test_at": now() - HOUR,
        "last_test_success": True,
        "created_at": now() - 90 * DAY,
    } | changes
    for key in _INSTANTS:
        if isinstance(data[key], float):
            data[key] = rfc3339(data[key], milliseconds=True)
    return Reply(200, {"success": True, "data": data})


@dataclass
class FakePlatform:
    """The platform of one environment; make one with `fake_platform`."""

    base_url: str = ""
    replies: dict[str, Reply] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    listed: dict[str, str] = field(default_factory=dict)
    listing: Reply | None = None
    errors: dict[str, str] = field(default_factory=dict)
    tested: list[str] = field(default_factory=list)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    def set(self, campaign_id: str, /, **changes: Any) -> None:
        """Give a campaign a healthy config with these changes."""
        self.replies[campaign_id] = a_config(campaign_id, **changes)

    def hold(self, campaign_id: str) -> asyncio.Event:
        """Hold the campaign's answers back until the event that is returned is set."""
        held = asyncio.Event()
        self.replies[campaign_id] = replace(self.replies[campaign_id], held=held)
        return held

    def asked_for(self, campaign_id: str) -> list[float]:
        """Return when this campaign was asked for."""
        return [one.at for one in self.requests if one.campaign_id == campaign_id]

    async def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        """Return once the condition holds, which is looked at after every request."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._came.clear()
                await self._came.wait()

    async def more(self, requests: int) -> None:
        """Return once so many more requests have come in."""
        enough = len(self.requests) + requests
        await self.until(lambda: len(self.requests) >= enough)

    async def answer(self, request: web.Request) -> web.Response:
        """Take a request down and answer it."""
        campaign_id = request.match_info["campaign_id"]
        came = asyncio.get_running_loop().time()
        authorization = request.headers.get("Authorization", "")
        self.requests.append(Request(came, campaign_id, authorization))
        self._came.set()
        reply = self.replies.get(campaign_id, NOT_FOUND)
        if reply.held is not None:
            await reply.held.wait()
        return web.json_response(reply.body, status=reply.status)

    async def test(self, request: web.Request) -> web.Response:
        """Run a connection test: it fails with the campaign's error, if there is one."""
        campaign_id = request.match_info["campaign_id"]
        self.tested.append(campaign_id)
        error, at = self.errors.get(campaign_id), rfc3339(now(), milliseconds=True)
        reply = self.replies[campaign_id]
        assert isinstance(reply.body, dict)
        record = {"last_test_at": at, "last_test_success": error is None}
        body = {**reply.body, "data": {**reply.body["data"], **record}}
        self.replies[campaign_id] = replace(reply, body=body)
        said = {"import_path_accessible": True, "export_path_accessible": True}
        data = {"tested_at": at, **(said if error is None else {"error": error})}
        return web.json_response({"success": error is None, "message": "", "data": data})

    async def list_campaigns(self, request: web.Request) -> web.Response:
        """Answer with the page of the listing that is asked for, or with `listing`."""
        if self.listing is not None:
            return web.json_response(self.listing.body, status=self.listing.status)
        page, size = (int(request.query[key]) for key in ("page", "per_page"))
        found = [
            {"id": key, "name": f"Campaign {key}", "status": status, "campaign_type": "sales"}
            for key, status in self.listed.items()
        ]
        shown, total = found[(page - 1) * size : page * size], len(found)
        pagination = {"current_page": page, "per_page": size, "total": total}
        return web.json_response({"success": True, "data": shown, "pagination": pagination})


@asynccontextmanager
async def fake_platform(*healthy: str) -> AsyncIterator[FakePlatform]:
    """Run a platform on which these campaigns are healthy."""
    platform = FakePlatform()
    for campaign_id in healthy:
        platform.set(campaign_id)
    application = web.Application()
    application.router.add_get("/api/v1/campaigns", platform.list_campaigns)
    application.router.add_get("/api/v1/campaigns/{campaign_id}/sftp", platform.answer)
    tests = "/api/v1/campaigns/{campaign_id}/sftp/test-connection"
    application.router.add_post(tests, platform.test)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        platform.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1"
        yield platform
    finally:
        await runner.cleanup()
