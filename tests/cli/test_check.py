"""`check`: one sweep, a verdict as exit code, and nothing left behind."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from monitor.core.model import DAY
from support.command import daemon, files_in, finished, running, write_config
from support.fake_platform import BROKEN, FORBIDDEN, FakePlatform, fake_platform, now

CAMPAIGNS = ["c-1", "c-2"]


async def code_of(config: Path, *flags: str) -> int:
    ended = await finished("check", "--config.file", config, *flags)
    assert "Traceback" not in ended.err
    return ended.code


@pytest.mark.slow
async def test_the_exit_code_is_that_of_the_worst_campaign(tmp_path: Path) -> None:
    async with fake_platform("healthy") as platform:
        platform.set("stale", last_test_at=now() - 31 * DAY)
        platform.set("failed", last_test_success=False)
        platform.replies["forbidden"] = FORBIDDEN
        config = write_config(tmp_path, platform, list(platform.replies))
        codes = await asyncio.gather(
            code_of(config, "--campaign", "healthy"),
            code_of(config, "--campaign", "healthy", "--campaign", "stale"),
            code_of(config, "--campaign", "stale", "--campaign", "forbidden"),
            code_of(config),
        )
    assert list(codes) == [0, 1, 3, 2]


async def test_each_is_polled_once_the_worst_comes_first_and_no_file_is_left(
    tmp_path: Path,
) -> None:
    async with fake_platform(*CAMPAIGNS) as platform:
        platform.set("c-2", last_test_success=False)
        config = write_config(tmp_path, platform, CAMPAIGNS)
        before = files_in(tmp_path)
        told = await finished("check", "--config.file", config)
    assert sorted(one.campaign_id for one in platform.requests) == CAMPAIGNS
    assert files_in(tmp_path) == before
    first, finding, second, total = told.out.splitlines()
    assert first == "CRITICAL  production/Campaign c-2  c-2.example.com"
    assert finding.strip().startswith("failed_test: last test failed ")
    assert second == "HEALTHY   production/Campaign c-1  c-1.example.com"
    assert total == (
        "2 campaigns: 1 critical, 0 unknown, 0 warning, 1 healthy; 1 alerts would be told"
    )
    assert told.err == ""


async def test_an_api_that_is_broken_is_unknown_and_what_is_printed_is_json(
    tmp_path: Path,
) -> None:
    async with fake_platform() as platform:
        platform.replies = {"c-1": BROKEN, "c-2": BROKEN}
        config = write_config(tmp_path, platform, CAMPAIGNS)
        told = await finished("check", "--config.file", config, "--format", "json")
    assert told.code == 3
    errors = [one["error"] for one in json.loads(told.out)["campaigns"]]
    assert [error["reason"] for error in errors] == ["http_5xx", "http_5xx"]


async def test_an_unknown_campaign_is_wrong_usage(tmp_path: Path) -> None:
    config = write_config(tmp_path, FakePlatform("http://127.0.0.1:1"), CAMPAIGNS)
    told = await finished("check", "--config.file", config, "--campaign", "c-3")
    assert told.code == 64
    assert "c-3" in told.err


async def test_a_running_daemon_is_asked_without_a_call_to_the_api(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        seldom = {"interval": "1h", "unhealthy_interval": "1h"}
        config = write_config(tmp_path, platform, CAMPAIGNS, polling=seldom)
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            calls = len(platform.requests)
            both, one = await asyncio.gather(
                finished("check", "--url", monitor.url, "--format", "json"),
                finished("check", "--url", monitor.url, "--campaign", "c-1"),
            )
            assert len(platform.requests) == calls
    assert (both.code, one.code) == (2, 0)
    rules = {
        campaign["campaign_id"]: [alert["rule"] for alert in campaign["alerts"]]
        for campaign in json.loads(both.out)["campaigns"]
    }
    assert rules == {"c-1": [], "c-2": ["missing"]}


async def test_ctrl_c_ends_it_without_a_verdict_and_without_a_traceback(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        platform.hold("c-1")
        config = write_config(tmp_path, platform, ["c-1"], polling={"timeout": "30s"})
        async with running("check", "--config.file", config) as process:
            await platform.until(lambda: bool(platform.requests))
            assert await process.end(signal.SIGINT) == 130
    assert process.out == []
    assert "Traceback" not in "".join(process.err)


async def test_a_daemon_that_is_not_there_is_74_in_one_line() -> None:
    told = await finished("check", "--url", "http://127.0.0.1:1")
    assert told.code == 74
    assert len(told.err.splitlines()) == 1
    assert "http://127.0.0.1:1" in told.err


DISCOVERING = {"discovery": {"enabled": True, "every": "1h"}}


@pytest.mark.slow
async def test_campaigns_are_listed_first_where_they_are_discovered(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2", "c-3") as platform:
        platform.set("c-2", last_test_success=False)
        platform.listed = {"c-1": "active", "c-2": "paused", "c-3": "active"}
        config = write_config(tmp_path, platform, [], environment=DISCOVERING)
        whole, one, none = await asyncio.gather(
            finished("check", "--config.file", config),
            finished("check", "--config.file", config, "--campaign", "c-3"),
            finished("check", "--config.file", config, "--campaign", "c-4"),
        )
    assert (whole.code, one.code, none.code) == (0, 0, 64)
    assert "3 campaigns: 0 critical, 0 unknown, 0 warning, 3 healthy" in whole.out
    assert "muted by campaign_status" in whole.out
    assert one.out.splitlines()[0] == "HEALTHY   production/Campaign c-3  c-3.example.com"
    assert "c-4" in none.err


@pytest.mark.slow
async def test_campaigns_that_cannot_be_listed_are_unknown(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        platform.listing = FORBIDDEN
        alone = write_config(tmp_path, platform, [], environment=DISCOVERING)
        nobody = await finished("check", "--config.file", alone)
        beside = write_config(tmp_path, platform, ["c-1"], environment=DISCOVERING)
        healthy = await finished("check", "--config.file", beside)
    assert (nobody.code, healthy.code) == (3, 3)
    assert nobody.err == healthy.err == "production: the listing of campaigns failed: forbidden"
    assert healthy.out.splitlines()[0].startswith("HEALTHY   production/Campaign c-1")
