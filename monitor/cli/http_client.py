"""Asking a running daemon, which `--url` names: https by the system's authorities, passwords."""

import asyncio
from collections.abc import Mapping
from functools import partial

import httpx

from monitor.core.model import Seconds
from monitor.http import request_once, whole

WITHIN: Seconds = 30.0
"""What a whole answer may take: ten thousand campaigns have 10 MB."""

ANSWER_MAX = 1024 * 1024 * 1024


def ask(url: str, path: str, params: Mapping[str, str] | None = None) -> bytes:
    """Return what a daemon answers on a path of its JSON API; OSError says why it does not.

    `url` may have a user and a password (`https://user:password@host:10022`); no message has.
    """
    try:
        asked = httpx.URL(f"{url.rstrip('/')}{path}")
        usable = asked.scheme in {"http", "https"} and asked.host
    # InvalidURL, or an IDNA name that is none.
    except (httpx.InvalidURL, UnicodeError):
        usable = False
    if not usable:
        raise OSError("--url: expected a URL such as http://127.0.0.1:10022")
    shown = f"{asked.scheme}://{asked.netloc.decode()}"
    read = partial(whole, limit=ANSWER_MAX)
    try:
        # No proxy of the environment: the daemon is here or near, and proxies lead elsewhere.
        answer = request_once("GET", str(asked), within=WITHIN, read=read, params=params)
        status, body = asyncio.run(answer)
    except OSError as error:
        raise OSError(f"cannot ask {shown}: {error}") from None
    if not 200 <= status < 300:
        raise OSError(f"{shown} answered {status} {httpx.codes.get_reason_phrase(status)}")
    return body
