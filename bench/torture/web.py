"""Slow and greedy clients on the real daemon, while Prometheus scrapes and campaigns are polled.

Whatever is slow holds a connection and opens it anew when it is cut off. Each scrape comes on a
connection of its own, for those are what a full house would keep out.
"""

import argparse
import asyncio
import ssl
import statistics
import sys
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, pairwise
from pathlib import Path

import bcrypt
import trustme

from support.command import running, write_config
from support.fake_platform import FakePlatform, fake_platform
from torture.figures import Figure

HOST = "127.0.0.1"
CAMPAIGNS = [f"c-{number}" for number in range(10)]
INTERVAL = 1.0
"""Seconds between two polls of a campaign, as the config of these tests has it."""

SLOW = 300
DRIP = 1.0
"""Seconds between two bytes of a slow client; so long does it also stay away when cut off."""

SCRAPES_A_SECOND = 10
BURST = 1000
"""Scrapes, spread evenly over one second."""

LIMIT = 1.0
"""Seconds: what the 99th percentile of the scrapes and the latest poll must not reach."""

PLAIN = (b"", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ", b"GET /metr",
         b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n")  # fmt: skip
HANDSHAKES = (b"", b"\x16\x03\x01\x02\x00\x01")
"""What slow clients begin with: requests, and TLS, that are never completed."""

USER, PASSWORD = "prometheus", "torture"


@dataclass
class Target:
    """A daemon under attack: its port, how to scrape it, and the platform that it polls.

    Of the last scrapes: the seconds each took, how many failed, and how late the latest poll was.
    """

    port: int
    platform: FakePlatform
    tls: ssl.SSLContext | None = None
    took: list[float] = field(default_factory=list)
    failed: int = 0
    late: float = 0.0

    async def scrape(self) -> None:
        """Scrape once; take down the seconds that took, or that it failed."""
        password = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = (
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Authorization: Basic {password}\r\n\r\n"
        )
        loop = asyncio.get_running_loop()
        began, answer = loop.time(), b""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(30), connection(self.port, self.tls) as (reader, writer):
                writer.write(request.encode())
                answer = await reader.read()
        self.took.append(loop.time() - began)
        self.failed += not (answer.startswith(b"HTTP/1.1 200 OK\r\n") and b"sftp_monitor" in answer)

    async def scrapes(self, a_second: int, seconds: float) -> None:
        """Scrape evenly for so long, without waiting for one answer before the next scrape."""
        self.took, self.failed = [], 0
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(round(a_second * seconds)):
                await asyncio.sleep(began + number / a_second - loop.time())
                group.create_task(self.scrape())
        self.late = self._latest_poll(began)

    async def scrapes_under_attack(self, openings: Sequence[bytes], seconds: float) -> None:
        """Scrape as Prometheus does, while slow clients with these openings hold connections."""
        async with attacked(self.port, openings):
            await self.scrapes(SCRAPES_A_SECOND, seconds)

    @property
    def p99(self) -> float:
        """The 99th percentile of the seconds that the last scrapes took."""
        return statistics.quantiles(self.took, n=100)[98]

    def _latest_poll(self, since: float) -> float:
        worst = 0.0
        for campaign in CAMPAIGNS:
            # Until now, so that a poll that is still to come counts as well.
            at = [*self.platform.asked_for(campaign), asyncio.get_running_loop().time()]
            gaps = (after - before for before, after in pairwise(at) if after > since)
            worst = max(worst, max(gaps) - INTERVAL)
        return worst


@asynccontextmanager
async def connection(
    port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect, and leave no trace of it; raises OSError where that fails."""
    reader, writer = await asyncio.open_connection(HOST, port, ssl=tls)
    try:
        yield reader, writer
    finally:
        writer.close()


async def hold(port: int, opening: bytes, connected: asyncio.Event) -> None:
    """Be a slow client for ever: begin, go on a byte at a time, and come again when cut off."""
    while True:
        with suppress(OSError):
            async with connection(port) as (reader, writer):
                connected.set()
                writer.write(opening)
                while not await answered(reader):
                    writer.write(b"a" if opening else b"")
        await asyncio.sleep(DRIP)


async def answered(reader: asyncio.StreamReader) -> bool:
    """Wait until the next drip is due; return whether the server answers, or hangs up, before."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DRIP):
            await reader.read(1024)
            return True
    return False


@asynccontextmanager
async def attacked(port: int, openings: Sequence[bytes]) -> AsyncIterator[None]:
    """Hold as many slow connections as there are slow clients; every one was connected."""
    connected = [asyncio.Event() for _ in range(SLOW)]
    clients = [
        asyncio.create_task(hold(port, opening, event))
        for opening, event in zip(cycle(openings), connected, strict=False)
    ]
    try:
        # Only a full house is worth measuring.
        async with asyncio.timeout(30):
            for event in connected:
                await event.wait()
        yield
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


@asynccontextmanager
async def target(folder: Path, secure: bool) -> AsyncIterator[Target]:
    """Run the daemon, by TLS and with a password if it is to be `secure`; polls have begun."""
    context, flags = None, []
    if secure:
        authority = trustme.CA()
        write_web_config(folder, authority)
        context = ssl.create_default_context()
        authority.configure_trust(context)
        flags = ["--web.config.file", str(folder / "web.yml")]
    async with fake_platform(*CAMPAIGNS) as platform:
        config = write_config(folder, platform, CAMPAIGNS)
        async with running("run", "--config.file", config, *flags) as process:
            url = (await process.record(event="started"))["url"]
            await platform.until(lambda: all(len(platform.asked_for(c)) > 1 for c in CAMPAIGNS))
            yield Target(int(url.rpartition(":")[2]), platform, context)


def write_web_config(folder: Path, authority: trustme.CA) -> None:
    """Write a web config file with a certificate of this authority and one user."""
    leaf = authority.issue_cert(HOST)
    leaf.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    (folder / "server.key").touch(mode=0o600)
    leaf.private_key_pem.write_to_path(str(folder / "server.key"))
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
    (folder / "web.yml").write_text(
        "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"
        f"basic_auth_users: {{{USER}: {hashed}}}\n"
    )


async def slow_clients(seconds: float, secure: bool, folder: Path) -> list[Figure]:
    """Return what scrapes and polls had to suffer from slow clients."""
    how = "TLS handshakes" if secure else "requests"
    async with target(folder, secure) as one:
        await one.scrapes_under_attack(HANDSHAKES if secure else PLAIN, seconds)
    report(how, one)
    asked, by = len(one.took), "by TLS with a password" if secure else "in plain text"
    held = f"{SLOW} clients hold unfinished {how} for {seconds:g} s, and come again when cut off"
    return [
        Figure(
            f"Slow clients do not keep Prometheus out, {by}",
            f"{held}; {SCRAPES_A_SECOND} scrapes a second, each on a new connection",
            f"p99 of /metrics {one.p99:.3f} s, longest {max(one.took):.3f} s; "
            f"{one.failed} of {asked} failed",
            one.p99 < LIMIT and one.failed == 0,
        ),
        late_polls(f"Slow clients delay no poll by more than a second, {by}", held, one),
    ]


async def greedy_clients(folder: Path) -> list[Figure]:
    """Return what scrapes and polls had to suffer from a burst of scrapes, and from its wake."""
    async with target(folder, secure=False) as one:
        await one.scrapes(BURST, 1.0)
        report("scrapes", one)
        how = f"{BURST:,} scrapes within a second, each on a new connection"
        polls = late_polls("A burst of scrapes delays no poll by more than a second", how, one)
        told = f"{BURST - one.failed:,} of {BURST:,} scrapes answered, p99 {one.p99:.3f} s"
        await one.scrapes(SCRAPES_A_SECOND, 5.0)
    return [
        Figure(polls.promise, how, f"{polls.figure}; {told}", polls.kept),
        Figure(
            "After a burst of scrapes all is as ever",
            how,
            f"{one.failed} of {len(one.took)} scrapes failed, longest {max(one.took):.3f} s; "
            f"the latest poll {one.late:.3f} s late",
            one.failed == 0 and max(one.took) < LIMIT and one.late <= LIMIT,
        ),
    ]


def late_polls(promise: str, how: str, one: Target) -> Figure:
    """Return the figure for the latest poll during the last scrapes."""
    late = one.late
    told = (
        f"{len(CAMPAIGNS)} campaigns polled every {INTERVAL:g} s; the latest poll {late:.3f} s late"
    )
    return Figure(promise, how, told, late <= LIMIT)


def report(what: str, one: Target) -> None:
    """Say how far we are."""
    print(f"{what}: {len(one.took)} scrapes, p99 {one.p99:.3f} s", file=sys.stderr)


def main(argv: Sequence[str]) -> list[Figure]:
    """Attack: unfinished requests and handshakes for `--seconds` each, then a burst of scrapes."""
    parser = argparse.ArgumentParser(prog="torture web")
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args(argv).seconds
    figures: list[Figure] = []
    for attack in (
        partial(slow_clients, seconds, False),
        partial(slow_clients, seconds, True),
        greedy_clients,
    ):
        with tempfile.TemporaryDirectory() as folder:
            figures += asyncio.run(attack(Path(folder)))
    return figures
