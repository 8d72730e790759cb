"""How much is measured: for figures, or to see that it runs."""

from collections.abc import Iterator
from dataclasses import dataclass

Samples = Iterator[tuple[str, float]]
"""The names of samples, each with seconds of CPU or of the wall clock, or bytes, as measured.

`start@10000` is about 10,000 campaigns.
"""


@dataclass(frozen=True)
class Scale:
    """How much is measured: windows and their seconds, campaigns, repetitions.

    `large` and `largest` are the numbers of campaigns that figures are about. `judged`: it is
    enough for the targets. `answered`: the part of all polls that must have been answered, and
    `kept_up`: that of what was due in a window, for a figure to be one.
    """

    windows: int
    seconds: float
    saturating: int
    paced: int
    sizes: tuple[int, ...]
    repeats: int
    events: int
    backlog: int
    large: int
    largest: int
    judged: bool
    answered: float
    kept_up: float


FULL = Scale(
    windows=5,
    seconds=5.0,
    saturating=2000,
    paced=1000,
    sizes=(10, 100, 1000, 10_000, 100_000),
    repeats=3,
    events=200,
    backlog=1000,
    large=10_000,
    largest=100_000,
    judged=True,
    answered=0.99,
    kept_up=0.9,
)

QUICK = Scale(
    windows=1,
    seconds=0.5,
    saturating=200,
    paced=20,
    sizes=(10, 100),
    repeats=1,
    events=5,
    backlog=20,
    large=100,
    largest=100,
    judged=False,
    answered=0.5,
    kept_up=0.0,
)
"""To see that it runs."""
