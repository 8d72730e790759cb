"""The API client of one environment; another endpoint is a method here and a shape in `decode`."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TypeVar
from urllib.parse import quote

import httpx

from monitor import __version__
from monitor.adapters.talkover.answer import CACHED_FROM, Aside, age, body_of, read_aside
from monitor.adapters.talkover.decode import decode_test, observe_sftp
from monitor.adapters.talkover.listing import PER_PAGE, decode_listing
from monitor.core.attempt import TestAnswer, TestReport
from monitor.core.environment import UNANSWERED
from monitor.core.model import (
    Answer,
    Instant,
    Observation,
    Page,
    PageAnswer,
    PollError,
    Reason,
    Seconds,
    SftpConfig,
)
from monitor.core.text import clean, redact, span
from monitor.http import HttpClient, Received, prepared

# What is no answer of the API's says so at any age, and another campaign's config is a matter of
# security.
_EVEN_CACHED = UNANSWERED | {Reason.WRONG_CAMPAIGN}
_OF_OTHERS = (Reason.BAD_CONTENT_TYPE, Reason.REDIRECT)

_HEADERS = {
    "Accept": "application/json",
    "Cache-Control": "no-cache",
    "User-Agent": f"sftp-config-monitor/{__version__}",
}

Observe = Callable[[str, Seconds, Reason | None], None]
"""Is called for every finished call: the endpoint, how long it took, why it failed or None."""

_Seen = TypeVar("_Seen", Observation, Page | PollError, TestReport | PollError)


@dataclass(kw_only=True, eq=False, repr=False)
class Talkover:
    """The TalkOver API as one environment token sees it. Close it with `aclose`.

    `timeout` is for the whole of a call, `concurrency` how many may be under way at once. `now`
    is the wall clock, `elapsed` measures durations, `client` is closed with it. Raises
    `ValueError` for a base URL that cannot be used.
    """

    base_url: str
    token: str
    timeout: Seconds
    concurrency: int
    now: Callable[[], Instant]
    elapsed: Callable[[], Seconds]
    observe: Observe
    client: HttpClient

    def __post_init__(self) -> None:
        """Open no connection yet."""
        try:
            self._base_url = str(httpx.URL(self.base_url.rstrip("/")))
        # Of hosts httpx knows more than the config does: what is no IPv4 address, and no IDNA.
        except httpx.InvalidURL as error:
            raise ValueError(f"not a base URL: {error}") from None
        self._turns = asyncio.Semaphore(self.concurrency)
        self._requests: dict[str, httpx.Request] = {}  # by path, with the token of now
        self._said: dict[str, tuple[bytes, SftpConfig]] = {}  # by campaign, of which bytes

    async def fetch_sftp(self, campaign_id: str) -> Answer:
        """Return what the API says of the campaign's SFTP config; a failure is a `PollError`."""
        path = f"/campaigns/{quote(campaign_id, safe='')}/sftp"
        seen, aside, _ = await self._call(
            "sftp", path, lambda got, token: self._observe(got, campaign_id, token), keep=True
        )
        return Answer(seen, *aside)

    def _observe(self, got: Received, campaign_id: str, token: str) -> Observation:
        """Return what an answer says; the same bytes to the same token say the same as before."""
        types = "\n".join(got.headers.get_list("content-type"))
        if got.status != 200 or not isinstance(got.body, bytes):
            return observe_sftp(got, campaign_id, token)
        digest = blake2b(f"{token}\n{types}\n".encode() + got.body, digest_size=16).digest()
        known, said = self._said.get(campaign_id, (b"", None))
        if said is not None and known == digest:
            return said
        seen = observe_sftp(got, campaign_id, token)
        if isinstance(seen, SftpConfig):
            self._said[campaign_id] = digest, seen
        return seen

    async def run_test(self, campaign_id: str, within: Seconds) -> TestAnswer:
        """Have the platform test a campaign's connection now, which takes so long at most.

        It is sent once: whatever happens, never again by itself. It takes no turn of the others.
        """
        path = f"/campaigns/{quote(campaign_id, safe='')}/sftp/test-connection"
        seen, aside, status = await self._call(
            "test", path, lambda got, token: decode_test(body_of(got, 200), token), within
        )
        return TestAnswer(seen, *aside, status=status)

    async def fetch_campaigns(self, page: int) -> PageAnswer:
        """Return a page, from 1, of all campaigns that the token sees, whatever their status."""
        if page == 1:
            # Of those who have left nothing is kept; the others are asked again.
            self._requests.clear()
            self._said.clear()
        path = f"/campaigns?per_page={PER_PAGE}&page={page}"
        seen, aside, _ = await self._call(
            "campaigns", path, lambda got, token: decode_listing(body_of(got, 200), page, token)
        )
        return PageAnswer(seen, *aside)

    def _request(self, method: str, path: str, *, keep: bool) -> httpx.Request:
        """Return a request of the token of now: made once for a path that is to be kept."""
        known = self._requests.get(path)
        if known is not None:
            return known
        headers = {**_HEADERS, "Authorization": f"Bearer {self.token}"}
        request = prepared(method, f"{self._base_url}{path}", headers=headers)
        if keep:
            # All have the same ones: kept once, they are the larger part of it.
            request.headers = next(iter(self._requests.values()), request).headers
            self._requests[path] = request
        return request

    def set_token(self, token: str) -> None:
        """Use another token from the next request on."""
        self.token = token
        self._requests.clear()

    async def aclose(self) -> None:
        """Close every connection; calls under way fail."""
        await self.client.aclose()

    async def _call(
        self,
        endpoint: str,
        path: str,
        read: Callable[[Received, str], _Seen],
        test_within: Seconds | None = None,
        *,
        keep: bool = False,
    ) -> tuple[_Seen, Aside, int]:
        """Return what `read` makes of the answer and of the token that was sent, and its status."""
        # Waiting for a turn does not count against the timeout.
        async with self._turns if test_within is None else nullcontext():
            # Kept, since `set_token` may come before the answer: this is the one to redact.
            token = self.token
            method, within = ("GET", self.timeout) if test_within is None else ("POST", test_within)
            request, started = self._request(method, path, keep=keep), self.elapsed()
            received = await self.client.send(request, within=within)
            duration = self.elapsed() - started
        seen, kept = read(received, token), age(received.named)
        counts = not isinstance(seen, PollError) or seen.reason not in _EVEN_CACHED
        if kept >= CACHED_FROM and counts:
            words = f"{received.status} out of a cache, {span(kept)} old (Age)"
            seen = PollError(Reason.CACHED, words)
        if isinstance(seen, PollError):
            # The API may echo us. Redacted before it is cut: half a token is still a secret.
            detail = clean(redact(seen.detail, token), 200)
            seen = replace(seen, detail=detail, status=received.status)
        reason = seen.reason if isinstance(seen, PollError) else None
        self.observe(endpoint, duration, reason)
        answered = reason not in _OF_OTHERS
        return seen, read_aside(received, self.now, answered=answered), received.status
