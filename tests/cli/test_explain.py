"""`sftp-monitor explain`: why an alert fires or does not, from the state or through the daemon."""

import re
from pathlib import Path

import pytest

from support.command import called, daemon, write_config
from support.fake_platform import FORBIDDEN, fake_platform


@pytest.mark.parametrize("named", ["Campaign c-1", "production/Campaign c-1", "production/c-1"])
async def test_where_no_daemon_runs_the_campaign_is_polled_once(tmp_path: Path, named: str) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        rules = {"stale_test": {"max_age": "7d"}}
        config = write_config(tmp_path, platform, ["c-1", "c-2"], rules=rules)
        ended = await called("explain", named, "--config.file", config)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("Campaign\n  healthy: production/Campaign c-1\n")
    assert re.search(r"settings: max_age 7 d \(\S+config\.yaml:\d+\)\n", ended.out)
    assert "Tests\n  off (default)\n" in ended.out
    assert [one.campaign_id for one in platform.requests] == ["c-1"]


@pytest.mark.slow
async def test_a_daemon_says_the_same_in_the_same_words_and_spends_no_request(
    tmp_path: Path,
) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = write_config(tmp_path, platform, ["c-1", "c-2"])
        alone = await called("explain", "c-1", "--config.file", config)
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            before = len(platform.requests)
            through = await called(
                "explain", "production/c-1", "--config.file", config, "--url", monitor.url
            )
            by_url = await called("explain", "c-1", "--url", monitor.url)
            asked = len(platform.requests) - before
    assert (alone.code, through.code, by_url.code) == (0, 0, 0), through.err
    assert _without_ages(through.out) == _without_ages(alone.out) == _without_ages(by_url.out)
    assert asked <= 2  # its own polls, which go on


def _without_ages(text: str) -> str:
    return re.sub(r"\d+ (s|min|h|d)\b|\d{4}-\d\d-\d\dT[\d:]+Z", "…", text)


async def test_a_campaign_that_nobody_knows_is_64(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        ended = await called("explain", "nobody", "--config.file", config)
    assert ended.code == 64
    assert "no such campaign: nobody" in ended.err


async def test_one_that_cannot_be_read_is_3(tmp_path: Path) -> None:
    async with fake_platform("c-2") as platform:
        platform.replies["c-1"] = FORBIDDEN
        config = write_config(tmp_path, platform, ["c-1", "c-2"])
        ended = await called("explain", "c-1", "--config.file", config)
    assert ended.code == 3
    assert "the last poll failed: forbidden" in ended.out
