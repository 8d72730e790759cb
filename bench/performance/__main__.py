"""Measures, and writes docs/performance.md: `make bench`.

python -m performance                    everything: ten minutes, and the page is written
python -m performance --only polls       one part, printed and not written
python -m performance --again polls      one part of the last whole run, which the page then says
python -m performance --quick            everything, but so little that it says only that it runs
python -m performance --page             only the page, from the samples of the last whole run
"""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from performance import page, peers
from performance.experiments import EXPERIMENTS
from performance.page import Run
from performance.programs import ROOT
from performance.scale import FULL, QUICK, Scale
from support.peers import find_peer

DOCS = ROOT / "docs"
SAMPLES = "performance.json"


def measure(names: Sequence[str], scale: Scale) -> Run:
    """Run these experiments; what cannot be measured is left out, with the reason."""
    about, samples, left_out = _about(), dict[str, list[float]](), dict[str, str]()
    for name in names:
        experiment, began = EXPERIMENTS[name], time.monotonic()
        missing = [peer for peer in experiment.needs if find_peer(peer) is None]
        if missing:
            left_out[name] = f"{', '.join(missing)} is not installed"
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                for key, value in experiment.run(scale, Path(folder)):
                    samples.setdefault(key, []).append(float(f"{value:.5g}"))
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                print(error, file=sys.stderr)
                what = str(error).partition("\n")[0].rstrip(";: ")
                left_out[name] = f"{type(error).__name__}, {what}"
        took = f"{name}: {time.monotonic() - began:.0f} s"
        print(took, left_out.get(name, ""), file=sys.stderr, flush=True)
    about["load of the machine"] += f", {_load()} at the end"
    return Run(about, samples, left_out)


def _about() -> dict[str, str]:
    processor = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {peers.version(name)}" for name in peers.PEERS if find_peer(name)]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "tree": _commit(),
        "processor": f"{os.cpu_count()} × {processor[1] if processor else platform.machine()}",
        "kernel": f"Linux {platform.release()}",
        "load of the machine": f"{_load()} at the start",
        "versions": ", ".join(versions),
    }


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def keep(file: Path, run: Run) -> None:
    """Write the samples of a run down, a line for each name."""
    lines = [f"  {json.dumps(name)}: {json.dumps(all_)}" for name, all_ in run.samples.items()]
    about, left_out = json.dumps(run.about), json.dumps(run.left_out)
    text = f'{{"about": {about},\n "left_out": {left_out},\n "samples": {{\n'
    file.write_text(text + ",\n".join(lines) + "\n}}\n", encoding="utf-8")


def kept(file: Path) -> Run:
    """Return the run whose samples were written down."""
    return Run(**json.loads(file.read_text(encoding="utf-8")))


def renewed(run: Run, later: Run, name: str) -> Run:
    """Return a run with one of its experiments from a later one, and with a word about that."""
    others = {one: why for one, why in run.left_out.items() if one != name}
    of_later = ("date", "tree", "load of the machine")
    said = {f"`{name}` again": ", ".join(later.about[key] for key in of_later)}
    return Run(
        {**run.about, **said}, {**run.samples, **later.samples}, {**others, **later.left_out}
    )


def main(argv: Sequence[str]) -> int:
    """Do what the arguments say; 1 where something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m performance")
    parser.add_argument("--only", choices=EXPERIMENTS, action="append", default=[])
    parser.add_argument("--again", choices=EXPERIMENTS, help="measure a part of that run anew")
    parser.add_argument("--quick", action="store_true", help="to see that it runs: no figures")
    parser.add_argument("--page", action="store_true", help="only the page, of the last whole run")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="write the page there")
    options = parser.parse_args(argv)
    scale = QUICK if options.quick else FULL
    whole = not (options.only or options.quick)
    folder = options.to or (DOCS if whole else None)
    if options.page:
        run = kept(DOCS / SAMPLES)
    elif options.again:
        run = renewed(kept(DOCS / SAMPLES), measure([options.again], FULL), options.again)
        keep(DOCS / SAMPLES, run)
    else:
        run = measure(options.only or list(EXPERIMENTS), scale)
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            keep(folder / SAMPLES, run)
    if folder:
        page.write(folder, run, scale)
    print("\n".join(page.table(run, scale, options.only)))
    for name, why in run.left_out.items():
        print(f"{name} was not measured to its end: {why}")
    return 1 if run.left_out else 0


if __name__ == "__main__":
    # So that what was started ends, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
