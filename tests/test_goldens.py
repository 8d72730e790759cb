"""What users see stays as it is, to the letter, until somebody decides otherwise.

`UPDATE_GOLDENS=1 pytest tests/test_goldens.py` writes the files anew; the difference is for
docs/decisions.md. Folders and secrets are not part of them.
"""

import os
import shutil
import sys
from pathlib import Path

import click
import pytest
import trustme

from monitor import cli

ROOT = Path(__file__).parents[1]
GOLDENS = Path(__file__).parent / "goldens"
TESTDATA = Path(__file__).parent / "config" / "testdata"
ENVIRON = {"TOKEN": "talq_canary_1", "SAME": "talq_canary_1", "OTHER": "talq_canary_2", "EMPTY": ""}
SHOWN = ("minimal", "example", "discovery", "everything", "environments")


class Terminal:
    """The command line, in this process."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
    ) -> None:
        for name in ("STATE_DIRECTORY", "CREDENTIALS_DIRECTORY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {**ENVIRON, "COLUMNS": "80"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(folder)
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self._folder = folder

    def run(self, *arguments: str | Path) -> str:
        """Return the exit code and what was printed."""
        self._monkeypatch.setattr(sys, "argv", ["sftp-monitor", *map(str, arguments)])
        code = cli._main()
        said = self._capsys.readouterr()
        text = f"exit {int(code)}\n{said.out}{said.err}"
        for path, name in ((TESTDATA, "<testdata>"), (self._folder, "<folder>"), (ROOT, "<root>")):
            text = text.replace(str(path), name)
        return text


@pytest.fixture
def terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Terminal:
    return Terminal(monkeypatch, capsys, tmp_path)


def compare(name: str, text: str) -> None:
    """Compare with a golden file, or write it where that is asked for."""
    path = GOLDENS / name
    assert "canary" not in text
    if os.environ.get("UPDATE_GOLDENS"):
        path.write_text(text)
    assert text == path.read_text()


def test_the_json_schema_of_the_config(terminal: Terminal) -> None:
    compare("config-schema.txt", terminal.run("config", "schema"))


def test_every_rule_as_it_is_explained(terminal: Terminal) -> None:
    compare("rules.txt", terminal.run("rules"))


def test_the_help_of_every_command(terminal: Terminal) -> None:
    def helps(command: click.Command, *names: str) -> str:
        text = f"$ sftp-monitor {' '.join((*names, '--help'))}\n{terminal.run(*names, '--help')}\n"
        for name, inner in sorted(getattr(command, "commands", {}).items()):
            text += helps(inner, *names, name)
        return text

    ours = [helps(cli.loaded(name), name) for name in sorted(cli.COMMANDS)]
    compare("help.txt", "".join([helps(cli.app), *ours]))


def files_beside(folder: Path) -> None:
    """Put there what the shown configs refer to."""
    trustme.CA().cert_pem.write_to_path(str(folder / "ca.pem"))
    shutil.copy(ROOT / "web-config.example.yaml", folder / "web-config.yaml")
    for name in ("token", "hook-secret", "mail-url"):
        (folder / name).write_text(f"canary-{name}\n")
        (folder / name).chmod(0o600)


@pytest.mark.parametrize("name", SHOWN)
def test_the_effective_config(terminal: Terminal, tmp_path: Path, name: str) -> None:
    files_beside(tmp_path)
    source = ROOT / "config.example.yaml" if name == "example" else GOLDENS / f"show/{name}.yaml"
    config = tmp_path / "config.yaml"
    config.write_text(source.read_text().replace("/run/secrets/talkover", "token"))
    compare(f"show/{name}.txt", terminal.run("config", "show", config))


@pytest.mark.slow
def test_what_is_said_of_every_bad_file(terminal: Terminal) -> None:
    checked = "\n".join(
        terminal.run("config", "check", path) for path in sorted(TESTDATA.glob("*.yaml"))
    )
    compare("config-check.txt", checked)
