"""Clients that never read, leave, or flood: what others wait for, and what memory it costs.

The kind: work and bytes whose number strangers choose. Renderings (metrics, page, lists, one
campaign), passwords to verify, reloads, and answers that wait for their reader; each is shared
where it is the same, dropped once nobody waits for it, and bounded. `make benchmark PART=clients`
measures it.
"""

import asyncio
import gc
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from typing import cast

import httpx
import pytest
from aiohttp import web

from monitor.adapters.web import EventsAnswer, Limits, handlers
from monitor.adapters.web.api import Endpoint
from monitor.adapters.web.pages import PAGES
from monitor.adapters.web.workers import WAITING, Worker
from monitor.core.snapshot import HistoryQuery
from support.web import HOST, a_program, exchange, listening, serving

SOON = 0.2
"""Seconds; a deadline that tests wait for."""


class Held:
    """Work that does not end before it is let go; `begun` has every piece that has begun."""

    def __init__(self) -> None:
        self.begun, self.let_go, self.one_began = list[object](), threading.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def work(self, what: object = None) -> bytes:
        """Wait in a thread until it is let go."""
        self.begun.append(what)
        self._loop.call_soon_threadsafe(self.one_began.set)
        assert self.let_go.wait(30)
        return b"held 1\n"

    def history(self, wanted: HistoryQuery) -> EventsAnswer:
        """Be a history that hangs."""
        self.work(wanted.limit)
        return EventsAnswer(events=[], next=None)


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until that is true."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0)


CLOSING = " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
STAYING = " HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def sent(port: int, request: str, stack: ExitStack) -> socket.socket:
    """Send a request and read nothing; to close the socket is to leave."""
    way = stack.enter_context(socket.socket())
    # So that the kernel takes little of an answer that nobody reads.
    way.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    way.setblocking(False)
    await asyncio.get_running_loop().sock_connect(way, (HOST, port))
    way.sendall(request.encode())
    return way


async def healthy(port: int) -> None:
    """Ask once more: whatever came before, on whichever connection, has been read by then."""
    assert b"healthy" in await exchange(port, f"GET /-/healthy{CLOSING}".encode())


