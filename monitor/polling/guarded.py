"""An API around the API: what goes wrong in our own client is an answer, too."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from monitor.adapters.metrics import OwnMetrics
from monitor.core.model import Answer, ListingAnswer, PollError, Reason, Seconds
from monitor.polling.api import Api
from monitor.polling.settings import Clock

log = structlog.get_logger()


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
