"""Field case 11: files that others can read or change. The kind: whoever else can decide, does.

Others must read no secret, which the private key of TLS is as well, and change nothing that says
who is let in or trusted: a secret, the web config file, an authority. Tried: each such key of both
files, with each bit of others, behind a link, on a mount where nobody can change it.
"""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import trustme

from monitor.config import ConfigError, TokenSource, load_config
from monitor.config.secrets import SecretError, is_read_only_memory, not_open
from support.config_files import MINIMAL, written

READ, WRITE = "can be read by others: chmod o= it, ", "can be changed by others: chmod o-w it, "
CONFIG = """\
environments:
  - name: production
    token_file: token
    ca_file: ca.pem
    proxy_url: http://proxy:3128
    proxy_credentials_file: credentials
    campaigns: [{id: c-1}]
notify:
  webhooks: [{url: https://hooks.example, secret_file: secret}]
  apprise: [{url_file: apprise}]
web: {config_file: web.yaml}
"""
SECRETS = ("token", "credentials", "secret", "apprise", "server.key")
OTHERS = ("ca.pem", "clients.pem", "web.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ca = trustme.CA()
    leaf = ca.issue_cert("127.0.0.1")
    contents = {
        "token": b"talq_canary_of_the_token",
        "credentials": b"me:canary_of_a_proxy",
        "secret": b"canary_of_a_webhook",
        "apprise": b"json://canary_of_apprise",
        "server.key": leaf.private_key_pem.bytes(),
        "server.pem": leaf.cert_chain_pems[0].bytes(),
        "ca.pem": ca.cert_pem.bytes(),
        "clients.pem": ca.cert_pem.bytes(),
        "web.yaml": b"tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
        b"  client_ca_file: clients.pem\n  client_auth_type: RequireAndVerifyClientCert\n",
    }
    for name, content in contents.items():
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o640)
    return tmp_path


def refused(folder: Path) -> ConfigError | None:
    try:
        load_config(written(folder, CONFIG), {})
    except ConfigError as error:
        return error
    return None


def test_fault_36_what_only_the_owner_and_the_group_can_touch_is_fine(folder: Path) -> None:
    assert refused(folder) is None


@pytest.mark.parametrize("name", [*SECRETS, *OTHERS])
def test_fault_36_what_others_can_change_is_refused_as_an_open_token_is(
    folder: Path, name: str
) -> None:
    (folder / name).chmod(0o642)
    error = refused(folder)
    assert error is not None
    (problem,) = error.problems
    assert f"{folder / name} {WRITE}" in problem.message
    assert error.exit_code == 77


@pytest.mark.parametrize("name", SECRETS)
def test_fault_36_a_secret_that_others_can_read_is_refused(folder: Path, name: str) -> None:
    (folder / name).chmod(0o644)
    error = refused(folder)
    assert error is not None
    assert f"{folder / name} {READ}" in str(error)
    assert "canary" not in str(error)
    assert error.exit_code == 77


@pytest.mark.parametrize("name", OTHERS)
def test_fault_36_others_may_read_what_is_no_secret(folder: Path, name: str) -> None:
    (folder / name).chmod(0o644)
    assert refused(folder) is None


def test_fault_36_the_mode_that_counts_is_that_of_the_file_behind_a_link(folder: Path) -> None:
    (folder / "server.key").rename(folder / "other.key")
    (folder / "server.key").symlink_to("other.key")
    (folder / "other.key").chmod(0o644)
    assert READ in str(refused(folder))


@pytest.mark.parametrize(("kind", "how", "fine"), [("tmpfs", "ro", True), ("ext4", "ro", False)])
def test_fault_36_a_secret_of_kubernetes_cannot_be_hidden_and_need_not_be(
    tmp_path: Path, kind: str, how: str, fine: bool
) -> None:
    key, mounts = tmp_path / "tls.key", tmp_path / "mountinfo"
    key.write_text("canary")
    key.chmod(0o666)
    device = key.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts.write_text(f"99 22 {number} / /tls {how},relatime shared:9 - {kind} {kind} rw\n")
    assert is_read_only_memory(device, mounts.read_text()) is fine
    with nullcontext() if fine else pytest.raises(SecretError, match="can be read by others"):
        assert not_open(key, 0o7, mounts=mounts) == key
    with nullcontext() if fine else pytest.raises(SecretError, match="can be read by others"):
        assert TokenSource(key, mounts=mounts).read() == "canary"


def test_fault_36_without_anything_else_the_config_itself_may_have_any_mode(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL)
    path.chmod(0o666)
    load_config(path, {"TOKEN": "t"})
