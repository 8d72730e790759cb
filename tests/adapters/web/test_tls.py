"""TLS and client certificates, and what happens when the files change under a running server."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import trustme

from monitor.adapters.web import Limits
from monitor.adapters.web.auth import WebConfigReloader
from monitor.config.web_config import read_access
from support.web import HOST, a_program, exchange, listening

GET = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
KEPT = GET.replace(b"Connection: close\r\n", b"")
TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
MUTUAL = TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def folder(tmp_path: Path, ca: trustme.CA) -> Path:
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    put_certificate(tmp_path, ca)
    return tmp_path


def put_certificate(folder: Path, ca: trustme.CA) -> None:
    """Write another certificate of the server, and its key."""
    leaf = ca.issue_cert(HOST)
    leaf.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    (folder / "server.key").touch(mode=0o600)
    leaf.private_key_pem.write_to_path(str(folder / "server.key"))


@asynccontextmanager
async def secure(folder: Path, text: str, limits: Limits | None = None) -> AsyncIterator[int]:
    """Serve by a web config file with this text; gives the port."""
    (folder / "web.yml").write_text(text)
    read = partial(read_access, folder / "web.yml")
    async with listening(a_program(), limits, read) as port:
        yield port


def trusting(ca: trustme.CA, leaf: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """Return a client's TLS that trusts the authority, and shows a certificate."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    if leaf is not None:
        leaf.configure_cert(context)
    return context


async def answer_of(port: int, context: ssl.SSLContext) -> bytes:
    """Return what is answered to a client by TLS; nothing when it is cut off or refused."""
    with suppress(OSError):
        reader, writer = await asyncio.open_connection(HOST, port, ssl=context)
        try:
            writer.write(GET)
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()
    return b""


