"""Clients that are slow, loud, broken or too many: none does harm."""

import asyncio
import contextlib
import logging
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from monitor.adapters.web import Limits, WebServer
from monitor.adapters.web.auth import SECURITY_HEADERS
from support.web import HOST, a_program, exchange, listening, serving

SOON = 0.05
"""Seconds; a deadline that tests wait for."""

GET = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n"

UNREADABLE = {
    "no http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no method": b"/ HTTP/1.1\r\n\r\n",
    "http 9": b"GET / HTTP/9.9\r\n\r\n",
    "header without colon": GET + b"nonsense\r\n\r\n",
    "header with a NUL": GET + b"A: \x00\r\n\r\n",
    "60 KB header": GET + b"A: " + b"a" * 60_000 + b"\r\n\r\n",
    "60 KB path": b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\n\r\n",
    "1,000 headers": GET + b"".join(b"A%d: a\r\n" % n for n in range(1000)) + b"\r\n",
    "two lengths": GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "length and chunks": GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "negative length": GET + b"Content-Length: -1\r\n\r\n",
}


def headers_of(answer: bytes) -> dict[str, str]:
    """Return the headers of an answer as it came over the wire."""
    head, _, _ = answer.partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines)


@pytest.mark.parametrize("request_", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_fault_46_what_cannot_be_parsed_is_400_with_the_security_headers(
    request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(a_program()) as port:
        answer = await exchange(port, request_)
    assert answer.split(b" ", 2)[1] == b"400"
    headers = headers_of(answer)
    assert {name: headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert b"aiohttp" not in answer
    # Whoever can reach the port must not be able to fill the log.
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_an_unreadable_request_is_not_echoed() -> None:
    async with listening(a_program()) as port:
        answer = await exchange(port, GET + b"<script>canary\r\n\r\n")
    assert b"canary" not in answer
    assert headers_of(answer)["Content-Type"] == "text/plain; charset=utf-8"


async def test_connect_is_refused() -> None:
    async with listening(a_program()) as port:
        answer = await exchange(port, b"CONNECT evil.example:443 HTTP/1.0\r\n\r\n")
    assert answer.split(b" ", 2)[1] in {b"400", b"404", b"405"}


async def test_a_request_for_a_websocket_is_answered_as_any_other() -> None:
    upgrade = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    async with listening(a_program()) as port:
        answer = await exchange(port, GET + upgrade)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_fault_49_an_expectation_that_is_not_known_is_417_with_the_security_headers() -> None:
    async with serving() as client:
        answer = await client.post("/-/reload", headers={"Expect": "miracle"})
    assert answer.status_code == 417
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


# --- bodies ------------------------------------------------------------------------------------


async def test_fault_46_a_small_body_on_get_does_no_harm() -> None:
    async with serving() as client:
        answer = await client.request("GET", "/-/healthy", content=b"x" * 4096)
    assert answer.status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_fault_46_a_large_body_is_refused(method: str) -> None:
    async with serving() as client:
        answer = await client.request(method, "/-/reload", content=b"x" * 4097)
    assert answer.status_code == 413
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


async def test_fault_46_a_body_that_does_not_come_is_not_waited_for() -> None:
    slow = b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc"
    async with listening(a_program(), Limits(body_seconds=SOON)) as port:
        answer = await exchange(port, slow)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert headers_of(answer)["Server"] == "sftp-monitor"


CODED = [
    f"Content-Encoding: {coding}\r\n" for coding in ("gzip", "deflate", "br", "zstd", "nonsense")
]
BROKEN = {
    "no size": b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n\r\n",
    "a size too large": b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffffff\r\nx\r\n",
    "no end": b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n",
    "a bad trailer": b"Transfer-Encoding: chunked\r\n\r\n0\r\nnonsense\r\n\r\n",
    "an unknown coding": b"Transfer-Encoding: nonsense\r\n\r\nabc",
}


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("path", ["/-/healthy", "/-/reload", "/nowhere"])
async def test_fault_46_a_body_is_taken_as_it_is_whatever_it_says_of_its_coding(
    path: str, coding: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The kind: what is wrong with a request is its sender's affair, and no line in our log.

    Tried as well: codings of answers, chunks that are none, a client that leaves within its body.
    """
    sent = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{coding}Connection: close\r\n"
    async with listening(a_program()) as port:
        answer = await exchange(port, f"{sent}Content-Length: 4\r\n\r\nnope".encode())
    expected = {"/-/healthy": b"405", "/-/reload": b"200", "/nowhere": b"404"}
    assert answer.split(b" ", 2)[1] == expected[path]
    assert caplog.records == []


@pytest.mark.parametrize("path", [b"/-/reload", b"/api/v1/tests/suspend"])
@pytest.mark.parametrize("rest", BROKEN.values(), ids=BROKEN.keys())
async def test_fault_46_a_broken_body_is_400_without_a_line_in_the_log(
    path: bytes, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(a_program()) as port:
        answer = await exchange(port, b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\n" + rest)
    assert answer.split(b" ", 2)[1] == b"400"
    assert caplog.records == []


async def test_fault_46_a_client_that_leaves_within_its_body_is_no_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with listening(a_program()) as port:
        async with AsyncExitStack() as stack:
            leaving = await connected(port, stack)
            leaving.writer.write(SLOW + b"a")
            await leaving.reader.readuntil(b"100 Continue\r\n\r\n")
        assert b"healthy" in await exchange(port, GET + b"Connection: close\r\n\r\n")
    assert caplog.records == []


# --- slow and many -----------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET], ids=["nothing", "a line", "headers"])
async def test_fault_46_a_connection_that_does_not_end_its_headers_is_closed(sent: bytes) -> None:
    async with listening(a_program(), Limits(header_seconds=SOON)) as port:
        assert await exchange(port, sent) == b""


async def test_an_idle_connection_is_closed_after_its_answer() -> None:
    async with listening(a_program(), Limits(header_seconds=SOON)) as port:
        answer = await exchange(port, GET + b"\r\n")
    assert answer.endswith(b"healthy\n")


SLOW = (
    b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\n"
    b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
)
"""A request whose body is still to come; the server says when it waits for that."""


async def test_fault_46_at_the_limit_the_connection_that_waited_longest_makes_room() -> None:
    async with listening(a_program(), Limits(connections=2)) as port, AsyncExitStack() as stack:
        first, second = await asked(port, stack), await asked(port, stack)
        # The first one has just had another answer: now it is the second that waits longest.
        first.writer.write(GET + b"\r\n")
        await first.reader.readuntil(b"healthy\n")
        await asked(port, stack)
        assert await second.read_on() == b""
        first.writer.write(GET + b"\r\n")
        assert await first.reader.readuntil(b"healthy\n")


async def test_fault_46_a_request_under_way_makes_room_only_where_nobody_idles() -> None:
    async with listening(a_program(), Limits(connections=2)) as port, AsyncExitStack() as stack:
        busy = await connected(port, stack)
        busy.writer.write(SLOW)
        await busy.reader.readuntil(b"100 Continue\r\n\r\n")
        idle = await asked(port, stack)
        await asked(port, stack)
        assert await idle.read_on() == b""
        busy.writer.write(b"abc")
        assert await busy.reader.readuntil(b"reloaded\n")


async def test_fault_46_slow_requests_lock_nobody_out() -> None:
    async with listening(a_program(), Limits(connections=2)) as port, AsyncExitStack() as stack:
        for _ in range(5):
            (await connected(port, stack)).writer.write(SLOW)
        assert b"healthy" in await exchange(port, GET + b"Connection: close\r\n\r\n")


async def test_fault_46_requests_sent_in_a_row_are_answered_in_their_order() -> None:
    trace = b"TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with listening(a_program()) as port:
        answer = await exchange(port, GET + b"\r\n" + GET + b"\r\n" + trace)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"200", b"405"]


ELSEWHERE = [
    "//", "//metrics", "/%00", "/metrics%00", "/../etc/passwd", "/static/../../x", "/%2e%2e/"
]  # fmt: skip


@pytest.mark.parametrize("path", ELSEWHERE)
async def test_fault_46_a_path_that_leads_elsewhere_is_not_there(path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with listening(a_program()) as port:
        answer = await exchange(port, request.encode())
    assert answer.split(b" ", 2)[1] in {b"400", b"404"}
    assert headers_of(answer)["Server"] == "sftp-monitor"


@dataclass
class Connection:
    """A connection to the server, both ways."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read_on(self) -> bytes:
        """Return all that still comes until the server closes, or cuts the connection off."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read()
        return b""


async def connected(port: int, stack: AsyncExitStack) -> Connection:
    """Return a new connection, which is closed with the stack."""
    connection = Connection(*await asyncio.open_connection(HOST, port))
    stack.callback(connection.writer.close)
    return connection


async def asked(port: int, stack: AsyncExitStack) -> Connection:
    """Return a new connection that has had one answer and is kept alive."""
    connection = await connected(port, stack)
    connection.writer.write(GET + b"\r\n")
    await connection.reader.readuntil(b"healthy\n")
    return connection


async def test_fault_46_300_half_open_connections_are_over_after_the_deadline() -> None:
    async with listening(a_program(), Limits(header_seconds=SOON)) as port:
        half_open = [await asyncio.open_connection(HOST, port) for _ in range(300)]
        for _, writer in half_open:
            writer.write(b"GET / HTTP/1.1\r\nX: ")
        assert (await answered_at_last(port)).startswith(b"HTTP/1.1 200 OK\r\n")
        for reader, writer in half_open:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()


async def test_a_place_that_was_given_up_is_free_again() -> None:
    async with serving(Limits(connections=1)) as client:
        closing = {"Connection": "close"}
        for _ in range(5):
            assert (await client.get("/-/healthy", headers=closing)).status_code == 200


async def test_a_client_that_does_not_read_its_answer_loses_its_connection() -> None:
    page = b"x" * 50_000_000  # more than any socket buffer holds
    context = a_program(metrics=lambda openmetrics: lambda: page)
    async with listening(context, Limits(connections=1, write_seconds=SOON)) as port:
        reader, writer = await asyncio.open_connection(HOST, port, limit=1024)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        # It has the only place there is, and stops reading: the next answer comes when it lost it.
        assert (await answered_at_last(port)).startswith(b"HTTP/1.1 200 OK\r\n")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(len(page))
        writer.close()


async def answered_at_last(port: int) -> bytes:
    """Ask again and again while connections are refused; return the first answer."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(ConnectionError):
                answer = await exchange(port, GET + b"Connection: close\r\n\r\n")
                if answer:
                    return answer


# --- the server itself -------------------------------------------------------------------------


async def test_a_port_that_is_taken_is_an_os_error() -> None:
    async with listening(a_program()) as port:
        second = WebServer(a_program(), HOST, port)
        with pytest.raises(OSError, match="address already in use"):
            await second.start()
        await second.stop()


async def test_a_server_that_was_stopped_does_not_listen_any_more() -> None:
    async with listening(a_program()) as port:
        pass
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, port)


async def test_stopping_closes_idle_connections() -> None:
    async with listening(a_program()) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(GET + b"\r\n")
        await reader.readuntil(b"healthy\n")
    assert await reader.read() == b""
    writer.close()


async def test_a_server_that_never_started_can_be_stopped() -> None:
    await WebServer(a_program(), HOST, 0).stop()
