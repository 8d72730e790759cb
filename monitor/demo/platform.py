"""The stand-in TalkOver API over HTTP, for the demo and for whoever tries things.

It answers as the real platform does where its reference says how, and in Laravel's way where it is
silent. Run alone, it prints its URL and tells the story:

    python -m monitor.demo.platform --port 8900 --token any-word
"""

import argparse
import asyncio
import contextlib
import math
import re
import sys
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from monitor.demo.state import SftpConfig, State, as_timestamp
from monitor.demo.story import CAMPAIGNS, DEMO_TOKEN, Api, Campaign

REQUESTS_PER_MINUTE: Final = 1_000
"""The limit of the Professional plan: a dozen campaigns every 5 s need 144 of them."""

_PREFIX: Final = "/api/v1"


class Platform:
    """A TalkOver platform of one environment, its story, and the server for both.

    `now` is the only clock, in seconds since the epoch, UTC; the story's time begins at once.
    `narrate` is called with one sentence for each chapter as it is played. Until then the platform
    stays as it was at the start.
    """

    def __init__(
        self,
        token: str,
        now: Callable[[], float],
        narrate: Callable[[str], None],
        requests_per_minute: int = REQUESTS_PER_MINUTE,
    ) -> None:
        self._authorization = f"Bearer {token}"
        self._now = now
        # As Laravel counts: a window of a minute opens with its first call.
        self._per_minute = self._remaining = requests_per_minute
        self._window_ends_at = -math.inf
        # The API's times have no fraction: only from a whole second does a test age on time.
        self._started_at = float(math.floor(now()))
        self._state = State(self._started_at, narrate)
        application = web.Application(middlewares=[self._at_the_gate])
        sftp = f"{_PREFIX}/campaigns/{{campaign_id}}/sftp"
        application.router.add_get(f"{_PREFIX}/campaigns", self._list_campaigns)
        application.router.add_get(sftp, self._show_config)
        application.router.add_post(f"{sftp}/test-connection", self._test_connection)
        # Polled several times a second: a line for each call would drown the story.
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self, port: int = 0) -> str:
        """Listen, on a free port if `port` is 0; returns the base URL, without a slash at its end.

        Raises `OSError` if the port cannot be had.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}{_PREFIX}"

    async def stop(self) -> None:
        """Close the socket and every connection."""
        await self._runner.cleanup()

    def advance_to(self, elapsed: float) -> None:
        """Play every chapter that is due `elapsed` seconds after the start."""
        self._state.advance_to(elapsed)

    async def tell_story(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Play each chapter when it is due, for ever; `sleep` waits that many seconds."""
        while True:
            elapsed = self._now() - self._started_at
            self.advance_to(elapsed)
            await sleep(self._state.seconds_to_next(elapsed))

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
        response.headers.setdefault("X-RateLimit-Limit", str(self._per_minute))
        # Not set anew: a 429 of the story has 0 remaining, whatever the quota says.
        response.headers.setdefault("X-RateLimit-Remaining", str(self._remaining))
        return response

    def _refusal(self, request: web.Request, now: float) -> web.Response | None:
        api = self._state.api
        if api is Api.DOWN:
            return _error(500, "SERVER_ERROR", "Something went wrong")
        authorized = request.headers.get("Authorization") == self._authorization
        if not authorized or api is Api.TOKEN_REVOKED:
            return _error(401, "INVALID_API_KEY", "The API key is invalid or has been revoked")
        # Only now: a caller without a valid token must not use up the quota of the others.
        if api is Api.RATE_LIMITED:
            return _too_many(now, retry_after=5)
        if now >= self._window_ends_at:
            self._window_ends_at, self._remaining = now + 60.0, self._per_minute
        if self._remaining == 0:
            return _too_many(now, max(1, math.ceil(self._window_ends_at - now)))
        self._remaining -= 1
        return None

    async def _list_campaigns(self, request: web.Request) -> web.Response:
        """List a page of the campaigns; as on the platform, with nothing of SFTP."""
        numbers = {}
        for key, default, most in (("per_page", 20, 100), ("page", 1, 1_000_000)):
            text = request.query.get(key, str(default))
            if not re.fullmatch("[1-9][0-9]{0,6}", text) or int(text) > most:
                words = f"{key} must be a whole number from 1 to {most}"
                return _error(422, "VALIDATION_ERROR", words)
            numbers[key] = int(text)
        per_page, page = numbers["per_page"], numbers["page"]
        pagination = {
            "current_page": page,
            "per_page": per_page,
            "total": len(CAMPAIGNS),
            "last_page": math.ceil(len(CAMPAIGNS) / per_page),
        }
        listed = [_listed(one) for one in CAMPAIGNS[(page - 1) * per_page : page * per_page]]
        return web.json_response({"success": True, "data": listed, "pagination": pagination})

    async def _show_config(self, request: web.Request) -> web.Response:
        return web.json_response({"success": True, "data": self._config(request).as_json()})

    async def _test_connection(self, request: web.Request) -> web.Response:
        now, config = self._now(), self._config(request)
        config.run_test(now)
        found: dict[str, object] = {"error": config.login_error}
        if config.last_test_success:
            found = {"import_path_accessible": True, "export_path_accessible": True}
        # `success` is the result of the test here: the call itself went well, hence 200.
        answer = {
            "success": config.last_test_success,
            "message": f"SFTP connection {'successful' if config.last_test_success else 'failed'}",
            "data": {"tested_at": as_timestamp(now), **found},
        }
        return web.json_response(answer)

    def _config(self, request: web.Request) -> SftpConfig:
        config = self._state.configs.get(request.match_info["campaign_id"])
        if config is None:
            raise web.HTTPNotFound
        return config


def _error(status: int, code: str, message: str = "The request cannot be served") -> web.Response:
    error = {"code": code, "message": message, "details": {}}
    return web.json_response({"success": False, "error": error}, status=status)


def _listed(campaign: Campaign) -> dict[str, object]:
    return {
        "id": campaign.id,
        "name": campaign.name,
        "description": f"Calls of the {campaign.team} team",
        "status": campaign.status,
        "campaign_type": "sales",
        "timezone": "Europe/Berlin",
        "start_date": "2026-01-12",
        "days_of_week": ["monday", "tuesday", "wednesday", "thursday", "friday"],
        "updated_at": "2026-01-09T16:20:00Z",
    }


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
