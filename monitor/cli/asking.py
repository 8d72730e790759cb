"""Asking a running daemon, which `--url` names: https by the system's authorities, passwords."""

import json
from collections.abc import Iterator, Mapping
from typing import Protocol, TypeVar

import httpx

from monitor.serialize import from_json
from monitor.tls import client_context


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
        return from_json(answer, json.loads(_get(url, path, params)))
    except (ValueError, LookupError, TypeError, AttributeError):
        problem = "unexpected response from --url: not sftp-monitor, or another version"
        raise OSError(problem) from None


def _get(url: str, path: str, params: Mapping[str, str]) -> bytes:
    try:
        asked = httpx.URL(f"{url.rstrip('/')}{path}")
    except httpx.InvalidURL:
        raise OSError("--url: expected a URL such as http://127.0.0.1:10022") from None
    shown = f"{asked.scheme}://{asked.netloc.decode()}"
    try:
        # No proxy of the environment: the daemon is here or near, and proxies lead elsewhere.
        answer = httpx.get(asked, params=params, trust_env=False, verify=client_context())
    except httpx.HTTPError as error:
        raise OSError(f"cannot ask {shown}: {error}") from None
    if not answer.is_success:
        raise OSError(f"{shown} answered {answer.status_code} {answer.reason_phrase}")
    return answer.content
