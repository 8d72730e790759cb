"""A state has files of its own: `config check` compares them with all that the config names.

Of this kind: the config file itself, tokens, secrets, certificates and keys, the alert file, the
web config file and what it names; by their name, by another way to it or through a symbolic link;
and what would lie beside the state (SQLite's log, the lock, the key of operators' commands).
"""

from pathlib import Path

import pytest

from support.config_files import loaded, problems_in

TEXT = """\
environments:
  - {name: production, token_file: token, campaigns: [{id: c-1}]}
alerts: {file: {path: alerts.jsonl}}
notify:
  webhooks: [{url: "https://hooks.example.com/", secret_file: signing}]
web: {config_file: web.yaml}
state: {path: STATE}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in (("token", "talq_canary_0123456789"), ("signing", "s" * 40)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "web.yaml").write_text("basic_auth_users: {}\n")
    (tmp_path / "web.yaml").chmod(0o600)
    (tmp_path / "link").symlink_to("token")
    (tmp_path / "again").symlink_to(tmp_path)
    return tmp_path


USED = ["config.yaml", "token", "./token", "link", "again/token", "signing", "web.yaml",
        "alerts.jsonl"]  # fmt: skip


@pytest.mark.parametrize("state", USED)
def test_a_state_in_the_place_of_another_file_is_refused(folder: Path, state: str) -> None:
    (problem,) = problems_in(folder, TEXT.replace("STATE", state))
    assert "state.path: expected a file of its own, found one that would take the place of" in (
        problem
    )


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal", ".lock", ".key"])
def test_what_lies_beside_a_state_is_its_own_too(folder: Path, suffix: str) -> None:
    text = TEXT.replace("STATE", "state").replace("alerts.jsonl", f"state{suffix}")
    (problem,) = problems_in(folder, text)
    assert f"would take the place of {folder}/state{suffix}" in problem


@pytest.mark.parametrize("state", ["state.db", "token.db", "alerts.jsonl.db"])
def test_any_other_name_is_free(folder: Path, state: str) -> None:
    assert loaded(folder, TEXT.replace("STATE", state)).state.path == folder / state
