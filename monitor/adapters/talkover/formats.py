"""The formats of an answer, read strictly: JSON and RFC 3339 in bodies, HTTP dates in headers.

JSON by the standard library: other parsers accept duplicate keys, and bad numbers where they skip.
"""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz
from typing import Any

from monitor.core.model import Instant

NEVER: Instant = 0.0
"""What the zero times `0001-01-01T…` and `1970-01-01T00:00:00Z` mean."""

# int() takes quadratic time, and its own limit of digits can be switched off from outside.
_DIGITS_MAX = 32
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)


def load_json(body: bytes) -> object:
    """Return the document, of UTF-8 JSON with unique keys, finite numbers and whole characters.

    Raises `ValueError`, with a message that quotes nothing of the body.
    """
    try:
        # Not left to json.loads(): of bytes it takes UTF-16 and lone surrogates, too.
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8") from None
    try:
        document = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_sensible,
        )
        # Only an escape can bring half a pair in; encoding tells it from a whole one.
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("half a surrogate pair in a string") from None
    return document


def api_message(document: dict[str, Any]) -> str:
    """Return `CODE: message` of an error body in either of the API's two forms, or ''."""
    error = document.get("error")
    source = error if isinstance(error, dict) else document
    parts = (source.get("code"), source.get("message"))
    return ": ".join(part for part in parts if isinstance(part, str) and part)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return made


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number beyond all bounds")
    return number


def _sensible(text: str) -> int:
    if len(text) > _DIGITS_MAX:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def parse_rfc3339(text: str) -> Instant:
    """Return the instant of an RFC 3339 time, `NEVER` for a zero time.

    Raises `ValueError` for anything else: naive times, ISO weeks, 24:00:00, second 60.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time")
    *fields, fraction, sign, hours, minutes = match.groups()
    year, month, day, hour, minute, second = map(int, fields)
    at = datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    if fraction is not None:
        at += float(fraction)
    if sign is not None:
        offset = timedelta(hours=int(hours), minutes=int(minutes)).total_seconds()
        at += offset if sign == "-" else -offset
    return NEVER if text.startswith("0001-01-01") else at


def parse_http_date(text: str) -> Instant | None:
    """Return the instant of an HTTP date (`Date`, `Retry-After`), None where it is none.

    All three forms of RFC 9110 §5.6.7 are taken; one without a zone is UTC, never local time.
    """
    # `parsedate_tz` calls int(), which takes digits of any script.
    parts = parsedate_tz(text) if text.isascii() else None
    if parts is None:
        return None
    try:
        year, month, day, hour, minute, second = parts[:6]
        at = datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None
    return at - (parts[9] or 0)
