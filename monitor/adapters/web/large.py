"""Answers that may be large: given to the socket in slices, as it takes them."""

from collections.abc import AsyncIterator, Mapping

from aiohttp import web

SLICE_BYTES = 64 * 1024
"""As much as asyncio buffers of a connection before a writer has to wait."""


def large(body: bytes, headers: Mapping[str, str]) -> web.Response:
    """Return an answer with this body and these headers.

    In one piece, what a socket does not take at once would be copied: 100 MB hold up the loop.
    """
    length = {"Content-Length": str(len(body))}
    return web.Response(body=slices(body), headers={**headers, **length})


async def slices(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body piece by piece."""
    for start in range(0, len(body), SLICE_BYTES):
        yield body[start : start + SLICE_BYTES]
