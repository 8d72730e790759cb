"""How queries are read, and how answers leave: zipped for whoever takes that, sent in slices."""

import gzip
import json
import re
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp import web

from monitor.adapters.web.schemas import ErrorAnswer
from monitor.adapters.web.serializers import LIMIT, Key
from monitor.core.model import Instant
from monitor.core.text import clean
from monitor.serialize import to_json

API = "/api/"
"""Errors of paths that begin so are JSON."""

JSON = "application/json"
"""The content type of what the API answers."""

GZIP_LEVEL = 1
"""Higher levels make a page of metrics little smaller, and take much longer."""

SLICE_BYTES = 64 * 1024
"""As much as asyncio buffers of a connection before a writer has to wait."""

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)

_Reader = Callable[[str], Any]


def read_query(
    request: web.Request, read_next: _Reader | None = None, **known: _Reader
) -> dict[str, Any]:
    """Return the parameters that a request gives; only `health` may be repeated, and is a list.

    A reader raises ValueError with what it expects. What has pages has `limit` and `next`, too.
    """
    if read_next is not None:
        known |= {"limit": partial(integer, 1, LIMIT), "next": read_next}
    query = dict[str, Any]()
    for name in request.query:
        if name not in known:
            what = f"one of {', '.join(sorted(known))}" if known else "no parameter at all"
            raise web.HTTPBadRequest(text=f"expected {what}, got {clean(name, 64)!r}")
        values = request.query.getall(name)
        if len(values) > 1 and name != "health":
            raise web.HTTPBadRequest(text=f"{name}: expected one value, got {len(values)}")
        for value in values:
            try:
                read = known[name](value)
            except ValueError as error:
                what = f"{name}: expected {error}, got {clean(value, 64)!r}"
                raise web.HTTPBadRequest(text=what) from error
        query[name] = values if name == "health" else read
    return query


def one_of(words: Collection[str], value: str) -> str:
    """Return the value, which is one of these words."""
    if value not in words:
        raise ValueError(f"one of {', '.join(words)}")
    return value


def integer(least: int, most: int, value: str) -> int:
    """Return an integer within these bounds."""
    # Digits only: int() takes blanks, underscores and other scripts' digits, too.
    if re.fullmatch(r"\d{1,19}", value, re.ASCII) and least <= int(value) <= most:
        return int(value)
    raise ValueError(f"an integer from {least} to {most}")


def row(value: str) -> int:
    """Return the number of a row of the history: what SQLite can bind, no larger integer."""
    return integer(0, 2**63 - 1, value)


def key(parts: int, value: str) -> Key:
    """Return the key that the `next` of a page is."""
    if value.count("/") != parts - 1:
        raise ValueError("the `next` of the page before")
    return tuple(value.split("/"))


def instant(value: str) -> Instant:
    """Return the instant of an RFC 3339 time."""
    with suppress(ValueError):
        if _RFC3339.fullmatch(value):
            return datetime.fromisoformat(value).timestamp()
    raise ValueError("an RFC 3339 time such as 2026-10-23T09:30:00Z")


def render(make: Callable[[], bytes], zipped: bool) -> bytes:
    """Return a body, zipped or not; takes long, so it is called in a thread."""
    return gzip.compress(make(), GZIP_LEVEL) if zipped else make()


def chunked_response(
    body: bytes, content_type: str, *, zipped: bool, vary: str = "Accept-Encoding"
) -> web.Response:
    """Return an answer whose body is given to the socket in slices, as it takes them.

    In one piece, what a socket does not take at once would be copied: 100 MB hold up the loop.
    """
    headers = {"Content-Type": content_type, "Content-Length": str(len(body)), "Vary": vary}
    if zipped:
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=slices(body), headers=headers)


async def slices(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body piece by piece."""
    for start in range(0, len(body), SLICE_BYTES):
        yield body[start : start + SLICE_BYTES]


def as_json(answer: Any) -> bytes:
    """Return an answer as JSON in UTF-8.

    The items of a list one by one: the encoder does not let go of the interpreter, so a page in
    one piece would hold up the loop although another thread encodes it.
    """
    fields = to_json(answer)
    return b"{%s}" % b",".join(b"%s:%s" % (_dumped(name), _pieces(fields[name])) for name in fields)


def _pieces(value: Any) -> bytes:
    return b"[%s]" % b",".join(map(_dumped, value)) if isinstance(value, list) else _dumped(value)


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def error_response(request: web.BaseRequest, status: HTTPStatus, sentence: str) -> web.Response:
    """Return an answer that says what is wrong: as JSON where it is the API that was asked."""
    if request.path.startswith(API):
        body = as_json(ErrorAnswer(sentence))
        return web.Response(status=status, body=body, content_type=JSON)
    return web.Response(status=status, text=f"{sentence}\n")


def accepts_gzip(request: web.Request) -> bool:
    """Return whether the client takes a zipped answer."""
    return quality(request.headers.get("Accept-Encoding", ""), "gzip") > 0


def quality(header: str, name: str) -> float:
    """Return how much `Accept` or `Accept-Encoding` wants `name`: 0 (not at all) to 1.

    Wildcards do not count: who does not name what is special here gets what is usual.
    """
    best = 0.0
    for offer in header.lower().split(","):
        what, *parameters = map(str.strip, offer.split(";"))
        weight = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        if what == name and re.fullmatch(r"[01](\.\d{0,3})?", weight, re.ASCII):
            best = max(best, float(weight))
    return best
