"""How long from the truth to the alert: from the break, and from the record of it.

    python -m benchmarks.freshness [--quick] [--json] [--plot FILE] [--part PART] [--at-most DAYS]

First from a break to the critical alert (benchmarks/truth.py): nobody tests, people test, the
monitor tests. Then from the record of a test to the alert (benchmarks/record.py): our polling
against a fixed interval. Figures are printed as they come. See benchmarks/README.md.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from time import process_time
from typing import TextIO

from benchmarks import record, truth


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both parts, and print what came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.freshness")
    parser.add_argument(
        "--quick", action="store_true", help="fewer virtual days: noise, no figures"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the second (.svg, .png)")
    parser.add_argument("--part", choices=("break", "record"), help="only one of the two")
    parser.add_argument("--at-most", type=float, default=90.0, metavar="DAYS", help="of the first")
    options = parser.parse_args(arguments)
    made: dict[str, object] = {}
    if options.part != "record":
        made |= _from_the_break(
            options.quick, options.at_most, out=sys.stderr if options.json else sys.stdout
        )
    if options.part != "break":
        made |= _from_the_record(options.quick, options.json, options.plot)
    if options.json:
        print(json.dumps(made, indent=2))


def _from_the_break(quick: bool, at_most: float, out: TextIO) -> dict[str, object]:
    def say(text: str) -> None:
        print(text, file=out, flush=True)

    say(f"From the break to the critical alert\n\n{truth.HEAD}")
    results = []
    for run in truth.runs(quick, at_most):
        began = process_time()
        results.append(truth.measure(run))
        say(truth.line(results[-1]))
        print(f"  ({process_time() - began:.0f} s)", file=sys.stderr, flush=True)
    say(f"\n{truth.claims(results)}\n")
    pairs = [
        (truth.measure(real), truth.measure(other)) for real, other in truth.effects(quick, at_most)
    ]
    say(f"{truth.effect(pairs)}\n")
    return {
        "break": [asdict(one) for one in results],
        "thinned": [[asdict(one) for one in pair] for pair in pairs],
    }


def _from_the_record(quick: bool, as_json: bool, plot: Path | None) -> dict[str, object]:
    polls = record.QUICK_POLLS if quick else record.POLLS
    with ProcessPoolExecutor() as pool:
        results = list(pool.map(record.compare, record.settings(polls)))
    if not as_json:
        print("From the record of a test to the alert\n")
        print(record.table(results), record.claims(results), sep="\n\n")
    if plot:
        from benchmarks.plot import draw  # noqa: PLC0415 - matplotlib is for this alone

        draw(results, plot)
    return {"record": [{**asdict(one), "failed_ratio": one.failed_ratio} for one in results]}


if __name__ == "__main__":
    main()
