"""Two replicas on one PostgreSQL: each shows everything, and sends on to who holds it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.command import Daemon, called, daemon, write_config
from support.fake_platform import FakePlatform, fake_platform
from support.postgres import Server

NAMES = ("east", "north", "south", "west")


STATUS = "/api/v1/status"


@dataclass
class Pair:
    """The replicas, the one that started first, and so holds everything, at first."""

    config: Path
    first: Daemon
    second: Daemon
    platform: FakePlatform


def configure(folder: Path, platform: Any, url: str) -> Path:
    """Write the config of both: four environments with a campaign each, of which east's fails."""
    common = {"requests_per_minute": 6000, "base_url": platform.base_url}
    path = write_config(folder, platform, ["c-1"], state={"url": url})
    written = json.loads(path.read_text())
    # Not each second: a busy machine would have some of them unread for too long.
    written["polling"]["interval"] = "10s"
    written["environments"] = []
    for name in NAMES:
        (token := folder / name).write_text(f"talq_{name}")
        token.chmod(0o600)
        own = {"name": name, "token_file": str(token), "campaigns": [{"id": f"c-{name}"}]}
        written["environments"].append({**common, **own})
    path.write_text(json.dumps(written))
    return path


@asynccontextmanager
async def a_pair(folder: Path, server: Server, database: str) -> AsyncIterator[Pair]:
    """Run both; the second starts when the first holds everything."""
    async with AsyncExitStack() as ends:
        campaigns = [f"c-{name}" for name in NAMES]
        platform = await ends.enter_async_context(fake_platform(*campaigns))
        platform.set("c-east", last_test_success=False)
        path = configure(folder, platform, server.url(database))
        first = await ends.enter_async_context(daemon(path))
        for name in NAMES:
            await first.process.record(event="environment_taken_over", environment=name)
        await first.process.alert("c-east", "failed_test", "firing")
        second = await ends.enter_async_context(daemon(path))
        while "sftp_monitor_replicas 2.0" not in await second.text("/metrics"):
            await platform.more(1)
        yield Pair(path, first, second, platform)


def counts(status: Any) -> list[dict[str, int]]:
    """Return what a replica says of how many campaigns have each health."""
    return [one["counts"] for one in status["environments"]]


async def owned(one: Daemon) -> dict[str, str]:
    """Return what a replica says of whether it owns each environment."""
    lines = (await one.text("/metrics")).splitlines()
    mark = 'sftp_monitor_environment_owned{environment="'
    return dict(line.removeprefix(mark).split('"} ') for line in lines if line.startswith(mark))


@pytest.mark.slow
async def test_each_replica_shows_everything_and_sends_to_the_holder_what_only_that_one_knows(
    tmp_path: Path, server: Server, database: str
) -> None:
    async with a_pair(tmp_path, server, database) as pair:
        first, second = pair.first, pair.second
        assert await owned(first) == dict.fromkeys(NAMES, "1.0")
        assert await owned(second) == dict.fromkeys(NAMES, "0.0")
        metrics = await second.text("/metrics")
        assert "sftp_monitor_replicas 2.0" in metrics
        assert "sftp_monitor_takeovers_total 0.0" in metrics
        assert "campaign_id" not in metrics
        assert "sftp_monitor_takeovers_total 4.0" in await first.text("/metrics")
        async with asyncio.timeout(60):  # it reads the database each ten seconds
            theirs, ours = await first.json(STATUS), await second.json(STATUS)
            while counts(ours) != counts(theirs):
                await pair.platform.more(1)
                theirs, ours = await first.json(STATUS), await second.json(STATUS)
        assert [one["holder"] for one in theirs["environments"]] == [None] * 4
        assert {one["holder"]["address"] for one in ours["environments"]} == {first.url}
        for path in ("/api/v1/alerts", "/api/v1/events"):
            assert await second.json(path) == await first.json(path), path
        (one,) = (await second.json("/api/v1/campaigns?environment=east"))["campaigns"]
        assert (one["health"], one["findings"]) == ("critical", None)
        page = await second.text("/")
        assert page.count("held by replica") == 4
        assert first.url in page
        assert "not read since the start" not in page
        for path in ("/api/v1/campaigns/east/c-east", "/campaigns/east/c-east?x=1"):
            answer = await second.web.get(path)
            assert (answer.status_code, answer.headers["Location"]) == (307, first.url + path)
        nobody = await second.web.get("/campaigns/nowhere/c-east")
        assert nobody.status_code == 404


@pytest.mark.slow
async def test_commands_follow_to_the_holder_and_need_no_url_where_they_can_read_the_state(
    tmp_path: Path, server: Server, database: str
) -> None:
    async with a_pair(tmp_path, server, database) as pair:
        ask, by_config = ("--url", pair.second.url), ("--config.file", str(pair.config))
        checked = await called("check", *ask)
        assert (checked.code, "failed_test" in checked.out) == (2, True), checked
        for how in (ask, by_config):
            explained = await called("explain", "c-east", *how)
            assert "failed_test" in explained.out, explained
        events = await called("events", *by_config)
        assert "failed_test" in events.out, events
        tested = await called("test", "c-north", "--yes", "--force", *by_config)
        assert tested.code == 0, tested
        refused = await called("test", "c-north", "--yes", "--force", *ask)
        assert "answered 403" in refused.err, refused


@pytest.mark.slow
async def test_what_was_known_stays_while_the_database_is_away_and_says_so(
    tmp_path: Path, server: Server, database: str
) -> None:
    async with a_pair(tmp_path, server, database) as pair:
        first, second = pair.first, pair.second
        await second.text("/")
        server.stop()
        try:
            await first.process.record(event="rights_ended")
            assert await owned(first) == dict.fromkeys(NAMES, "0.0")
            metrics = await first.text("/metrics")
            assert "sftp_monitor_state_up 0.0" in metrics
            assert 'campaign_id="c-east"' in metrics
            page = await first.text("/")
            assert "the state database has not answered since" in page
            assert "nothing is polled" in page
            assert "failed_test" in page
            assert "failed_test" in await second.text("/")
            held_back = await first.web.post("/api/v1/campaigns/east/c-east/test")
            assert held_back.status_code == 503
            assert (await first.web.get("/campaigns/east/c-east")).status_code == 200
        finally:
            server.start()
