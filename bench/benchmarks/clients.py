"""What clients that never read, or leave, cost the others: memory, and how long the page takes.

    .venv/bin/python -m benchmarks.clients

A web server of 10,000 campaigns in a process of its own, with the real views: once with one client
that asks for a list and never reads, and once with 190, all for the same or each for something
else; then with 40 who ask and leave. Meanwhile somebody opens the page again and again. The memory
is the peak of the process; all are of the same run, so that their ratio holds on any machine.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import structlog

from benchmarks.scrape import applied, config_of, known, not_reloaded, not_started
from monitor.adapters.metrics import SelfMetrics
from monitor.adapters.store import MEMORY, Store
from monitor.adapters.web import WebServer
from monitor.clocks import SystemClock
from monitor.polling import PollerManager
from monitor.reporting import Report

HOST = "127.0.0.1"
READERS, LEAVERS = 190, 40

MEMORY_RATIO, PAGE_SECONDS = 1.3, 1.0
"""What we promise: memory of all who never read, with one of them as 1; and the page meanwhile."""

LIST = "/api/v1/campaigns"


class Seen(NamedTuple):
    """What was measured: the process' peak of memory in MB, and the seconds of each page."""

    memory: float
    pages: Sequence[float]


async def serve(campaigns: int) -> None:
    """Serve so many campaigns until standard input ends; print the port."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    clock, own, config = SystemClock(), SelfMetrics("benchmark"), config_of(1, campaigns)
    store = Store(MEMORY, now=clock.wall())
    manager = PollerManager(store, clock, own, not_started)
    await applied(manager, config, known(config, clock.wall()))
    gc.collect()
    gc.freeze()
    report = Report(config, manager, store, (), own, clock, lambda: True, not_reloaded)
    server = WebServer(report, HOST, 0)
    print(await server.start(), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


class Server:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.port, self._proc = int(process.stdout.readline()), Path("/proc", str(process.pid))

    def forget_peak(self) -> None:
        """Have the peak of memory start from what is in use now."""
        (self._proc / "clear_refs").write_text("5")

    def peak(self) -> float:
        """Return the most memory that it had since, in MB."""
        found = re.search(r"VmHWM:\s+(\d+)", (self._proc / "status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    async def ask(self, stack: ExitStack, path: str) -> None:
        """Ask for a path and read nothing; to close the stack is to leave."""
        way = stack.enter_context(socket.socket())
        # So little that what the kernel buffers is no excuse.
        way.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        way.setblocking(False)
        await asyncio.get_running_loop().sock_connect(way, (HOST, self.port))
        way.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    async def page(self) -> float:
        """Return the seconds that the page took; infinite where it did not come."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(60):
                reader, writer = await asyncio.open_connection(HOST, self.port)
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = await reader.read()
                writer.close()
        except (OSError, TimeoutError):
            return float("inf")
        whole = answer.startswith(b"HTTP/1.1 200 OK") and answer.rstrip().endswith(b"</html>")
        return time.monotonic() - began if whole else float("inf")


@asynccontextmanager
async def server(campaigns: int) -> AsyncIterator[Server]:
    """Run a server that has answered once."""
    command = [sys.executable, "-m", "benchmarks.clients", "--serve", str(campaigns)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs meanwhile
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        one = await asyncio.to_thread(Server, process)
        for _ in range(2):
            await one.page()
        one.forget_peak()
        yield one


def the_same(_: int) -> str:
    """Return the path that everybody asks for."""
    return LIST


def something_else(number: int) -> str:
    """Return the path that a client asks for alone."""
    return f"{LIST}?limit={500 + number}"


async def who_never_read(
    clients: int, campaigns: int, pages: int, path: Callable[[int], str] = the_same
) -> Seen:
    """Return what so many clients cost that ask and never read."""
    async with server(campaigns) as one:
        with ExitStack() as stack:
            await asyncio.gather(*(one.ask(stack, path(number)) for number in range(clients)))
            took = [await one.page() for _ in range(pages)]
            return Seen(one.peak(), took)


async def who_leave(campaigns: int, pages: int, path: Callable[[int], str]) -> Seen:
    """Return what clients cost that ask and leave."""
    async with server(campaigns) as one:
        with ExitStack() as stack:
            await asyncio.gather(*(one.ask(stack, path(number)) for number in range(LEAVERS)))
        took = [await one.page() for _ in range(pages)]
        return Seen(one.peak(), took)


async def measure(campaigns: int, pages: int) -> dict[str, Seen]:
    """Measure everything, in one run; the second and the third are what the promise compares."""
    return {
        "nobody else": await who_never_read(0, campaigns, pages),
        "one who never reads": await who_never_read(1, campaigns, pages),
        f"{READERS} who never read": await who_never_read(READERS, campaigns, pages),
        f"{READERS} who never read, each something else": await who_never_read(
            READERS, campaigns, pages, something_else
        ),
        f"{LEAVERS} who ask for the same and leave": await who_leave(campaigns, pages, the_same),
        f"{LEAVERS} who leave, each asked for something else": await who_leave(
            campaigns, pages, something_else
        ),
    }


def main() -> int:
    """Read the arguments, measure and print; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="2,000 campaigns, one page each")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve(arguments.serve))
        return 0
    campaigns, pages = (2000, 1) if arguments.quick else (arguments.campaigns, 10)
    found = asyncio.run(measure(campaigns, pages))
    _, one, *crowds = found.values()
    ratio = max(each.memory for each in crowds) / one.memory
    slowest = max(max(each.pages) for each in crowds)
    if arguments.json:
        seen = {name: each._asdict() for name, each in found.items()}
        print(json.dumps({"clients": seen, "memory_ratio": ratio, "slowest_page": slowest}))
    else:
        print(f"{'beside one who opens the page':50}{'peak MB':>9}{'page s':>8}{'longest':>9}")
        for name, each in found.items():
            mean = sum(each.pages) / len(each.pages)
            print(f"{name:50}{each.memory:9.0f}{mean:8.2f}{max(each.pages):9.2f}")
        print(f"memory : that of one = {ratio:.2f}, promised: at most {MEMORY_RATIO}")
        print(f"the page took {slowest:.2f} s, promised: at most {PAGE_SECONDS:g} s")
    return 0 if ratio <= MEMORY_RATIO and slowest <= PAGE_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
