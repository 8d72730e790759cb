"""Answers that no API has written, as raw bytes on a socket; and what must hold whatever comes."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from monitor.core.attempt import TestReport
from monitor.core.model import NoConfig, Page, PollError, Reason, SftpConfig
from support.misbehaving import (
    CAMPAIGN,
    TOKEN,
    Misbehaving,
    client_of,
    config,
    replies_and_closes,
)

TIMEOUT = 0.5
"""Seconds that a call may take here."""

SLACK = 5.0
"""What a machine under load may add to that, and to the start of a server."""


@dataclass(frozen=True)
class Hostile:
    """An answer; `meant`: somewhere in it is a document that says something of the campaign."""

    data: bytes
    meant: bool


texts = st.text(st.characters(codec="latin-1"), max_size=20) | st.sampled_from(
    ["", "0", "-1", "9" * 5000, "gzip", "identity", "chunked", "close", TOKEN, "a" * 9000, "\t \t",
     "text/html", "application/json", "application/json; charset=utf-16", "Sun, 99 Nov 1994",
     "application/json; charset*=x'y'z", "charset=;;=", "limit=1;r=-1", '"default";r=50;t=1e9',
     "\u00e9", "https://[broken", "86400", "Thu, 01 Jan 1970 00:00:00 GMT"]
)  # fmt: skip
names = st.sampled_from(
    ["Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Age", "Date",
     "Retry-After", "Location", "Connection", "Server", "Via", "X-RateLimit-Limit", "RateLimit",
     "RateLimit-Policy", "X-RateLimit-Reset", "Set-Cookie", "Trailer", "Upgrade", "X" * 300]
) | st.text(st.characters(codec="latin-1"), max_size=8)  # fmt: skip
statuses = st.sampled_from(
    ["200 OK", "200", "200 D\u00e9j\u00e0", "204 No", "206 Part", "301 Moved", "304 Not", "401 No",
     "402 Pay", "403 No", "404 Gone", "406 Hm", "407 Proxy", "410 Gone", "429 Slow", "451 Law",
     "500 Oh", "503 Busy", "101 Up", "099 No", "1000 Big", "-1 No", "2\u00b20 OK", ""]
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just(TOKEN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(
    ["id", "campaign_id", "host", "port", "is_enabled", "last_test_at", "last_test_success", "x"]
)
pages = st.sampled_from(
    [b"", b"<html>Checking your browser</html>", b"null", b"[]", b"{}", b'"ok"', b"[" * 100_000,
     b'{"success": false, "message": "' + TOKEN.encode() + b'"}', b"9" * 100_000, b"\xff" * 99,
     b'{"code": "\\ud800", "message": "' + b"a" * 100_000 + b'"}', b"\x1f\x8b\x08garbage",
     b" " * (1024 * 1024 + 1)]
) | st.binary(max_size=60)  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bool]:
    """Return a body, and whether it is made of a document that says something."""
    if draw(st.booleans()):
        return draw(pages), False
    changed: Mapping[str, Any] = draw(st.dictionaries(fields, values, max_size=2))
    kind = draw(st.sampled_from(["config", "null", "listing"]))
    document: dict[str, Any] = config(**changed)
    if kind != "config":
        row = {"id": "c-1", "name": "n", "status": "active", **changed}
        document["data"] = None if kind == "null" else [row]
    return json.dumps(document).encode(), True


@st.composite
def answers(draw: st.DrawFn) -> Hostile:
    """Return an answer: a head, in which most is right, a body, and what noise did to them."""
    body, meant = draw(bodies())
    status = draw(st.just("200 OK") | statuses)
    head = [("Content-Type", "application/json")] if draw(st.integers(0, 3)) else []
    head += draw(st.lists(st.tuples(names, texts), max_size=3))
    framing = draw(st.sampled_from(["length", "length", "chunked", "none", "short", "long"]))
    if framing == "chunked":
        head.append(("Transfer-Encoding", "chunked"))
        body = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n" if body else b"0\r\n\r\n"
    elif framing != "none":
        wrong = {"short": -3, "long": 3}.get(framing, 0)
        head.append(("Content-Length", str(len(body) + wrong)))
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in head), "", ""]
    data = "\r\n".join(lines).encode("latin-1", "replace") + body
    for _ in range(draw(st.integers(0, 2))):
        at, noise = draw(st.integers(0, min(len(data), 2000))), draw(st.binary(max_size=4))
        data = data[:at] + noise + data[at + draw(st.integers(0, 4)) :]
    return Hostile(data, meant)


def check(hostile: Hostile) -> None:
    """Assert what holds of any answer, for each kind of call, through the client on a socket."""
    asyncio.run(_check(hostile))


async def _check(hostile: Hostile) -> None:
    async with (
        Misbehaving(replies_and_closes(hostile.data)) as server,
        client_of(server.url, timeout=TIMEOUT) as client,
    ):
        async with asyncio.timeout(3 * TIMEOUT + SLACK):
            seen = (await client.fetch_sftp(CAMPAIGN)).observation
            page = (await client.fetch_campaigns(1)).observation
            said = (await client.run_test(CAMPAIGN, TIMEOUT)).observation
    for one in (seen, page, said):
        assert TOKEN not in repr(one)
        if isinstance(one, PollError):
            assert isinstance(one.reason, Reason)
            assert one.detail.isprintable()
            assert len(one.detail) <= 200
    # What says nothing of the campaign is no config, no end of one, no list and no test.
    assert isinstance(seen, PollError | NoConfig | SftpConfig)
    if isinstance(seen, SftpConfig):
        assert hostile.meant
        assert (seen.campaign_id, seen.host.isprintable()) == (CAMPAIGN, True)
    if isinstance(seen, NoConfig):
        assert hostile.meant or b" 404" in hostile.data[:20]
    assert isinstance(page, PollError) or (isinstance(page, Page) and hostile.meant)
    assert isinstance(said, PollError) or (isinstance(said, TestReport) and hostile.meant)
