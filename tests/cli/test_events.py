"""`events`: the history from the state and from the daemon, while it runs and after."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from support.command import called, daemon, files_in, write_config
from support.fake_platform import fake_platform


@pytest.mark.slow
async def test_the_history_is_the_same_wherever_it_is_asked_for(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = write_config(tmp_path, platform, ["c-1", "c-2"])
        platform.set("c-1", last_test_success=False)
        async with daemon(config) as monitor:
            await monitor.process.alert("c-1", "failed_test", "firing")
            platform.set("c-1")
            await monitor.process.alert("c-1", "failed_test", "resolved")
            by_url, beside = await asyncio.gather(
                called("events", "--url", monitor.url, "--format", "json"),
                called("events", "--config.file", config, "--format", "json"),
            )
            assert await monitor.process.end(signal.SIGTERM) == 0
        after = await called("events", "--state.path", tmp_path / "state.db", "--campaign", "c-1")
    logged = list(reversed(monitor.process.alerts()))
    assert json.loads(beside.out) == json.loads(by_url.out) == logged
    newest, oldest, count = after.out.splitlines()
    assert 'Z resolved          failed_test         production/"Campaign c-1" (' in newest
    assert 'Z firing critical   failed_test         production/"Campaign c-1" (' in oldest
    assert count == "2 events in the last 1d: 1 fired, 1 resolved"


async def test_a_state_that_is_not_there_is_74_and_is_not_made(tmp_path: Path) -> None:
    told = await called("events", "--state.path", tmp_path / "state.db")
    assert told.code == 74
    assert len(told.err.splitlines()) == 1
    assert files_in(tmp_path) == set()
