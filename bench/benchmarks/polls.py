"""What a poll that changes nothing costs: CPU of the real daemon, against a server on loopback.

    .venv/bin/python -m benchmarks.polls --windows 5

The daemon has more campaigns to poll than it can: so it polls as fast as may be (`--paced` so many
a second instead). After the first sweep windows are measured: CPU of all threads of the process,
by calls that the server has answered. `--against FOLDER` measures another tree as well, in turns;
then what is printed last is the median of this one by the median of that one.
"""

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import structlog

from monitor.config import load_config
from monitor.core.text import rfc3339
from monitor.daemon import Daemon

CAMPAIGNS = 2000


class Server(asyncio.Protocol):
    """Answers for every campaign with a healthy config; it does as little as may be."""

    def __init__(self, counter: Any, tested_at: str) -> None:
        self._counter, self._tested_at, self._left = counter, tested_at, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, which is kept."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._left += data
        while b"\r\n\r\n" in self._left:
            head, self._left = self._left.split(b"\r\n\r\n", 1)
            self._transport.write(self._answer(head.split(b" ", 2)[1].split(b"/")[-2].decode()))
            self._counter.value += 1

    def passed(self, campaign: str) -> bool:
        """Whether the last test of a campaign passed, asked for each answer."""
        return True

    def _answer(self, key: str) -> bytes:
        data = {
            "id": f"config-of-{key}", "campaign_id": key, "host": "sftp.example.com", "port": 22,
            "username": "leads", "auth_type": "password", "import_path": "/in",
            "export_path": "/out", "import_schedule": "daily", "is_enabled": True,
            "last_test_at": self._tested_at, "last_test_success": self.passed(key),
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        body = json.dumps({"success": True, "data": data})
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
        return (
            f"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: {date}\r\nContent-Type: application/json"
            f"\r\nContent-Length: {len(body)}\r\nConnection: keep-alive\r\nCache-Control: no-cache"
            f"\r\nX-RateLimit-Limit: 1000000\r\nX-RateLimit-Remaining: 999999\r\n\r\n{body}"
        ).encode()


def serve(port: "multiprocessing.Queue[int]", counter: Any) -> None:
    """Serve for ever, in a process of its own."""

    async def main() -> None:
        tested_at = rfc3339(time.time() - 3600)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Server(counter, tested_at), "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def write_config(folder: Path, port: int, paced: float) -> Path:
    """Write the config of one environment with a budget that is none."""
    every = max(1, round(CAMPAIGNS / paced)) if paced else 1
    document = {
        "environments": [
            {
                "name": "e",
                "base_url": f"http://127.0.0.1:{port}/api/v1",
                "token": "${TOKEN}",
                "requests_per_minute": 1_000_000,
                "campaigns": [{"id": f"c-{number}"} for number in range(CAMPAIGNS)],
            }
        ],
        "polling": {"interval": f"{every}s", "timeout": f"{min(every, 10)}s"},
        "web": {"listen_address": "127.0.0.1:0"},
        "state": {"path": str(folder / "state.db")},
        "log": {"level": "error"},
    }
    file = folder / "monitor.yaml"
    file.write_text(json.dumps(document))
    return file


async def measure(file: Path, counter: Any, seconds: float) -> dict[str, float]:
    """Run the daemon; return what a poll costs, in microseconds, and how many there were."""
    config = load_config(file, os.environ | {"TOKEN": "talq_benchmark"})
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))

    async def write(_line: bytes) -> None:
        return None

    daemon = Daemon(lambda: config, write)
    await daemon.start()
    while counter.value < 1.5 * CAMPAIGNS:  # noqa: ASYNC110 - it comes from another process
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    answered, cpu = counter.value, time.process_time()
    if os.environ.get("PROFILE"):
        import cProfile  # noqa: PLC0415 - for whoever looks where it goes

        profile = cProfile.Profile()
        profile.enable()
        await asyncio.sleep(seconds)
        profile.disable()
        profile.dump_stats(os.environ["PROFILE"])
    else:
        await asyncio.sleep(seconds)
    answered, cpu = counter.value - answered, time.process_time() - cpu
    await daemon.stop()
    return {"microseconds": cpu / answered * 1e6, "polls": answered}


def window(seconds: float, paced: float) -> dict[str, float]:
    """Measure one window, with a server and a state of its own."""
    port: multiprocessing.Queue[int] = multiprocessing.Queue()
    counter = multiprocessing.Value("q", 0, lock=False)
    server = multiprocessing.Process(target=serve, args=(port, counter), daemon=True)
    server.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = write_config(Path(folder), port.get(), paced)
            return asyncio.run(measure(file, counter, seconds))
    finally:
        server.terminate()


def in_tree(tree: Path, seconds: float, paced: float) -> dict[str, float]:
    """Measure one window of the package in a folder, in a process of its own."""
    here = Path(__file__).parents[1]
    command = [sys.executable, "-m", "benchmarks.polls", "--one"]
    command += ["--seconds", str(seconds), "--paced", str(paced)]
    environ = {**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{here}"}
    done = subprocess.run(
        command, env=environ, cwd=tree, check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--paced", type=float, default=0.0)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--one", action="store_true")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(window(given.seconds, given.paced)))
        return
    trees = [Path(__file__).parents[2], *([given.against] if given.against else [])]
    costs: dict[Path, list[float]] = {tree: [] for tree in trees}
    for number in range(given.windows):
        for tree in trees if number % 2 else reversed(trees):
            found = in_tree(tree, given.seconds, given.paced)
            costs[tree].append(found["microseconds"])
            print(f"{tree.name:12}{found['microseconds']:8.0f} µs{found['polls']:8.0f} polls")
    for tree, all_of_it in costs.items():
        spread = f"{min(all_of_it):.0f} to {max(all_of_it):.0f}"
        print(f"{tree.name:12} median {statistics.median(all_of_it):.0f} µs a poll ({spread})")
    if given.against:
        ours, theirs = (statistics.median(costs[tree]) for tree in trees)
        print(f"{ours / theirs:.2f} of it")


if __name__ == "__main__":
    main()
