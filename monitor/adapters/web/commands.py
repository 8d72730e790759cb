"""What may be done by POST: a connection test by hand, and the switch of all tests; and by whom.

A test logs in at a third party's server, so nobody may but users whom `web.operators` names, and
who can read the key beside the state.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, Final

from aiohttp import web

from monitor.adapters.web import schemas
from monitor.adapters.web.api import ENDPOINTS, Program, found, loaded
from monitor.adapters.web.auth import USER, refuse_pages, subjects_of
from monitor.adapters.web.serializers import answer_of
from monitor.core.guards import Hold
from monitor.core.model import HOUR, Instant, Sentence, Text
from monitor.core.text import clean
from monitor.serialize import from_json, shown_fields, to_json

KEY_HEADER: Final = "X-SFTP-Monitor-Key"
"""Has the key that lies beside the state; it stands for a password on every path."""

TESTS_AN_HOUR: Final = 10  # more are not asked for through the daemon

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What is wrong with the request, and what was expected."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRunAnswer:
    """Why no connection test was run; held is the guard that holds it, null where none does."""

    error: Sentence
    held: schemas.HoldAnswer | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRequest:
    """What is asked for; all of it may be left out.

    Of a test: force overrides gaps and `between`, unblock a block of the login. environment is that
    whose tests are suspended or resumed, null: of all; it holds for all at the same API. by is who
    asks, and counts only together with the key beside the state.
    """

    force: bool = False
    unblock: bool = False
    environment: str | None = None
    by: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedAnswer:
    """When the test was begun: once tests.last.at of the campaign is that, it is the result."""

    at: Instant


_CAMPAIGN = "/api/v1/campaigns/{environment}/{campaign_id}"

COMMANDS: Final[Mapping[str, tuple[str, int, type[Any]]]] = {
    f"{_CAMPAIGN}/test": ("Run a connection test now", 202, StartedAnswer),
    "/api/v1/tests/suspend": ("Suspend connection tests", 200, schemas.StatusAnswer),
    "/api/v1/tests/resume": ("Resume connection tests", 200, schemas.StatusAnswer),
}
"""Each path with what it does, and the status and the answer of success."""


class Commands:
    """The handlers of the POSTs, under their rules."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._asked = list[Instant]()

    def routes(self) -> list[web.RouteDef]:
        """Return the path of each."""
        handlers = (self._test, self._switch, self._switch)
        return [web.post(path, one) for path, one in zip(COMMANDS, handlers, strict=True)]

    def proves(self, request: web.Request) -> bool:
        """Return whether a request shows the key beside the state."""
        key, shown = self._program.key, request.headers.get(KEY_HEADER, "")
        # No key at all is never the one.
        return bool(key) and compare_digest(key.encode(), shown.encode("utf-8", "replace"))

    async def _test(self, request: web.Request) -> web.Response:
        asked, by = await self._taken(request)
        where = request.match_info["environment"], request.match_info["campaign_id"]
        snapshot = self._program.snapshot()
        found(snapshot, *where)
        self._count(snapshot.now)
        how = {"force": asked.force, "unblock": asked.unblock}
        # A client that leaves ends nothing that has begun.
        begun = await asyncio.shield(self._program.start_test(*where, by, **how))
        if isinstance(begun, float):
            place = {"Location": request.path.removesuffix("/test")}
            return _answer(202, StartedAnswer(at=begun), place)
        held = answer_of(schemas.HoldAnswer, begun) if isinstance(begun, Hold) else None
        return _answer(409, NotRunAnswer(error=begun.why, held=held))

    async def _switch(self, request: web.Request) -> web.Response:
        asked, by = await self._taken(request)
        try:
            self._program.switch_tests(asked.environment, by, on=request.path.endswith("/resume"))
        except KeyError:
            raise web.HTTPNotFound(text="there is no such environment") from None
        status = ENDPOINTS["/api/v1/status"].view(self._program, self._program.snapshot())
        return _answer(200, status)

    async def _taken(self, request: web.Request) -> tuple[CommandRequest, str]:
        """Return what is asked for, and by whom; raises the HTTPException that refuses it."""
        refuse_pages(request)
        if request.content_type != _JSON:
            raise web.HTTPUnsupportedMediaType(text=f"expected Content-Type: {_JSON}")
        asked = _read(await request.read())
        by = self._caller(request, clean(asked.by, 64))
        loaded(self._program)
        return asked, by

    def _caller(self, request: web.Request, said: str) -> str:
        program, where = self._program, request.transport
        if self.proves(request):
            return said or "somebody with the key"
        if program.web.allow_unauthenticated:
            why = "off while web.allow_unauthenticated is true: use the command on this machine"
            raise web.HTTPForbidden(text=why)
        certificate = where.get_extra_info("peercert") if where is not None else None
        named = {*program.web.operators} & {request.get(USER, ""), *subjects_of(certificate)}
        if not named:
            why = "expected a user or a certificate's subject that web.operators names"
            raise web.HTTPForbidden(text=why)
        return min(named)

    def _count(self, now: Instant) -> None:
        """Count a test that is asked for; raises HTTPTooManyRequests where it is one too many."""
        # One from the future was counted before our clock went back.
        self._asked = [at for at in self._asked if abs(now - at) < HOUR]
        if len(self._asked) >= TESTS_AN_HOUR:
            wait = {"Retry-After": str(round(self._asked[0] + HOUR - now) + 1)}
            why = f"{TESTS_AN_HOUR} tests were asked for within an hour"
            raise web.HTTPTooManyRequests(text=why, headers=wait)
        self._asked.append(now)


def _read(body: bytes) -> CommandRequest:
    names, usual = shown_fields(CommandRequest).keys(), to_json(CommandRequest())
    try:
        said = json.loads(body or b"{}")
        if not said.keys() - names:
            return from_json(CommandRequest, usual | said)
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    raise web.HTTPBadRequest(text=f"expected a JSON object of {', '.join(names)}, or nothing")


def _answer(status: int, value: Any, headers: Mapping[str, str] = {}) -> web.Response:
    return web.json_response(to_json(value), status=status, headers=headers)
