"""From a request to its answer: who may ask, what is asked for, and which view says it."""

import asyncio
import gzip
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client.exposition import choose_encoder

from monitor.adapters.web.api import ENDPOINTS, Endpoint, Program, loaded
from monitor.adapters.web.auth import BasicAuth, WebConfigReloader, refuse_names, refuse_pages
from monitor.adapters.web.commands import Commands, ErrorAnswer
from monitor.adapters.web.openapi import document
from monitor.adapters.web.pages import PAGES
from monitor.adapters.web.serializers import as_json, text
from monitor.adapters.web.workers import AGAIN, Worker
from monitor.core.model import Seconds
from monitor.core.text import clean

GZIP_LEVEL = 1  # higher levels make a page of metrics little smaller, and take much longer
SLICE_BYTES = 65 * 1024  # just more than aiohttp buffers before a writer has to wait: 64 KB
SENDING_BYTES = 8 * 1024 * 1024  # of a worker's bodies on their way; three may be of any size
_JSON, _OPENMETRICS = "application/json", "application/openmetrics-text"
_HTML = "text/html; charset=utf-8"
_STATIC = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PROBLEM_CHARACTERS = 1024  # so much is shown of a problem of the config file

logger = logging.getLogger(__name__)


class Handlers:
    """Answers to every path: of a view taken on the loop; what takes long is made in a thread.

    `local`: nobody beyond this machine can ask.
    """

    def __init__(
        self, program: Program, config: WebConfigReloader, body_seconds: Seconds, *, local: bool
    ) -> None:
        self._program, self._config, self._body_seconds = program, config, body_seconds
        self._local = local
        self._auth, self._commands = BasicAuth(), Commands(program)
        # Two, so that Prometheus does not wait for somebody's large page.
        self._scrapes = Worker("scrape", web.HTTPServiceUnavailable)
        self._views = Worker("view", web.HTTPServiceUnavailable)
        self._sending: dict[web.StreamResponse, tuple[Worker, bytes]] = {}
        self._fixed = {
            f"/static/{file.name}": (file.read_bytes(), _STATIC[Path(file.name).suffix])
            for file in files("monitor.adapters.web").joinpath("static").iterdir()
        }

    def routes(self) -> list[web.RouteDef]:
        """Return every path; GET brings HEAD along."""
        return [
            web.get("/metrics", self._metrics),
            web.get("/-/healthy", self._healthy),
            web.get("/-/ready", self._ready),
            web.post("/-/reload", self._reload),
            *(web.get(path, self._file) for path in self._fixed),
            web.get("/openapi.json", self._openapi),
            *(web.get(path, partial(self._view, one, _JSON)) for path, one in ENDPOINTS.items()),
            *(web.get(path, partial(self._view, one, _HTML)) for path, one in PAGES.items()),
            *self._commands.routes(),
        ]

    def close(self) -> None:
        """Let the threads end; nobody waits for them."""
        for worker in (self._auth.worker, self._scrapes, self._views):
            worker.close()

    def sent(self, response: web.StreamResponse) -> None:
        """Note that nothing more of this response is on its way."""
        self._sending.pop(response, None)

    @web.middleware
    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer any request; whatever is raised becomes a status and one sentence."""
        try:
            if self._local:
                refuse_names(request, self._program.external_url)
            if not self._commands.proves(request):
                await self._auth.require(request, self._config.access.users)
            await self._take_body(request)
            self._send_to_holder(request)
            return await handler(request)
        except web.HTTPException as error:
            kept = {"Allow", "WWW-Authenticate", "Retry-After", "Location"} & error.headers.keys()
            headers = {name: error.headers[name] for name in kept}
            return error_response(request, error.status, error.text or error.reason, headers)
        except Exception:
            logger.exception("%s %s could not be answered", request.method, request.path)
            return error_response(request, 500, "internal error; see the log")

    def _send_to_holder(self, request: web.Request) -> None:
        """Raise the HTTPException that sends a request of one environment to its replica."""
        environment = request.match_info.get("environment", "")
        if not environment or not self._program.loaded():
            return
        to = self._program.elsewhere(environment, to_act=request.method == "POST")
        if to == "":
            why = f"no replica polls {clean(environment, 64)} now: try again"
            raise web.HTTPServiceUnavailable(text=why, headers=AGAIN)
        if to is not None:
            where = f"{to.rstrip('/')}{request.rel_url.raw_path_qs}"
            raise web.HTTPTemporaryRedirect(where, text=f"another replica has it, at {where}")

    async def _take_body(self, request: web.Request) -> None:
        """Take the body off the connection: few are used, and large ones are refused."""
        try:
            async with asyncio.timeout(self._body_seconds):
                await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        except web.HTTPException:
            raise
        # Whatever is wrong with a body is its sender's fault, and nothing for our log.
        except Exception:
            raise web.HTTPBadRequest(text="the body cannot be read") from None

    async def _made(
        self,
        request: web.Request,
        begin: Callable[[], Callable[[], Any]],
        content_type: str,
        *what: Any,
        by: Worker | None = None,
    ) -> web.Response:
        zipped = quality(request.headers.get("Accept-Encoding", ""), "gzip") > 0
        by = by or self._views
        key, render = (request.path, zipped, *what), lambda: partial(_render, begin(), zipped)
        body = await by.run(key, render)
        # Of the same worker: pages that nobody reads must not keep Prometheus out.
        others = (one for of, one in self._sending.values() if of is by and one is not body)
        sending = {id(one): len(one) for one in others}
        if len(sending) > 2 and sum(sending.values()) + len(body) > SENDING_BYTES:
            raise web.HTTPServiceUnavailable(text="too much is on its way", headers=AGAIN)
        about = {"Content-Type": content_type, "Content-Length": str(len(body))}
        about |= {"Vary": "Accept, Accept-Encoding"}
        about |= {"Content-Encoding": "gzip"} if zipped else {}
        # In one piece, what a socket does not take at once is copied: 100 MB hold up the loop.
        response = web.Response(body=slices(body), headers=about)
        self._sending[response] = by, body
        return response

    async def _file(self, request: web.Request) -> web.Response:
        body, content_type = self._fixed[request.path]
        return await self._made(request, lambda: lambda: body, content_type)

    async def _openapi(self, request: web.Request) -> web.Response:
        make = partial(document, self._program.version, self._program.external_url)
        return await self._made(request, lambda: make, _JSON)

    async def _metrics(self, request: web.Request) -> web.Response:
        program, accept = loaded(self._program), request.headers.get("Accept", "")
        wanted = quality(accept, _OPENMETRICS)
        openmetrics = wanted > 0 and wanted >= quality(accept, "text/plain")
        _, content_type = choose_encoder(_OPENMETRICS if openmetrics else "text/plain")
        begin = partial(program.metrics, openmetrics)
        return await self._made(request, begin, content_type, openmetrics, by=self._scrapes)

    async def _healthy(self, _request: web.Request) -> web.Response:
        if not self._program.healthy():
            raise web.HTTPServiceUnavailable(text="the poll loop stands still")
        return web.Response(text="healthy\n")

    async def _ready(self, _request: web.Request) -> web.Response:
        if not_ready := self._program.ready():
            raise web.HTTPServiceUnavailable(text=f"not ready: {text(not_ready)}")
        return web.Response(text="ready\n")

    async def _reload(self, request: web.Request) -> web.Response:
        refuse_pages(request)
        if problems := await self._program.reload():
            lines = (f"{clean(problem, _PROBLEM_CHARACTERS)}\n" for problem in problems)
            return web.Response(status=500, text="".join(lines))
        return web.Response(text="reloaded\n")

    async def _view(self, one: Endpoint, content_type: str, request: web.Request) -> web.Response:
        begin = partial(one.ask, loaded(self._program), request)
        return await self._made(request, begin, content_type, request.query_string)


def _render(make: Callable[[], Any], zipped: bool) -> bytes:
    # Takes long, so it is called in a thread.
    made = make()
    body = made if isinstance(made, bytes) else as_json(made)
    return gzip.compress(body, GZIP_LEVEL) if zipped else body


async def slices(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body piece by piece."""
    for start in range(0, len(body), SLICE_BYTES):
        yield body[start : start + SLICE_BYTES]


def error_response(
    request: web.BaseRequest, status: int, sentence: str, headers: Mapping[str, str] = {}
) -> web.Response:
    """Return an answer that says what is wrong: as JSON where it is the API that was asked."""
    if request.path.startswith("/api/"):
        body = as_json(ErrorAnswer(sentence))
        return web.Response(status=status, body=body, content_type=_JSON, headers=headers)
    return web.Response(status=status, text=f"{sentence}\n", headers=headers)


def quality(header: str, name: str) -> float:
    """Return how much `Accept` or `Accept-Encoding` wants `name`: 0 (not at all) to 1."""
    # Wildcards do not count: who does not name what is special here gets what is usual.
    best = 0.0
    for offer in header.lower().split(","):
        what, *parameters = map(str.strip, offer.split(";"))
        weight = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        if what == name and re.fullmatch(r"[01](\.\d{0,3})?", weight, re.ASCII):
            best = max(best, float(weight))
    return best
