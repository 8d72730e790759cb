"""Standard output is blocked, closed or full: polling goes on, alerts wait, lost lines count."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.command import COMMAND, DEADLINE, daemon, write_config
from support.fake_platform import FakePlatform, fake_platform
from support.pipes import full_pipe
from support.scrapes import Scrape

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


@pytest.mark.slow
async def test_fault_41_lines_that_are_lost_on_a_full_disk_are_counted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"  # it cannot say where it listens
    async with fake_platform("c-1") as platform, httpx.AsyncClient(trust_env=False) as web:
        config = write_config(tmp_path, platform, ["c-1"], web={"listen_address": address})
        full = os.open("/dev/full", os.O_WRONLY)
        process = await asyncio.create_subprocess_exec(
            COMMAND, "run", "--config.file", config, stdout=full
        )
        os.close(full)
        try:
            async with asyncio.timeout(DEADLINE):
                lost = 0.0
                while not lost:
                    # After a poll the start is over; the line about it is written any moment.
                    await platform.more(1)
                    page = (await web.get(f"http://{address}/metrics")).text
                    families = text_string_to_metric_families(page)
                    lost = Scrape(families).value("log_lines_dropped_total") or 0.0
        finally:
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
