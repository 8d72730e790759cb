"""Whoever takes gzip gets it, for HEAD as well; and what may be large is made off the loop."""

import gzip
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from monitor.core.snapshot import EnvironmentSnapshot
from support.boards import a_rich_snapshot
from support.web import serving

LARGE = (
    "/",
    "/metrics",
    "/api/v1/status",
    "/api/v1/campaigns",
    "/api/v1/campaigns/production/healthy",
    "/api/v1/alerts",
    "/api/v1/events",
    "/events",
    "/campaigns/production/healthy",
    "/openapi.json",
)

GZIP = {"Accept-Encoding": "gzip"}


async def raw(client: Any, path: str, headers: dict[str, str]) -> tuple[Any, bytes]:
    """Return an answer with its body as it came over the wire."""
    async with client.stream("GET", path, headers=headers) as answer:
        return answer, b"".join([chunk async for chunk in answer.aiter_raw()])


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize("path", LARGE)
async def test_a_zipped_answer_is_the_plain_one(path: str) -> None:
    async with serving() as client:
        plain, body = await raw(client, path, {})
        zipped, packed = await raw(client, path, GZIP)
    assert "Content-Encoding" not in plain.headers
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert zipped.headers["Content-Type"] == plain.headers["Content-Type"]
    assert zipped.headers["Content-Length"] == str(len(packed))
    # What it measures of itself differs from scrape to scrape.
    if path != "/metrics":
        assert gzip.decompress(packed) == body


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize("path", LARGE)
async def test_head_has_the_headers_of_the_zipped_answer_and_no_body(path: str) -> None:
    async with serving() as client:
        got = await client.get(path, headers=GZIP)
        head = await client.head(path, headers=GZIP)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Encoding", "Content-Type", "Vary"):
        assert head.headers[name] == got.headers[name]


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize("path", LARGE)
async def test_caches_are_told_that_it_depends_on_what_is_accepted(path: str) -> None:
    async with serving() as client:
        answer = await client.get(path)
    assert "Accept-Encoding" in answer.headers["Vary"]


class Watched(dict[str, EnvironmentSnapshot]):
    """Environments that know which threads have looked through them."""

    def __init__(self, environments: Mapping[str, EnvironmentSnapshot]) -> None:
        super().__init__(environments)
        self.threads: set[threading.Thread] = set()

    def values(self) -> Any:
        self.threads.add(threading.current_thread())
        return super().values()


@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/api/v1/campaigns", "/api/v1/alerts"])
async def test_fault_47_an_answer_is_made_off_the_loop(path: str) -> None:
    snapshot = a_rich_snapshot()
    environments = Watched(snapshot.environments)
    async with serving(snapshot=lambda: replace(snapshot, environments=environments)) as client:
        await client.get(path, headers=GZIP)
    assert environments.threads
    assert threading.current_thread() not in environments.threads
