"""A test that grows stale is told on time, on fresh evidence, at the price of one request."""

from pathlib import Path

import pytest

from monitor.core.model import DAY
from support.command import daemon, write_config
from support.fake_platform import fake_platform, now

EVERY_5_MINUTES = {"interval": "5m"}


@pytest.mark.slow
async def test_a_test_that_grows_stale_in_30_seconds_is_told_within_5(tmp_path: Path) -> None:
    async with fake_platform() as platform:
        stale_at = now() + 30
        platform.set("c-1", last_test_at=stale_at - 30 * DAY)
        config = write_config(tmp_path, platform, ["c-1"], polling=EVERY_5_MINUTES)
        async with daemon(config) as monitor:
            told = await monitor.process.until(
                lambda: monitor.process.alerts(rule="stale_test"), seconds=40
            )
            late = now() - stale_at
        assert [one["status"] for one in told] == ["firing"]
        assert 0 <= late <= 5
        # The first one, and one at the instant: none in between.
        assert len(platform.requests) <= 2


@pytest.mark.slow
async def test_a_test_that_was_run_a_moment_earlier_prevents_the_alert(tmp_path: Path) -> None:
    async with fake_platform() as platform:
        platform.set("c-1", last_test_at=now() + 10 - 30 * DAY)
        config = write_config(tmp_path, platform, ["c-1"], polling=EVERY_5_MINUTES)
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            platform.set("c-1")
            await platform.until(lambda: len(platform.requests) == 2)
            assert (await monitor.json("/api/v1/alerts"))["alerts"] == []
        assert monitor.process.alerts() == []
