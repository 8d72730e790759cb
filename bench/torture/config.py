"""Config files that nobody meant: is each a config, or problems with places, and never more?"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from hypothesis import HealthCheck, Phase, given, settings

from support.config_fuzz import FILES, outcome
from torture.figures import Figure

MINUTES = 5.0


def main(argv: Sequence[str]) -> list[Figure]:
    """Read such files for `--minutes`; the first one that is taken wrongly is made small."""
    parser = argparse.ArgumentParser(prog="torture config")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    minutes, seen = parser.parse_args(argv).minutes, Counter[str]()
    until = monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"

        @settings(
            deadline=None,
            max_examples=1000,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(FILES)
        def a_thousand(raw: bytes) -> None:
            if monotonic() < until:
                seen[outcome(path, raw)] += 1

        while monotonic() < until:
            try:
                a_thousand()
            except Exception as error:
                return [_figure(seen, minutes, f"; broken by {error!r}")]
            print(dict(seen), file=sys.stderr)
    return [_figure(seen, minutes, "")]


def _figure(seen: Counter[str], minutes: float, broken: str) -> Figure:
    return Figure(
        "Whatever a config file has in it, it is a config or problems with places",
        f"for {minutes:g} min: bytes, pieces of YAML, and the example with lines lost, doubled, "
        "moved and changed",
        f"{seen.total():,} files, {seen['config']:,} of them a config; no traceback, no secret told"
        f"{broken}",
        not broken and min(seen["config"], seen["problems"]) > 0,
    )
