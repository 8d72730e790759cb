"""The wall clock steps and the process is suspended: the cadence goes on, and nothing is told.

The real daemon runs under libfaketime, which leaves the monotonic clock alone and reads from a
file how far off the wall clock is. The platform sees its polls, its log has the heartbeats.
"""

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from monitor.core.model import DAY, HOUR, MINUTE, Seconds
from support.command import QUICK, Daemon, daemon, write_config
from support.fake_platform import FakePlatform, fake_platform, now
from support.peers import require_peer
from torture.figures import Figure

STEPS: Mapping[str, Seconds] = {
    "back an hour": -HOUR,
    "forward a year": 365 * DAY,
    "forward ten minutes, as after the sleep of a machine": 10 * MINUTE,
}

CAMPAIGNS = [f"c-{n}" for n in range(5)]
WITNESSED = [f"w-{n}" for n in range(5)]
"""Those of a second daemon, whose clock nobody touches: what it does late the machine did late."""


@dataclass(frozen=True)
class SteeredClock:
    """The wall clock of a process: so many seconds off the real one as stand in `file`."""

    file: Path

    def set_off(self, seconds: Seconds) -> None:
        """Set it so many seconds off."""
        # Replaced whole, for it may be read at any time.
        draft = self.file.with_suffix(".new")
        draft.write_text(f"{seconds:+.0f}")
        draft.rename(self.file)

    def environ(self) -> dict[str, str]:
        """Return the environment variables of a process that is to live by it."""
        # The wrapper knows where its library is.
        command = [require_peer("faketime"), "-m", "-f", "+0", "printenv", "LD_PRELOAD"]
        preload = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return {
            "LD_PRELOAD": preload.strip(),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Its fix for old libraries has every thread that waits for Python's lock spin.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }


@dataclass
class Found:
    """What came of it; times are in polling intervals, beyond the length of a suspension."""

    steps: int = 0
    longest_gap: float = 0.0
    longest_gap_of_witness: float = 0.0
    latest_heartbeat: float = 0.0
    largest_burst: int = 0
    alerts: int = 0

    def figure(self) -> Figure:
        """Return what is published."""
        return Figure(
            promise="A step of the clock, or a suspension, halts no poll and tells nothing",
            how="The real daemon under libfaketime: its clock goes back an hour, on by ten minutes"
            " and by a year, starts in 1970 and is set right; SIGSTOP, SIGCONT",
            figure=f"{self.steps} steps: longest gap between two polls of a campaign"
            f" {self.longest_gap:.1f} intervals (of a daemon beside it, left alone:"
            f" {self.longest_gap_of_witness:.1f}), to the next heartbeat"
            f" {self.latest_heartbeat:.1f}, at most {self.largest_burst} polls of a campaign"
            f" within an interval, {self.alerts} alerts told",
            kept=max(self.longest_gap, self.latest_heartbeat) <= self._longest_allowed
            # Two stand in any window of an interval; one more was held up by the suspension.
            and self.largest_burst <= 3
            and self.alerts == 0,
        )

    @property
    def _longest_allowed(self) -> float:
        # One interval late is two after the one before; a busy machine makes all of them late.
        return max(2.0, self.longest_gap_of_witness + 1)


@dataclass
class Trial:
    """A daemon whose clock is steered, and what came of it."""

    monitor: Daemon
    platform: FakePlatform
    interval: Seconds
    found: Found

    async def step(self, clock: SteeredClock, offset: Seconds) -> None:
        """Set the clock so many seconds off, and look at what comes after it."""
        since, stepped = asyncio.get_running_loop().time(), self._logged("clock_stepped")
        clock.set_off(offset)
        await self.monitor.process.until(lambda: self._logged("clock_stepped") > stepped)
        await self._watch(since)

    async def _watch(self, since: float, suspended: Seconds = 0.0) -> None:
        """Look at a heartbeat from now on, and at two polls of each campaign."""
        began, beats = asyncio.get_running_loop().time(), self._logged("heartbeat")
        await self.monitor.process.until(lambda: self._logged("heartbeat") > beats)
        late = asyncio.get_running_loop().time() - began
        await self.platform.until(
            lambda: all(len(self._polls(one, since)) > 1 for one in CAMPAIGNS + WITNESSED)
        )
        gap, burst = self._gap_and_burst(CAMPAIGNS, since, suspended)
        witness, _ = self._gap_and_burst(WITNESSED, since, 0.0)
        found = self.found
        found.steps += 1
        found.longest_gap = max(found.longest_gap, gap)
        found.longest_gap_of_witness = max(found.longest_gap_of_witness, witness)
        found.latest_heartbeat = max(found.latest_heartbeat, late / self.interval)
        found.largest_burst = max(found.largest_burst, burst)
        found.alerts += len(self.monitor.process.alerts())

    async def suspend(self, seconds: Seconds) -> None:
        """Stop the process for so long."""
        process, since = self.monitor.process.process, asyncio.get_running_loop().time()
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        process.send_signal(signal.SIGCONT)
        await self._watch(since, suspended=seconds)

    def _gap_and_burst(
        self, campaigns: Sequence[str], since: float, suspended: Seconds
    ) -> tuple[float, int]:
        """Return the longest gap in intervals, and the most polls of a campaign in an interval."""
        gaps, burst = list[float](), 0
        for one in campaigns:
            came = self._polls(one, since)
            # From the last poll before it all: a step may make the next one late.
            before = max(at for at in self.platform.asked_for(one) if at < since)
            gaps += [after - at for at, after in pairwise([before + suspended, *came])]
            most = max(sum(at <= other < at + self.interval for other in came) for at in came)
            burst = max(burst, most)
        return max(gaps) / self.interval, burst

    def _polls(self, campaign_id: str, since: float) -> list[float]:
        return [at for at in self.platform.asked_for(campaign_id) if at >= since]

    def _logged(self, event: str) -> int:
        return sum(one["event"] == event for one in self.monitor.process.records)


async def steps(folder: Path, *, interval: Seconds, rounds: int, suspended: Seconds) -> Found:
    """Run a daemon through all steps so many times, then one that starts in 1970."""
    clock, found = SteeredClock(folder / "offset"), Found()
    beside = folder / "witness"
    beside.mkdir()
    true = SteeredClock(beside / "offset")
    true.set_off(0.0)
    async with fake_platform(*CAMPAIGNS, *WITNESSED) as platform:
        witness = _config(beside, platform, WITNESSED, interval)
        async with daemon(witness, **true.environ()) as other:
            await other.process.record(event="sweep_complete")
            for offset in (0.0, -now() + HOUR):
                clock.set_off(offset)
                config = _config(folder, platform, CAMPAIGNS, interval)
                async with daemon(config, **clock.environ()) as monitor:
                    await monitor.process.record(event="sweep_complete")
                    trial = Trial(monitor, platform, interval, found)
                    if offset:
                        await trial.step(clock, 0.0)
                        break
                    for count in range(rounds):
                        await _round(trial, clock, suspended)
                        print(f"round {count + 1} of {rounds}: {found}", file=sys.stderr)
                # Or it would be a state from the future.
                (folder / "state.db").unlink()
    return found


def _config(
    folder: Path, platform: FakePlatform, campaigns: Sequence[str], interval: Seconds
) -> Path:
    span = f"{interval * 1000:.0f}ms"
    polling = QUICK | {"interval": span, "unhealthy_interval": span}
    beat = {"heartbeat_every": span}
    return write_config(folder, platform, campaigns, polling=polling, alerts=beat)


async def _round(trial: Trial, clock: SteeredClock, suspended: Seconds) -> None:
    for seconds in STEPS.values():
        for offset in (seconds, 0.0):
            await trial.step(clock, offset)
    await trial.suspend(suspended)


def main(argv: Sequence[str]) -> list[Figure]:
    """Run it at full length, 20 rounds of 8 steps, or as the flags say."""
    parser = argparse.ArgumentParser(prog="clock")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--interval", type=float, default=2.0, help="of polls, in seconds")
    parser.add_argument("--suspended", type=float, default=10.0, help="in seconds")
    flags = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(
            steps(
                Path(folder),
                interval=flags.interval,
                rounds=flags.rounds,
                suspended=flags.suspended,
            )
        )
    return [found.figure()]
