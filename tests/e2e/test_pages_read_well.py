"""What on-call reads when much breaks at once: by the real programs, kept as goldens to be read.

Two Prometheus servers scrape the monitor, as in most installations, and feed one Alertmanager.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from monitor.core.model import DAY
from support.command import Daemon, daemon, write_config
from support.fake_platform import BROKEN, FakePlatform, fake_platform, now
from support.pager import PATIENCE, OnCall, Sent, alertmanager, prometheus

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

GOLDENS = Path(__file__).parents[1] / "goldens" / "pages"
ENVIRONMENTS = {"production": [f"c-{n:02}" for n in range(40)], "staging": ["s-01", "s-02", "s-03"]}
EVERY = [campaign for campaigns in ENVIRONMENTS.values() for campaign in campaigns]


@dataclass
class World:
    """Everything between the API and on-call."""

    platform: FakePlatform
    monitor: Daemon
    on_call: OnCall


@asynccontextmanager
async def a_pair(folder: Path) -> AsyncIterator[World]:
    """Run it all with two environments, in which every campaign is healthy."""
    async with fake_platform(*EVERY) as platform, AsyncExitStack() as stack:
        alerted = await stack.enter_async_context(alertmanager(folder))
        environments = []
        for name, campaigns in ENVIRONMENTS.items():
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(f"talq_of_{name}")
            environments.append(
                {
                    "name": name,
                    "base_url": platform.base_url,
                    "token_file": str(folder / name),
                    "requests_per_minute": 60000,
                    "campaigns": [{"id": one, "name": f"Leads {one}"} for one in campaigns],
                }
            )
        rules = {"api_unreachable": {"after": "1s"}}
        config = write_config(folder, platform, [], environments=environments, rules=rules)
        monitor = await stack.enter_async_context(daemon(config))
        for name in ("first", "second"):
            address = monitor.url.removeprefix("http://")
            one = await stack.enter_async_context(prometheus(folder, alerted, address, name=name))
            async with asyncio.timeout(PATIENCE):
                while not await one.ask('ALERTS{alertname="SftpMonitorWatchdog"}'):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)  # programs of others have no event
        yield World(platform, monitor, alerted.on_call)


def read(sent: Sent) -> str:
    """Return what a person reads of a notification, with another time and other addresses."""
    if sent.receiver == "slack":
        (message,) = sent.document["attachments"]
        said = f"{message['title']}\n{message['text']}"
    else:
        payload = sent.document["payload"]
        details = payload["custom_details"].items()
        lines = [f"{name}: {text}" for name, text in sorted(details) if text]
        said = "\n".join([payload["summary"], *lines, sent.document["client_url"]])
    said = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC", "<when>", said)
    return re.sub(r"http://[^/ ]+:\d+/#", "<alertmanager>/#", said).strip() + "\n"


def compare(name: str, pages: Sequence[Sent]) -> None:
    """Compare with the golden file, or write it where that is asked for."""
    text = "\n".join(map(read, pages))
    path = GOLDENS / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDENS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def rung(world: World) -> list[Sent]:
    """Return what rang but for the monitor's absence.

    A slow machine may miss the scrapes of the few seconds that stand for five minutes.
    """
    return [one for one in world.on_call.rings() if "Absent" not in str(one.document)]


async def test_25_stale_tests_of_many_hosts_are_one_message(tmp_path: Path) -> None:
    async with a_pair(tmp_path) as world:
        old = now() - 31 * DAY
        for campaign in [*EVERY[:22], *ENVIRONMENTS["staging"]]:
            world.platform.set(campaign, last_test_at=old)

        def whole() -> list[Sent]:
            return [one for one in world.on_call.told("slack") if "25 camp" in str(one.document)]

        compare("stale", [await world.on_call.until(whole)])
        assert len(world.on_call.told("slack")) <= 2, "one, or one more for the last of them"
        assert rung(world) == []


async def test_a_broken_host_of_a_pair_is_a_page_for_each_with_names(tmp_path: Path) -> None:
    async with a_pair(tmp_path) as world:
        hosts = ("sftp.one.example", "sftp.two.example")
        for number, campaign in enumerate(ENVIRONMENTS["production"]):
            world.platform.set(campaign, host=hosts[number % 2], last_test_success=False)
        pages = [await world.on_call.page(component=host) for host in hosts]
        compare("failed", pages)
        assert rung(world) == sorted(pages, key=lambda one: one.at)


async def test_an_outage_of_two_environments_is_one_page_with_its_reason(tmp_path: Path) -> None:
    async with a_pair(tmp_path) as world:
        world.platform.replies = dict.fromkeys(EVERY, BROKEN)

        def whole() -> list[Sent]:
            return [one for one in world.on_call.pages() if "2 env" in str(one.document)]

        compare("outage", [await world.on_call.until(whole)])
        assert len(rung(world)) == 1
        assert world.on_call.told("slack") == []
