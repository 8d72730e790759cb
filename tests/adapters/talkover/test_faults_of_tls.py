"""Fault 33: TLS, and what the environment of the process would have us do."""

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from monitor.config import json_schema
from monitor.core.model import PollError, Reason, SftpConfig
from monitor.tls import client_context
from support.misbehaving import (
    CAMPAIGN,
    TOKEN,
    Misbehaving,
    answer,
    asked,
    client_of,
    config,
    fetched,
    hangs,
    here,
    replies,
)

OK = answer(config())


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return path


def serving(cert: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    return context


async def test_fault_33_a_certificate_of_the_ca_file_is_trusted(
    ca: trustme.CA, ca_file: Path
) -> None:
    got = await asked(replies(OK), serving(ca.issue_cert("127.0.0.1")), ca_file=ca_file)
    assert isinstance(got.observation, SftpConfig)


async def test_fault_33_an_unknown_authority_is_a_tls_error(ca: trustme.CA) -> None:
    got = await asked(replies(OK), serving(ca.issue_cert("127.0.0.1")))
    told = "unable to get local issuer certificate"
    assert got.observation == PollError(Reason.TLS_ERROR, told)


async def test_fault_33_the_ca_file_of_another_authority_is_a_tls_error(ca_file: Path) -> None:
    stranger = serving(trustme.CA().issue_cert("127.0.0.1"))
    assert await reason_of_tls(stranger, ca_file) is Reason.TLS_ERROR


async def reason_of_tls(context: ssl.SSLContext, ca_file: Path) -> Reason | None:
    got = await asked(replies(OK), context, ca_file=ca_file)
    return getattr(got.observation, "reason", None)


async def test_fault_33_an_expired_certificate_is_a_tls_error(
    ca: trustme.CA, ca_file: Path
) -> None:
    old = ca.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    got = await asked(replies(OK), serving(old), ca_file=ca_file)
    assert got.observation == PollError(Reason.TLS_ERROR, "certificate has expired")


async def test_fault_33_a_certificate_for_another_host_is_a_tls_error(
    ca: trustme.CA, ca_file: Path
) -> None:
    async with Misbehaving(replies(OK), serving(ca.issue_cert("other.example"))) as server:
        url = f"https://api.example:{server.port}"
        seen = await fetched(url, ca_file=ca_file, lookup=here)
    assert isinstance(seen, PollError)
    assert seen.reason is Reason.TLS_ERROR
    assert seen.detail.startswith("Hostname mismatch, certificate is not valid for 'api.example'")
    assert server.requests == []


async def test_fault_33_tls_1_1_is_a_tls_error() -> None:
    # What a server that knows nothing newer answers: a fatal alert, "protocol version" (70).
    async with Misbehaving(hangs, greeting=bytes([21, 3, 1, 0, 2, 2, 70])) as server:
        seen = await fetched(f"https://127.0.0.1:{server.port}")
    assert seen == PollError(Reason.TLS_ERROR, "tlsv1 alert protocol version")


async def test_fault_33_a_port_that_speaks_no_tls_is_a_tls_error() -> None:
    async with Misbehaving(hangs, greeting=b"SSH-2.0-OpenSSH_9.2\r\n") as server:
        seen = await fetched(f"https://127.0.0.1:{server.port}")
    assert seen == PollError(Reason.TLS_ERROR, "wrong version number")


async def test_fault_33_a_hung_handshake_times_out(ca_file: Path) -> None:
    async with Misbehaving(hangs) as server:
        url = f"https://127.0.0.1:{server.port}"
        seen = await fetched(url, ca_file=ca_file, timeout=0.05)
    assert seen == PollError(Reason.TIMEOUT, "no complete answer within 0.05 s")


def test_fault_33_verification_is_always_on_and_needs_tls_1_2(ca_file: Path) -> None:
    for context in (client_context(None), client_context(ca_file)):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.keylog_filename is None


def test_fault_33_no_key_of_the_config_turns_verification_off() -> None:
    parts = json_schema()["$defs"].values()
    keys = {key for part in parts for key in part.get("properties", {})}
    assert "ca_file" in keys
    assert not [key for key in keys if re.search("verif|insecure|tls|ssl|trust", key)]


def test_contexts_that_trust_the_same_are_one(ca: trustme.CA, ca_file: Path) -> None:
    copy = ca_file.with_name("copy.pem")
    copy.write_bytes(ca_file.read_bytes())
    assert client_context(ca_file) is client_context(copy)
    assert client_context(None) is client_context(None)
    assert client_context(ca_file) is not client_context(None)


def test_a_ca_file_that_changed_is_read_again(ca: trustme.CA, ca_file: Path) -> None:
    before = client_context(ca_file)
    trustme.CA().cert_pem.write_to_path(str(ca_file))
    assert client_context(ca_file) is not before


@pytest.mark.parametrize("content", ["", "no certificate", "\u2603"])
def test_a_ca_file_without_a_certificate_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(content, "utf-8")
    with pytest.raises(ValueError, match="has no certificates in PEM format"):
        client_context(path)


def test_a_ca_file_may_name_its_authorities_in_any_script(ca_file: Path) -> None:
    ca_file.write_text("# Autorit\u00e9\n" + ca_file.read_text(), "utf-8")
    assert client_context(ca_file).cert_store_stats()["x509_ca"] == 1


def test_a_ca_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a file"):
        client_context(tmp_path / "missing.pem")


async def test_fault_33_sslkeylogfile_is_ignored(
    ca: trustme.CA, ca_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    got = await asked(replies(OK), serving(ca.issue_cert("127.0.0.1")), ca_file=ca_file)
    assert isinstance(got.observation, SftpConfig)
    assert not keys.exists()


async def test_fault_33_proxies_and_netrc_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    async with Misbehaving(replies(OK)) as proxy, Misbehaving(replies(OK)) as server:
        monkeypatch.setenv("NETRC", str(netrc))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        await fetched(server.url)
    assert proxy.connections == 0
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("cookie", ["session=1; Path=/", "a=b; Domain=127.0.0.1", "=;;=\x01"])
async def test_fault_33_cookies_are_not_kept(cookie: str) -> None:
    data = answer(config(), headers={"Set-Cookie": cookie})
    async with Misbehaving(replies(data)) as server, client_of(server.url) as client:
        for _ in range(2):
            await client.fetch_sftp(CAMPAIGN)
    assert len(server.requests) == 2
    assert not any("cookie" in request.headers for request in server.requests)
