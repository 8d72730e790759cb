"""The stand-in TalkOver API over HTTP, on a real socket, for the demo and for whoever tries things.

It answers as the real platform does where its reference says how, and in Laravel's way where it is
silent. Run alone, it prints its URL and tells the story:

    python -m monitor.demo.platform --port 8900 --token any-word
"""

import argparse
import asyncio
import contextlib
import math
import sys
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from monitor.demo.campaigns import CAMPAIGNS, DEMO_TOKEN
from monitor.demo.listing import QueryError, list_campaigns
from monitor.demo.quota import Quota
from monitor.demo.state import ApiCondition, as_timestamp
from monitor.demo.story import Story

__all__ = ["CAMPAIGNS", "DEMO_TOKEN", "REQUESTS_PER_MINUTE", "Platform"]

REQUESTS_PER_MINUTE: Final = 1_000
"""The limit of the Professional plan: a dozen campaigns every 5 s need 144 of them."""

_PREFIX: Final = "/api/v1"
_PAUSE_SECONDS: Final = 5


class Platform:
    """A TalkOver platform of one environment, its story, and the server for both.

    `now` is the only clock, in seconds since the epoch, UTC. `narrate` is called with one sentence
    for each chapter as it is played. Until then the platform stays as it was at the start.
    """

    def __init__(
        self,
        token: str,
        now: Callable[[], float],
        narrate: Callable[[str], None],
        requests_per_minute: int = REQUESTS_PER_MINUTE,
    ) -> None:
        """Set the platform up for one environment `token`; the story's time begins here."""
        self._authorization = f"Bearer {token}"
        self._now = now
        self._quota = Quota(requests_per_minute)
        # The API's times have no fraction: only from a whole second does a test age on time.
        self._started_at = float(math.floor(now()))
        self._story = Story(self._started_at, narrate)
        # Polled several times a second: a line for each call would drown the story.
        self._runner = web.AppRunner(self._application(), access_log=None)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, on a free port if `port` is 0; returns the base URL, without a slash at its end.

        Raises `OSError` if the port cannot be had.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        bound_port = self._runner.addresses[0][1]
        return f"http://{host}:{bound_port}{_PREFIX}"

    async def stop(self) -> None:
        """Close the socket and every connection."""
        await self._runner.cleanup()

    def advance_to(self, elapsed: float) -> None:
        """Play every chapter that is due `elapsed` seconds after the start."""
        self._story.advance_to(elapsed)

    async def tell_story(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Play each chapter when it is due, for ever; `sleep` waits that many seconds."""
        while True:
            elapsed = self._now() - self._started_at
            self.advance_to(elapsed)
            await sleep(self._story.seconds_to_next(elapsed))

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._at_the_gate])
        sftp = f"{_PREFIX}/campaigns/{{campaign_id}}/sftp"
        application.router.add_get(f"{_PREFIX}/campaigns", self._list_campaigns)
        application.router.add_get(sftp, self._show_config)
        application.router.add_post(f"{sftp}/test-connection", self._test_connection)
        return application

    @web.middleware
    async def _at_the_gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn away what the platform would turn away, and put its headers on every answer."""
        now = self._now()
        response: web.StreamResponse | None = self._refusal(request, now)
        if response is None:
            try:
                response = await handler(request)
            # aiohttp raises its 404 and 405 as plain text; the platform answers in JSON always.
            except web.HTTPException as error:
                response = _error(error.status, error.reason.upper().replace(" ", "_"))
        # Left out, aiohttp would put the date of the real clock there.
        response.headers.setdefault("Date", formatdate(now, usegmt=True))
        response.headers.setdefault("X-RateLimit-Limit", str(self._quota.per_minute))
        # Not set anew: a 429 of the story has 0 remaining, whatever the quota says.
        response.headers.setdefault("X-RateLimit-Remaining", str(self._quota.remaining))
        return response

    def _refusal(self, request: web.Request, now: float) -> web.Response | None:
        condition = self._story.state.api
        if condition is ApiCondition.DOWN:
            return _error(500, "SERVER_ERROR", "Something went wrong")
        authorized = request.headers.get("Authorization") == self._authorization
        if not authorized or condition is ApiCondition.TOKEN_REVOKED:
            return _error(401, "INVALID_API_KEY", "The API key is invalid or has been revoked")
        # Only now: a caller without a valid token must not use up the quota of the others.
        if condition is ApiCondition.RATE_LIMITED:
            return _too_many(now, _PAUSE_SECONDS)
        if not self._quota.admit(now):
            return _too_many(now, self._quota.seconds_to_reset(now))
        return None

    async def _list_campaigns(self, request: web.Request) -> web.Response:
        try:
            page = list_campaigns(request.query)
        except QueryError as error:
            return _error(422, "VALIDATION_ERROR", str(error))
        return web.json_response({"success": True, **page})

    async def _show_config(self, request: web.Request) -> web.Response:
        config = self._story.state.config(request.match_info["campaign_id"])
        if config is None:
            return _no_config()
        return web.json_response({"success": True, "data": config.as_json()})

    async def _test_connection(self, request: web.Request) -> web.Response:
        campaign_id = request.match_info["campaign_id"]
        if self._story.state.config(campaign_id) is None:
            return _no_config()
        now = self._now()
        error = self._story.state.run_test(campaign_id, now).login_error
        tested_at = {"tested_at": as_timestamp(now)}
        if error is not None:
            # `success` tells the result of the test here: the call itself went well, hence 200.
            failure = {"success": False, "message": "SFTP connection failed"}
            return web.json_response({**failure, "data": {**tested_at, "error": error}})
        accessible = {"import_path_accessible": True, "export_path_accessible": True}
        success = {"success": True, "message": "SFTP connection successful"}
        return web.json_response({**success, "data": {**tested_at, **accessible}})


def _error(status: int, code: str, message: str = "The request cannot be served") -> web.Response:
    error = {"code": code, "message": message, "details": {}}
    return web.json_response({"success": False, "error": error}, status=status)


def _no_config() -> web.Response:
    return _error(404, "NOT_FOUND", "This campaign does not exist or has no SFTP config")


def _too_many(now: float, retry_after: int) -> web.Response:
    response = _error(429, "RATE_LIMIT_EXCEEDED", "Too many requests")
    response.headers["Retry-After"] = str(retry_after)
    response.headers["X-RateLimit-Remaining"] = "0"
    response.headers["X-RateLimit-Reset"] = str(math.ceil(now) + retry_after)
    return response


async def _tell_alone(port: int, token: str) -> None:
    platform = Platform(token, time.time, lambda text: print(text, flush=True))
    try:
        print(f"The stand-in TalkOver API is at {await platform.start(port=port)}", flush=True)
        await platform.tell_story()
    finally:
        await platform.stop()


def main() -> None:
    """Run the platform alone until it is interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m monitor.demo.platform",
        description="A stand-in TalkOver API that plays two minutes of incidents, over and over.",
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--token", default=DEMO_TOKEN, help="what a caller must show (%(default)s)")
    options = parser.parse_args()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_tell_alone(options.port, options.token))
    # A port above 65535 is no OSError but an OverflowError of the socket.
    except (OSError, OverflowError) as error:
        sys.exit(f"cannot listen on port {options.port}: {error}")


if __name__ == "__main__":
    main()
