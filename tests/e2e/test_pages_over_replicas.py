"""What on-call is sent while replicas die, stop, or lose their database: by the real programs.

Two replicas on one PostgreSQL tell an Alertmanager themselves, and Prometheus scrapes both. What
lasts for an hour in the shipped rules lasts for half a minute here, and so an outage of 70 minutes
for longer than that. Leases are as long as everywhere: a death costs half a minute.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from monitor.core.model import HOUR
from support.command import Daemon, daemon, write_config
from support.fake_platform import FakePlatform, fake_platform, now
from support.pager import PATIENCE, Alertmanager, OnCall, Prometheus, alertmanager, prometheus
from support.postgres import Between, Server

pytestmark = [pytest.mark.e2e, pytest.mark.slow(seconds=100)]

HOST = "sftp.one.example"
FIRES, WAITS, WELL = "c-fires", "c-waits", "c-well"
CAMPAIGNS = (FIRES, WAITS, WELL)
WINDOW = 30
"""Seconds that stand for the hour of the shipped rules."""

UNAVAILABLE = "SftpMonitorStateUnavailable"

Found = TypeVar("Found")


@dataclass
class World:
    """Everything between the API and on-call; each replica has its own way to the database."""

    platform: FakePlatform
    ways: tuple[Between, Between]
    replicas: tuple[Daemon, Daemon]
    alerted: Alertmanager
    prometheus: Prometheus

    @property
    def on_call(self) -> OnCall:
        """Who is told at the end."""
        return self.alerted.on_call

    async def owned_by(self, number: int) -> None:
        """Return once this replica holds the environment."""
        line = 'sftp_monitor_environment_owned{environment="production"} 1.0'

        async def owns() -> bool:
            return line in await self.replicas[number].text("/metrics")

        await in_time(owns)

    async def scraped_again(self, seconds: float = 4.0) -> None:
        """Return once Prometheus has looked at its rules a few times since."""
        before = await self._time()

        async def later() -> bool:
            return await self._time() > before + seconds

        await in_time(later)

    async def _time(self) -> float:
        (found,) = await self.prometheus.ask("max(timestamp(up))")
        return float(found["value"][1])

    async def fires(self, campaign: str) -> dict[str, Any]:
        """Return the one alert about a campaign that Alertmanager has."""
        (found,) = await self.alerted.alerts(campaign_id=campaign)
        return found


async def in_time(look: Callable[[], Awaitable[Found | None]]) -> Found:
    """Return what is found as soon as it is."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await look()):  # noqa: ASYNC110 - programs of others have no event
            await asyncio.sleep(0.2)
    return found


@asynccontextmanager
async def a_world(
    folder: Path, server: Server, database: str, window: int = 5 * WINDOW
) -> AsyncIterator[World]:
    """Run it all; the first replica holds the environment, and one of its alerts has paged."""
    async with AsyncExitStack() as ends:
        enter = ends.enter_async_context
        platform, alerted = await enter(fake_platform()), await enter(alertmanager(folder))
        for one in CAMPAIGNS:
            platform.set(one, host=HOST, last_test_success=one != FIRES)
        ways = ends.enter_context(Between(server)), ends.enter_context(Between(server))
        replicas = list[Daemon]()
        for number, way in enumerate(ways):
            (own := folder / str(number)).mkdir()
            url = server.url(database, host="127.0.0.1", port=way.port)
            config = write_config(
                own,
                platform,
                CAMPAIGNS,
                state={"url": url, "unavailable_after": "3s"},
                rules={"stale_test": {"for": "50s", "severity": "critical"}},
                notify={"alertmanager": {"urls": [alerted.url]}},
            )
            replicas.append(await enter(daemon(config)))
            if number == 0:
                taken = {"event": "environment_taken_over", "environment": "production"}
                await replicas[0].process.record(**taken)
        first, second = replicas
        scraped = [one.url.removeprefix("http://") for one in replicas]
        world = World(
            platform,
            ways,
            (first, second),
            alerted,
            await enter(prometheus(folder, alerted, *scraped, window=window)),
        )
        await world.owned_by(0)
        await world.on_call.page(component=HOST)
        yield world


