"""The disk fails under the real daemon while campaigns flap: what is told, and what is lost.

Every kind of fault comes once a round and goes again. Campaigns change with each alert that is
told, so nothing here waits for time; an alert that is lost ends the run with a message.
"""

import argparse
import asyncio
import json
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from monitor.adapters.store import read_history
from monitor.core.snapshot import HistoryQuery
from support.command import Daemon, daemon, write_config
from support.fake_platform import CLOCK, FakePlatform, fake_platform
from support.peers import require_peer
from torture.figures import Figure

CAMPAIGNS = ("c-1", "c-2", "c-3")
POLLING = dict.fromkeys(("interval", "unhealthy_interval", "timeout", "probe_interval"), "500ms")
PER_PHASE = 3
"""So many alerts of each campaign are told before a fault, and as many during it."""

ROUNDS = 20
HEALS_WITHIN = 10.0
"""Seconds: what cannot be written is tried again every 5."""

Fault = Callable[[int, Path], AbstractAsyncContextManager[None]]
"""What goes wrong with the database at a path, under the process with a pid, for a while."""


@asynccontextmanager
async def no_room(pid: int, _: Path) -> AsyncIterator[None]:
    """Let no file of the process grow (EFBIG): a quota."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@asynccontextmanager
async def injected(calls: str, fault: str, pid: int, path: Path) -> AsyncIterator[None]:
    """Have these system calls on the database and its log suffer a fault, as strace names it."""
    strace = await asyncio.create_subprocess_exec(
        require_peer("strace"), "-f", "-p", str(pid), "-o", "/dev/null", "-P", path,
        "-P", f"{path}-wal", "-e", f"inject={calls}:{fault}",
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert strace.stderr is not None
        said = await strace.stderr.readline()
        assert b"attached" in said, said.decode()
        yield
    finally:
        # Interrupted, it lets go of the process, which goes on without a fault.
        with suppress(ProcessLookupError):  # where the process has ended
            strace.send_signal(signal.SIGINT)
        await strace.wait()


FAULTS: dict[str, Fault] = {
    "file size limit": no_room,
    "ENOSPC": partial(injected, "pwrite64", "error=ENOSPC"),
    "EIO on write": partial(injected, "pwrite64", "error=EIO"),
    "EIO on fsync": partial(injected, "fsync,fdatasync", "error=EIO"),
}


@dataclass
class Told:
    """The alert events of one daemon in order, taken from its lines as they come."""

    monitor: Daemon
    events: list[dict[str, Any]] = field(default_factory=list)
    _read: int = 0

    def count(self, **fields: object) -> int:
        """Return how many alert events so far have these fields."""
        lines = self.monitor.process.out[self._read :]
        self._read += len(lines)
        self.events += [one for one in map(json.loads, lines) if one["event"] == "alert"]
        return sum(all(one[key] == value for key, value in fields.items()) for one in self.events)

    async def until(self, number: int, **fields: object) -> None:
        """Return once so many more alert events with these fields were told."""
        wanted = self.count(**fields) + number
        await self.monitor.process.until(lambda: self.count(**fields) >= wanted)


@dataclass
class Outcome:
    """What a run came to; `not_ready` and `counted` are of the faults that make a commit fail."""

    faults: Counter[str] = field(default_factory=Counter)
    failing: int = 0
    not_ready: int = 0
    counted: int = 0
    slowest: float = 0.0
    told: int = 0
    undurable: int = 0
    lost: int = 0
    doubled: int = 0


async def flap(platform: FakePlatform, told: Told, campaign: str) -> None:
    """Fail a campaign's test and mend it in turn, each once the one before was told."""
    while True:
        for passed in (False, True):
            platform.set(campaign, last_test_success=passed)
            await told.until(1, campaign_id=campaign)


async def storage_errors(monitor: Daemon) -> float:
    """Return what the daemon has counted so far."""
    name = "\nsftp_monitor_storage_errors_total "
    return float((await monitor.text("/metrics")).split(name)[1].split("\n")[0])


