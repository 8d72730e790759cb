"""`--url`: its scheme, its variable, and a password that stands on no command line.

The kind: what every command that asks a daemon shares. Tried: host and port, IPv6, a user in it,
the variable, a file; one that others can read, that is not there, that is a folder.
"""

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from monitor.cli.options import daemon_url
from monitor.config import SecretError


@click.command()
@daemon_url
def shown(url: str | None) -> None:
    """Print the URL as a command gets it."""
    click.echo(url)


def url_of(*arguments: str | Path, **environ: str) -> str:
    """Return the URL that a command gets; raises what is wrong with it."""
    ended = CliRunner(env=environ).invoke(
        shown, [str(one) for one in arguments], standalone_mode=False
    )
    if ended.exception is not None:
        raise ended.exception
    return ended.output.strip()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "url"
    path.write_text("me:a%3Ab@monitor.example:1/\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("127.0.0.1:10022", "http://127.0.0.1:10022"),
        ("localhost:10022", "http://localhost:10022"),
        ("[::1]:10022", "http://[::1]:10022"),
        ("monitor.example", "http://monitor.example"),
        ("me:first@monitor.example", "http://me:first@monitor.example"),
        ("http://monitor.example/", "http://monitor.example/"),
        ("https://monitor.example", "https://monitor.example"),
        ("ftp://monitor.example", "ftp://monitor.example"),
    ],
)
def test_http_is_assumed_where_there_is_no_scheme(given: str, expected: str) -> None:
    assert url_of("--url", given) == expected
    assert url_of(SFTP_MONITOR_URL=given) == expected


def test_nothing_is_nothing() -> None:
    assert url_of() == url_of(SFTP_MONITOR_URL="") == ""


def test_the_flag_beats_the_variable() -> None:
    assert url_of("--url", "one:1", SFTP_MONITOR_URL="other:2") == "http://one:1"


def test_a_url_with_its_password_comes_out_of_a_file(file: Path) -> None:
    expected = "http://me:a%3Ab@monitor.example:1/"
    assert url_of("--url", f"@{file}") == url_of(SFTP_MONITOR_URL=f"@{file}") == expected


def test_a_file_that_others_can_read_or_that_is_not_there_is_refused(file: Path) -> None:
    file.chmod(0o644)
    with pytest.raises(SecretError) as told:
        url_of("--url", f"@{file}")
    assert told.value.exit_code == os.EX_NOPERM
    assert "a%3Ab" not in str(told.value)
    for other in (f"@{file}.none", "@"):
        with pytest.raises(SecretError, match=r"cannot be read|is not a regular file"):
            url_of("--url", other)
