"""kill -9: the real daemon dies at random while campaigns flap, and nothing is lost or doubled.

make torture PART=kills ARGS="--kills 1000"      and death at every step (steps.py)
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path

from monitor.adapters.store import read_history
from monitor.core.model import Event
from monitor.core.snapshot import HistoryQuery
from support.command import Record, running, write_config
from support.fake_platform import FakePlatform, fake_platform
from torture.figures import Figure
from torture.steps import die_at_every_step, orders

CAMPAIGNS = [f"c-{number}" for number in range(8)]

FLAPS = 0.1
"""Seconds from one campaign's change to the next one's, on average."""

ROTATED = 0.2
"""The part of all lives in which the file is rotated."""


@dataclass
class Tally:
    """What was decided and what of it was told; `problems` has a line for each broken promise."""

    kills: int = 0
    events: int = 0
    lost: int = 0
    doubled: int = 0
    marked: int = 0
    unmarked: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Take in what another run found."""
        for name in ("kills", "events", "lost", "doubled", "marked", "unmarked", "problems"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class World:
    """A platform with campaigns that flap, a config, and the daemon's many lives on them."""

    def __init__(self, folder: Path, seed: int, *, copytruncate: bool) -> None:
        """Draw everything but the machine's own time from `seed`."""
        self.folder = folder
        self.chance = random.Random(seed)
        self.file = folder / "alerts.jsonl"
        self.rotated: list[Path] = []
        self.copytruncate = copytruncate
        self.lines: list[str] = []
        self.well = dict.fromkeys(CAMPAIGNS, True)

    async def run(self, kills: int) -> Tally:
        """Live and die so often, live once more in peace, and count."""
        async with fake_platform(*CAMPAIGNS) as platform:
            config = write_config(
                self.folder, platform, CAMPAIGNS, alerts={"file": {"path": self.file.name}}
            )
            flapping = asyncio.create_task(self._flap(platform))
            for kill in range(kills):
                await self._live_and_die(config)
                if kill % 25 == 24:
                    print(f"{self.folder.name}: {kill + 1} of {kills} kills", file=sys.stderr)
            flapping.cancel()
            await self._live_in_peace(config, platform)
        return self._count(kills)

    async def _flap(self, platform: FakePlatform) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(0, 2 * FLAPS))
            campaign = self.chance.choice(CAMPAIGNS)
            self.well[campaign] = not self.well[campaign]
            platform.set(campaign, last_test_success=self.well[campaign])

    async def _live_and_die(self, config: Path) -> None:
        async with running("run", "--config.file", config) as process:
            # While it starts, while it polls (a lease of the budget keeps it waiting for five
            # seconds after a crash), and while it tells.
            awaited, longest = self.chance.choice(
                [("", 1.0), ('"started"', 3.0), ('"alert"', 0.02)]
            )
            if awaited:
                await process.line(awaited)
            await asyncio.sleep(self.chance.uniform(0, longest))
            if self.chance.random() < ROTATED:
                await self._rotate(process.process.pid)
            await process.end(signal.SIGKILL)
        self.lines += process.out

    async def _live_in_peace(self, config: Path, platform: FakePlatform) -> None:
        async with running("run", "--config.file", config) as process:
            seen = {campaign: len(platform.asked_for(campaign)) for campaign in CAMPAIGNS}
            await platform.until(
                lambda: all(len(platform.asked_for(one)) >= n + 2 for one, n in seen.items())
            )
            code = await process.end(signal.SIGTERM)
            assert code == 0, f"exit code {code} after SIGTERM"
        self.lines += process.out

    async def _rotate(self, pid: int) -> None:
        if not self.file.exists():
            return
        target = self.file.with_name(f"{self.file.name}.{len(self.rotated)}")
        if self.copytruncate:
            # What is written between copy and truncate is lost to any program: let there be none.
            with _stopped(pid):
                shutil.copy2(self.file, target)
                os.truncate(self.file, 0)
            await asyncio.sleep(self.chance.uniform(0, 0.5))
        else:
            self.file.rename(target)
        self.rotated.append(target)

    def _count(self, kills: int) -> Tally:
        history = read_history(self.folder / "state.db", HistoryQuery(limit=10**6))
        decided = list(reversed(history.values()))
        ids = [stored.event_id for stored in decided]
        files = [path for path in [*self.rotated, self.file] if path.exists()]
        file = list(_alerts(line for path in files for line in path.read_text().splitlines()))
        pipe = list(_alerts(self.lines))
        of_file, of_pipe = _Told(file), _Told(pipe)
        tally = Tally(
            kills=kills,
            events=len(ids),
            lost=len(set(ids) - of_file.ids) + len(set(ids) - of_pipe.ids),
            doubled=len(of_file.repeats),
            marked=sum(one["redelivery"] for one in of_pipe.repeats),
            problems=[*self._contradictions(decided)],
        )
        unmarked = [one for one in of_pipe.repeats if not one["redelivery"]]
        if self.copytruncate:
            unmarked += [one for one in of_file.repeats if not one["redelivery"]]
        elif [one["event_id"] for one in file] != ids:
            tally.problems.append("the file is not the history in its order")
        tally.unmarked = len(unmarked)
        if len(of_pipe.repeats) > kills:
            tally.problems.append(f"{len(of_pipe.repeats)} repeats on the pipe, {kills} kills")
        if unknown := (of_file.ids | of_pipe.ids) - set(ids):
            tally.problems.append(f"told, but not in the history: {sorted(unknown)}")
        return tally

    def _contradictions(self, decided: Sequence[Event]) -> Iterator[str]:
        """Yield what is wrong with the history itself: numbers, statuses, how it ends."""
        last = dict.fromkeys(CAMPAIGNS, "resolved")
        by_alert = sorted(decided, key=lambda stored: stored.fingerprint)
        for alert, run in groupby(by_alert, key=lambda stored: stored.fingerprint):
            events = list(run)
            if [event.seq for event in events] != list(range(1, len(events) + 1)):
                yield f"{alert} has the numbers {[event.seq for event in events]}"
            statuses = [event.status.value for event in events]
            if any(one == other for one, other in pairwise(statuses)):
                yield f"{alert} has the statuses {statuses}"
            last[events[-1].campaign_id or ""] = statuses[-1]
        truth = {one: "resolved" if well else "firing" for one, well in self.well.items()}
        if last != truth:
            yield f"on-call believes {last}, but it is {truth}"


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class _Told:
    """What was told in one place."""

    def __init__(self, records: Sequence[Record]) -> None:
        times = Counter[str]()
        self.repeats: list[Record] = []
        for record in records:
            if times[record["event_id"]]:
                self.repeats.append(record)
            times[record["event_id"]] += 1
        self.ids = set(times)


