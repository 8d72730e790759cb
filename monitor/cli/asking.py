"""Asking a running daemon, which `--url` names: https by the system's authorities, passwords."""

from collections.abc import Mapping

import httpx

from monitor.tls import client_context


def ask(url: str, path: str, params: Mapping[str, str] | None = None) -> bytes:
    """Return what a daemon answers on a path of its JSON API; OSError says why it does not.

    `url` may have a user and a password (`https://user:password@host:10022`); no message has.
    """
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
