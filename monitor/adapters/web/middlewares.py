"""What holds for every request: its body is small, the state is loaded, errors are told plainly."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from monitor.adapters.web.answers import ErrorAnswer
from monitor.adapters.web.context import WebContext
from monitor.adapters.web.gate import Gate
from monitor.adapters.web.guard import Limits
from monitor.adapters.web.openapi import encode
from monitor.adapters.web.queries import BadQueryError

logger = logging.getLogger(__name__)

API = "/api/"
"""Errors of paths that begin so are told as JSON."""


@web.middleware
async def tell_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever is raised into an answer with a status and one sentence."""
    try:
        return await handler(request)
    except BadQueryError as error:
        return _told(request, HTTPStatus.BAD_REQUEST, str(error))
    except web.HTTPException as error:
        response = _told(request, HTTPStatus(error.status), error.text or error.reason)
        for name in ("Allow", "WWW-Authenticate"):
            if name in error.headers:
                response.headers[name] = error.headers[name]
        return response
    except Exception:
        logger.exception("%s %s could not be answered", request.method, request.path)
        return _told(request, HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; see the log")


def bodies_within(limits: Limits) -> Middleware:
    """Return what takes the body off the connection: none is used, and large ones are refused."""

    @web.middleware
    async def take_body(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Read the body, or refuse it."""
        if request.body_exists:
            try:
                async with asyncio.timeout(limits.body_seconds):
                    await request.read()
            except TimeoutError:
                raise web.HTTPRequestTimeout from None
        return await handler(request)

    return take_body


def data_when_loaded(context: WebContext) -> Middleware:
    """Return what answers 503 to those who ask for data before the state is loaded."""

    @web.middleware
    async def wait_for_state(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer what needs no state; refuse the rest until there is one."""
        is_data = request.path in {"/", "/metrics"} or request.path.startswith(API)
        known = request.match_info.http_exception is None
        # An empty answer would read as "nothing is wrong".
        if known and is_data and not context.loaded():
            raise web.HTTPServiceUnavailable(text="the state is not loaded yet")
        return await handler(request)

    return wait_for_state


def headers_from(gate: Gate) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Return what puts the security headers on an answer that is about to go out."""

    async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
        """Put them on."""
        response.headers.update(gate.headers)

    return add_headers


def _told(request: web.Request, status: HTTPStatus, sentence: str) -> web.Response:
    if request.path.startswith(API):
        body = encode(ErrorAnswer(sentence))
        return web.Response(status=status, body=body, content_type="application/json")
    return web.Response(status=status, text=f"{sentence}\n")
