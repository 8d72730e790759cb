"""Death at every step: the protocol of commit, tell and cursor is killed at each system call.

A script of steps (support/scripted.py) runs under strace, which kills it before the N-th call of
one kind that changes a file, for N = 1, 2 … until the script survives. Then the script is played
again to its end, and what is in the file and in the pipe is compared with what was decided: as it
was left, and again with the last line cut off somewhere, where the kernel might have done so.
"""

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

from monitor.serialize import record_of, to_json
from support.scripted import DECIDING, EPOCH, FAILED, LINKS, play
from support.state_files import an_event, select
from torture.figures import Figure

CALLS = ("pwrite64", "write", "fsync", "fdatasync", "ftruncate", "unlink")
"""The system calls with which SQLite, the file sink and standard output change a file."""

ROOT = Path(__file__).parents[2]


@dataclass
class Deaths:
    """How many deaths there were, and what was wrong after any of them."""

    count: int = 0
    torn: int = 0
    problems: list[str] = field(default_factory=list)


def orders(steps: str) -> list[str]:
    """Return every order of these steps, each once."""
    return sorted({"".join(order) for order in permutations(steps)})


def die_at_every_step(scripts: Sequence[str], *, stride: int = 1, jobs: int = 2) -> Figure:
    """Kill these scripts at every step, or with a stride at every so many of them."""
    deaths = Deaths()
    with ThreadPoolExecutor(jobs) as threads:
        list(threads.map(lambda call: _die_at_each(call, scripts, stride, deaths), CALLS))
    for problem in deaths.problems:
        print(problem, file=sys.stderr)
    return Figure(
        promise="A death at any step between decision and telling loses and doubles nothing",
        how=f"SIGKILL before each of {', '.join(CALLS)}, in {len(scripts)} orders of steps; then"
        " restart and compare; the same with the last line torn",
        figure=f"{deaths.count} deaths, {deaths.torn} of them also with torn lines:"
        f" {len(deaths.problems)} problems",
        kept=deaths.count > 0 and not deaths.problems,
    )


def _die_at_each(call: str, scripts: Sequence[str], stride: int, deaths: Deaths) -> None:
    number, killed = 1, 1
    while killed:
        with tempfile.TemporaryDirectory() as folder:
            killed = _kill(Path(folder), scripts, call, number)
            deaths.count += killed
            for order in scripts:
                where = f"{order} killed at {call} {number}"
                whole, torn = Path(folder) / order, Path(folder) / "torn" / order
                shutil.copytree(whole, torn)
                deaths.problems += _problems_after_restart(whole, where)
                if _tear(torn, random.Random(where)):
                    deaths.torn += 1
                    deaths.problems += _problems_after_restart(torn, f"{where} and torn")
        print(f"{call} {number}: {deaths.count} deaths so far", file=sys.stderr)
        number += stride


def _kill(folder: Path, scripts: Sequence[str], call: str, number: int) -> int:
    """Play the scripts, each killed before its N-th such call; return how many were."""
    for order in scripts:
        (folder / order).mkdir()
    inject = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")
    play_them = (sys.executable, "-m", "support.scripted", str(folder), *scripts)
    result = subprocess.run(
        ("strace", "-f", "-qq", "-o", os.devnull, *inject, *play_them),
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tests", "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert 0 <= result.returncode < FAILED, "a script failed; it says why above"
    return result.returncode


def _tear(folder: Path, chance: random.Random) -> bool:
    """Cut the last line of the file and the pipe where its cursor has not passed it.

    So the kernel may leave it: what is not synced when the process dies may be there in part.
    Returns whether any was.
    """
    state, torn = folder / "state.db", False
    if not state.exists() or not select(state, "SELECT 1 FROM sqlite_master WHERE name='cursor'"):
        return False
    cursors = dict(select(state, "SELECT sink, max(event_row) FROM cursor GROUP BY sink"))
    for sink, name in (("file", "alerts.jsonl"), ("log", "pipe")):
        lines = (folder / name).read_bytes() if (folder / name).exists() else b""
        last = lines[lines.rstrip(b"\n").rfind(b"\n") + 1 :]
        if last and json.loads(last)["seq"] > cursors.get(sink, 0):
            os.truncate(folder / name, len(lines) - chance.randint(1, len(last)))
            torn = True
    return torn


def _problems_after_restart(folder: Path, where: str) -> list[str]:
    asyncio.run(play(folder, folder.name))
    return [f"{where}: {problem}" for problem in _problems(folder)]


def _problems(folder: Path) -> Iterator[str]:
    order = folder.name
    decided = sum(step in DECIDING for step in order)
    golden = [
        to_json(record_of(an_event(seq, epoch=EPOCH), LINKS)) for seq in range(1, decided + 1)
    ]
    lines = (folder / "alerts.jsonl").read_bytes()
    file = list(_whole(lines))
    if [_unmarked(one) for one in file] != golden or lines.count(b"\n") != len(golden):
        yield f"the file has {[one['seq'] for one in file]} in {len(lines.splitlines())} lines"
    pipe = list(_whole((folder / "pipe").read_bytes()))
    once = [one for place, one in enumerate(pipe) if not _repeats(pipe, place)]
    if [_unmarked(one) for one in once] != golden:
        yield f"the pipe has {[one['seq'] for one in pipe]}"
    repeats = [one for place, one in enumerate(pipe) if _repeats(pipe, place)]
    if len(repeats) > 1 or not all(one["redelivery"] for one in repeats):
        yield f"the pipe repeats {[(one['seq'], one['redelivery']) for one in repeats]}"


def _whole(lines: bytes) -> Iterator[dict[str, object]]:
    """Yield the records among lines; one that was torn is dropped by whoever reads them."""
    for line in lines.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _repeats(records: Sequence[dict[str, object]], place: int) -> bool:
    return any(records[place]["seq"] == one["seq"] for one in records[:place])


def _unmarked(record: dict[str, object]) -> dict[str, object]:
    return {**record, "redelivery": False}
