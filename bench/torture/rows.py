"""Stored rows that no program of ours has written: does the daemon start, and say what is lost?"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.hostile_rows import SPOILINGS, Spoiling, a_state, check
from torture.figures import Figure

MINUTES = 5.0


def main(argv: Sequence[str]) -> list[Figure]:
    """Start daemons on spoilt states for `--minutes`; the first one that fails is made small."""
    parser = argparse.ArgumentParser(prog="torture rows")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    minutes, tried = parser.parse_args(argv).minutes, 0
    until = monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        state, before = a_state(folder)

        @settings(
            deadline=None,
            max_examples=100,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(SPOILINGS, min_size=1, max_size=4))
        def a_hundred(spoilings: Sequence[Spoiling]) -> None:
            nonlocal tried
            if not tried or monotonic() < until:
                check(folder, state, before, spoilings)
                tried += 1

        while not tried or monotonic() < until:
            try:
                a_hundred()
            except Exception as error:
                return [_figure(tried, minutes, f"; broken by {error!r}")]
            print(f"{tried} states", file=sys.stderr)
    return [_figure(tried, minutes, "")]


def _figure(tried: int, minutes: float, broken: str) -> Figure:
    return Figure(
        "Whatever stands in the stored rows, the daemon starts; nothing is healthy by mistake",
        f"for {minutes:g} min: cells of every table cut, flipped, of another type, shape or "
        "version, then two starts of two virtual hours with every view made",
        f"{tried} states, no traceback, no id of an event twice{broken}",
        not broken and tried > 0,
    )
