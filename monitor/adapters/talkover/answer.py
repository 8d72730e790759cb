"""An answer of the API up to its JSON: status, type, clock, age, pause, rate limit; strict JSON.

The vendor does not name the headers of the rate limit: Laravel's and the IETF drafts' are taken.
The standard library reads the JSON: other parsers accept duplicate keys, and bad numbers in fields
that they skip.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import httpx

from monitor.core.model import HOUR, MINUTE, Instant, PollError, RateHint, Reason, Seconds
from monitor.http import Received

PAUSE_MIN: Seconds = 1.0
PAUSE_MAX: Seconds = 900.0
"""What `Retry-After` is clamped to: a typing error must not silence us for a day."""

CACHED_FROM: Seconds = 30.0
"""From this `Age` on an answer came out of a cache: it says nothing of now."""

Aside = tuple[Instant | None, Seconds | None, RateHint | None]
"""The API's clock, the pause that it asks for, its rate limit."""

_LIMIT_MAX = 1_000_000
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_DIGITS = re.compile(r"[0-9]+")
_JSON = re.compile(r"application/json|[^\s,]+\+json")

# By status, or else by its first digit.
_REFUSALS = {
    401: Reason.UNAUTHORIZED,
    403: Reason.FORBIDDEN,
    404: Reason.NOT_FOUND,
    429: Reason.RATE_LIMITED,
    # It leads nowhere, and nobody asked conditionally: no redirect.
    304: Reason.UNEXPECTED_STATUS,
    3: Reason.REDIRECT,
    4: Reason.HTTP_4XX,
    5: Reason.HTTP_5XX,
}


def body_of(received: Received, *answered: int) -> bytes | PollError:
    """Return the JSON under one of these statuses; of any other what it means, in its own words."""
    status, headers, body = received.status, received.headers, received.body
    if not status:
        return body
    page = f"{status}, {_type_of(headers)}"
    if _is_of_another(received):
        return PollError(Reason.BAD_CONTENT_TYPE, page)
    if status in answered:
        return body if isinstance(body, PollError) else _not_json(headers) or body
    reason = _REFUSALS.get(status) or _REFUSALS.get(status // 100, Reason.UNEXPECTED_STATUS)
    if reason is Reason.REDIRECT:
        return PollError(reason, f"{status} to {_location_host(headers)}")
    said, typed = "", _is_json(headers)
    if isinstance(body, bytes) and (typed or "content-type" not in headers):
        with suppress(ValueError):
            said = api_message(load_json(body, repair=True))
    foreign = body != b"" and not typed and not said
    return PollError(reason, page if foreign else f"{status} {said}".rstrip())


def _is_of_another(received: Received) -> bool:
    """Return whether a proxy or a firewall has answered, who knows neither token nor campaign."""
    status, headers, body = received.status, received.headers, received.body
    if status == 407:  # the API is no proxy
        return True
    # What else of the API refuses does so in JSON, or with no body: that has no type to speak of.
    if status not in (401, 403, 404) or body == b"":
        return False
    if "content-type" in headers and not _is_json(headers):
        return True
    with suppress(ValueError):
        return isinstance(body, bytes) and not isinstance(load_json(body, repair=True), dict)
    return True


def _kinds(headers: httpx.Headers) -> list[str]:
    # Given twice and the same it is given once.
    given = (one.partition(";")[0] for one in headers.get_list("content-type"))
    return list(dict.fromkeys(one.strip().lower() for one in given))


def _is_json(headers: httpx.Headers) -> bool:
    kinds = _kinds(headers)
    return len(kinds) == 1 and _JSON.fullmatch(kinds[0]) is not None


def _type_of(headers: httpx.Headers) -> str:
    """Return in words which type a body has, and who says to have sent it."""
    kinds = _kinds(headers)
    named = ", ".join(kinds) or ("an empty Content-Type" if kinds else "no Content-Type")
    by = "; ".join(f"{name}: {headers[name]}" for name in ("Server", "Via") if name in headers)
    twice = "Content-Type given twice: " if len(kinds) > 1 else ""
    return f"{twice}{named}" + (f" ({by})" if by else "")


def _not_json(headers: httpx.Headers) -> PollError | None:
    """Return why a body under these headers is not JSON in UTF-8, None where it is."""
    if not _is_json(headers):
        typed = "Content-Type " if all(_kinds(headers)) and len(_kinds(headers)) == 1 else ""
        return PollError(Reason.BAD_CONTENT_TYPE, f"{typed}{_type_of(headers)}")
    for given in headers.get_list("content-type"):
        message = Message()
        message["Content-Type"] = given
        charset = message.get_param("charset", "utf-8")
        # RFC 2231 has it in three parts.
        charset = charset[-1] if isinstance(charset, tuple) else charset
        if str(charset).lower() not in {"utf-8", "utf8", "us-ascii"}:
            return PollError(Reason.BAD_ENCODING, f"charset {charset}")
    return None


def _location_host(headers: httpx.Headers) -> str:
    """Return the host alone: path and query of a Location may carry what no log should."""
    try:
        return urlsplit(headers["location"]).hostname or "the same host"
    except (KeyError, ValueError):
        return "nowhere"


def load_json(body: bytes, *, repair: bool = False) -> object:
    """Return the document, of UTF-8 JSON with unique keys, finite numbers and whole characters.

    With `repair` half a surrogate pair is a question mark. Raises `ValueError`, which quotes
    nothing of the body.
    """
    try:
        # Not left to json.loads(): of bytes it takes UTF-16 and lone surrogates, too.
        text = body.decode("utf-8")
        document = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_sensible,
        )
        # Only an escape can bring half a pair in; encoding refuses what has no other half.
        if _SURROGATE.search(text):
            errors = "replace" if repair else "strict"
            document = json.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", errors))
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8") from None
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("half a surrogate pair in a string") from None
    return document


