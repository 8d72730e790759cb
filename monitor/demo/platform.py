"""The stand-in TalkOver API over HTTP: as its reference says, and where that is silent as Laravel.

Run alone, it prints its URL and narrates the story:

    python -m monitor.demo.platform --port 8900 --token any-word
"""

import asyncio
import contextlib
import math
import sys
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import partial
from itertools import count
from typing import Final

import click
from aiohttp import web
from aiohttp.typedefs import Handler

from monitor.demo.campaigns import CAMPAIGNS
from monitor.demo.story import DEMO_TOKEN, LOOP_SECONDS, STORY, Api, Loop, Play

REQUESTS_PER_MINUTE: Final = 1_000
"""The limit of the Professional plan: a dozen campaigns every 5 s need 144 of them."""

_PREFIX: Final = "/api/v1"
_RETRY_AFTER = 5


class Platform:
    """A TalkOver platform of one environment, its story, and the server for both.

    `now` is the only clock, in seconds since the epoch, UTC; the story begins at once. `sleep`
    waits for so many seconds: a connection test takes some, and the story.
    """

    def __init__(
        self,
        token: str,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._authorization = f"Bearer {token}"
        self._now, self.sleep = now, sleep
        # The API's times have no fraction: only from a whole second does a test age on time.
        self.play = Play(float(math.floor(now())))
        application = web.Application(middlewares=[self._answer])
        application.router.add_get(f"{_PREFIX}/campaigns", self._list_campaigns)
        config = f"{_PREFIX}/campaigns/{{campaign_id}}/sftp"
        application.router.add_get(config, self._show_config)
        application.router.add_post(f"{config}/test-connection", self._test_connection)
        # Polled several times a second: a line for each call would drown the story.
        self._runner = web.AppRunner(application, access_log=None)

    @property
    def loop(self) -> Loop:
        """The story as it is now, with its world; made anew as each loop begins."""
        return self.play.at(self._now())

    async def start(self, port: int = 0) -> str:
        """Listen, if `port` is 0 on a free one; returns the base URL. Raises OSError."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}{_PREFIX}"

    async def stop(self) -> None:
        """Close the socket and every connection."""
        await self._runner.cleanup()

    async def narrate(self, say: Callable[[str], None]) -> None:
        """Say the sentence of each chapter when it is due, for ever."""
        for loop in count():
            begins = self.play.started_at + loop * LOOP_SECONDS
            for chapter in STORY:
                while (left := begins + chapter.at - self._now()) > 0:
                    await self.sleep(left)
                # A laptop that slept does not narrate a night's worth of incidents at once.
                if self._now() < begins + LOOP_SECONDS:
                    say(chapter.text)

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn away what the platform would turn away, and put its headers on every answer."""
        api = self.loop.api
        authorized = request.headers.get("Authorization") == self._authorization
        response: web.StreamResponse
        if api is Api.DOWN:
            response = _error(500, "SERVER_ERROR", "Something went wrong")
        elif not authorized or api is Api.TOKEN_REVOKED:
            response = _error(401, "INVALID_API_KEY", "The API key is invalid or has been revoked")
        # Of tests it has a limit of their own: three of them turned away would end tests for a day.
        elif api is Api.RATE_LIMITED and request.method == "GET":
            response = _error(429, "RATE_LIMIT_EXCEEDED", "Too many requests")
            response.headers["X-RateLimit-Remaining"] = "0"
            response.headers["X-RateLimit-Reset"] = str(math.ceil(self._now()) + _RETRY_AFTER)
        else:
            try:
                response = await handler(request)
            # aiohttp raises its 404 and 405 as plain text; the platform answers in JSON always.
            except web.HTTPException as error:
                response = _error(error.status, error.reason.upper().replace(" ", "_"))
                if "Allow" in error.headers:
                    response.headers["Allow"] = error.headers["Allow"]
        if response.status == 429:
            response.headers["Retry-After"] = str(_RETRY_AFTER)
        # Left out, aiohttp would put the date of the real clock there.
        response.headers["Date"] = formatdate(self._now(), usegmt=True)
        response.headers["X-RateLimit-Limit"] = str(REQUESTS_PER_MINUTE)
        return response

    async def _list_campaigns(self, request: web.Request) -> web.Response:
        """List a page of the campaigns; as on the platform, with nothing of SFTP."""
        page, size = int(request.query.get("page", 1)), int(request.query.get("per_page", 20))
        begun = self.play.started_at
        listed = [one.as_json(begun) for one in CAMPAIGNS[(page - 1) * size : page * size]]
        pagination = {"current_page": page, "per_page": size, "total": len(CAMPAIGNS)}
        return web.json_response({"success": True, "data": listed, "pagination": pagination})

    async def _show_config(self, request: web.Request) -> web.Response:
        """Show the SFTP config of a campaign, with the last test on record."""
        config = self.loop.world.configs.get(request.match_info["campaign_id"])
        if config is None:
            raise web.HTTPNotFound
        return web.json_response({"success": True, "data": config.as_json()})

    async def _test_connection(self, request: web.Request) -> web.Response:
        """Run a connection test; whoever hangs up meanwhile does not end it."""
        campaign_id = request.match_info["campaign_id"]
        try:
            await self.sleep(self.loop.world.takes(campaign_id))
            # The world as it is by now: somebody may have deleted the config.
            answer = self.loop.world.test(campaign_id, self._now())
        except KeyError:
            raise web.HTTPNotFound from None
        return web.json_response(answer.as_json(), status=answer.status)


def _error(status: int, code: str, message: str = "The request cannot be served") -> web.Response:
    error = {"code": code, "message": message, "details": {}}
    return web.json_response({"success": False, "error": error}, status=status)


async def _run_alone(port: int, token: str) -> None:
    platform = Platform(token, time.time)
    try:
        print(f"The stand-in TalkOver API is at {await platform.start(port=port)}", flush=True)
        await platform.narrate(partial(print, flush=True))
    finally:
        await platform.stop()


@click.command()
@click.option("--port", type=int, default=0, help="0, the default, takes a free one.")
@click.option("--token", default=DEMO_TOKEN, show_default=True, help="What a caller must show.")
def main(port: int, token: str) -> None:
    """Play two minutes of incidents over and over, as a stand-in TalkOver API."""
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_run_alone(port, token))
    # A port above 65535 is no OSError but an OverflowError of the socket.
    except (OSError, OverflowError) as error:
        sys.exit(f"cannot listen on port {port}: {error}")


if __name__ == "__main__":
    main()
