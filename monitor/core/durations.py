"""Durations as Prometheus writes them, such as `1h30m`; ValueError says what was expected."""

import re

from monitor.core.model import DAY, HOUR, MINUTE, Seconds

_UNITS = {"y": 365 * DAY, "w": 7 * DAY, "d": DAY, "h": HOUR, "m": MINUTE, "s": 1.0, "ms": 0.001}
_EXACT_ONLY = {"y", "w", "d"}

# Every unit may be missing: without the lookahead empty text would be a duration.
DURATION_PATTERN = "^(0|(?=[0-9])" + "".join(f"([0-9]+{unit})?" for unit in _UNITS) + ")$"
# Longer spans are slips of the pen, and sums with them leave the calendar.
LONGEST: Seconds = 10 * _UNITS["y"]
A_DURATION = "a duration such as 30s, 5m, 1h30m or 7d"
# What was expected instead of text that begins so; the first one counts.
_MISTAKES = {
    r"[0-9]+\Z": "a duration with a unit: write 30s, 5m, 1h30m or 7d",
    r"-\s*[0-9]": "a duration that is not negative, such as 30s or 5m",
    r"[0-9]*\.[0-9]": "a duration without a fraction: write 1h30m, not 1.5h",
    r"([0-9]+(ms|[ywdhms]))+\Z": "the units of a duration in the order y w d h m s ms, each once",
    "": A_DURATION,
}


def parse_duration(text: str) -> Seconds:
    """Return the seconds that a Prometheus duration such as `1h30m` means; a year has 365 days."""
    if not re.fullmatch(DURATION_PATTERN, text):
        expected = (why for mistake, why in _MISTAKES.items() if re.match(mistake, text))
        raise ValueError(f"expected {next(expected)}")
    seconds = 0.0
    # `ms` first, else 5ms would be read as 5m.
    for number, unit in re.findall("([0-9]+)(ms|[a-z])", text):
        # The digits are counted first: int() of a million of them takes its time.
        seconds += int(number) * _UNITS[unit] if len(number) <= 15 else LONGEST + 1
    if seconds > LONGEST:
        raise ValueError("expected a duration of at most 10 years")
    return seconds


def format_duration(seconds: Seconds) -> str:
    """Return seconds as a duration that `parse_duration` reads back, to the millisecond."""
    # As in Prometheus, days and longer are used only where they leave no rest: 26 h stay `26h`.
    rest, text = round(seconds * 1000), ""
    for unit, length in _UNITS.items():
        size = round(length * 1000)
        if rest >= size and (unit not in _EXACT_ONLY or rest % size == 0):
            text += f"{rest // size}{unit}"
            rest %= size
    return text or "0s"