def _alerts(lines: Iterator[str] | Sequence[str]) -> Iterator[Record]:
    """Yield the alert events among lines; a line that is torn says nothing."""
    for line in lines:
        with suppress(ValueError):
            record = json.loads(line)
            if record.get("event") == "alert":
                yield record


async def kill_at_random(kills: int, jobs: int, seed: int, *, copytruncate: bool) -> Tally:
    """Run `jobs` worlds at once, each of which gets its part of the kills."""
    print(f"--kills {kills} --jobs {jobs} --seed {seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        worlds = []
        for job in range(jobs):
            place = Path(folder) / str(job)
            place.mkdir()
            part = kills // jobs + (job < kills % jobs)
            world = World(place, seed + job, copytruncate=copytruncate)
            worlds.append(world.run(part))
        tally = Tally()
        for one in await asyncio.gather(*worlds):
            tally.add(one)
    for problem in tally.problems:
        print(problem, file=sys.stderr)
    return tally


def figures(tally: Tally, truncated: Tally) -> list[Figure]:
    """Return what the runs show: one with rotation by rename, and one with copytruncate."""
    how = f"the daemon under {tally.kills} random kill -9, {len(CAMPAIGNS)} campaigns flap"
    return [
        Figure(
            "No alert event is lost by kill -9, and none is twice in the file",
            f"{how}, the file is rotated by rename",
            f"{tally.kills} kills, {tally.events} events: {tally.lost} lost,"
            f" {tally.doubled} doubled in the file, {len(tally.problems)} contradictions",
            kept=not (tally.lost or tally.doubled or tally.problems),
        ),
        Figure(
            "On a pipe an event is repeated at most once a crash, and marked",
            how,
            f"{tally.marked} repeats marked, {tally.unmarked} unmarked",
            kept=not tally.unmarked,
        ),
        Figure(
            "Through copytruncate an event is in the file at least once, repeats are marked",
            "the same; the file is rotated by copytruncate, between two writes",
            f"{truncated.kills} kills, {truncated.events} events: {truncated.lost} lost,"
            f" {truncated.doubled} repeats in the file, {truncated.unmarked} unmarked",
            kept=not (truncated.lost or truncated.unmarked or truncated.problems),
        ),
    ]


def main(argv: Sequence[str]) -> list[Figure]:
    """Kill the daemon at random, then die at every step of the protocol."""
    parser = argparse.ArgumentParser(prog="kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="a quarter more with copytruncate")
    parser.add_argument("--jobs", type=int, default=8, help="daemons at once")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--steps", default="ccffpp", help="die at each step of all orders of these")
    parser.add_argument("--stride", type=int, default=1, help="… or only at every so many steps")
    given = parser.parse_args(argv)
    found = [
        asyncio.run(kill_at_random(kills, given.jobs, given.seed, copytruncate=copytruncate))
        for kills, copytruncate in ((given.kills, False), (given.kills // 4, True))
    ]
    scripts = [*orders(given.steps), "bb", "fbpb"]
    return [*figures(*found), die_at_every_step(scripts, stride=given.stride)]
