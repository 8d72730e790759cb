"""From "broken at the API" to "received by on-call", with the real programs and shipped files.

On-call gets what PagerDuty and Slack would: the fields of their own APIs.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from monitor.config.model import RUNBOOKS
from monitor.core.model import DAY
from support.command import Daemon, daemon, write_config
from support.fake_platform import BROKEN, FakePlatform, fake_platform, now
from support.pager import GROUP_WAIT, Alertmanager, OnCall, Prometheus, Sent
from support.pager import alertmanager as running_alertmanager
from support.pager import prometheus as running_prometheus

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HOST, SECOND_HOST = "sftp.one.example", "sftp.two.example"
OF_HOST = [f"c-{number}" for number in range(1, 6)]
OF_SECOND_HOST = ["d-1"]
CAMPAIGNS = OF_HOST + OF_SECOND_HOST

Measured = Callable[[str, object], None]


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
        assert payload["summary"] == f"[FIRING:5] SftpTestFailed in production ({HOST})"
        assert list_of(page).count("•") == len(OF_HOST)
        assert all(f"Campaign {one} (production/{one})" in list_of(page) for one in OF_HOST)
        assert payload["custom_details"]["runbook"] == RUNBOOKS.replace("{rule}", "failed_test")
        assert "run the connection test" in payload["custom_details"]["next_step"]

        fail(here.platform, *OF_SECOND_HOST)
        second = await on_call.page(component=SECOND_HOST)
        assert "d-1: the last SFTP connection test failed" in second.document["payload"]["summary"]
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
        assert message["title"].startswith("[FIRING:1] production/c-1: the last SFTP connection")
        what, *_, following, links = message["text"].strip().splitlines()
        assert what.startswith(f"• Campaign Campaign c-1 (production/c-1), host {HOST}, since 20")
        assert following == "*Next:* Run a connection test on the campaign's SFTP page."
        assert f"<{RUNBOOKS.replace('{rule}', 'stale_test')}|Runbook>" in links
        assert "|Dashboard>" in links
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
