"""The API client of one environment: it makes the calls, and says what was answered."""

import asyncio
import socket
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote

import httpx

from monitor.adapters.talkover.decode import PER_PAGE, decode_listing, decode_sftp
from monitor.adapters.talkover.headers import (
    CACHED_FROM,
    age,
    not_json,
    pause,
    rate_hint,
    refusal,
    server_date,
)
from monitor.core.environment import UNANSWERED
from monitor.core.model import (
    Answer,
    Instant,
    ListingAnswer,
    ListingPage,
    NoConfig,
    Observation,
    PollError,
    RateHint,
    Reason,
    Seconds,
)
from monitor.core.text import clean, redact, span
from monitor.http import Lookup, Received, exchange, open_client
from monitor.tls import client_context

SFTP: Final = "sftp"
"""The name of GET /campaigns/{id}/sftp in metrics."""

CAMPAIGNS: Final = "campaigns"
"""The name of GET /campaigns in metrics."""

DETAIL_MAX = 200
"""How many characters of a failure's detail are kept."""

Observe = Callable[[str, Seconds, Reason | None], None]
"""Is told of every finished call: the endpoint, how long it took, why it failed or None."""

Seen = TypeVar("Seen", Observation, ListingPage | PollError)


class _Aside(NamedTuple):
    """What an answer says of the API itself; see `Answer`."""

    server_date: Instant | None = None
    pause: Seconds | None = None
    rate: RateHint | None = None


class TokenAuth(httpx.Auth):
    """Puts the token on a request to the API, and on none to anybody else."""

    def __init__(self, token: str, base_url: httpx.URL) -> None:
        self._token = token
        self._origin = _origin(base_url)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header. Raises `RuntimeError` for a request to another origin."""
        if _origin(request.url) != self._origin:
            raise RuntimeError("a request to another origin would carry the token")
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class Talkover:
    """The TalkOver API as one environment token sees it. Close it with `aclose`.

    `timeout` is for the whole of a call, `concurrency` how many may be under way at once. `now`
    is the wall clock, `monotonic` measures durations, `lookup` resolves host names. Raises
    `ValueError` for a base URL, a token or a `ca_file` that cannot be used.
    """

    def __init__(  # noqa: PLR0913 - one keyword for each thing that the daemon decides
        self,
        *,
        base_url: str,
        token: str,
        timeout: Seconds,
        concurrency: int,
        now: Callable[[], Instant],
        monotonic: Callable[[], Seconds],
        observe: Observe,
        user_agent: str,
        ca_file: Path | None = None,
        lookup: Lookup = socket.getaddrinfo,
    ) -> None:
        self._base_url = _checked_url(base_url)
        self._token = _checked_token(token)
        self._timeout = timeout
        self._now = now
        self._stopwatch = monotonic
        self._observe = observe
        self._turns = asyncio.Semaphore(concurrency)
        headers = {
            "Accept": "application/json",
            "Cache-Control": "no-cache",
            "User-Agent": user_agent,
        }
        self._client = open_client(client_context(ca_file), headers, lookup)

    async def fetch_sftp(self, campaign_id: str) -> Answer:
        """Return what the API says of the campaign's SFTP config; a failure is a `PollError`.

        Waiting for its turn does not count against the timeout. A cancelled call is not observed.
        """
        path = f"/campaigns/{quote(campaign_id, safe='')}/sftp"
        seen, aside = await self._get(
            SFTP, path, lambda received, token: observe_sftp(received, campaign_id, token)
        )
        return Answer(seen, *aside)

    async def fetch_campaigns(self, page: int) -> ListingAnswer:
        """Return a page, from 1, of all campaigns that the token sees, whatever their status.

        A failure is a `PollError`. Turns, timeout and cancelling are as for `fetch_sftp`.
        """
        path = f"/campaigns?per_page={PER_PAGE}&page={page}"
        seen, aside = await self._get(
            CAMPAIGNS, path, lambda received, token: observe_listing(received, page, token)
        )
        return ListingAnswer(seen, *aside)

    def set_token(self, token: str) -> None:
        """Use another token from the next request on. Raises `ValueError` for an unusable one."""
        self._token = _checked_token(token)

    async def aclose(self) -> None:
        """Close every connection; calls under way fail."""
        await self._client.aclose()

    async def _get(
        self, endpoint: str, path: str, read: Callable[[Received, str], Seen]
    ) -> tuple[Seen, _Aside]:
        """Return what `read` makes of the answer and of the token that was sent."""
        url = f"{self._base_url}{path}"
        async with self._turns:
            # Kept, since `set_token` may come before the answer: this is the one to redact.
            token = self._token
            auth = TokenAuth(token, self._base_url)
            started = self._stopwatch()
            received = await exchange(self._client, "GET", url, within=self._timeout, auth=auth)
            duration = self._stopwatch() - started
        said: Seen = received if isinstance(received, PollError) else read(received, token)
        seen = _presentable(_fresh(said, received), token)
        self._observe(endpoint, duration, seen.reason if isinstance(seen, PollError) else None)
        return seen, self._aside(received)

    def _aside(self, received: Received | PollError) -> _Aside:
        if isinstance(received, PollError):
            return _Aside()
        cached = age(received.headers) >= CACHED_FROM
        date = None if cached else server_date(received.headers)
        now = self._now() if date is None else date
        return _Aside(
            server_date=date,
            pause=pause(received.status, received.headers, now),
            rate=None if cached else rate_hint(received.headers, now),
        )


def observe_sftp(received: Received, campaign_id: str, token: str) -> Observation:
    """Return what an answer to GET /campaigns/{id}/sftp says, without `token`. Never raises."""
    if received.status == 404:
        return _read_404(received)
    body = _json_of_200(received)
    return body if isinstance(body, PollError) else decode_sftp(body, campaign_id, token)


def observe_listing(received: Received, page: int, token: str) -> ListingPage | PollError:
    """Return what an answer to GET /campaigns says of this page, without `token`. Never raises."""
    body = _json_of_200(received)
    return body if isinstance(body, PollError) else decode_listing(body, page, token)


def _json_of_200(received: Received) -> bytes | PollError:
    """Return the body: the status decides first, then the headers."""
    if received.status != 200:
        return refusal(received)
    if isinstance(received.body, PollError):
        return received.body
    return not_json(received.headers) or received.body


def _read_404(received: Received) -> Observation:
    """Return `NoConfig` for the API's own 404; a proxy's or a web server's page says nothing."""
    if isinstance(received.body, PollError):
        return received.body
    # An empty body has no type to speak of: frameworks answer a missing resource like that.
    foreign = not_json(received.headers) if received.body else None
    return foreign or NoConfig(by_404=True)


