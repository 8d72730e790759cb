"""Fault 32: names and the network; and what httpx and aiohttp make of broken HTTP."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from monitor.core.model import PollError, Reason, SftpConfig
from support.misbehaving import (
    CAMPAIGN,
    Misbehaving,
    Peer,
    Request,
    answer,
    asked,
    client_of,
    config,
    fetched,
    here,
    reason_of,
    replies,
    replies_and_closes,
    replies_and_resets,
)

OK = answer(config())
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
         "Name or service not known"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
         "Temporary failure in name resolution"),
        (UnicodeError("label too long"), "not a host name"),
        (RuntimeError("can't start new thread"), "no thread to look it up with"),
    ],
    ids=["NXDOMAIN", "SERVFAIL", "no name", "no thread"],
)  # fmt: skip
async def test_fault_32_a_name_that_cannot_be_looked_up_is_a_dns_error(
    error: Exception, told: str
) -> None:
    def lookup(*_: object, **__: object) -> list[tuple[Any, ...]]:
        raise error

    seen = await fetched("http://api.example", lookup=lookup)
    assert seen == PollError(Reason.DNS_ERROR, told)


async def test_fault_32_a_label_that_is_too_long_is_a_dns_error() -> None:
    seen = await fetched(f"http://{'a' * 64}.example")
    assert seen == PollError(Reason.DNS_ERROR, "not a host name")


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What a hung lookup waits for; set at the end, so that no thread outlives the test."""
    event = threading.Event()
    yield event
    event.set()


async def test_fault_32_a_hung_resolver_times_out_and_blocks_nobody_else(
    released: threading.Event,
) -> None:
    lookups: list[object] = []

    def lookup(host: object, *_: object, **__: object) -> list[tuple[Any, ...]]:
        lookups.append(host)
        released.wait()
        raise OSError("over")

    async with client_of(
        "http://api.example", lookup=lookup, timeout=0.05, concurrency=64
    ) as client:
        polls = [client.fetch_sftp(CAMPAIGN) for _ in range(64)]
        answers = await asyncio.gather(*polls)
        assert await asyncio.to_thread(lambda: "served") == "served"
    assert {getattr(got.observation, "reason", None) for got in answers} == {Reason.TIMEOUT}
    assert lookups == ["api.example"]


async def test_a_name_is_connected_to_at_the_address_that_it_has() -> None:
    async with Misbehaving(replies(OK)) as server:
        seen = await fetched(f"http://api.example:{server.port}", lookup=here)
    assert isinstance(seen, SftpConfig)
    assert server.requests[0].headers["host"] == f"api.example:{server.port}"


