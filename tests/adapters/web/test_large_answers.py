"""Answers as large as 100,000 campaigns make them: whole, with their length, slice by slice."""

import pytest

from monitor.adapters.web.handlers import SLICE_BYTES, slices
from support.web import a_program, exchange, listening, serving

PAGE = b"".join(b"series_%07d 1\n" % number for number in range(200_000))


async def test_a_large_page_arrives_whole_with_its_length() -> None:
    async with serving(metrics=lambda openmetrics: lambda: PAGE) as client:
        answer = await client.get("/metrics")
        head = await client.head("/metrics")
    assert answer.content == PAGE
    lengths = {each.headers["Content-Length"] for each in (answer, head)}
    assert (lengths, head.content) == ({str(len(PAGE))}, b"")


async def test_an_old_client_gets_it_without_chunks() -> None:
    async with listening(a_program(metrics=lambda openmetrics: lambda: PAGE)) as port:
        answer = await exchange(port, b"GET /metrics HTTP/1.0\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (body, b"chunked" in head) == (PAGE, False)


@pytest.mark.parametrize("size", [0, 1, SLICE_BYTES, SLICE_BYTES + 1, 5 * SLICE_BYTES])
async def test_fault_47_a_socket_is_never_given_more_than_a_slice_at_once(size: int) -> None:
    given = [len(part) async for part in slices(b"x" * size)]
    assert (sum(given), max(given, default=0) <= SLICE_BYTES) == (size, True)
