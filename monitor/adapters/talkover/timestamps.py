"""The two ways in which the API writes an instant: RFC 3339 in bodies, HTTP dates in headers."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz

from monitor.core.model import Instant

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)

_YEAR_1 = "0001-01-01"


def parse_rfc3339(text: str) -> Instant | None:
    """Return the instant of an RFC 3339 time, None for one that means *never*.

    Raises `ValueError` for anything else: naive times, ISO weeks, 24:00:00, second 60.
    The zero times `0001-01-01T…` and `1970-01-01T00:00:00Z` mean never.
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
    return None if at == 0 or text.startswith(_YEAR_1) else at


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
