"""How many environments one process keeps up with: the real daemon against a server on loopback.

    .venv/bin/python -m benchmarks.environments --environments 1000 --campaigns 100 --minutes 4

Prints, every 20 s, the calls that were made, the CPU that the daemon used, and how late the most
overdue poll is. The cadence holds when, after the first sweep, that lag stays below a few seconds.
"""

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path

import structlog
from aiohttp import web

from monitor.config import load_config
from monitor.core.text import rfc3339
from monitor.daemon import Daemon

REPORT_EVERY = 20.0
"""Seconds between two lines of what is printed."""


def serve(port: "multiprocessing.Queue[int]") -> None:
    """Answer for every campaign with a healthy config, in a process of its own."""

    async def answer(request: web.Request) -> web.Response:
        key = request.match_info["key"]
        data = {
            "id": f"config-of-{key}",
            "campaign_id": key,
            "host": "sftp.example.com",
            "port": 22,
            "auth_type": "password",
            "import_schedule": "daily",
            "is_enabled": True,
            "last_test_at": rfc3339(time.time() - 3600),
            "last_test_success": True,
            "created_at": rfc3339(time.time() - 1e6),
        }
        return web.json_response({"success": True, "data": data})

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/api/v1/campaigns/{key}/sftp", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=2048)
        await site.start()
        port.put(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


def write_config(folder: Path, port: int, environments: int, campaigns: int) -> Path:
    """Write the config; every environment has a token of its own, from the environment."""
    parts = []
    for number in range(environments):
        os.environ[f"TOKEN_{number}"] = f"talq_{number}"
        listed = [{"id": f"c-{number}-{key}"} for key in range(campaigns)]
        parts.append(
            {
                "name": f"e-{number}",
                "base_url": f"http://127.0.0.1:{port}/api/v1",
                "token": f"${{TOKEN_{number}}}",
                "campaigns": listed,
            }
        )
    file = folder / "monitor.yaml"
    document = {
        "environments": parts,
        "web": {"listen_address": "127.0.0.1:0"},
        "state": {"path": str(folder / "state.db")},
        "log": {"level": "error"},
    }
    file.write_text(json.dumps(document))
    return file


async def measure(file: Path, minutes: float) -> None:
    """Run the daemon for so long and print how it does."""
    started = time.monotonic()
    config = load_config(file, os.environ)
    print(f"config read in {time.monotonic() - started:.1f} s")

    async def write(_line: bytes) -> None:
        return None

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    daemon = Daemon(lambda: config, write)
    await daemon.start()
    begun, cpu = time.monotonic(), _cpu()
    while time.monotonic() - begun < minutes * 60:
        await asyncio.sleep(REPORT_EVERY)
        boards = list(daemon.report.snapshot().environments.values())
        seen = sum(
            entry.status.last_known.last_read_at is not None
            for snapshot in boards
            for entry in snapshot.campaigns.values()
        )
        now, lag = _cpu(), max(snapshot.lag_seconds for snapshot in boards)
        last_known = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{time.monotonic() - begun:6.0f} s  {seen:>7} campaigns read"
            f"  CPU {(now - cpu) / REPORT_EVERY:4.0%}  lag {lag:6.1f} s  RSS {last_known:.0f} MB",
            flush=True,
        )
        cpu = now
    await daemon.stop()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=int, default=1000)
    parser.add_argument("--campaigns", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=4.0)
    arguments = parser.parse_args()
    port: multiprocessing.Queue[int] = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    server.start()
    with tempfile.TemporaryDirectory() as folder:
        file = write_config(Path(folder), port.get(), arguments.environments, arguments.campaigns)
        asyncio.run(measure(file, arguments.minutes))
    server.terminate()


if __name__ == "__main__":
    main()
