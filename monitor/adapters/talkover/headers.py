"""The head of an answer: its status, its type, the clock, its age, a pause, the rate limit.

The vendor does not name the headers of the rate limit, so Laravel's (`X-RateLimit-*`,
`Retry-After`) and the IETF drafts' (`RateLimit-*`, `RateLimit`, `RateLimit-Policy`) are all taken,
and any may be missing.
"""

import re
from email.message import Message
from urllib.parse import urlsplit

import httpx

from monitor.adapters.talkover.formats import api_message, load_json, parse_http_date
from monitor.core.model import HOUR, MINUTE, Instant, PollError, RateHint, Reason, Seconds
from monitor.http import LOCATION, Received

PAUSE_MIN: Seconds = 1.0
PAUSE_MAX: Seconds = 900.0
"""What `Retry-After` is clamped to: a typing error must not silence us for a day."""

PAUSE_DEFAULT: Seconds = MINUTE
"""How long to wait where `Retry-After` makes no sense: the limit is one per minute."""

CACHED_FROM: Seconds = 30.0
"""From this `Age` on an answer came out of a cache: it says nothing of now."""

_AGE_MAX: Seconds = 2.0**31
_LIMIT_MAX = 1_000_000
_RESET_MAX: Seconds = HOUR
# A reset from here on (2001) is an instant; less is a span, whatever the header is called.
_EPOCH_FROM = 1_000_000_000

_DIGITS = re.compile(r"[0-9]+")
_LEADING_NUMBER = re.compile(r"\s*([0-9]{1,12})\s*(?:[,;]|$)")

_BY_STATUS = {
    401: Reason.UNAUTHORIZED,
    403: Reason.FORBIDDEN,
    404: Reason.NOT_FOUND,
    429: Reason.RATE_LIMITED,
    # It leads nowhere, and nobody asked conditionally: no redirect.
    304: Reason.UNEXPECTED_STATUS,
}
_BY_CLASS = {3: Reason.REDIRECT, 4: Reason.HTTP_4XX, 5: Reason.HTTP_5XX}


def refusal(received: Received) -> PollError:
    """Return what a status other than 200 says; it counts even where the body broke off."""
    reason = _BY_STATUS.get(received.status) or _BY_CLASS.get(
        received.status // 100, Reason.UNEXPECTED_STATUS
    )
    if reason is Reason.REDIRECT:
        return PollError(reason, f"{received.status} to {_location_host(received.headers)}")
    return PollError(reason, _error_detail(received))


def not_json(headers: httpx.Headers) -> PollError | None:
    """Return why a body under these headers is not JSON in UTF-8, None where it is."""
    if "content-type" not in headers:
        return PollError(Reason.BAD_CONTENT_TYPE, "no Content-Type")
    message = Message()
    message["Content-Type"] = headers["content-type"]
    kind = message.get_content_type()
    if kind != "application/json" and not kind.endswith("+json"):
        return PollError(Reason.BAD_CONTENT_TYPE, f"Content-Type {kind}")
    charset = message.get_param("charset", "utf-8")
    if str(charset).lower() not in {"utf-8", "utf8"}:
        return PollError(Reason.BAD_ENCODING, f"charset {charset}")
    return None


def _location_host(headers: httpx.Headers) -> str:
    """Return the host alone: path and query of a Location may carry what no log should."""
    location = headers.get(LOCATION)
    if location is None:
        return "nowhere"
    try:
        return urlsplit(location).hostname or "the same host"
    except ValueError:
        return "no valid URL"


def _error_detail(received: Received) -> str:
    """Return the status, and what the API's own error body says where there is one."""
    status = str(received.status)
    if isinstance(received.body, PollError) or not_json(received.headers):
        return status
    try:
        document = load_json(received.body)
    except ValueError:
        return status
    said = api_message(document) if isinstance(document, dict) else ""
    return f"{status} {said}".rstrip()


def server_date(headers: httpx.Headers) -> Instant | None:
    """Return the API's own clock, from the `Date` header."""
    return parse_http_date(headers.get("date", ""))


def age(headers: httpx.Headers) -> Seconds:
    """Return how long a cache has kept the answer; 0 where none says so in digits.

    Of several caches, or a header that is there twice, the longest counts.
    """
    said = [one.strip() for one in headers.get("age", "").split(",")]
    # Not int(), which refuses more than 4,300 digits.
    known = [float(one) for one in said if _DIGITS.fullmatch(one)]
    return min(max(known, default=0.0), _AGE_MAX)


def pause(status: int, headers: httpx.Headers, now: Instant) -> Seconds | None:
    """Return for how many seconds the API asks us to leave it alone, None where it does not.

    A 429 always does; a 503 where it has `Retry-After`. `now` is the API's clock if known.
    """
    text = headers.get("retry-after")
    if status not in {429, 503} or (status == 503 and text is None):
        return None
    seconds = _retry_after((text or "").strip(), now)
    if seconds is None or seconds < 0:
        return PAUSE_DEFAULT
    return min(max(seconds, PAUSE_MIN), PAUSE_MAX)


def _retry_after(text: str, now: Instant) -> Seconds | None:
    if _DIGITS.fullmatch(text):
        return float(text)
    at = parse_http_date(text)
    return None if at is None else at - now


def rate_hint(headers: httpx.Headers, now: Instant) -> RateHint | None:
    """Return what the headers say of the rate limit, as far as it is plausible.

    `now` is the API's clock if known: a reset that is an instant is taken against it.
    """
    limit = _first(headers, "limit", "q")
    if limit is not None and not 0 < limit <= _LIMIT_MAX:
        limit = None
    remaining = _first(headers, "remaining", "r")
    if remaining is not None and remaining > (_LIMIT_MAX if limit is None else limit):
        remaining = None
    reset = _reset(_first(headers, "reset", "t"), now)
    if limit is None and remaining is None and reset is None:
        return None
    return RateHint(limit, remaining, reset)


def _reset(value: int | None, now: Instant) -> Seconds | None:
    if value is None:
        return None
    seconds = value - now if value >= _EPOCH_FROM else float(value)
    return seconds if 0 <= seconds <= _RESET_MAX else None


def _first(headers: httpx.Headers, name: str, parameter: str) -> int | None:
    """Return the first of the headers' numbers of this name; the newest draft has parameters."""
    # Early drafts list policies behind the number: `RateLimit-Limit: 100, 100;w=60`.
    for header in (f"x-ratelimit-{name}", f"ratelimit-{name}"):
        match = _LEADING_NUMBER.match(headers.get(header, ""))
        if match is not None:
            return int(match[1])
    fields = f"{headers.get('ratelimit', '')};{headers.get('ratelimit-policy', '')}"
    match = re.search(rf"[;,\s](?:{name}|{parameter})=([0-9]{{1,12}})(?![0-9.])", f";{fields}")
    return None if match is None else int(match[1])
