"""The whole daemon on virtual time, a story of a week for every seed: `make torture`.

--seeds 200     so many stories, from seed 1 on
--seed 123      this one alone: a violation is told with what had happened until then
--days 7        how long each lasts
--jobs 2        processes at once; by default one for each processor
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from simulation.run import Violation, run
from torture.figures import Figure

PROMISE = "No alert is lost, doubled or invented, whatever happens to the daemon and its world"
HOW = (
    "the whole daemon on virtual time; outages, rejected tokens, 429, wrong answers, restarts, "
    "crashes, reloads, a full disk, a full pipe, clock steps and suspends drawn from a seed; after "
    "every decision its alerts and events, and every hour its metrics, are compared with a second "
    "implementation of the specification"
)

PUBLISHED = (
    "told", "told undurable", "stale told on time", "restarted", "crashed", "redelivered",
    "reloaded", "clock stepped", "disk failed", "sink failed",
)  # fmt: skip
"""What the figure says the runs have come through."""


def main(argv: Sequence[str]) -> list[Figure]:
    """Run the stories that `argv` names, and return what came of them."""
    parser = argparse.ArgumentParser("torture simulation")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args(argv)
    seeds = range(1, options.seeds + 1) if options.seed is None else [options.seed]
    visited: Counter[str] = Counter()
    violations = 0
    # Spawned: a fork of a process that has threads is a risk that Python warns of.
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        runs = {pool.submit(story, seed, options.days): seed for seed in seeds}
        for done in as_completed(runs):
            try:
                found = done.result()
            except Violation as violation:
                violations += 1
                print(violation, file=sys.stderr)
                continue
            visited += found
            print(f"seed {runs[done]}: {_counts(found)}", file=sys.stderr)
    return [_figure(seeds, options.days, violations, visited)]


def story(seed: int, days: float) -> Counter[str]:
    """Run one seed in a folder of its own. Raises Violation."""
    # In memory where that can be had: a week has some 30,000 commits, each with its fsync.
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="sftp-monitor-", dir=shared) as folder:
        return run(seed, days, Path(folder)).visited


def _figure(seeds: Sequence[int], days: float, violations: int, visited: Counter[str]) -> Figure:
    came = _counts(Counter({what: visited[what] for what in PUBLISHED}))
    return Figure(
        promise=PROMISE,
        how=HOW,
        figure=f"{len(seeds)} seeds × {days:g} virtual days: {violations} violations ({came})",
        kept=violations == 0,
    )


def _counts(visited: Counter[str]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in visited.items())
