"""Whether a config that is read again would be the same: by its bytes and by all that it names."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from monitor.config import Config, load_config, unchanged

FILE = """
environments:
  - name: production
    token_file: token
    ca_file: authority.pem
    proxy_url: http://proxy.example:3128
    proxy_credentials_file: proxy
    campaigns: [{id: c-1}]
notify: {webhooks: [{url: 'https://receiver.example/hook', secret_file: secret}]}
web: {config_file: web.yaml}
alerts: {file: {path: told/alerts.jsonl}}
state: {path: state.db}
"""
WEB = """
tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: clients.pem
"""
READ = (
    "monitor.yaml", "token", "authority.pem", "proxy", "secret", "web.yaml", "server.pem",
    "server.key", "clients.pem",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a config and all that it names."""
    authority = trustme.CA()
    server = authority.issue_cert("monitor.example")
    for name in ("authority.pem", "clients.pem"):
        authority.cert_pem.write_to_path(str(tmp_path / name))
    server.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    server.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    texts = {"token": "talq_1", "proxy": "user:password", "secret": "a-long-secret"}
    for name, text in {**texts, "web.yaml": WEB, "monitor.yaml": FILE}.items():
        (tmp_path / name).write_text(text)
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    (tmp_path / "told").mkdir()
    return tmp_path


def loaded(folder: Path) -> Config:
    return load_config(folder / "monitor.yaml", {})


def _replaced(path: Path) -> None:
    raw, mode = path.read_bytes(), path.stat().st_mode
    path.unlink()
    path.write_bytes(raw)
    path.chmod(mode)


def _made_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _linked_elsewhere(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


CHANGES: dict[str, Callable[[Path], object]] = {
    "it says something else": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "it is empty": lambda path: path.write_bytes(b""),
    "it is gone": Path.unlink,
    "others may read it": lambda path: path.chmod(0o644),
    "others may write it": lambda path: path.chmod(0o602),
    "it is a FIFO": _made_a_fifo,
    "it is a folder": _made_a_folder,
    "it is elsewhere": _linked_elsewhere,
}


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize("name", READ)
def test_a_config_is_another_one_as_soon_as_any_of_its_files_is(folder: Path, name: str) -> None:
    for what, change in CHANGES.items():
        config, raw = loaded(folder), (folder / name).read_bytes()
        assert unchanged(config)
        change(folder / name)
        assert not unchanged(config), what
        if (folder / name).is_dir():
            (folder / name).rmdir()
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(raw)
        (folder / name).chmod(0o600)
        # As it was before, however it came to that: a bad file that is put right.
        assert unchanged(config), what


@pytest.mark.parametrize("name", READ)
def test_a_file_that_is_written_anew_with_the_same_in_it_changes_nothing(
    folder: Path, name: str
) -> None:
    config = loaded(folder)
    _replaced(folder / name)
    os.utime(folder / name, (0, 0))
    assert unchanged(config)


def test_what_the_monitor_writes_itself_changes_nothing(folder: Path) -> None:
    config = loaded(folder)
    (folder / "state.db").write_bytes(b"state")
    (folder / "told" / "alerts.jsonl").write_text("{}\n")
    assert unchanged(config)


def test_a_folder_that_is_gone_for_what_it_writes_is_a_change(folder: Path) -> None:
    config = loaded(folder)
    (folder / "told").rmdir()
    assert not unchanged(config)


def test_a_state_that_leads_elsewhere_is_a_change(folder: Path) -> None:
    config = loaded(folder)
    (folder / "state.db").symlink_to(folder / "token")
    assert not unchanged(config)


def test_of_a_config_whose_secrets_were_not_read_nothing_is_known(folder: Path) -> None:
    (folder / "secret").unlink()
    config = load_config(folder / "monitor.yaml", {}, unread=[])
    assert not unchanged(config)


def test_a_config_out_of_a_pipe_is_never_the_same(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"environments: [{name: a, token: '${T}', campaigns: [{id: c-1}]}]\n")
    os.close(writer)
    config = load_config(Path(f"/dev/fd/{reader}"), {"T": "talq_1"})
    os.close(reader)
    assert not unchanged(config)