async def test_fault_32_a_refused_connection_is_a_connect_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        seen = await fetched(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert isinstance(seen, PollError)
    assert seen.reason is Reason.CONNECT_ERROR
    assert "Connect call failed" in seen.detail


async def test_fault_32_an_address_in_no_canonical_form_is_a_connect_error() -> None:
    seen = await fetched("http://127.1")
    assert seen == PollError(Reason.CONNECT_ERROR, "no address that can be connected to")


async def test_fault_32_an_unreachable_network_is_a_connect_error() -> None:
    # No route leads to the broadcast address for TCP: the kernel says so without a packet.
    seen = await fetched("http://255.255.255.255:9")
    assert seen == PollError(Reason.CONNECT_ERROR, "Network is unreachable")


async def test_fault_32_a_black_hole_times_out() -> None:
    # A queue of connections that nobody takes: once it is full, what comes is dropped unanswered.
    with socket.socket() as hole, contextlib.ExitStack() as waiting:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(4):
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        seen = await fetched(f"http://127.0.0.1:{hole.getsockname()[1]}", timeout=0.1)
    assert seen == PollError(Reason.TIMEOUT, "no complete answer within 0.1 s")


@pytest.mark.parametrize(
    "script",
    [
        replies_and_resets(b""),
        replies_and_closes(b""),
        replies_and_closes(b"HTTP/1.1 200 OK\r\nContent-"),
        replies_and_resets(OK[:-30]),
        replies_and_closes(OK[:-30]),
    ],
    ids=["reset", "closed", "closed in the head", "reset in the body", "closed in the body"],
)
async def test_fault_32_a_connection_that_goes_is_lost(script: Any) -> None:
    assert await reason_of(script) is Reason.CONNECTION_LOST


async def test_fault_32_a_reset_says_so() -> None:
    got = await asked(replies_and_resets(b""))
    assert got.observation == PollError(Reason.CONNECTION_LOST, "Connection reset by peer")


async def test_fault_32_a_dropped_kept_alive_connection_costs_one_request_not_two() -> None:
    # aiohttp would send the GET again by itself, and the budget would not know.
    async def drops_the_second(_: Request, peer: Peer) -> None:
        if len(server.requests) == 2:
            peer.end()
        else:
            await peer.send(OK)

    async with Misbehaving(drops_the_second) as server, client_of(server.url) as client:
        first, second = [await client.fetch_sftp(CAMPAIGN) for _ in range(2)]
        assert (len(server.requests), server.connections) == (2, 1)
        third = await client.fetch_sftp(CAMPAIGN)
    assert isinstance(first.observation, SftpConfig)
    assert second.observation == PollError(Reason.CONNECTION_LOST, "the connection was closed")
    assert isinstance(third.observation, SftpConfig)


async def test_fault_32_a_connection_closed_between_two_calls_is_replaced() -> None:
    script = replies_and_closes(answer(config(), headers={"Connection": "close"}))
    async with Misbehaving(script) as server, client_of(server.url) as client:
        seen = [(await client.fetch_sftp(CAMPAIGN)).observation for _ in range(3)]
    assert all(isinstance(each, SftpConfig) for each in seen)
    assert (len(server.requests), server.connections) == (3, 3)


async def test_a_connection_is_kept_alive() -> None:
    async with Misbehaving(replies(OK)) as server, client_of(server.url) as client:
        for _ in range(3):
            await client.fetch_sftp(CAMPAIGN)
    assert (len(server.requests), server.connections) == (3, 1)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "Bad status line"),
        (b"HTTP/2 200\r\n\r\n", "Bad status line"),
        (b"HTTP/1.1 200 OK\r\nno header\r\n\r\n", "Invalid header token"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 65_600 + b"\r\n\r\n",
         "Got more than 65536 bytes when reading"),
        (b"HTTP/1.1 200 OK\r\n" + 8 * (b"X: " + b"a" * 9000 + b"\r\n") + b"\r\n",
         "Got more than 65536 bytes of headers"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1100 + b"\r\n", "Too many headers received"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "Invalid character in Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
         "Duplicate Content-Length"),
        (CHUNKED_HEAD + b"zz\r\nabc\r\n", "Invalid character in chunk size"),
    ],
)  # fmt: skip
async def test_broken_http_is_a_protocol_error(data: bytes, told: str) -> None:
    got = await asked(replies(data))
    assert isinstance(got.observation, PollError)
    assert got.observation.reason is Reason.PROTOCOL_ERROR
    assert got.observation.detail.startswith(told)


async def test_a_chunk_that_breaks_in_the_middle_of_a_body_is_no_answer() -> None:
    head = answer(b"", headers={"Content-Length": None, "Transfer-Encoding": "chunked"})

    async def script(_: Request, peer: Peer) -> None:
        await peer.send(head + b"3\r\nabc\r\n")
        await peer.pause()
        await peer.send(b"zz\r\nabc\r\n")
        await peer.hang()

    # aiohttp's C parser closes the connection but tells no reader: only the deadline ends it.
    seen = await reason_of(script, timeout=0.1)
    assert seen in {Reason.TIMEOUT, Reason.CONNECTION_LOST}
