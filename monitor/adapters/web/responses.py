"""How answers leave: made in a thread, zipped for whoever takes that, sent in slices.

An error is one sentence that says what was expected.
"""

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from http import HTTPStatus
from typing import Any

from aiohttp import web

from monitor.adapters.web.schemas import ErrorAnswer
from monitor.serialize import to_json

API = "/api/"
"""Errors of paths that begin so are JSON."""

JSON = "application/json"
"""The content type of what the API answers."""

GZIP_LEVEL = 1
"""Higher levels make a page of metrics little smaller, and take much longer."""

SLICE_BYTES = 64 * 1024
"""As much as asyncio buffers of a connection before a writer has to wait."""


class BadRequestError(ValueError):
    """A query parameter is not understood; the message says what was expected."""


async def respond(
    request: web.Request, threads: Executor, make: Callable[[], bytes], content_type: str
) -> web.Response:
    """Return an answer with the body that `make` makes in a thread, zipped if that is asked for."""
    zipped = accepts_gzip(request)
    making = asyncio.get_running_loop().run_in_executor(threads, render, make, zipped)
    return chunked_response(await making, content_type, zipped=zipped)


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


def error_response(request: web.Request, status: HTTPStatus, sentence: str) -> web.Response:
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
    for offer in header.split(","):
        what, *parameters = (part.strip().lower() for part in offer.split(";"))
        if what == name:
            weights = [p.removeprefix("q=") for p in parameters if p.startswith("q=")]
            best = max(best, _weight(weights[0]) if weights else 1.0)
    return best


def _weight(text: str) -> float:
    return float(text) if re.fullmatch(r"[01](\.\d{0,3})?", text, re.ASCII) else 0.0
