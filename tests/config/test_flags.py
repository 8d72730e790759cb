"""A flag of `run` beats the file; and nobody reaches the web without a password."""

from pathlib import Path

import pytest

from monitor.config import (
    Config,
    ConfigError,
    LogFormat,
    LogLevel,
    load_config,
    with_overrides,
)
from support.config_files import ENVIRON, MINIMAL, loaded, written

OPEN = MINIMAL + "web: {listen_address: 0.0.0.0:10022}\n"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return loaded(tmp_path, MINIMAL)


def test_without_flags_nothing_changes(config: Config) -> None:
    assert with_overrides(config) == config
    assert with_overrides(config, log_level=None, state_path=None, listen_address=None) == config


def test_flags_beat_the_file(config: Config) -> None:
    changed = with_overrides(
        config,
        listen_address="[::1]:8080",
        log_level="debug",
        log_format="console",
        state_path=Path("/var/lib/x.db"),
        external_url="https://monitor.example/",
    )
    assert (changed.web.listen_host, changed.web.listen_port) == ("::1", 8080)
    assert (changed.log.level, changed.log.format) == (LogLevel.DEBUG, LogFormat.CONSOLE)
    assert changed.state.path == Path("/var/lib/x.db")
    assert changed.web.external_url == "https://monitor.example"
    assert changed.environments == config.environments


def test_flags_that_have_no_meaning_are_told_all_at_once(config: Config) -> None:
    with pytest.raises(ConfigError) as caught:
        with_overrides(config, listen_address="x", log_level="loud", external_url="/x")
    assert [str(problem) for problem in caught.value.problems] == [
        "command line: --web.listen-address: expected host:port, [::1]:port or :port, "
        "with a port up to 65535",
        "command line: --web.external-url: expected a URL such as https://app.talkover.ai/api/v1",
        "command line: --log.level: expected one of debug, info, warning, error",
    ]
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    "address", [":10022", "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "host.example:1"]
)
def test_a_flag_cannot_open_the_web_to_all(config: Config, address: str) -> None:
    with pytest.raises(ConfigError, match=r"--web\.listen-address: expected a loopback host"):
        with_overrides(config, listen_address=address)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.1.2.3:0"])
def test_this_machine_needs_no_password(config: Config, address: str) -> None:
    host = with_overrides(config, listen_address=address).web.listen_host
    assert address.startswith((host, f"[{host}]"))


def test_whoever_wants_it_open_has_to_say_so(tmp_path: Path) -> None:
    text = MINIMAL + "web: {listen_address: :10022, allow_unauthenticated: true}\n"
    assert loaded(tmp_path, text).web.allow_unauthenticated


def test_a_flag_can_close_what_the_file_leaves_open(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, OPEN), ENVIRON, listen_address="127.0.0.1:1")
    assert config.web.listen_host == "127.0.0.1"


def test_problems_of_flags_and_of_the_file_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, OPEN), ENVIRON, log_format="xml")
    assert [problem.key for problem in caught.value.problems] == [
        "--log.format",
        "web.listen_address",
    ]
