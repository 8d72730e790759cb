"""An hour of the real daemon in bad weather: does anything grow?

Two environments, 20 polls a second, faults, flapping campaigns, renamed hosts, scrapes, reloads.
The weather goes in cycles: two thirds of one are storm, the rest is calm. At the end of a calm
everything is as it was at the end of the one before, so that whatever is more then is a leak.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import combinations
from math import sqrt
from pathlib import Path
from statistics import mean, median

import httpx

from support.command import Running, write_config
from support.fake_platform import CLOCK, FakePlatform
from support.misbehaving import Misbehaving
from torture.figures import Figure
from torture.weather import KINDS, Weather

ENVIRONMENTS = ("production", "staging")
POLLS_PER_SECOND = 20
CYCLE, SHORT_CYCLE = 60.0, 12.0
"""Seconds; the short ones are for runs in which memory is not judged."""

SWEEPS_PER_CYCLE = 6
SCRAPES_PER_CYCLE = 12
LOOKS = 5
"""A sample is the least of so many looks at files, threads and tasks."""

WARM_UP = 1 / 6
"""The part of a run that is not judged. All campaigns flap in it, not one in ten, and reload comes
after reload: what is to be filled (SQLite's cache of pages, malloc's of the thread that loads, the
interpreter's of attributes) is full at its end."""

RELOADS_PER_TICK_OF_WARM_UP = 8

MORE_CYCLES = 5
"""On a busy machine a storm reaches into its calm: so many are waited for until one is as still as
ever. What a leak has left is there in each of them."""

LEAKS = ("files", "threads", "tasks")

BLOCKS = 10
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20
MINUTES_TO_JUDGE_MEMORY = 15.0
"""In less, the steps of the allocator are all that there is to see."""


@dataclass(frozen=True)
class Sample:
    """What the daemon takes at one instant: memory in MiB, and how many of what else."""

    last_known: float
    blocks: int
    files: int
    threads: int
    tasks: int
    series: int


@dataclass
class Soaked:
    """What a run has brought: every sample in order, and those at the ends of the calms."""

    weather: Weather
    minutes: float
    all: list[Sample] = field(default_factory=list)
    calm: list[Sample] = field(default_factory=list)
    reloads: int = 0


@dataclass
class Daemon:
    """The daemon's process, seen from outside."""

    running: Running
    web: httpx.AsyncClient
    counts: int

    async def sample(self) -> Sample:
        """Scrape it, and look at its process."""
        scraped = await self.web.get("/metrics")
        assert scraped.status_code == 200, scraped.text
        # Polls come and go all the time; what a leak leaves is there at every look.
        looks = [await self._look() for _ in range(LOOKS)]
        return Sample(
            last_known=int((self._proc / "statm").read_text().split()[1]) * PAGE_MIB,
            blocks=min(blocks for _, _, _, blocks in looks),
            files=min(files for files, _, _, _ in looks),
            threads=min(threads for _, threads, _, _ in looks),
            tasks=min(tasks for _, _, tasks, _ in looks),
            series=sum(not line.startswith("#") for line in scraped.text.splitlines()),
        )

    @property
    def _proc(self) -> Path:
        return Path("/proc", str(self.running.process.pid))

    async def _look(self) -> tuple[int, int, int, int]:
        files, threads = (len(list((self._proc / name).iterdir())) for name in ("fd", "task"))
        self.running.process.send_signal(signal.SIGRTMIN)
        tasks, blocks = map(int, (await asyncio.to_thread(os.read, self.counts, 64)).split())
        await asyncio.sleep(0.02)
        return files, threads, tasks, blocks


@asynccontextmanager
async def _daemon(config: Path) -> AsyncIterator[Daemon]:
    ours, its = os.pipe()
    command = ("-m", "torture.counted", str(its), "run", "--config.file", str(config))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OTHER": "talq_0ther"},
        pass_fds=[its],
        start_new_session=True,
    )
    os.close(its)
    running = Running(process)
    running.read()
    try:
        started = await running.record(event="started")
        async with httpx.AsyncClient(base_url=started["url"], trust_env=False) as web:
            yield Daemon(running, web, ours)
            assert await running.end(signal.SIGTERM) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await running.end()
        os.close(ours)


