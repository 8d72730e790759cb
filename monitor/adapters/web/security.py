"""What hostile clients cannot do, and what holds for every request: limits, headers, no CSRF."""

import asyncio
import ipaddress
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from monitor.adapters.web.context import WebContext
from monitor.adapters.web.responses import API, BadRequestError, error_response
from monitor.core.model import Seconds

SECURITY_HEADERS: Mapping[str, str] = {
    "Server": "sftp-monitor",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""On every answer, errors included; those that the web config file names have its value."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client, or all together, may take from us; TLS is set up in `header_seconds`."""

    connections: int = 200
    header_seconds: Seconds = 15.0
    body_seconds: Seconds = 15.0
    write_seconds: Seconds = 60.0
    body_bytes: int = 4096


@web.middleware
async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever is raised into an answer with a status and one sentence."""
    try:
        return await handler(request)
    except BadRequestError as error:
        return error_response(request, HTTPStatus.BAD_REQUEST, str(error))
    except web.HTTPException as error:
        status = HTTPStatus(error.status)
        response = error_response(request, status, error.text or error.reason)
        for name in ("Allow", "WWW-Authenticate"):
            if name in error.headers:
                response.headers[name] = error.headers[name]
        return response
    except Exception:
        logger.exception("%s %s could not be answered", request.method, request.path)
        sentence = "internal error; see the log"
        return error_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, sentence)


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


def require_loaded(context: WebContext) -> Middleware:
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


def is_cross_site(headers: Mapping[str, str], external_url: str | None) -> bool:
    """Return whether a browser sends this request for a page that is not ours.

    Programs that are no browser send neither `Origin` nor `Sec-Fetch-Site`. Of browsers' requests
    only those are ours whose origin is `external_url`, or the very host that was asked; and that
    only by address or as localhost, for any other name may have been rebound to us.
    """
    origin = headers.get("Origin")
    if origin is None:
        return headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}
    try:
        asking, ours = urlsplit(origin), urlsplit(external_url or "")
        if external_url is not None and asking[:2] == ours[:2]:
            return False
        if asking.hostname != "localhost":
            ipaddress.ip_address(asking.hostname or "")
    except ValueError:
        return True
    return asking.netloc != headers.get("Host")