def _fresh(seen: Seen, received: Received | PollError) -> Seen:
    """Return what was seen, or `cached` for an answer that a cache has kept for too long.

    What is no answer of the API's says so at any age, and another campaign's config is a matter
    of security.
    """
    if isinstance(received, PollError) or (kept := age(received.headers)) < CACHED_FROM:
        return seen
    if isinstance(seen, PollError) and seen.reason in UNANSWERED | {Reason.WRONG_CAMPAIGN}:
        return seen
    return PollError(Reason.CACHED, f"{received.status} out of a cache, {span(kept)} old (Age)")


def _presentable(seen: Seen, token: str) -> Seen:
    """Return what was seen, the words of a failure fit to be shown, even if the API echoes us.

    They are redacted before they are cut: half a token is still a secret.
    """
    if isinstance(seen, PollError):
        return replace(seen, detail=clean(redact(seen.detail, token), DETAIL_MAX))
    return seen


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _checked_url(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url.rstrip("/"))
    except httpx.InvalidURL as error:
        raise ValueError(f"not a base URL: {error}") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("a base URL starts with https:// or http:// and a host")
    if url.userinfo or "?" in base_url or "#" in base_url:
        raise ValueError("a base URL has no user, query or fragment")
    return url


def _checked_token(token: str) -> str:
    """Return the token if it can be a header's value; the message never quotes it."""
    if not token or not all("!" <= character <= "~" for character in token):
        raise ValueError("a token is made of visible ASCII characters, without spaces")
    return token