def _configure(folder: Path, urls: Sequence[str], cycle: float, reloads: int) -> Path:
    """Write the config; what each reload changes does not change how much there is to know."""
    sweep = round(cycle / SWEEPS_PER_CYCLE)
    per_minute = POLLS_PER_SECOND * 60 // len(urls)
    # One campaign in thirty to spare: the pace is 97 % of the budget.
    count = round(0.97 * per_minute * sweep / 60)
    campaigns = [f"c-{number}" for number in range(count)]
    config = write_config(
        folder,
        FakePlatform(urls[0]),
        campaigns,
        environment={"requests_per_minute": per_minute, "budget_share": 1},
        polling={
            "interval": f"{sweep}s",
            "unhealthy_interval": f"{sweep}s",
            "timeout": "1s",
            "probe_interval": "1s",
        },
        rules={"failed_test": {"severity": ("critical", "warning")[reloads % 2]}},
    )
    document = json.loads(config.read_text(encoding="utf-8"))
    (first,) = document["environments"]
    other = {**first, "name": ENVIRONMENTS[1], "base_url": urls[1], "token": "${OTHER}"}
    del other["token_file"]
    document["environments"].append(other)
    config.write_text(json.dumps(document), encoding="utf-8")
    return config


async def soak(minutes: float, seed: int) -> Soaked:
    """Run the daemon for so long, and sample it; `seed` is what the faults come from."""
    cycle = SHORT_CYCLE if minutes < MINUTES_TO_JUDGE_MEMORY else CYCLE
    soaked = Soaked(Weather(seed, cycle, minutes * 60 * WARM_UP), minutes)
    script = soaked.weather.script
    with tempfile.TemporaryDirectory() as folder:
        async with Misbehaving(script) as one, Misbehaving(script) as two:
            config = _configure(Path(folder), [one.url, two.url], cycle, 0)
            async with _daemon(config) as daemon:
                ticks = int(minutes * 60 / cycle * SCRAPES_PER_CYCLE)
                for tick in range(ticks + MORE_CYCLES * SCRAPES_PER_CYCLE):
                    if tick >= ticks and tick % SCRAPES_PER_CYCLE == 0 and _nothing_left(soaked):
                        break
                    await _tick(soaked, daemon, tick)
                    for _ in range(_reloads_after(tick, ticks)):
                        soaked.reloads += 1
                        _configure(Path(folder), [one.url, two.url], cycle, soaked.reloads)
                        assert (await daemon.web.post("/-/reload")).status_code == 200
    return soaked


def _nothing_left(soaked: Soaked) -> bool:
    return all(_is_settled(values) for values in _found((*LEAKS, "series"), soaked).values())


