"""Anything as a request: raw bytes, and requests with one thing or more wrong, on the real daemon.

hypothesis draws them; what breaks the promise is made as small as it goes, and printed. Each goes
over a connection of its own, in one piece or in several, and whole or not.
"""

import argparse
import asyncio
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from support.command import Running, running, write_config
from support.fake_platform import fake_platform
from torture.figures import Figure

HOST = "127.0.0.1"
CAMPAIGNS = ["c-1", "c-2"]
MINUTES = 5.0
ROUND = 300
"""Requests of one seed."""

QUIET = 0.02
"""Seconds without a byte after which an answer, or none, is all there will be."""

PATHS = (
    "/", "/metrics", "/-/healthy", "/-/ready", "/-/reload", "/openapi.json", "/static/style.css",
    "/api/v1/status", "/api/v1/campaigns", "/api/v1/campaigns/production/c-1", "/api/v1/alerts",
    "/api/v1/events", "/api/v1/campaigns/production/c-1/test", "/api/v1/tests/suspend", "*", "//",
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE", "CONNECT", "get", "G\0T", "")
QUERIES = (
    "limit=1", "limit=0", "limit=99999999999999999999", "next=a/b", "next=%ff", "since=now",
    "since=0001-01-01T00:00:00Z", "since=9999-12-31T23:59:59-23:59", "kind=test", "health=nope",
    "environment=", "a", "=", "%", "&&", "limit=%D9%A1", "campaign_id=%00", "campaign_id=%ed%a0%80",
)  # fmt: skip
HEADERS = (
    "Host: localhost", "Host: evil.example", "Host: [", "Host: ", "Host: a\0b", "Host: \xff",
    "Content-Length: 5", "Content-Length: 5000", "Content-Length: -1", "Content-Length: 1e3",
    "Content-Length: 99999999999999999999999", "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked", "Content-Encoding: gzip", "Content-Encoding: br",
    "Content-Type: application/json", "Content-Type: ;;;", "Content-Type: a/b; charset=nope",
    "Expect: 100-continue", "Expect: miracle", "Connection: close", "Connection: upgrade",
    "Upgrade: websocket", "Upgrade: h2c", "Accept: application/openmetrics-text;q=x",
    "Accept-Encoding: gzip;q=1", "Accept-Encoding: *;q=0", "Authorization: Basic ====",
    "Authorization: Basic /////w==", "Cookie: \"", "Range: bytes=0-1", "If-None-Match: *",
    "If-Modified-Since: x", "X-SFTP-Monitor-Key: \xe9", "Origin: null", "nonsense", ": x", "A\t: b",
    "A: " + "a" * 9000, " folded: x",
)  # fmt: skip
BODIES = (
    b"", b"{}", b"[]", b"null", b'{"force": 1}', b'{"by": "\\ud800"}', b"[" * 3000, b"\xff\xfe",
    b'{"environment": "production"}', b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"-1\r\n",
    b"ffffffffff\r\n", b"5;x\r\nhello", b"\x1f\x8b\x08\0", b"x" * 5000,
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Draw a request that has something wrong with it, or nothing."""
    target = draw(st.sampled_from(PATHS)) + draw(st.sampled_from(("", "", "/", "%00", "?")))
    query = "&".join(draw(st.lists(st.sampled_from(QUERIES), max_size=2)))
    method = draw(st.sampled_from(METHODS[:3]) | st.sampled_from(METHODS))
    version = draw(st.sampled_from(("HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/x", "")))
    headers = ["Host: localhost", *draw(st.lists(st.sampled_from(HEADERS), max_size=5))]
    first = f"{method} {target}{'?' if query else ''}{query} {version}"
    head = "\r\n".join([first, *headers, "", ""]).encode("latin-1")
    return head + draw(st.sampled_from(BODIES) | st.binary(max_size=50))


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """Draw a request in which some bytes are others, or the end is missing."""
    whole = bytearray(draw(requests()))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(whole)))
        whole[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole)


ANYTHING = st.lists(requests() | spoiled() | st.binary(max_size=200), min_size=1, max_size=3)
"""The pieces that are sent, one after the other."""


def exchanged(port: int, pieces: Sequence[bytes]) -> bytes:
    """Return what comes back for these pieces, until nothing more comes."""
    answer = b""
    with suppress(ConnectionError), socket.create_connection((HOST, port), timeout=10) as way:
        for piece in pieces:
            way.sendall(piece)
        way.settimeout(QUIET)
        with suppress(TimeoutError):
            while part := way.recv(65536):
                answer += part
    return answer


def check(port: int, pieces: Sequence[bytes]) -> None:
    """Raise AssertionError where the daemon takes these pieces for a fault of its own."""
    answer = exchanged(port, pieces)
    found = re.findall(rb"^HTTP/1\.1 5\d\d [^\r]*", answer, re.MULTILINE)
    assert not found, f"{found} to {pieces!r}"


def lives(port: int) -> bool:
    """Return whether `/-/healthy` is 200 within ten seconds."""
    request = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((HOST, port), timeout=10) as way:
            way.sendall(request)
            return way.recv(65536).startswith(b"HTTP/1.1 200 OK")
    except OSError:
        return False


def attack(port: int, seconds: float, first: int) -> tuple[int, list[str]]:
    """Send requests for so long; return how many, and what broke the promise."""
    until, sent, number = time.monotonic() + seconds, 0, first
    while time.monotonic() < until:

        @seed(number)
        @settings(
            max_examples=ROUND,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )
        @given(ANYTHING)
        def one_round(pieces: list[bytes]) -> None:
            nonlocal sent
            # A round is cut short at the end of the time.
            if time.monotonic() < until:
                sent += 1
                check(port, pieces)

        try:
            one_round()
        except AssertionError as error:
            return sent, [f"seed {number}: {error}"]
        if not lives(port):
            return sent, [f"seed {number}: /-/healthy is not 200"]
        number += 1
    return sent, []


def complaints(process: Running) -> list[str]:
    """Return what the daemon has logged as a fault, and what it wrote beside its log."""
    bad = {"error", "critical"}
    return [str(dict(one)) for one in process.records if one.get("level") in bad] + process.err


async def run(seconds: float, first: int, folder: Path) -> Figure:
    """Return the figure for requests of so many seconds."""
    async with fake_platform(*CAMPAIGNS) as platform:
        config = write_config(folder, platform, CAMPAIGNS)
        async with running("run", "--config.file", config) as process:
            port = int((await process.record(event="started"))["url"].rpartition(":")[2])
            await platform.until(lambda: all(platform.asked_for(each) for each in CAMPAIGNS))
            sent, broken = await asyncio.to_thread(attack, port, seconds, first)
            broken += complaints(process)
            code = await process.end(signal.SIGTERM)
    for line in broken:
        print(line, file=sys.stderr)
    return Figure(
        "No request does harm: none is a fault of ours, and none fills the log",
        f"raw bytes and spoiled requests for {seconds:g} s, drawn by hypothesis, on the daemon",
        f"{sent:,} connections, {len(broken)} answers of 5xx, errors logged or dead daemons; "
        f"exit code {code}",
        not broken and code == 0 and sent > 0,
    )


def main(argv: Sequence[str]) -> list[Figure]:
    """Attack for `--seconds`, beginning with `--seed`."""
    parser = argparse.ArgumentParser(prog="torture requests")
    parser.add_argument("--seconds", type=float, default=MINUTES * 60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        return [asyncio.run(run(options.seconds, options.seed, Path(folder)))]