async def refusal_of(port: int, context: ssl.SSLContext) -> str:
    """Return what TLS tells a client that is refused."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port, ssl=context)
        writer.write(GET)
        return f"nothing but {await reader.read()!r}"
    except ssl.SSLError as refused:
        return str(refused.reason)


async def serial_of(port: int, context: ssl.SSLContext) -> str:
    """Return the serial number of the certificate that the server shows."""
    _, writer = await asyncio.open_connection(HOST, port, ssl=context)
    certificate = writer.get_extra_info("peercert")
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return str(certificate["serialNumber"])


async def test_with_tls_plain_text_is_not_answered(folder: Path, ca: trustme.CA) -> None:
    async with secure(folder, TLS) as port:
        assert b"200 OK" in await answer_of(port, trusting(ca))
        with suppress(OSError):
            assert b"HTTP" not in await exchange(port, GET)


async def test_a_connection_that_is_kept_has_its_next_answer_at_once(
    folder: Path, ca: trustme.CA
) -> None:
    async with secure(folder, TLS) as port:
        reader, writer = await asyncio.open_connection(HOST, port, ssl=trusting(ca))
        async with asyncio.timeout(5):
            for request in (KEPT, KEPT, GET):
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 OK")
                body = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(body))
            assert await reader.read() == b"", "and it is closed where the client asks for it"
        writer.close()


@pytest.mark.matrix(fast=2)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("text", "version", "answered"),
    [
        (TLS, ssl.TLSVersion.TLSv1_1, False),
        (TLS, ssl.TLSVersion.TLSv1_2, True),
        (TLS, ssl.TLSVersion.TLSv1_3, True),
        (TLS + "  min_version: TLS13\n", ssl.TLSVersion.TLSv1_2, False),
        (TLS + "  max_version: TLS12\n", ssl.TLSVersion.TLSv1_3, False),
    ],
)
async def test_tls_is_1_2_or_newer_and_what_the_file_says(
    folder: Path, ca: trustme.CA, text: str, version: ssl.TLSVersion, answered: bool
) -> None:
    context = trusting(ca)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    async with secure(folder, text) as port:
        assert (b"200 OK" in await answer_of(port, context)) is answered


async def test_only_the_ciphers_of_the_file_are_spoken(folder: Path, ca: trustme.CA) -> None:
    suite = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
    text = TLS + f"  max_version: TLS12\n  cipher_suites: [{suite}]\n"
    async with secure(folder, text) as port:
        _, writer = await asyncio.open_connection(HOST, port, ssl=trusting(ca))
        assert writer.get_extra_info("cipher")[0] == "ECDHE-ECDSA-CHACHA20-POLY1305"
        writer.close()


async def test_fault_50_a_client_certificate_of_the_authority_is_let_in(
    folder: Path, ca: trustme.CA
) -> None:
    async with secure(folder, MUTUAL) as port:
        assert b"200 OK" in await answer_of(port, trusting(ca, ca.issue_cert("scraper")))


async def test_fault_50_a_client_certificate_of_another_authority_is_refused(
    folder: Path, ca: trustme.CA
) -> None:
    stranger = trustme.CA().issue_cert("scraper")
    async with secure(folder, MUTUAL) as port:
        assert await answer_of(port, trusting(ca, stranger)) == b""


async def test_fault_50_an_expired_client_certificate_is_refused(
    folder: Path, ca: trustme.CA
) -> None:
    expired = ca.issue_cert("scraper", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    async with secure(folder, MUTUAL) as port:
        assert await answer_of(port, trusting(ca, expired)) == b""


async def test_fault_50_no_client_certificate_is_refused(folder: Path, ca: trustme.CA) -> None:
    async with secure(folder, MUTUAL) as port:
        assert await answer_of(port, trusting(ca)) == b""


async def test_fault_50_a_client_is_told_what_is_wrong_with_its_certificate(
    folder: Path, ca: trustme.CA
) -> None:
    expired = ca.issue_cert("scraper", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    strange = trustme.CA().issue_cert("scraper")
    old = trusting(ca)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with secure(folder, MUTUAL + "  min_version: TLS13\n") as port:
        assert "CERTIFICATE_REQUIRED" in await refusal_of(port, trusting(ca))
        assert "CERTIFICATE_EXPIRED" in await refusal_of(port, trusting(ca, expired))
        assert "UNKNOWN_CA" in await refusal_of(port, trusting(ca, strange))
        assert "PROTOCOL_VERSION" in await refusal_of(port, old)


@pytest.mark.parametrize(("name", "answered"), [("scraper", True), ("::1", True), ("x", False)])
async def test_fault_50_a_client_certificate_must_have_an_allowed_name(
    folder: Path, ca: trustme.CA, name: str, answered: bool
) -> None:
    async with secure(folder, MUTUAL + "  client_allowed_sans: [scraper, '::1']\n") as port:
        answer = await answer_of(port, trusting(ca, ca.issue_cert(name)))
    assert (b"200 OK" in answer) is answered


async def test_a_given_certificate_is_verified_where_none_is_required(
    folder: Path, ca: trustme.CA
) -> None:
    text = MUTUAL.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven")
    async with secure(folder, text) as port:
        assert b"200 OK" in await answer_of(port, trusting(ca))
        stranger = trustme.CA().issue_cert("scraper")
        assert await answer_of(port, trusting(ca, stranger)) == b""


async def test_a_new_certificate_is_shown_without_a_restart(folder: Path, ca: trustme.CA) -> None:
    async with secure(folder, TLS) as port:
        before = await serial_of(port, trusting(ca))
        assert await serial_of(port, trusting(ca)) == before
        put_certificate(folder, ca)
        assert await serial_of(port, trusting(ca)) != before


@pytest.mark.matrix
@pytest.mark.parametrize(
    "text", ["", "tls_server_config: {cert_file: server.pem}", "nonsense", "basic_auth_users: {}"]
)
async def test_a_file_that_becomes_wrong_changes_nothing_and_is_told_once(
    folder: Path, ca: trustme.CA, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with secure(folder, TLS) as port:
        before = await serial_of(port, trusting(ca))
        (folder / "web.yml").write_text(text)
        for _ in range(3):
            assert await serial_of(port, trusting(ca)) == before
    told = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 1
    assert told[0].startswith("the web config file stays as it was: ")


async def test_a_password_that_is_taken_out_of_the_file_is_wrong_on_an_open_connection(
    folder: Path, ca: trustme.CA
) -> None:
    async with secure(folder, TLS) as port:
        reader, writer = await asyncio.open_connection(HOST, port, ssl=trusting(ca))
        metrics = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        writer.write(metrics.replace(b"GET", b"HEAD"))
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        hashed = "$2b$04$" + "." * 53
        (folder / "web.yml").write_text(f"{TLS}basic_auth_users: {{somebody: {hashed}}}\n")
        writer.write(metrics)
        assert b"401 Unauthorized" in await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def test_fault_46_a_handshake_that_is_never_finished_is_cut_off(folder: Path) -> None:
    async with secure(folder, TLS, Limits(header_seconds=0.05)) as port:
        with suppress(ConnectionError):
            assert await exchange(port, b"\x16\x03\x01") == b""


async def test_fault_46_handshakes_that_are_never_finished_lock_nobody_out(
    folder: Path, ca: trustme.CA
) -> None:
    async with secure(folder, TLS, Limits(connections=3)) as port:
        held = [await asyncio.open_connection(HOST, port) for _ in range(10)]
        assert b"200 OK" in await answer_of(port, trusting(ca))
        for _, writer in held:
            writer.close()


def test_a_reload_takes_a_certificate_that_came_after_the_file_had_named_it(
    folder: Path, ca: trustme.CA
) -> None:
    web_file = folder / "web.yml"
    web_file.write_text(TLS)
    config = WebConfigReloader(partial(read_access, web_file))
    before = config.access
    web_file.write_text(TLS.replace("server.", "new."))
    assert config.access is before
    for suffix in ("pem", "key"):
        (folder / f"server.{suffix}").rename(folder / f"new.{suffix}")
    config.reload()
    assert config.access.files == tuple(folder / name for name in ("web.yml", "new.pem", "new.key"))
