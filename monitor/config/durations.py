"""Prometheus durations: `30s`, `5m`, `1h30m`, `7d`."""

import re

from monitor.core.model import DAY, HOUR, MINUTE, Seconds

_UNITS = {"y": 365 * DAY, "w": 7 * DAY, "d": DAY, "h": HOUR, "m": MINUTE, "s": 1.0, "ms": 0.001}
_EXACT_ONLY = {"y", "w", "d"}

# Every unit may be missing: without the lookahead empty text would be a duration.
DURATION_PATTERN = "^(0|(?=[0-9])" + "".join(f"([0-9]+{unit})?" for unit in _UNITS) + ")$"
"""A regular expression (ECMA 262 as well as Python's) for all that `parse_duration` takes."""

LONGEST: Seconds = 10 * _UNITS["y"]
"""Longer spans are slips of the pen, and sums with them leave the calendar."""

_DURATION = re.compile(DURATION_PATTERN)
# `ms` first, else 5ms would be read as 5m.
_PART = re.compile("([0-9]+)(ms|[a-z])")
_MISTAKES = {
    r"[0-9]+\Z": "a duration with a unit: write 30s, 5m, 1h30m or 7d",
    r"-\s*[0-9]": "a duration that is not negative, such as 30s or 5m",
    r"[0-9]*\.[0-9]": "a duration without a fraction: write 1h30m, not 1.5h",
    r"([0-9]+(ms|[ywdhms]))+\Z": "the units of a duration in the order y w d h m s ms, each once",
    "": "a duration such as 30s, 5m, 1h30m or 7d",
}
"""What was expected instead of text that begins so; the first one counts."""


def parse_duration(text: str) -> Seconds:
    """Return the seconds that a Prometheus duration means; ValueError says what is wrong.

    The units are y (365 d), w, d, h, m, s and ms, in this order and each once; a bare 0 is fine.
    """
    if not _DURATION.fullmatch(text):
        expected = (why for mistake, why in _MISTAKES.items() if re.match(mistake, text))
        raise ValueError(f"expected {next(expected)}")
    parts = _PART.findall(text)
    # The digits are counted first: int() and float() of a million of them take their time.
    if any(len(number) > 15 for number, _ in parts):
        raise ValueError("expected a duration of at most 10 years")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if seconds > LONGEST:
        raise ValueError("expected a duration of at most 10 years")
    return float(seconds)


def format_duration(seconds: Seconds) -> str:
    """Return seconds as a duration that `parse_duration` reads back, to the millisecond.

    As in Prometheus, days and longer are used only where they leave no rest: 26 h stay `26h`.
    """
    rest = round(seconds * 1000)
    if rest <= 0:
        return "0s"
    text = ""
    for unit, length in _UNITS.items():
        size = round(length * 1000)
        if rest >= size and (unit not in _EXACT_ONLY or rest % size == 0):
            text += f"{rest // size}{unit}"
            rest %= size
    return text
