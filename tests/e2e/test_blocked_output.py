"""Standard output is blocked or closed: polling goes on, and the alerts wait."""

import asyncio
import signal
from pathlib import Path

import pytest

from support.command import COMMAND, DEADLINE, daemon, write_config
from support.fake_platform import FakePlatform, fake_platform
from support.pipes import full_pipe

WITH_CLOSED_OUTPUT = ("sh", "-c", 'exec "$0" "$@" >&-')
"""What stands before a command that has no standard output at all."""


async def run_unread(config: Path, platform: FakePlatform, *before: str, stdout: int) -> None:
    """Run a daemon that cannot say anything for four polls; it must end as any other."""
    process = await asyncio.create_subprocess_exec(
        *before, COMMAND, "run", "--config.file", config, stdout=stdout
    )
    polls = len(platform.requests)
    await platform.until(lambda: len(platform.requests) >= polls + 4)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE):
        assert await process.wait() == 0


@pytest.mark.slow(seconds=30)
async def test_fault_41_alerts_that_nobody_reads_are_told_after_a_restart(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        platform.set("c-1", last_test_success=False)
        config = write_config(tmp_path, platform, ["c-1"])
        with full_pipe() as nobody_reads:
            await run_unread(config, platform, stdout=nobody_reads)
        await run_unread(config, platform, *WITH_CLOSED_OUTPUT, stdout=asyncio.subprocess.DEVNULL)
        async with daemon(config) as monitor:
            told = await monitor.process.alert("c-1", "failed_test", "firing")
    assert told["seq"] == 1