def paged_once(world: World, *more: str) -> None:
    """Check that on-call was rung about the campaign, and by these alerts, once each."""
    rang = [one.document["payload"] for one in world.on_call.rings()]
    assert sorted(one["class"] for one in rang) == sorted(["SftpTestFailed", *more])


async def mended(world: World) -> None:
    """Mend the campaign, and check that this is the first resolve of its page, and the only one."""
    assert world.on_call.pages("resolve", component=HOST) == []
    world.platform.set(FIRES, host=HOST)
    await world.on_call.page("resolve", component=HOST)


async def test_a_kill_while_one_fires_and_one_is_pending_resolves_nothing_and_pages_nobody_again(
    tmp_path: Path, server: Server, database: str
) -> None:
    async with a_world(tmp_path, server, database) as world:
        world.platform.set(WAITS, host="sftp.two.example", last_test_at=now() - 31 * 24 * HOUR)
        pending = 'sftp_monitor_alert{campaign_id="c-waits",alertstate="pending"}'
        since = await in_time(partial(world.prometheus.ask, pending))
        assert since
        before = await world.fires(FIRES)
        await world.replicas[0].process.end(signal.SIGKILL)
        await world.owned_by(1)
        await world.scraped_again()
        after = await world.fires(FIRES)
        assert after["startsAt"] == before["startsAt"]
        # What waited goes on waiting: by its `for` from before the takeover, and once.
        stale = await world.on_call.page(component="sftp.two.example")
        assert stale.document["payload"]["class"] == "SftpTestStale"
        await mended(world)
        about = [one for one in world.on_call.rings() if "Absent" not in str(one.document)]
        assert len(about) == 2
        assert world.on_call.pages("resolve", component="sftp.two.example") == []


async def test_a_rolling_update_resolves_nothing_and_pages_nobody(
    tmp_path: Path, server: Server, database: str
) -> None:
    async with a_world(tmp_path, server, database) as world:
        await world.replicas[0].process.end(signal.SIGTERM)
        await world.owned_by(1)
        await world.scraped_again()
        assert world.replicas[1].process.alerts(rule="failed_test") == []
        await mended(world)
        paged_once(world)


async def test_an_outage_of_the_database_is_one_page_and_resolves_nothing(
    tmp_path: Path, server: Server, database: str
) -> None:
    async with a_world(tmp_path, server, database, WINDOW) as world:
        server.stop("immediate")
        try:
            started = asyncio.get_running_loop().time()
            page = await world.on_call.page(**{"class": UNAVAILABLE})
            for one in world.replicas:
                await one.process.alert(None, "state_unavailable", "firing")
            await world.scraped_again(WINDOW + 10)
            assert asyncio.get_running_loop().time() > started + WINDOW
            level = await world.fires(FIRES)
            ends = datetime.fromisoformat(level["endsAt"]).timestamp()
            assert ends > now() + 23 * HOUR
            (direct,) = await world.alerted.alerts(rule="state_unavailable")
            assert direct["labels"].keys() == {"alertname", "rule", "severity"}
        finally:
            server.start()
        await world.on_call.page("resolve", **{"class": UNAVAILABLE})
        ids = list[str]()
        for one in world.replicas:
            over = await one.process.alert(None, "state_unavailable", "resolved")
            begun = await one.process.alert(None, "state_unavailable", "firing")
            assert over["fingerprint"] == begun["fingerprint"]
            ids += [over["event_id"], begun["event_id"]]
        assert len(set(ids)) == 4
        await mended(world)
        paged_once(world, UNAVAILABLE)
        assert page in world.on_call.rings()
        assert len(world.on_call.pages("resolve", **{"class": UNAVAILABLE})) == 1


async def test_a_replica_cut_off_from_the_database_resolves_nothing_and_is_one_page(
    tmp_path: Path, server: Server, database: str
) -> None:
    async with a_world(tmp_path, server, database) as world:
        world.ways[0].held.set()
        await world.on_call.page(**{"class": UNAVAILABLE})
        await world.owned_by(1)
        await world.scraped_again()
        await mended(world)  # though the one that is cut off still has it as it was
        world.ways[0].held.clear()
        await world.on_call.page("resolve", **{"class": UNAVAILABLE})
        await world.scraped_again()
        paged_once(world, UNAVAILABLE)
        assert len(world.on_call.pages("resolve", component=HOST)) == 1
