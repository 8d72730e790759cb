"""Words for people and machines: sanitise, cut, redact, and write instants and spans.

What the API says is data: it never reaches a log, a label, a page or a terminal unless it went
through `clean`.
"""

import re
import unicodedata
from datetime import UTC, datetime

from monitor.core.model import DAY, HOUR, MINUTE, Instant, Seconds

# Cs, too: SQLite cannot bind a lone surrogate, nor can prometheus-client render a page with it.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_TOKEN = re.compile(r"talq_[^\s\"'<>]+|(?i:bearer)\s+[^\s\"'<>]+")


def clean(text: str, limit: int = 128) -> str:
    """Return `text` without control, format and surrogate characters, cut to `limit` characters."""
    # Cut before the walk through the characters: a megabyte must not cost a megabyte's time.
    kept = "".join(c if unicodedata.category(c) not in _HIDDEN else " " for c in text[: 4 * limit])
    kept = " ".join(kept.split())
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def redact(text: str, *secrets: str) -> str:
    """Return `text` with each of `secrets`, and whatever looks like a token, as `<secret>`."""
    for secret in secrets:
        # An empty one would be found between any two characters.
        if secret:
            text = text.replace(secret, "<secret>")
    return _TOKEN.sub("<secret>", text)


def rfc3339(at: Instant, *, milliseconds: bool = False) -> str:
    """Return the instant as RFC 3339 in UTC, clamped to the years 1 to 9999."""
    at = min(max(at, -62135596800.0), 253402300799.0)
    moment = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds" if milliseconds else "seconds") + "Z"


def span(seconds: Seconds) -> str:
    """Return a span for people, rounded down in its largest telling unit: `31 d`, `26 h`."""
    size = abs(seconds)
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if size >= 2 * unit or (size >= unit and size % unit == 0):
            return f"{int(seconds / unit)} {name}"
    return f"{int(seconds)} s"
