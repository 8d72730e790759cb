"""The API of one environment as polling needs it: connected, and guarded against our mistakes."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from monitor import __version__
from monitor.adapters.metrics import OwnMetrics
from monitor.adapters.talkover import Talkover
from monitor.core.model import Answer, ListingAnswer, PollError, Reason, Seconds
from monitor.polling.settings import Clock, Settings

log = structlog.get_logger()


class Api(Protocol):
    """The API of one environment, as far as a poller needs it."""

    async def fetch_sftp(self, campaign_id: str) -> Answer:
        """Return the answer for one campaign's SFTP config; a failure is an answer, too."""

    async def fetch_campaigns(self, page: int) -> ListingAnswer:
        """Return the answer for a page of the listing of all campaigns, from 1; likewise."""

    def set_token(self, token: str) -> None:
        """Use this token from the next request on."""

    async def aclose(self) -> None:
        """Close the connections."""


Connect = Callable[[Settings, str], Api]
"""Makes an environment's API client, of its part of the config and the token."""


def talkover(clock: Clock, own: OwnMetrics | None = None) -> Connect:
    """Return what connects to the real API; each call is counted in `own`."""

    def connect(settings: Settings, token: str) -> Api:
        """Return the client of one environment."""
        environment = settings.environment

        def observe(endpoint: str, seconds: Seconds, reason: Reason | None) -> None:
            """Count a call by its outcome; `reason` is None for an answer."""
            if own is not None:
                own.call_made(environment.name, endpoint, seconds, reason)

        return Talkover(
            base_url=environment.base_url,
            token=token,
            timeout=settings.polling.timeout,
            concurrency=settings.polling.concurrency,
            now=clock.wall,
            monotonic=clock.elapsed,
            observe=observe,
            user_agent=f"sftp-config-monitor/{__version__}",
            ca_file=environment.ca_file,
        )

    return connect


class Guarded:
    """The API of one environment; a call that raises is an `internal_error`, which is counted.

    It is logged with its traceback at the first of those calls for the same campaign in a row.
    """

    def __init__(self, api: Api, environment: str, clock: Clock, own: OwnMetrics) -> None:
        """Make the calls through `api`."""
        self.set_token, self.aclose = api.set_token, api.aclose
        self._api = api
        self._environment = environment
        self._clock = clock
        self._own = own
        self._broken: set[str] = set()
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def fetch_sftp(self, campaign_id: str) -> Answer:
        """Return the answer for one campaign's SFTP config."""
        started = self._clock.elapsed()
        try:
            with self._call():
                answer = await self._api.fetch_sftp(campaign_id)
        except Exception as error:
            return Answer(self._broke("sftp", campaign_id, started, error))
        self._broken.discard(campaign_id)
        return answer

    async def fetch_campaigns(self, page: int) -> ListingAnswer:
        """Return the answer for a page of the listing of all campaigns."""
        started = self._clock.elapsed()
        try:
            with self._call():
                answer = await self._api.fetch_campaigns(page)
        except Exception as error:
            return ListingAnswer(self._broke("campaigns", "", started, error))
        self._broken.discard("")
        return answer

    async def retire(self) -> None:
        """Close the connections once the last call under way has ended, or when cancelled."""
        try:
            await self._idle.wait()
        finally:
            await self.aclose()

    @contextmanager
    def _call(self) -> Iterator[None]:
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    def _broke(
        self, endpoint: str, campaign_id: str, started: Seconds, error: Exception
    ) -> PollError:
        reason, seconds = Reason.INTERNAL_ERROR, self._clock.elapsed() - started
        self._own.call_made(self._environment, endpoint, seconds, reason)
        if campaign_id not in self._broken:
            self._broken.add(campaign_id)
            known = {"environment": self._environment, "campaign_id": campaign_id}
            log.error("poll_broke", **known, exc_info=error)
        return PollError(reason, type(error).__name__)
