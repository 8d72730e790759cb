"""/metrics over HTTP: formats, compression, and many who scrape at once."""

import asyncio
import gzip
import threading
from collections.abc import Callable

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from monitor.adapters.web.handlers import quality
from support.web import serving

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)

OPENMETRICS, TEXT = "application/openmetrics-text", "text/plain"


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (PROMETHEUS, OPENMETRICS),
        (OPENMETRICS, OPENMETRICS),
        (OPENMETRICS.upper(), OPENMETRICS),
        (f"{TEXT};q=0.5, {OPENMETRICS}", OPENMETRICS),
        (f"{TEXT}, {OPENMETRICS};q=0.5", TEXT),
        (f"{OPENMETRICS};q=0", TEXT),
        (f"{OPENMETRICS};q=nonsense", TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        ("", TEXT),
    ],
)
async def test_openmetrics_is_given_to_those_who_ask_for_it(accept: str, expected: str) -> None:
    async with serving() as client:
        answer = await client.get("/metrics", headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith(expected)
    assert answer.text.endswith("# EOF\n") == (expected == OPENMETRICS)


async def test_both_formats_can_be_read() -> None:
    async with serving() as client:
        text = await client.get("/metrics")
        openmetrics = await client.get("/metrics", headers={"Accept": OPENMETRICS})
    assert text.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert openmetrics.headers["Content-Type"].startswith(f"{OPENMETRICS}; version=1.0.0")
    assert list(read_text(text.text))
    assert list(read_openmetrics(openmetrics.text))  # type: ignore[no-untyped-call]


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        ("gzip", True),
        ("gzip, deflate, br", True),
        ("br;q=1.0, GZIP;q=0.8", True),
        ("gzip;q=0", False),
        ("deflate", False),
        ("identity", False),
        ("", False),
    ],
)
async def test_gzip_is_given_to_those_who_ask_for_it(accepted: str, zipped: bool) -> None:
    async with (
        serving() as client,
        client.stream("GET", "/metrics", headers={"Accept-Encoding": accepted}) as answer,
    ):
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers.get("Content-Encoding") == ("gzip" if zipped else None)
    assert b"sftp_monitor_campaign_info" in (gzip.decompress(raw) if zipped else raw)


async def test_caches_are_told_what_the_answer_depends_on() -> None:
    async with serving() as client:
        answer = await client.get("/metrics")
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"


class HeldRendering:
    """Metrics that take until they are let go; counts how often they are made."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.threads: list[threading.Thread] = []

    def __call__(self, openmetrics: bool) -> Callable[[], bytes]:
        return self._render

    def _render(self) -> bytes:
        self.threads.append(threading.current_thread())
        self.begun.set()
        assert self.let_go.wait(30)
        return b"held 1\n"


async def test_fault_47_rendering_does_not_hold_up_the_loop() -> None:
    held = HeldRendering()
    async with serving(metrics=held) as client:
        scrape = asyncio.create_task(client.get("/metrics"))
        await asyncio.to_thread(held.begun.wait, 30)
        health, page = await client.get("/-/healthy"), await client.get("/")
        held.let_go.set()
        scraped = await scrape
    assert (health.status_code, page.status_code, scraped.text) == (200, 200, "held 1\n")
    assert held.threads[0] is not threading.current_thread()


async def test_fault_46_those_who_scrape_at_the_same_time_get_the_same_page() -> None:
    held, arrived, all_arrived = HeldRendering(), [], asyncio.Event()

    def loaded() -> bool:
        # Asked once for each request, right before a page in the making is looked for.
        arrived.append(1)
        if len(arrived) == 6:
            all_arrived.set()
        return True

    async with serving(metrics=held, loaded=loaded) as client:
        scrapes = [asyncio.create_task(client.get("/metrics")) for _ in range(6)]
        await all_arrived.wait()
        held.let_go.set()
        answers = [await scrape for scrape in scrapes]
    assert {answer.text for answer in answers} == {"held 1\n"}
    assert len(held.threads) == 1


async def test_a_client_that_leaves_spoils_the_page_for_nobody() -> None:
    held = HeldRendering()
    async with serving(metrics=held) as client:
        first = asyncio.create_task(client.get("/metrics"))
        await asyncio.to_thread(held.begun.wait, 30)
        second = asyncio.create_task(client.get("/metrics"))
        first.cancel()
        held.let_go.set()
        assert (await second).text == "held 1\n"


async def test_a_scrape_after_that_gets_a_new_page() -> None:
    held = HeldRendering()
    held.let_go.set()
    async with serving(metrics=held) as client:
        await client.get("/metrics")
        await client.get("/metrics")
    assert len(held.threads) == 2


async def test_a_rendering_that_fails_is_500_and_the_next_one_is_made_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> bytes:
        raise ValueError("canary")

    pages = iter([broken, lambda: b"good 1\n"])
    async with serving(metrics=lambda openmetrics: next(pages)) as client:
        first, second = await client.get("/metrics"), await client.get("/metrics")
    assert (first.status_code, second.status_code) == (500, 200)
    assert [record.getMessage() for record in caplog.records] == [
        "GET /metrics could not be answered"
    ]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("gzip", 1.0),
        ("gzip;q=0.25", 0.25),
        ("gzip ; q=0.25", 0.25),
        ("gzip;q=2", 0.0),
        ("gzip;q=-1", 0.0),
        ("gzip;q=0.1234", 0.0),
        ("gzip;q=0.1, gzip;q=0.2", 0.2),
        ("gzipped", 0.0),
        (",;,;;", 0.0),
        ("*", 0.0),
    ],
)
def test_the_weight_of_an_accept_header(header: str, expected: float) -> None:
    assert quality(header, "gzip") == expected
