"""kill -9 around connection tests: no login is tried more often than allowed, as servers count.

The real command, on a loopback platform whose tests log in at stand-in servers.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.demo.world import Server, World
from support.command import Daemon, daemon, write_config
from support.fake_platform import FakePlatform, now

USER, PASSWORD = "campaigns_user", "right"
CAMPAIGNS = [f"c-{n}" for n in range(12)]
# Always well: so that the failed tests of some are no failure of the platform's.
WELL = ["well-1", "well-2"]
FAILURES = 2

TESTS: dict[str, Any] = {
    "enabled": True,
    "every": "4s",
    "between": "",
    "confirm_after": "1s",
    "retry_after": "2s",
    "retry_max": "4s",
    "login_gap": "1s",
    "host_gap": "1s",
    "budget_share": 1.0,
    "login_failures": FAILURES,
}


@dataclass
class TestedPlatform(FakePlatform):
    """A platform whose tests log in at the servers of a world; `stop_at` names a campaign.

    When that is to be tested `stopped` is set: before the test is run, while its answer is awaited
    (both wait for `go`), or once that is on its way.
    """

    __test__ = False  # no test case of pytest's

    world: World = field(default_factory=World)
    stop_at: tuple[str, str] = ("", "")
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def show(self, request: web.Request) -> web.Response:
        config = self.world.configs[request.match_info["campaign_id"]]
        return web.json_response({"success": True, "data": config.as_json()})

    async def test(self, request: web.Request) -> web.Response:
        key = request.match_info["campaign_id"]
        when = self.stop_at[1] if self.stop_at[0] == key else ""
        if when == "before":
            await self._wait()
        answer = self.world.test(key, now())
        if when == "during":
            await self._wait()
        if when == "after":
            self.stopped.set()
        return web.json_response(answer.as_json())

    async def _wait(self) -> None:
        self.stopped.set()
        # Whoever hangs up meanwhile does not end a test.
        await self.go.wait()


@asynccontextmanager
async def a_platform() -> AsyncIterator[TestedPlatform]:
    """Run a platform with campaigns that each have a login and a host of their own."""
    platform = TestedPlatform()
    for key in (*CAMPAIGNS, *WELL):
        host = f"{key}.example.com"
        platform.world.servers[host] = Server({USER: PASSWORD})
        platform.world.create(key, now() - 3600, host, USER, PASSWORD)
        platform.world.test(key, now() - 3600)
        platform.world.switch(key, on=True)
    application = web.Application()
    path = "/api/v1/campaigns/{campaign_id}/sftp"
    application.router.add_get(path, platform.show)
    application.router.add_post(f"{path}/test-connection", platform.test)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        platform.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1"
        yield platform
    finally:
        platform.go.set()
        await runner.cleanup()


def failures_in_a_row(server: Server) -> int:
    """Return how many logins failed at a server at most, with none between that succeeded."""
    runs = itertools.groupby(server.log, key=lambda one: one.failed)
    return max((len(list(run)) for failed, run in runs if failed), default=0)


def closest(server: Server) -> float:
    """Return how close two logins at a server came."""
    times = [one.at for one in server.log[1:]]
    return min((b - a for a, b in itertools.pairwise(times)), default=60.0)


def _count(monitor: Daemon, fields: Mapping[str, str]) -> int:
    return sum(fields.items() <= record.items() for record in monitor.process.records)


def _passed(monitor: Daemon, fields: Mapping[str, str]) -> bool:
    return _count(monitor, fields) >= 1


async def _killed_at_a_test(monitor: Daemon, platform: TestedPlatform, key: str, when: str) -> None:
    platform.stopped, platform.go, platform.stop_at = asyncio.Event(), asyncio.Event(), (key, when)
    async with asyncio.timeout(60):
        await platform.stopped.wait()
    monitor.process.process.kill()
    await monitor.process.end()
    platform.stop_at = ("", "")
    platform.go.set()


@pytest.mark.slow(seconds=150)
async def test_a_dozen_kills_around_tests_try_no_login_more_often_than_allowed(
    tmp_path: Path,
) -> None:
    async with a_platform() as platform:
        rules, ids = {"stale_test": {"enabled": False}}, [*CAMPAIGNS, *WELL]
        passed = {"event": "connection_test", "result": "passed"}
        config = write_config(tmp_path, platform, ids, connection_tests=TESTS, rules=rules)
        for number, key in enumerate(CAMPAIGNS):
            when = ("before", "during", "after")[number % 3]
            async with daemon(config) as monitor:
                await monitor.process.until(partial(_passed, monitor, passed), 60)
                platform.world.server(f"{key}.example.com").passwords[USER] = "rotated"
                await _killed_at_a_test(monitor, platform, key, when)
        # One login is well again: somebody enters the new password, and presses the button.
        platform.world.edit(CAMPAIGNS[0], password="rotated")
        platform.world.test(CAMPAIGNS[0], now())
        async with daemon(config) as monitor:
            known = {"event": "connection_test", "campaign_id": CAMPAIGNS[0], "result": "passed"}
            # Time enough for every other one to be tried too often.
            await monitor.process.until(lambda: _count(monitor, known) >= 4, 90)
    servers = platform.world.servers.values()
    assert max(failures_in_a_row(one) for one in servers) == FAILURES
    assert min(closest(one) for one in servers) >= 0.95
