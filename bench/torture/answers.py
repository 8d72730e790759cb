"""Answers that no API has written: is every one an observation, or an error with a reason?"""

import argparse
import resource
import sys
from collections.abc import Sequence
from time import monotonic

from hypothesis import HealthCheck, Phase, given, settings

from support.hostile_answers import Hostile, answers, check
from torture.figures import Figure

MINUTES = 5.0

MEMORY = 100
"""So many MiB the process may grow by, with the server and hypothesis in it."""


def main(argv: Sequence[str]) -> list[Figure]:
    """Ask a server of hostile answers for `--minutes`; the first that breaks it is made small."""
    parser = argparse.ArgumentParser(prog="torture answers")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    minutes, tried = parser.parse_args(argv).minutes, 0
    until = monotonic() + 60 * minutes

    @settings(
        deadline=None,
        max_examples=200,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(answers())
    def two_hundred(hostile: Hostile) -> None:
        nonlocal tried
        if monotonic() < until:
            check(hostile)
            tried += 1

    two_hundred()  # what is imported, and kept for good, is there from now on
    before = _mebibytes()
    while monotonic() < until:
        try:
            two_hundred()
        except Exception as error:
            return [_figure(tried, minutes, _mebibytes() - before, f"; broken by {error!r}")]
        print(f"{tried} answers", file=sys.stderr)
    return [_figure(tried, minutes, _mebibytes() - before, "")]


def _mebibytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _figure(tried: int, minutes: float, grown: int, broken: str) -> Figure:
    return Figure(
        "Whatever the API's bytes are, a poll ends in time with an observation or a reason",
        f"for {minutes:g} min: heads, bodies and framing that are cut, doubled, of another type or "
        "length, through the client on a socket, for a config, a listing and a test",
        f"{3 * tried} calls, no exception, no garbage taken for health, no token, {grown} MiB"
        f"{broken}",
        not broken and tried > 0 and grown < MEMORY,
    )