def _reloads_after(tick: int, ticks: int) -> int:
    """Return how many follow this tick: one in the middle of a cycle, and more in the warm-up."""
    if tick < ticks * WARM_UP:
        return RELOADS_PER_TICK_OF_WARM_UP
    return int(tick % SCRAPES_PER_CYCLE == SCRAPES_PER_CYCLE // 2)


async def _tick(soaked: Soaked, daemon: Daemon, tick: int) -> None:
    """Wait until the tick is due, just before its end, and sample the daemon."""
    weather = soaked.weather
    due = weather.began + (tick + 0.95) * weather.cycle / SCRAPES_PER_CYCLE
    await asyncio.sleep(max(0.0, due - CLOCK.elapsed()))
    sample = await daemon.sample()
    soaked.all.append(sample)
    if tick % SCRAPES_PER_CYCLE == SCRAPES_PER_CYCLE - 1:
        soaked.calm.append(sample)
        print(f"{(CLOCK.elapsed() - weather.began) / 60:6.1f} min  {sample}", file=sys.stderr)


def theil_sen(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median slope from each value to the next, and its 95 % confidence interval.

    The interval is Sen's, by the variance of Kendall's S: no distribution is assumed, but that
    the values are independent; hence values that are means of long blocks.
    """
    n = len(values)
    slopes = sorted(
        (values[later] - values[earlier]) / (later - earlier)
        for earlier, later in combinations(range(n), 2)
    )
    half_width = 1.96 * sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, round((len(slopes) - half_width) / 2))
    return median(slopes), slopes[low], slopes[-1 - low]


def _after_warm_up(samples: Sequence[Sample]) -> Sequence[Sample]:
    return samples[round(len(samples) * WARM_UP) :]


def _slope(soaked: Soaked, values: Sequence[float]) -> tuple[float, float, float]:
    """Return how much the values grow in an hour, and the 95 % confidence interval of that."""
    size = len(values) // BLOCKS
    blocks = [mean(values[start : start + size]) for start in range(0, size * BLOCKS, size)]
    per_hour = 60 / (soaked.minutes * (1 - WARM_UP) / BLOCKS)
    slope, low, high = (one * per_hour for one in theil_sen(blocks))
    return slope, low, high


def _memory(soaked: Soaked, how: str) -> Figure:
    samples = [sample.last_known for sample in _after_warm_up(soaked.all)]
    slope, low, high = _slope(soaked, samples)
    # One page from a sample to the next: less could not be told from nothing by any sample.
    told_apart = PAGE_MIB * SCRAPES_PER_CYCLE * 3600 / soaked.weather.cycle
    return Figure(
        "The memory that the daemon takes does not grow",
        f"{how}; slope of the resident memory (Theil–Sen over {BLOCKS} block means, so that "
        f"neighbours are nearly independent) after a warm-up of {soaked.minutes * WARM_UP:.0f} min",
        f"{slope:+.2f} MiB/h, 95 % interval {low:+.2f} to {high:+.2f} (a page more at each sample "
        f"would be {told_apart:.1f}), at {min(samples):.1f} to {max(samples):.1f} MiB",
        kept=low <= 0,
    )


def _objects(soaked: Soaked, how: str) -> Figure:
    counts = [sample.blocks for sample in _after_warm_up(soaked.calm)]
    slope, low, high = _slope(soaked, counts)
    return Figure(
        "No object is left behind",
        f"{how}; slope of the blocks of memory that Python has given out, at the ends of the calms",
        f"{slope:+,.0f} an hour, 95 % interval {low:+,.0f} to {high:+,.0f},"
        f" of {min(counts):,} to {max(counts):,}",
        kept=low <= 0,
    )


def _found(names: Sequence[str], soaked: Soaked) -> dict[str, list[int]]:
    """Return these counts at the end of each calm after the warm-up."""
    calm = _after_warm_up(soaked.calm)
    return {name: [getattr(sample, name) for sample in calm] for name in names}


def _constant(promise: str, names: Sequence[str], soaked: Soaked, how: str) -> Figure:
    found = _found(names, soaked)
    calms = len(_after_warm_up(soaked.calm))
    return Figure(
        promise,
        f"{how}; the least of {LOOKS} counts at the end of each of {calms} calms",
        "; ".join(f"{name}: {_span(values)}" for name, values in found.items()),
        kept=all(_is_settled(values) for values in found.values()),
    )


def _is_settled(values: Sequence[int]) -> bool:
    """Whether it comes down as far as ever: a busy machine may make a calm late, a leak stays."""
    half = len(values) // 2
    return min(values[half:]) <= min(values[:half])


def _span(values: Sequence[int]) -> str:
    if len(set(values)) == 1:
        return f"always {values[0]}"
    half = len(values) // 2
    least = f"least {min(values[:half])} in the first half, {min(values[half:])} in the second"
    return f"{min(values)} to {max(values)}, at the {least}"


def figures(soaked: Soaked) -> list[Figure]:
    """Return what a run has shown."""
    done = soaked.weather.done
    faults = sum(done[kind] for kind in KINDS)
    how = (
        f"{soaked.minutes:g} min of the real daemon: {done['polls']:,} polls of two environments, "
        f"{faults / max(1, done['polls']):.1%} of them with faults ({', '.join(KINDS)}), flapping "
        f"and renamed campaigns, {len(soaked.all):,} scrapes, {soaked.reloads} reloads"
    )
    leaks = "No file descriptor, thread or task is left behind"
    series = "A scrape has as many series at the end as at the start"
    found = [
        _constant(leaks, LEAKS, soaked, how),
        _constant(series, ("series",), soaked, how),
    ]
    if soaked.minutes >= MINUTES_TO_JUDGE_MEMORY:
        found[:0] = [_memory(soaked, how), _objects(soaked, how)]
    return found


def main(argv: Sequence[str]) -> list[Figure]:
    """Soak, and return the figures."""
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    return figures(asyncio.run(soak(options.minutes, options.seed)))
