"""Host names looked up on a thread of their own."""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

Lookup = Callable[..., list[tuple[Any, ...]]]
"""A function like `socket.getaddrinfo`."""


_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - listened on, no host that is called


def reachable(host: str) -> str:
    """Return under which name others reach what listens on a host."""
    return socket.gethostname() if host in _EVERYWHERE else host


class Resolver(AbstractResolver):
    """Looks host names up on a thread of its own, so that a hung DNS blocks nobody else.

    One thread is enough: aiohttp looks a host up once, however many requests wait for it.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = partial(lookup, type=socket.SOCK_STREAM)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises `OSError` where there are none."""
        ask = partial(self._lookup, host, port, family=family)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._executor, ask)
        except RuntimeError:
            raise socket.gaierror(socket.EAI_AGAIN, "no thread to look it up with") from None
        return [
            ResolveResult(hostname=host, host=at[0], port=at[1], family=of, proto=proto, flags=0)
            for of, _, proto, _, at in found
        ]

    async def close(self) -> None:
        """Let go of the thread, even while it hangs."""
        self._executor.shutdown(wait=False, cancel_futures=True)
