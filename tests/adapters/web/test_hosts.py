"""Names that lead here: on loopback alone, only those that nobody else can make lead here.

The kind: a browser on this machine as somebody else's hand. Every path is behind the check, the
probes and POSTs as well; `test_no_page_can_reload` has what a page says of itself.
"""

import asyncio
import socket
from contextlib import suppress

import pytest

from monitor.adapters.web.auth import SECURITY_HEADERS
from support.web import a_program, exchange, listening, serving

OURS = [
    "127.0.0.1:10022", "127.8.9.10", "[::1]:10022", "[::1]", "10.0.0.7", "localhost", "LOCALHOST:1",
    "localhost.", "monitor.example", "monitor.example:443", "MONITOR.example.",
]  # fmt: skip
OTHERS = [
    "evil.example", "evil.example:10022", "localhost.evil.example", "127.0.0.1.evil.example",
    "evil.localhost", "127.0.0.1@evil.example", "xmonitor.example", "0x7f.1", "[evil]", "[::1",
    "http://", "?", "evil.example#127.0.0.1", "evil.example/127.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("host", OURS)
async def test_an_address_localhost_and_our_own_url_are_answered(host: str) -> None:
    async with serving(external_url="https://monitor.example/sftp") as client:
        assert (await client.get("/metrics", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", OTHERS)
async def test_fault_49_a_name_that_somebody_else_made_lead_here_is_421(host: str) -> None:
    async with serving(external_url="https://monitor.example/sftp") as client:
        answer = await client.get("/api/v1/campaigns", headers={"Host": host})
    assert answer.status_code in {400, 421}
    if answer.status_code == 421:
        expected = "expected localhost, an address or the host of web.external_url as Host"
        assert answer.json() == {"error": expected}
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready", "/nowhere"])
async def test_that_holds_for_every_path(path: str) -> None:
    async with serving() as client:
        assert (await client.get(path, headers={"Host": "evil.example"})).status_code == 421


@pytest.mark.parametrize("path", ["/-/reload", "/api/v1/tests/suspend"])
async def test_and_for_what_changes_something(path: str) -> None:
    async with serving() as client:
        assert (await client.post(path, headers={"Host": "evil.example"})).status_code == 421


async def test_a_program_that_says_no_host_is_answered() -> None:
    async with listening(a_program()) as port:
        answer = await exchange(port, b"GET /-/healthy HTTP/1.0\r\n\r\n")
    assert answer.split(b" ", 2)[1] == b"200"


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
async def test_beyond_loopback_a_scrape_by_the_name_of_a_service_is_answered(host: str) -> None:
    async with listening(a_program(), host=host) as port:
        request = b"GET /-/healthy HTTP/1.1\r\nHost: monitor.svc\r\nConnection: close\r\n\r\n"
        answer = await exchange(port, request)
    assert answer.split(b" ", 2)[1] == b"200"


async def test_both_families_are_listened_on_at_one_port() -> None:
    """As other programs take `:port` and `[::]:port`; any port (0) is the same for both."""
    request = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with listening(a_program(), host="") as port:
        for address in own_addresses():
            reader, writer = await asyncio.open_connection(address, port)
            writer.write(request)
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
            writer.close()


def own_addresses() -> set[str]:
    """Return this machine's address in each family that it has."""
    found = set()
    for address in ("127.0.0.1", "::1"):
        with suppress(OSError), socket.create_server((address, 0), family=family_of(address)):
            found.add(address)
    return found


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET
