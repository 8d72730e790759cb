"""From a request to its answer: who may ask, what is asked for, and which view says it."""

import asyncio
import gzip
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client.exposition import choose_encoder

from monitor.adapters.web.api import CAMPAIGN, ENDPOINTS, Endpoint, Program
from monitor.adapters.web.auth import BasicAuth, WebConfigReloader, refuse_pages
from monitor.adapters.web.commands import Commands
from monitor.adapters.web.openapi import document
from monitor.adapters.web.schemas import ErrorAnswer
from monitor.adapters.web.serializers import campaign_page, status_page, text
from monitor.core.model import Seconds
from monitor.core.text import clean
from monitor.serialize import to_json

GZIP_LEVEL = 1  # higher levels make a page of metrics little smaller, and take much longer
SLICE_BYTES = 64 * 1024  # as much as asyncio buffers of a connection before a writer has to wait
_JSON, _OPENMETRICS = "application/json", "application/openmetrics-text"
_PROBLEM_CHARACTERS = 1024  # so much is shown of a problem of the config file

logger = logging.getLogger(__name__)


class Handlers:
    """Answers to every path: of a view taken on the loop; what takes long is made in a thread."""

    def __init__(self, program: Program, config: WebConfigReloader, body_seconds: Seconds) -> None:
        self._program, self._config, self._body_seconds = program, config, body_seconds
        self._auth, self._commands = BasicAuth(), Commands(program, config)
        # Two, so that Prometheus does not wait for somebody's large page.
        self._scrapes = ThreadPoolExecutor(1, thread_name_prefix="scrape")
        self._views = ThreadPoolExecutor(1, thread_name_prefix="view")
        self._rendering: dict[tuple[bool, bool], asyncio.Future[bytes]] = {}
        style = files("monitor.adapters.web").joinpath("static/style.css").read_bytes()
        self._fixed = {
            "/static/style.css": (style, "text/css; charset=utf-8"),
            "/openapi.json": (document(program.version, program.external_url), _JSON),
        }

    def routes(self) -> list[web.RouteDef]:
        """Return every path; GET brings HEAD along."""
        return [
            web.get("/", self._page),
            web.get("/metrics", self._metrics),
            web.get("/-/healthy", self._healthy),
            web.get("/-/ready", self._ready),
            web.post("/-/reload", self._reload),
            web.get("/campaigns/{environment}/{campaign_id}", self._campaign_page),
            *(web.get(path, self._file) for path in self._fixed),
            *(web.get(path, partial(self._json, one)) for path, one in ENDPOINTS.items()),
            *self._commands.routes(),
        ]

    def close(self) -> None:
        """Let the threads end; nobody waits for them."""
        for threads in (self._auth.thread, self._scrapes, self._views):
            threads.shutdown(wait=False, cancel_futures=True)

    @web.middleware
    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer any request; whatever is raised becomes a status and one sentence."""
        try:
            if not self._commands.proves(request):
                await self._auth.require(request, self._config.access.users)
            await self._take_body(request)
            return await handler(request)
        except web.HTTPException as error:
            kept = {"Allow", "WWW-Authenticate", "Retry-After"} & error.headers.keys()
            headers = {name: error.headers[name] for name in kept}
            return error_response(request, error.status, error.text or error.reason, headers)
        except Exception:
            logger.exception("%s %s could not be answered", request.method, request.path)
            return error_response(request, 500, "internal error; see the log")

    async def _take_body(self, request: web.Request) -> None:
        """Take the body off the connection: few are used, and large ones are refused."""
        try:
            async with asyncio.timeout(self._body_seconds):
                await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout from None

    def _loaded(self) -> Program:
        # Before that, an empty answer would read as "nothing is wrong".
        if not self._program.loaded():
            raise web.HTTPServiceUnavailable(text="the state is not loaded yet")
        return self._program

    async def _made(
        self, request: web.Request, make: Callable[[], bytes], content_type: str
    ) -> web.Response:
        zipped, loop = _accepts_gzip(request), asyncio.get_running_loop()
        body = await loop.run_in_executor(self._views, _render, make, zipped)
        return _chunked_response(body, content_type, zipped)

    async def _page(self, request: web.Request) -> web.Response:
        make = partial(status_page, self._loaded().snapshot(), self._program.version)
        return await self._made(request, make, "text/html; charset=utf-8")

    async def _campaign_page(self, request: web.Request) -> web.Response:
        make, version = CAMPAIGN.ask(self._loaded(), request), self._program.version
        return await self._made(
            request, lambda: campaign_page(make(), version), "text/html; charset=utf-8"
        )

    async def _file(self, request: web.Request) -> web.Response:
        body, content_type = self._fixed[request.path]
        return await self._made(request, lambda: body, content_type)

    async def _metrics(self, request: web.Request) -> web.Response:
        program, accept = self._loaded(), request.headers.get("Accept", "")
        wanted, zipped = quality(accept, _OPENMETRICS), _accepts_gzip(request)
        openmetrics = wanted > 0 and wanted >= quality(accept, "text/plain")
        # Who scrapes while a page is being made gets that page: a thousand cost as much as one.
        key = (openmetrics, zipped)
        if key not in self._rendering:
            make, loop = program.metrics(openmetrics), asyncio.get_running_loop()
            self._rendering[key] = loop.run_in_executor(self._scrapes, _render, make, zipped)
            self._rendering[key].add_done_callback(lambda _: self._rendering.pop(key))
        # Others may wait for the same page: one request that is cancelled must not take it along.
        body = await asyncio.shield(self._rendering[key])
        _, content_type = choose_encoder(_OPENMETRICS if openmetrics else "text/plain")
        return _chunked_response(body, content_type, zipped)

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

    async def _json(self, endpoint: Endpoint, request: web.Request) -> web.Response:
        make = endpoint.ask(self._loaded(), request)
        return await self._made(request, lambda: as_json(make()), _JSON)


def _render(make: Callable[[], bytes], zipped: bool) -> bytes:
    # Takes long, so it is called in a thread.
    return gzip.compress(make(), GZIP_LEVEL) if zipped else make()


def _chunked_response(body: bytes, content_type: str, zipped: bool) -> web.Response:
    # In one piece, what a socket does not take at once would be copied: 100 MB hold up the loop.
    headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
    coding = {"Content-Encoding": "gzip"} if zipped else {}
    vary = {"Vary": "Accept, Accept-Encoding"}
    return web.Response(body=slices(body), headers={**headers, **coding, **vary})


async def slices(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body piece by piece."""
    for start in range(0, len(body), SLICE_BYTES):
        yield body[start : start + SLICE_BYTES]


def as_json(answer: Any) -> bytes:
    """Return an answer as JSON in UTF-8."""
    # The items of a list one by one: the encoder holds the interpreter, and so the loop, meanwhile.
    dumped, parts = partial(json.dumps, ensure_ascii=False, separators=(",", ":")), []
    for name, value in to_json(answer).items():
        whole = f"[{','.join(map(dumped, value))}]" if isinstance(value, list) else dumped(value)
        parts.append(f"{dumped(name)}:{whole}")
    return f"{{{','.join(parts)}}}".encode()


def error_response(
    request: web.BaseRequest, status: int, sentence: str, headers: Mapping[str, str] = {}
) -> web.Response:
    """Return an answer that says what is wrong: as JSON where it is the API that was asked."""
    if request.path.startswith("/api/"):
        body = as_json(ErrorAnswer(sentence))
        return web.Response(status=status, body=body, content_type=_JSON, headers=headers)
    return web.Response(status=status, text=f"{sentence}\n", headers=headers)


def _accepts_gzip(request: web.Request) -> bool:
    return quality(request.headers.get("Accept-Encoding", ""), "gzip") > 0


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
