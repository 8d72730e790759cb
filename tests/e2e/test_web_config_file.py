"""The real daemon with TLS and a password, and the commands that ask it."""

from pathlib import Path

import bcrypt
import pytest
import trustme

from support.command import Finished, finished, running, write_config
from support.fake_platform import fake_platform


@pytest.mark.slow
async def test_fault_50_a_daemon_by_tls_with_a_password_is_asked_by_url(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    leaf = ca.issue_cert("127.0.0.1")
    (tmp_path / "server.pem").touch(mode=0o600)
    leaf.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    web_file = tmp_path / "web.yml"
    write_users(web_file, alice="first")
    async with fake_platform("c-1") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        flags = ("--config.file", config, "--web.config.file", web_file)
        async with running("run", *flags) as daemon:
            url = (await daemon.record(event="started"))["url"]
            assert url.startswith("https://127.0.0.1:")

            async def ask(credentials: str) -> Finished:
                asked = url.replace("https://", f"https://{credentials}")
                trusted = str(tmp_path / "ca.pem")
                return await finished("events", "--url", asked, SSL_CERT_FILE=trusted)

            assert (await ask("alice:first@")).code == 0
            write_users(web_file, alice="second")
            refused = await ask("alice:first@")
            assert refused.code == 74
            assert f"error: {url} answered 401 Unauthorized" in refused.err
            assert (await ask("alice:second@")).code == 0
            assert not [line for line in daemon.out if "first" in line or "second" in line]


def write_users(path: Path, **passwords: str) -> None:
    """Write a web config file with TLS and these users."""
    lines = [
        "tls_server_config: {cert_file: server.pem, key_file: server.pem}",
        "basic_auth_users:",
    ]
    for user, password in passwords.items():
        lines.append(f"  {user}: {bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}")
    path.write_text("\n".join(lines) + "\n")
