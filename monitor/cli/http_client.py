"""Asking a running daemon, which `--url` names: https by the system's authorities, passwords."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Protocol, TypeVar

import httpx

from monitor.core.model import Seconds
from monitor.http import request_once
from monitor.serialize import from_json

WITHIN: Seconds = 30.0
"""What a whole answer may take: ten thousand campaigns have 10 MB."""

ANSWER_MAX = 1024 * 1024 * 1024


class Paged(Protocol):
    """A page of a list; `next` asks for the page after, None on the last."""

    @property
    def next(self) -> str | None:
        """Return the query parameter `next` of the page after."""


T = TypeVar("T")
Page = TypeVar("Page", bound=Paged)


def ask_pages(url: str, path: str, params: Mapping[str, str], answer: type[Page]) -> Iterator[Page]:
    """Yield the pages of a list, from the first to the last; raises OSError as `ask` does."""
    page = ask(url, path, params, answer)
    yield page
    while page.next is not None:
        page = ask(url, path, {**params, "next": page.next}, answer)
        yield page


def ask(url: str, path: str, params: Mapping[str, str], answer: type[T]) -> T:
    """Return what a daemon answers on a path of its JSON API; OSError says why it does not.

    `url` may have a user and a password (`https://user:password@host:10022`); no message has.
    """
    try:
        return from_json(answer, json.loads(fetch(url, path, params)))
    except (ValueError, LookupError, TypeError, AttributeError):
        problem = "unexpected response from --url: not sftp-monitor, or another version"
        raise OSError(problem) from None


def fetch(url: str, path: str, params: Mapping[str, str]) -> bytes:
    """Return the bytes that a daemon answers on a path; raises OSError as `ask` does."""
    try:
        asked = httpx.URL(f"{url.rstrip('/')}{path}")
        usable = asked.scheme in {"http", "https"} and asked.host
    # InvalidURL, or an IDNA name that is none.
    except (httpx.InvalidURL, UnicodeError):
        usable = False
    if not usable:
        raise OSError("--url: expected a URL such as http://127.0.0.1:10022")
    shown = f"{asked.scheme}://{asked.netloc.decode()}"
    try:
        # No proxy of the environment: the daemon is here or near, and proxies lead elsewhere.
        answer = request_once("GET", str(asked), within=WITHIN, most=ANSWER_MAX, params=params)
        status, body = asyncio.run(answer)
    except OSError as error:
        raise OSError(f"cannot ask {shown}: {error}") from None
    if not 200 <= status < 300:
        raise OSError(f"{shown} answered {status} {httpx.codes.get_reason_phrase(status)}")
    return body
