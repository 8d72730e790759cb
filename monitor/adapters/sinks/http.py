"""One POST to a receiver: nothing taken from the environment, no redirect, no second attempt.

Each has a connection of its own. Events are rare, and one that was kept would be gone by then.
"""

import asyncio
from collections.abc import Mapping

import httpx

from monitor import __version__
from monitor.config import origin
from monitor.core.model import Seconds
from monitor.core.text import clean
from monitor.tls import client_context

WITHIN: Seconds = 10.0
"""What a whole request may take, from the look-up of the host to the last byte that is read."""

ANSWER_MAX = 2048
"""So many bytes of an answer are read: it is for the log alone."""


async def post(
    url: str, body: bytes, headers: Mapping[str, str], within: Seconds = WITHIN
) -> tuple[int, str]:
    """Return the status of the answer, and the beginning of its text.

    Raises OSError where there was none; it names no more of the URL than its origin.
    """
    try:
        async with asyncio.timeout(within), _client() as client:
            sent = {"Content-Type": "application/json", **headers}
            async with client.stream("POST", url, content=body, headers=sent) as answer:
                return answer.status_code, await _beginning(answer)
    except TimeoutError:
        raise OSError(f"{origin(url)}: no complete answer within {within:g} s") from None
    # ValueError: a host that cannot be one shows only when it is looked up.
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        why = clean(str(error) or type(error).__name__, 200)
        raise OSError(f"{origin(url)}: {why}") from None


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(
        verify=client_context(),
        headers={"User-Agent": f"sftp-monitor/{__version__}", "Accept-Encoding": "identity"},
        timeout=None,  # noqa: S113 - `post` has one over the whole
        trust_env=False,
        follow_redirects=False,
        event_hooks={"response": [_without_location]},
    )


async def _without_location(answer: httpx.Response) -> None:
    # httpx parses it even where it does not follow, and raises on `mailto:`.
    answer.headers.pop("location", None)


async def _beginning(answer: httpx.Response) -> str:
    text = b""
    async for chunk in answer.aiter_raw():
        text += chunk
        if len(text) >= ANSWER_MAX:
            break
    return text[:ANSWER_MAX].decode("utf-8", "replace")
