"""A flag of `run` beats the file; and nobody reaches the web without a password."""

from pathlib import Path

import pytest

from monitor.config import Config, ConfigError, effective_yaml, load_config
from support.config_files import ENVIRON, MINIMAL, written

OPEN = MINIMAL + "web: {listen_address: 0.0.0.0:10022}\n"


def with_flags(folder: Path, text: str = MINIMAL, **flags: str | Path | None) -> Config:
    """Return the config with flags, written with _ for all that parts their words."""
    named = {f"--{flag.replace('__', '-').replace('_', '.')}": flags[flag] for flag in flags}
    return load_config(written(folder, text), ENVIRON, named)


def problems_with(folder: Path, text: str = MINIMAL, **flags: str | Path | None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        with_flags(folder, text, **flags)
    assert caught.value.exit_code == 78
    return [
        str(problem).removeprefix(f"{folder}/config.yaml:") for problem in caught.value.problems
    ]


def test_without_flags_nothing_changes(tmp_path: Path) -> None:
    assert with_flags(tmp_path) == with_flags(tmp_path, log_level=None, state_path=None)


def test_flags_beat_the_file(tmp_path: Path) -> None:
    changed = with_flags(
        tmp_path,
        MINIMAL + "log: {level: error}\nweb:\n",
        web_listen__address="[::1]:8080",
        log_level="debug",
        log_format="console",
        state_path=Path("/var/lib/x.db"),
        web_external__url="https://monitor.example/",
    )
    assert changed.web.listen_address == ("::1", 8080)
    assert (changed.log.level, changed.log.format) == ("debug", "console")
    assert changed.state.path == Path("/var/lib/x.db")
    assert changed.web.external_url == "https://monitor.example"
    assert changed.environments == with_flags(tmp_path).environments


def test_flags_are_shown_as_well(tmp_path: Path) -> None:
    assert "level: debug" in effective_yaml(with_flags(tmp_path, log_level="debug"))


def test_paths_of_flags_start_where_they_were_typed_and_those_of_the_file_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    text = MINIMAL + "state: {path: state/x.db}\n"
    assert with_flags(tmp_path, text).state.path == tmp_path / "state" / "x.db"
    flagged = with_flags(tmp_path, text, state_path=Path("x.db"))
    assert flagged.state.path == tmp_path / "elsewhere" / "x.db"


def test_what_a_flag_says_is_not_expanded(tmp_path: Path) -> None:
    assert with_flags(tmp_path, state_path=Path("/a/${TOKEN}")).state.path == Path("/a/${TOKEN}")


def test_flags_that_have_no_meaning_are_reported_all_at_once(tmp_path: Path) -> None:
    found = problems_with(
        tmp_path, web_listen__address="x", log_level="loud", web_external__url="/x"
    )
    assert found == [
        "command line: --web.listen-address: expected host:port, [::1]:port or :port, "
        "with a port up to 65535, found 'x'",
        "command line: --web.external-url: expected a URL such as https://app.talkover.ai/api/v1",
        "command line: --log.level: expected one of debug, info, warning, error, found 'loud'",
    ]


@pytest.mark.parametrize(
    "address", [":10022", "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "host.example:1"]
)
def test_a_flag_cannot_open_the_web_to_all(tmp_path: Path, address: str) -> None:
    (found,) = problems_with(tmp_path, web_listen__address=address)
    assert found.startswith("command line: --web.listen-address: listens beyond loopback")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.1.2.3:0"])
def test_this_machine_needs_no_password(tmp_path: Path, address: str) -> None:
    assert str(with_flags(tmp_path, web_listen__address=address).web.listen_address) == address


def test_whoever_wants_it_open_has_to_say_so(tmp_path: Path) -> None:
    text = MINIMAL + "web: {listen_address: ':10022', allow_unauthenticated: true}\n"
    assert with_flags(tmp_path, text).web.allow_unauthenticated


def test_a_flag_can_close_what_the_file_leaves_open(tmp_path: Path) -> None:
    config = with_flags(tmp_path, OPEN, web_listen__address="127.0.0.1:1")
    assert config.web.listen_address.host == "127.0.0.1"


def test_problems_of_flags_and_of_the_file_are_reported_together(tmp_path: Path) -> None:
    found = problems_with(tmp_path, MINIMAL + "polling: {interval: 5}\n", log_format="xml")
    assert [problem.split(": ")[1] for problem in found] == ["--log.format", "polling.interval"]


def test_what_a_flag_replaces_is_not_looked_at(tmp_path: Path) -> None:
    text = MINIMAL + "log: {level: loud, format: xml}\n"
    assert problems_with(tmp_path, text, log_level="info") == [
        "5: log.format: expected one of json, console, found 'xml'",
    ]


def test_a_flag_for_a_section_that_is_none_is_no_second_problem(tmp_path: Path) -> None:
    assert problems_with(tmp_path, MINIMAL + "log: 5\n", log_level="info") == [
        "5: log: expected keys and values, found '5'"
    ]