# --- work --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/api/v1/status", "/api/v1/events?limit=5", "/openapi.json"]
)
async def test_fault_46_one_rendering_is_shared_by_all_who_ask_for_the_same(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, asked = Held(), list[str]()

    def render(make: Callable[[], bytes], zipped: bool) -> bytes:
        held.work()
        return make()

    def loaded() -> bool:
        asked.append(path)
        return True

    monkeypatch.setattr(handlers, "_render", render)
    async with serving(loaded=loaded) as client:
        all_of_them = [asyncio.create_task(client.get(path)) for _ in range(6)]
        await held.one_began.wait()
        await until(lambda: len(asked) == 6 or path == "/openapi.json")
        held.let_go.set()
        answers = {(await one).content for one in all_of_them}
    # Of a file nobody knows when it is asked for: some may come after the first is there.
    assert len(answers) == 1
    assert len(held.begun) == 1 or path == "/openapi.json"


async def test_who_asks_for_something_else_gets_something_else() -> None:
    async with serving() as client:
        paths = ["/api/v1/campaigns?limit=1", "/api/v1/campaigns", "/api/v1/alerts", "/"]
        answers = await asyncio.gather(*(client.get(path) for path in paths))
    assert len({answer.content for answer in answers}) == len(paths)


async def test_fault_46_what_those_asked_for_who_have_left_is_not_made() -> None:
    held = Held()
    async with listening(a_program(history=held.history)) as port:
        with ExitStack() as stack:
            await sent(port, f"GET /api/v1/events?limit=1{STAYING}", stack)
            await held.one_began.wait()
            for number in range(2, 12):
                await sent(port, f"GET /api/v1/events?limit={number}{STAYING}", stack)
            await healthy(port)
        await healthy(port)
        last = asyncio.create_task(exchange(port, f"GET /api/v1/events?limit=99{CLOSING}".encode()))
        await healthy(port)
        held.let_go.set()
        assert (await last).startswith(b"HTTP/1.1 200 OK")
    assert held.begun == [1, 99]


async def test_fault_46_whoever_asks_last_is_served_next_and_beyond_a_bound_the_oldest_is_503() -> (
    None
):
    held = Held()
    async with serving(history=held.history) as client:

        def ask(limit: int) -> asyncio.Task[httpx.Response]:
            return asyncio.create_task(client.get(f"/api/v1/events?limit={limit}"))

        first = ask(1)
        await held.one_began.wait()
        oldest = ask(2)
        await asyncio.sleep(0)
        others = [ask(3 + number) for number in range(WAITING)]
        refused = list(await only_done([oldest, *others]))
        held.let_go.set()
        answers = [await one for one in (first, oldest, *others)]
    assert len(refused) == 1
    assert sorted(answer.status_code for answer in answers) == [200] * (WAITING + 1) + [503]
    (answer,) = (answer for answer in answers if answer.status_code == 503)
    assert answer.headers["Retry-After"] == "1"
    assert answer.json() == {"error": "too much at once: try again"}


async def only_done(
    tasks: Sequence[asyncio.Task[httpx.Response]],
) -> set[asyncio.Task[httpx.Response]]:
    """Return those that have ended, once one has."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=30)
    return done


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("test", web.HTTPServiceUnavailable)
    yield worker
    worker.close()


async def test_a_worker_takes_the_newest_first_and_refuses_the_oldest(worker: Worker) -> None:
    held, order = Held(), list[int]()
    first = asyncio.create_task(worker.run("held", lambda: held.work))
    await held.one_began.wait()
    others = [
        asyncio.create_task(worker.run(number, lambda number=number: lambda: order.append(number)))  # type: ignore[misc]
        for number in range(WAITING + 2)
    ]
    await until(others[1].done)
    held.let_go.set()
    ended = await asyncio.gather(*others, return_exceptions=True)
    await first
    assert order == list(range(2, WAITING + 2))[::-1]
    assert [type(one).__name__ for one in ended[:3]] == ["HTTPServiceUnavailable"] * 2 + [
        "NoneType"
    ]


async def test_work_is_dropped_when_the_last_one_who_asked_has_left(worker: Worker) -> None:
    held, done = Held(), list[str]()
    first = asyncio.create_task(worker.run("held", lambda: held.work))
    await held.one_began.wait()
    both = [
        asyncio.create_task(worker.run("key", lambda: lambda: done.append("old"))) for _ in range(2)
    ]
    await asyncio.sleep(0)
    for one in both:
        one.cancel()
        await asyncio.wait([one])
    again = asyncio.create_task(worker.run("key", lambda: lambda: done.append("new")))
    await asyncio.sleep(0)
    held.let_go.set()
    await asyncio.gather(first, again)
    assert done == ["new"]


async def test_one_who_leaves_takes_nothing_from_the_others(worker: Worker) -> None:
    held = Held()
    both = [asyncio.create_task(worker.run("key", lambda: held.work)) for _ in range(2)]
    await held.one_began.wait()
    both[0].cancel()
    held.let_go.set()
    assert await both[1] == b"held 1\n"


async def test_work_that_fails_after_all_have_left_is_no_line_in_the_log(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held()

    def broken() -> None:
        held.work()
        raise ValueError("canary")

    leaving = asyncio.create_task(worker.run("key", lambda: broken))
    await held.one_began.wait()
    leaving.cancel()
    held.let_go.set()
    assert await worker.run("other", lambda: lambda: 1) == 1
    gc.collect()
    assert caplog.records == []


async def test_what_cannot_begin_lets_the_next_one_have_its_turn(worker: Worker) -> None:
    def broken() -> Callable[[], None]:
        raise ValueError("canary")

    for _ in range(2):
        with pytest.raises(ValueError, match="canary"):
            await worker.run("key", broken)
    assert await worker.run("key", lambda: lambda: 1) == 1
    worker.close()
    with pytest.raises(RuntimeError):
        await worker.run("key", lambda: lambda: 1)


# --- answers on their way ------------------------------------------------------------------------


@pytest.mark.slow(seconds=2)
async def test_fault_46_beyond_a_cap_of_different_bodies_on_their_way_it_is_503(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page, made = b"x" * 20_000_000, list[int]()
    monkeypatch.setattr(handlers, "SENDING_BYTES", 100)

    def metrics(openmetrics: bool) -> Callable[[], bytes]:
        made.append(1)
        return lambda: bytes(bytearray(page))

    async with listening(a_program(metrics=metrics)) as port, AsyncExitStack() as stack:
        clients = stack.enter_context(ExitStack())
        for number in range(3):
            way = await sent(port, f"GET /metrics{STAYING}", clients)
            assert (await asyncio.get_running_loop().sock_recv(way, 1)) == b"H"
            assert len(made) == number + 1
        answer = await exchange(port, f"GET /metrics{CLOSING}".encode())
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"Retry-After: 1\r\n" in answer
        clients.close()
        await healthy(port)
        answer = await exchange(port, f"GET /metrics{CLOSING}".encode())
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    async with serving(metrics=metrics) as client:
        for _ in range(5):
            assert (await client.get("/metrics")).status_code == 200
            assert (await client.head("/metrics")).status_code == 200


async def test_fault_46_pages_that_nobody_reads_keep_prometheus_out_of_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handlers, "SENDING_BYTES", 100)
    large = Endpoint("A large page", lambda *_: bytes(bytearray(20_000_000)))
    monkeypatch.setitem(cast(dict[str, Endpoint], PAGES), "/", large)
    async with listening(a_program()) as port, AsyncExitStack() as stack:
        clients = stack.enter_context(ExitStack())
        for _ in range(3):
            way = await sent(port, f"GET /{STAYING}", clients)
            assert (await asyncio.get_running_loop().sock_recv(way, 1)) == b"H"
        refused = await exchange(port, f"GET /{CLOSING}".encode())
        assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        scraped = await exchange(port, f"GET /metrics{CLOSING}".encode())
        assert scraped.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_fault_46_a_large_answer_may_take_longer_than_the_deadline_while_it_is_read() -> None:
    """The deadline is for the next 64 KB, not for the whole."""
    page = b"x" * 12_000_000
    program = a_program(metrics=lambda openmetrics: lambda: page)
    loop = asyncio.get_running_loop()
    async with listening(program, Limits(write_seconds=SOON)) as port, AsyncExitStack() as stack:
        way = socket.socket()
        way.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        way.setblocking(False)
        stack.callback(way.close)
        await loop.sock_connect(way, (HOST, port))
        await loop.sock_sendall(way, ("GET /metrics" + CLOSING).encode())
        began, got = loop.time(), 0
        while chunk := await loop.sock_recv(way, 400_000):
            got += len(chunk)
            # Not faster than in three times the deadline.
            ahead = got / len(page) * 3 * SOON - (loop.time() - began)
            await asyncio.sleep(max(0.0, ahead))
    assert got > len(page)
    assert loop.time() - began > 2 * SOON


@pytest.mark.slow(seconds=2)
@pytest.mark.parametrize("end", [CLOSING, STAYING], ids=["close", "keep-alive"])
async def test_fault_46_who_does_not_read_the_end_of_an_answer_keeps_no_connection(
    end: str,
) -> None:
    """A socket that is closed while bytes wait for their reader would stay for ever."""
    # What the kernel takes at once is not ours; of the rest asyncio would buffer up to 64 KB.
    sizes = [swallowed() + more for more in range(-60_000, 130_000, 10_000)]
    pages = [b"x" * size for size in sizes]
    program = a_program(metrics=lambda openmetrics: pages.pop)
    before = sockets()
    limits = Limits(write_seconds=SOON, header_seconds=SOON)
    async with listening(program, limits) as port:
        with ExitStack() as stack:
            for _ in sizes:
                way = await sent(port, f"GET /metrics{end}", stack)
                assert (await asyncio.get_running_loop().sock_recv(way, 1)) == b"H"
            # Left are the listener and the clients' own.
            await until(lambda: sockets() == before + 1 + len(sizes))


def swallowed() -> int:
    """Return how many bytes the kernel takes for a client that `sent`."""
    with socket.create_server((HOST, 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        with listener.accept()[0] as way, suppress(BlockingIOError):
            way.setblocking(False)
            taken = 0
            while True:
                taken += way.send(b"x" * 65536)
    return taken


def sockets() -> int:
    """Return how many sockets this process has open."""
    found = 0
    for one in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{one}").startswith("socket:")
    return found
