"""`demo`: one command, no account, no config, and nothing left when it ends."""

import os
import signal
import socket
from pathlib import Path

import httpx
import pytest

from support.command import files_in, finished, running


@pytest.mark.slow
async def test_the_demo_tells_the_first_alert_serves_its_pages_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    async with running("demo", "--port", "0", TMPDIR=str(tmp_path)) as demo:
        url = (await demo.line("status page")).split()[-1]
        async with httpx.AsyncClient(base_url=url, trust_env=False) as web:
            alert = await demo.line("firing warning", seconds=15)
            page, metrics = await web.get("/"), await web.get("/metrics")
        assert "stale_test" in alert
        assert "Vaccination recall" in alert
        assert "Vaccination recall" in page.text
        assert "sftp_monitor_alert{" in metrics.text
        assert await demo.end(signal.SIGINT) == 0
    assert demo.err == []
    assert files_in(tmp_path) == set()
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.process.pid, 0)


@pytest.mark.slow
async def test_fault_45_a_port_that_is_taken_is_told_with_the_flag_that_helps() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = await finished("demo", "--port", port)
    assert ended.code == 74
    assert f"127.0.0.1:{port}" in ended.err
    assert "--port 0" in ended.err
    assert len(ended.err.splitlines()) == 1
