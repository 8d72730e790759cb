"""Words for people and machines: what the API says reaches no log and no page but by `clean`."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from monitor.core.model import DAY, HOUR, MINUTE, Instant, Seconds, SftpConfig

THE_MONITOR = "sftp-monitor"  # what an event is about that is about no environment
# What a campaign's id is made of: it goes into paths, labels and keys as it is.
CAMPAIGN_ID = "[A-Za-z0-9_-]{1,64}"

# Cs, too: SQLite cannot bind a lone surrogate, nor can prometheus-client render a page with it.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_TOKEN = re.compile(r"(?i:talq_|bearer\s+)[^\s\"'<>]+")
# Of what Slack, Markdown and HTML make more than text: characters, and where a blank undoes it.
_BRACKETS = str.maketrans("<>`", "()'")
_JOINTS = re.compile(r"(?<=:)(?=//)|(?<=\])(?=\()|(?<=@)(?<!\w@)(?=\w)")


def clean(text: str, limit: int = 128) -> str:
    """Return `text` without control, format and surrogate characters, cut to `limit` characters."""
    # Nearly all is fit to be shown: what is printable has no blanks but spaces.
    if len(text) <= limit and text.isprintable() and "  " not in f" {text} ":
        return text
    # Cut before the walk through the characters: a megabyte must not cost a megabyte's time.
    kept = text[: 4 * limit]
    if not kept.isprintable():
        kept = "".join(c if unicodedata.category(c) not in _HIDDEN else " " for c in kept)
    kept = " ".join(kept.split())
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def redact(text: str, *secrets: str) -> str:
    """Return `text` with each of `secrets`, and whatever looks like a token, as `<secret>`."""
    # An empty one would be found between any two characters.
    for secret in filter(None, secrets):
        # In any case of its letters: where a token stands for a host, it comes in small ones.
        text = re.sub(re.escape(secret), "<secret>", text, flags=re.IGNORECASE)
    return _TOKEN.sub("<secret>", text)


def redact_echo(text: str, secret: str) -> str:
    """Return data with `secret` redacted: other words stay, as one may be called "Bearer bonds"."""
    return redact(text, secret) if secret.lower() in text.lower() else text


def plain(text: str) -> str:
    """Return text of others in which no chat, mail or web page finds markup, mention or link."""
    return _JOINTS.sub(" ", text.translate(_BRACKETS))


@lru_cache(1024)  # the instants of a campaign are few, and are shown many times
def rfc3339(at: Instant, *, milliseconds: bool = False) -> str:
    """Return the instant as RFC 3339 in UTC, clamped to the years 1 to 9999."""
    at = min(max(at, -62135596800.0), 253402300799.0)
    moment = datetime.fromtimestamp(at, UTC)
    text = moment.isoformat(timespec="milliseconds" if milliseconds else "seconds")
    return text.removesuffix("+00:00") + "Z"


def span(seconds: Seconds) -> str:
    """Return a span for people, rounded down in its largest unit: `31 d`, `26 h`."""
    size = abs(seconds)
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if size >= 2 * unit or (size >= unit and size % unit == 0):
            return f"{int(seconds / unit)} {name}"
    return f"{int(seconds)} s"


def relative(ago: Seconds) -> str:
    """Return how long ago something was, or will be, for people: `31 d ago`, `in 26 h`."""
    return f"{span(ago)} ago" if ago >= 0 else f"in {span(-ago)}"


def arrow(pair: tuple[str, str]) -> str:
    """Return a value before and after a change, for people; an empty one is nothing."""
    return " → ".join(one or "nothing" for one in pair)


def pairs(labels: Mapping[str, str]) -> str:
    """Return labels for people: `team=retail, tier=1`."""
    return ", ".join(f"{name}={value}" for name, value in labels.items())


def evidence_of_test(config: SftpConfig) -> Mapping[str, str]:
    """Return the test on record as evidence: as much of it as there is."""
    return _of_test(config.last_test_at, config.last_test_success)


@lru_cache(1024)  # of a campaign several rules have the same
def _of_test(at: Instant | None, passed: bool | None) -> Mapping[str, str]:
    evidence = {} if at is None else {"last_test_at": rfc3339(at)}
    return evidence if passed is None else {**evidence, "last_test_success": str(passed).lower()}
