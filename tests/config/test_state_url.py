"""The state on PostgreSQL, as the config names it: all is said, and nothing secret or unsafe is."""

import os
from pathlib import Path

import pytest

from monitor.config import Config, ConfigError, effective_yaml, load_config

HEAD = "environments: [{name: production, token: '${TOKEN}', campaigns: [{id: c-1}]}]\n"
SAFE = "postgresql://sftp_monitor@db.example:5432/sftp_monitor?sslmode=verify-full"


def load(folder: Path, *state: str) -> Config:
    """Return the config with these lines in its section `state`."""
    path = folder / "config.yaml"
    path.write_text(HEAD + "state:\n" + "".join(f"  {line}\n" for line in state))
    return load_config(path, {"TOKEN": "talq_0123456789abcdef"})


def problems(folder: Path, *state: str, code: int = os.EX_CONFIG) -> str:
    with pytest.raises(ConfigError) as raised:
        load(folder, *state)
    assert raised.value.exit_code == code
    (problem,) = raised.value.problems
    return str(problem)


@pytest.mark.parametrize(
    "url",
    [
        SAFE,
        f"{SAFE}&sslrootcert=/etc/ca.pem&sslcert=/etc/c.pem&sslkey=/etc/k.pem&connect_timeout=3",
        f"{SAFE}&sslrootcert=system",
        "postgres://me@localhost/monitor",
        "postgresql://me@127.0.0.1:6432/monitor",
        "postgresql://me@[::1]:6432/monitor",
        "postgresql://me@[::1]/monitor",
        "postgresql://me@%2Frun%2Fpostgresql/monitor",
        "postgresql://me@a.example,b.example:5433/m?sslmode=verify-full"
        "&target_session_attrs=read-write",
    ],
)
def test_a_url_that_is_safe_is_taken_as_it_stands(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, f"url: '{url}'").state.url == url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://db.example/monitor", "expected a URL such as postgresql://"),
        ("postgresql://db.example/monitor?sslmode=verify-full", "with user, host and database"),
        ("postgresql://me@db.example?sslmode=verify-full", "with user, host and database"),
        ("postgresql://me@/monitor", "with user, host and database"),
        ("postgresql://me@localhost,/monitor", "with user, host and database"),
        ("postgresql:///monitor", "with user, host and database"),
        ("postgresql://me@localhost/monitor#x", "with user, host and database"),
        ("postgresql://me:canary@localhost/monitor", "no password in the URL"),
        ("postgresql://me:@localhost/monitor", "no password in the URL"),
        ("postgresql://me@localhost/monitor?password=canary", "no 'password' in the URL"),
        ("postgresql://me@localhost/monitor?host=db.example", "no 'host' in the URL"),
        ("postgresql://me@localhost/monitor?hostaddr=192.0.2.1", "no 'hostaddr' in the URL"),
        ("postgresql://me@localhost/monitor?service=x", "no 'service' in the URL"),
        ("postgresql://me@localhost/monitor?options=-c%20x", "no 'options' in the URL"),
        ("postgresql://me@localhost/monitor?%70assword=canary", "no 'password' in the URL"),
        ("postgresql://me@db.example/monitor", "expected sslmode=verify-full"),
        ("postgresql://me@db.example/monitor?sslmode=require", "expected sslmode=verify-full"),
        ("postgresql://me@db.example/monitor?sslmode=verify-ca", "expected sslmode=verify-full"),
        ("postgresql://me@localhost,db.example/monitor", "expected sslmode=verify-full"),
        ("postgresql://me@localhost%2Cdb.example/monitor", "expected sslmode=verify-full"),
        ("postgresql://me@a.example,b.example/m?sslmode=verify-full", "target_session_attrs"),
        (f"{SAFE}&sslrootcert=ca.pem", "expected an absolute path as sslrootcert"),
    ],
)
def test_a_url_that_would_not_do_says_what_was_expected(
    tmp_path: Path, url: str, expected: str
) -> None:
    problem = problems(tmp_path, f"url: '{url}'")
    assert "config.yaml:3: state.url: " in problem
    assert expected in problem
    assert "canary" not in problem


def test_a_state_is_in_one_place(tmp_path: Path) -> None:
    problem = problems(tmp_path, "path: state.db", f"url: '{SAFE}'")
    assert "expected either path or url" in problem


@pytest.mark.parametrize("line", ["password_file: p", "migrate: false", "unavailable_after: 5m"])
def test_what_is_for_postgresql_needs_its_url(tmp_path: Path, line: str) -> None:
    (tmp_path / "p").write_text("secret\n")
    (tmp_path / "p").chmod(0o600)
    assert "expected state.url as well" in problems(tmp_path, line)


def test_the_password_is_checked_as_a_token_is(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("canary\n")
    file.chmod(0o644)
    problem = problems(tmp_path, f"url: '{SAFE}'", "password_file: password", code=os.EX_NOPERM)
    assert "chmod o=" in problem
    assert "canary" not in problem


def test_what_is_shown_is_a_config_again_and_has_no_password(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("canary-5ecret\n")
    file.chmod(0o600)
    state = (f"url: '{SAFE}'", f"password_file: {file}", "migrate: false", "retention: 30d")
    shown = effective_yaml(load(tmp_path, *state))
    assert SAFE in shown
    assert str(file) in shown
    assert "canary" not in shown
    assert "path" not in shown.partition("state:")[2].partition("log:")[0].replace(str(file), "")