def api_message(document: object) -> str:
    """Return `CODE: message` of an error body in either of the API's two forms, or ''."""
    said = document if isinstance(document, dict) else {}
    source = said["error"] if isinstance(said.get("error"), dict) else said
    parts = (source.get("code"), source.get("message"))
    return ": ".join(part for part in parts if isinstance(part, str) and part)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return made


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number that is not finite")
    return number


def _sensible(text: str) -> int:
    # int() takes quadratic time, and its own limit of digits can be switched off from outside.
    if len(text) > 32:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


@lru_cache(maxsize=64)  # all answers of one second have the same one
def parse_http_date(text: str) -> Instant | None:
    """Return the instant of an HTTP date in any form of RFC 9110 §5.6.7, None where it is none."""
    try:
        # It calls int(), which takes digits of any script.
        at = parsedate_to_datetime(text if text.isascii() else "")
    except (ValueError, OverflowError):
        return None
    # One without a zone is UTC, never local time.
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def read_aside(received: Received, now: Callable[[], Instant], *, answered: bool = True) -> Aside:
    """Return what an answer says of the API itself.

    A cached one, and one that it has not `answered` itself, knows neither its clock nor its limit.
    """
    status, headers = received.status, received.named
    if not answered or age(headers) >= CACHED_FROM:
        return None, pause(status, headers, now()), None
    date = parse_http_date(headers.get("date", ""))
    known = now() if date is None else date
    return date, pause(status, headers, known), rate_hint(headers, known)


def age(headers: Mapping[str, str]) -> Seconds:
    """Return how long a cache has kept the answer, of several the longest; 0 where none says so."""
    said = [one.strip() for one in headers.get("age", "").split(",")]
    # Not int(), which refuses more than 4,300 digits.
    known = [float(one) for one in said if _DIGITS.fullmatch(one)]
    return min(max(known, default=0.0), 2.0**31)


def pause(status: int, headers: Mapping[str, str], now: Instant) -> Seconds | None:
    """Return for how many seconds the API asks us to leave it alone, None where it does not.

    A 429 always does; a 503 where it has `Retry-After`. Where that makes no sense it is a minute,
    as the limit is one per minute. `now` is the API's clock if known.
    """
    text = headers.get("retry-after", "").strip()
    if status != 429 and not (status == 503 and "retry-after" in headers):
        return None
    at = parse_http_date(text)
    seconds = at - now if at is not None and at >= now else MINUTE
    if _DIGITS.fullmatch(text):
        seconds = float(text)
    return min(max(seconds, PAUSE_MIN), PAUSE_MAX)


def rate_hint(headers: Mapping[str, str], now: Instant) -> RateHint | None:
    """Return what is plausible of the rate limit; a reset may be an instant: `now` is the API's."""
    if not any("ratelimit" in name for name in headers):
        return None
    limit = _first(headers, "limit", "q", range(1, _LIMIT_MAX + 1))
    remaining = _first(headers, "remaining", "r", range((limit or _LIMIT_MAX) + 1))
    at = _first(headers, "reset", "t", range(10**12))
    # From 2001 on it is an instant; less is a span, whatever the header is called.
    reset = None if at is None else at - now if at >= 1_000_000_000 else float(at)
    if reset is not None and not 0 <= reset <= HOUR:
        reset = None
    hint = RateHint(limit, remaining, reset)
    return None if hint == RateHint() else hint


def _first(headers: Mapping[str, str], name: str, parameter: str, among: range) -> int | None:
    """Return the first of the headers' numbers of this name; the newest draft has parameters."""
    said = [f"{name}={headers.get(f'{prefix}-{name}')}" for prefix in ("x-ratelimit", "ratelimit")]
    said += [headers.get("ratelimit", ""), headers.get("ratelimit-policy", "")]
    # Early drafts list policies behind the number: `RateLimit-Limit: 100, 100;w=60`.
    number = rf"[;,\s](?:{name}|{parameter})=\s*([0-9]{{1,12}})\s*(?:[,;]|$)"
    match = re.search(number, ";" + ";".join(said))
    return int(match[1]) if match and int(match[1]) in among else None
