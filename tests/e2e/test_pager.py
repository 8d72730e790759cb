"""From "broken at the API" to "received by on-call", with the real programs and shipped files.

On-call gets what PagerDuty and Slack would: the fields of their own APIs.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from monitor.config.model import RUNBOOKS
from monitor.core.model import DAY
from support.command import Daemon, daemon, write_config
from support.fake_platform import BROKEN, FakePlatform, fake_platform, now
from support.pager import GROUP_WAIT, PATIENCE, Alertmanager, OnCall, Prometheus, Sent
from support.pager import alertmanager as running_alertmanager
from support.pager import prometheus as running_prometheus

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HOST, SECOND_HOST = "sftp.one.example", "sftp.two.example"
OF_HOST = [f"c-{number}" for number in range(1, 6)]
OF_SECOND_HOST = ["d-1"]
CAMPAIGNS = OF_HOST + OF_SECOND_HOST

Measured = Callable[[str, object], None]
Found = TypeVar("Found")


def put(platform: FakePlatform, *campaigns: str, **changes: Any) -> None:
    """Make these campaigns healthy, but for the changes."""
    for campaign in campaigns:
        host = SECOND_HOST if campaign in OF_SECOND_HOST else HOST
        platform.set(campaign, **{"host": host, **changes})


def fail(platform: FakePlatform, *campaigns: str) -> float:
    """Let the last test of these campaigns have failed; return when (the loop's seconds)."""
    put(platform, *campaigns, last_test_success=False)
    return asyncio.get_running_loop().time()


@dataclass
class Way:
    """Everything between the API and on-call."""

    platform: FakePlatform
    config: Path
    monitor: Daemon
    alertmanager: Alertmanager
    prometheus: Prometheus

    @property
    def on_call(self) -> OnCall:
        """Who is told at the end of the way."""
        return self.alertmanager.on_call


def address(monitor: Daemon) -> str:
    return monitor.url.removeprefix("http://")


def notify(alerted: Alertmanager) -> dict[str, Any]:
    """Return the section of the monitor's config by which it tells this Alertmanager itself."""
    return {"notify": {"alertmanager": {"urls": [alerted.url]}}}


@asynccontextmanager
async def way(folder: Path, *, direct: bool = False, **sections: Any) -> AsyncIterator[Way]:
    """Run it all, with every campaign healthy; `sections` are of the monitor's config.

    `direct`: the monitor tells Alertmanager itself as well.
    """
    async with fake_platform() as platform, running_alertmanager(folder) as alerted:
        put(platform, *CAMPAIGNS)
        if direct:
            sections |= notify(alerted)
        config = write_config(folder, platform, CAMPAIGNS, **sections)
        async with (
            daemon(config) as monitor,
            running_prometheus(folder, alerted, address(monitor)) as scraping,
        ):
            yield Way(platform, config, monitor, alerted, scraping)


def list_of(page: Sent) -> str:
    """Return the campaigns that a page lists."""
    text: str = page.document["payload"]["custom_details"]["firing"]
    return text


async def test_a_broken_host_is_one_page_a_second_host_rings_again_and_mending_resolves(
    tmp_path: Path, record_property: Measured
) -> None:
    async with way(tmp_path) as here:
        on_call = here.on_call
        broken = fail(here.platform, *OF_HOST)
        page = await on_call.page(component=HOST)
        record_property(
            "from broken at the API to received by on-call",
            f"{page.at - broken:.1f} s, {GROUP_WAIT} s of which Alertmanager waits for more",
        )
        payload = page.document["payload"]
        assert payload["summary"] == f"5 campaigns: the last connection test failed ({HOST})"
        assert list_of(page).count("•") == len(OF_HOST)
        assert all(f"Campaign {one} (production/{one})" in list_of(page) for one in OF_HOST)
        assert payload["custom_details"]["runbook"] == RUNBOOKS.replace("{rule}", "failed_test")
        assert "run the connection test" in payload["custom_details"]["next_step"]

        fail(here.platform, *OF_SECOND_HOST)
        second = await on_call.page(component=SECOND_HOST)
        assert "d-1: the last connection test failed" in second.document["payload"]["summary"]
        assert second.document["dedup_key"] != page.document["dedup_key"]
        assert on_call.rings() == [page, second]

        put(here.platform, *OF_HOST)
        over = await on_call.page("resolve")
        assert over.document["dedup_key"] == page.document["dedup_key"]
        assert on_call.rings() == [page, second]


async def test_a_warning_is_written_with_what_since_when_what_next_and_where_to_read_on(
    tmp_path: Path,
) -> None:
    async with way(tmp_path) as here:
        put(here.platform, "c-1", last_test_at=now() - 31 * DAY)
        told = await here.on_call.until(lambda: here.on_call.told("slack"))
        (message,) = told.document["attachments"]
        assert message["title"].startswith("production/Campaign c-1: the connection was last")
        what, *_, following, links = message["text"].strip().splitlines()
        assert what.startswith(f"• Campaign Campaign c-1 (production/c-1), host {HOST}, since 20")
        assert following == "*Next:* Run a connection test on the campaign's SFTP page."
        assert f"<{RUNBOOKS.replace('{rule}', 'stale_test')}|Runbook>" in links
        assert "&var-campaign=c-1|Dashboard>" in links
        assert "campaign_id%3D%22c-1%22" in links
        assert here.on_call.rings() == []


async def test_the_death_of_the_monitor_is_a_page_and_resolves_nothing_that_fires(
    tmp_path: Path, record_property: Measured
) -> None:
    async with way(tmp_path) as here:
        on_call = here.on_call
        fail(here.platform, "c-1")
        page = await on_call.page(component=HOST)

        await here.monitor.process.end(signal.SIGKILL)
        killed = asyncio.get_running_loop().time()
        absent = await on_call.page(**{"class": "SftpMonitorAbsent"})
        record_property("from kill -9 to received by on-call", f"{absent.at - killed:.1f} s")
        runbook = RUNBOOKS.replace("{rule}", "monitor_absent")
        assert absent.document["payload"]["custom_details"]["runbook"] == runbook
        assert on_call.pages("resolve") == []

        # At another address, as a new pod is.
        async with daemon(here.config) as again:
            here.prometheus.scrape(address(again))
            await on_call.page("resolve", **{"class": "SftpMonitorAbsent"})
            assert on_call.pages("resolve", component=HOST) == []
            put(here.platform, "c-1")
            await on_call.page("resolve", component=HOST)
        assert on_call.rings() == [page, absent]


async def test_an_api_that_is_down_is_one_page_and_mutes_what_else_fires(tmp_path: Path) -> None:
    after = {"api_unreachable": {"after": "1s"}, "unreadable": {"after": "1s"}}
    async with way(tmp_path, rules=after) as here:
        on_call = here.on_call
        fail(here.platform, "c-1")
        page = await on_call.page(component=HOST)

        here.platform.replies = dict.fromkeys(CAMPAIGNS, BROKEN)
        down = await on_call.page(**{"class": "TalkoverApiUnreachable"})
        (failed,) = await here.alertmanager.alerts(rule="failed_test")
        (outage,) = await here.alertmanager.alerts(rule="api_unreachable")
        assert failed["status"]["inhibitedBy"] == [outage["fingerprint"]]
        assert on_call.pages("resolve") == []

        put(here.platform, *CAMPAIGNS)
        await on_call.page("resolve", **{"class": "TalkoverApiUnreachable"})
        await on_call.page("resolve", component=HOST)
        assert on_call.rings() == [page, down]


async def test_the_monitor_alone_tells_alertmanager_the_same(
    tmp_path: Path, record_property: Measured
) -> None:
    async with fake_platform() as platform, running_alertmanager(tmp_path) as alerted:
        put(platform, *CAMPAIGNS)
        config = write_config(tmp_path, platform, CAMPAIGNS, **notify(alerted))
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            broken = fail(platform, *OF_HOST)
            page = await alerted.on_call.page(component=HOST)
            record_property("the same without Prometheus", f"{page.at - broken:.1f} s")
            assert list_of(page).count("•") == len(OF_HOST)
            runbook = page.document["payload"]["custom_details"]["runbook"]
            assert runbook == RUNBOOKS.replace("{rule}", "failed_test")

            put(platform, *OF_HOST)
            over = await alerted.on_call.page("resolve")
            assert over.document["dedup_key"] == page.document["dedup_key"]
            assert alerted.on_call.rings() == [page]


async def test_both_ways_at_once_page_once(tmp_path: Path) -> None:
    async with way(tmp_path, direct=True) as here:
        on_call = here.on_call
        fail(here.platform, *OF_HOST)
        page = await on_call.page(component=HOST)
        assert list_of(page).count("•") == len(OF_HOST)
        assert len(await here.alertmanager.alerts(rule="failed_test")) == len(OF_HOST)

        put(here.platform, *OF_HOST)
        await on_call.page("resolve", component=HOST)
        fail(here.platform, *OF_SECOND_HOST)
        second = await on_call.page(component=SECOND_HOST)
        assert on_call.rings() == [page, second]


@pytest.mark.parametrize("scraped", [False, True], ids=["directly", "both ways at once"])
async def test_an_edit_and_a_kill_while_an_alert_fires_are_one_page_and_one_resolve(
    tmp_path: Path, scraped: bool
) -> None:
    async with (
        fake_platform() as platform,
        running_alertmanager(tmp_path) as alerted,
        AsyncExitStack() as prometheus,
    ):
        on_call, labels = alerted.on_call, {"metrics": {"campaign_labels": ["team"]}}
        put(platform, *CAMPAIGNS)
        config = written(tmp_path, platform, "retail", **labels, **notify(alerted))
        scraping: Prometheus | None = None
        async with daemon(config) as monitor:
            if scraped:
                way_there = running_prometheus(tmp_path, alerted, address(monitor))
                scraping = await prometheus.enter_async_context(way_there)
            fail(platform, "c-1")
            page = await on_call.page(component=HOST)
            (told,) = await alerted.alerts(campaign_id="c-1")
            await monitor.process.end(signal.SIGKILL)

        moved = {"host": "moved.example"}
        put(platform, "c-1", last_test_success=False, **moved)
        written(tmp_path, platform, "growth", **labels, **notify(alerted))
        async with daemon(config) as again:
            if scraping is not None:
                scraping.scrape(address(again))
                await in_time(partial(scraping.ask, f"sftp_monitor_campaign_info{MOVED}"))
            await in_time(lambda: shows(again, "moved.example"))
            still = await told_again(alerted, campaign_id="c-1")
            assert (still["labels"], still["startsAt"]) == (told["labels"], told["startsAt"])
            put(platform, "c-1", **moved)
            over = await on_call.page("resolve", component=HOST)
        assert over.document["dedup_key"] == page.document["dedup_key"]
        about = [one for one in on_call.rings() if "Absent" not in str(one.document)]
        assert about == [page]
        assert on_call.pages(component="moved.example") == []


MOVED = '{campaign_id="c-1",team="growth",sftp_host="moved.example"}'


async def shows(monitor: Daemon, host: str) -> bool:
    """Return whether a campaign's host has come to the page for Prometheus."""
    return f'sftp_host="{host}"' in await monitor.text("/metrics")


async def told_again(alerted: Alertmanager, **labels: str) -> dict[str, Any]:
    """Return the one alert with these labels as it is when Alertmanager is told of it again."""
    (before,) = await alerted.alerts(**labels)

    async def updated() -> dict[str, Any] | None:
        (now,) = await alerted.alerts(**labels)
        return now if now["updatedAt"] > before["updatedAt"] else None

    return await in_time(updated)


async def in_time(look: Callable[[], Awaitable[Found | None]]) -> Found:
    """Return what is found as soon as it is."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await look()):  # noqa: ASYNC110 - programs of others have no event
            await asyncio.sleep(0.2)
    return found


def written(folder: Path, platform: FakePlatform, team: str, **sections: Any) -> Path:
    """Write the config of a monitor whose campaigns have this label."""
    environment = {"labels": {"team": team}}
    return write_config(folder, platform, CAMPAIGNS, environment=environment, **sections)
