"""One POST: a deadline over the whole, and no more of the answer than a log line needs."""

import asyncio

import pytest

from monitor.adapters.sinks.webhooks import ANSWER_MAX, post
from support.receiver import receiver


async def test_the_answer_is_given_with_its_status() -> None:
    async with receiver(418) as to:
        to.text = "short and stout"
        assert await post(to.url, b"{}", {}) == (418, "short and stout")


async def test_of_a_long_answer_only_the_beginning_is_read() -> None:
    async with receiver() as to:
        to.text = "x" * 1_000_000
        assert await post(to.url, b"{}", {}) == (200, "x" * ANSWER_MAX)


async def test_a_receiver_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("monitor.adapters.sinks.webhooks.WITHIN", 0.1)
    async with receiver() as to:
        to.hold = asyncio.Event()
        with pytest.raises(OSError, match=f"{to.url}: no complete answer within 0.1 s"):
            await post(to.url, b"{}", {})


async def test_what_is_no_http_is_an_oserror() -> None:
    async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp.example ESMTP\r\n")
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(OSError, match=f"http://127.0.0.1:{port}: "):
            await post(f"http://127.0.0.1:{port}/T0ken", b"{}", {})
