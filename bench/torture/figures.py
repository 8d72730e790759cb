"""What a part of the torture found: one figure for each promise."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A promise to our users, how it was put to the test, and what was measured.

    `kept` says whether the promise held: one that did not makes the whole run fail.
    """

    promise: str
    how: str
    figure: str
    kept: bool