async def suffer(kind: str, told: Told, path: Path, outcome: Outcome) -> None:
    """Have one fault come, stay while alerts are told, and go; note what was seen of it."""
    monitor = told.monitor
    outcome.faults[kind] += 1
    before = await storage_errors(monitor)
    async with FAULTS[kind](monitor.process.process.pid, path):
        await told.until(PER_PHASE * len(CAMPAIGNS), durable=False)
        outcome.failing += 1
        outcome.not_ready += (await monitor.web.get("/-/ready")).status_code == 503
        outcome.counted += await storage_errors(monitor) > before
        healed = sum("state_written_again" in line for line in monitor.process.out)
    missing_since = CLOCK.elapsed()
    await monitor.process.until(
        lambda: sum("state_written_again" in line for line in monitor.process.out) > healed
    )
    outcome.slowest = max(outcome.slowest, CLOCK.elapsed() - missing_since)
    assert (await monitor.web.get("/-/ready")).status_code == 200


async def run(rounds: int, folder: Path) -> Outcome:
    """Have every fault come so many times, end the daemon, and compare what was told and stored."""
    outcome, path = Outcome(), folder / "state.db"
    async with fake_platform(*CAMPAIGNS) as platform:
        config = write_config(folder, platform, CAMPAIGNS, polling=POLLING)
        async with daemon(config) as monitor:
            told = Told(monitor)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(flap(platform, told, one)) for one in CAMPAIGNS]
                for number in range(rounds):
                    for kind in FAULTS:
                        print(f"round {number + 1} of {rounds}: {kind}", file=sys.stderr)
                        await told.until(PER_PHASE * len(CAMPAIGNS), durable=True)
                        await suffer(kind, told, path, outcome)
                for task in tasks:
                    task.cancel()
            assert await monitor.process.end(signal.SIGTERM) == 0
            told.count()
    compare(told.events, path, outcome)
    return outcome


def compare(events: Sequence[dict[str, Any]], path: Path, outcome: Outcome) -> None:
    """Hold what was told against what the database has."""
    times = Counter(one["event_id"] for one in events)
    stored = {one.event_id for one in read_history(path, HistoryQuery(limit=10**6)).values()}
    last: dict[str, int] = {}
    for one in events:
        last[one["fingerprint"]] = max(last.get(one["fingerprint"], 0), one["seq"])
    outcome.told = len(times)
    outcome.undurable = sum(not one["durable"] for one in events)
    outcome.doubled = len(events) - len(times)
    outcome.lost = len(times.keys() ^ stored) + sum(last.values()) - len(times)


def main(argv: Sequence[str]) -> list[Figure]:
    """Run the daemon under every fault `--rounds` times."""
    parser = argparse.ArgumentParser(prog="disk", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args(argv).rounds
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(run(rounds, Path(folder)))
    return figures(outcome)


def figures(outcome: Outcome) -> list[Figure]:
    """Return what was promised, and what it came to."""
    kinds = ", ".join(f"{kind} {number}" for kind, number in outcome.faults.items())
    how = f"the real daemon with flapping campaigns and a disk that fails ({kinds})"
    return [
        Figure(
            "A failing disk loses and doubles no alert",
            how,
            f"{outcome.told:,} alerts told, {outcome.undurable:,} of them while the disk failed: "
            f"{outcome.lost} lost, {outcome.doubled} doubled, all in the database afterwards",
            outcome.undurable > 0 and outcome.lost == outcome.doubled == 0,
        ),
        Figure(
            "A failing disk is seen, and heals by itself",
            how,
            f"not ready {outcome.not_ready} and counted {outcome.counted} of {outcome.failing} "
            f"times, written again within {outcome.slowest:.1f} s",
            outcome.not_ready == outcome.counted == outcome.failing
            and outcome.slowest < HEALS_WITHIN,
        ),
    ]
