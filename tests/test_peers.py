"""A test that needs a real peer says what it does where there is none."""

from pathlib import Path

import pytest

from support.peers import require_peer


def install(folder: Path, command: str) -> str:
    program = folder / command
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(program)


def test_a_peer_is_found_on_the_path(tmp_path: Path) -> None:
    program = install(tmp_path, "promtool")
    assert require_peer("promtool", {"PATH": str(tmp_path)}) == program


def test_a_peer_is_found_under_the_name_debian_gives_it(tmp_path: Path) -> None:
    program = install(tmp_path, "prometheus-alertmanager")
    assert require_peer("alertmanager", {"PATH": str(tmp_path), "CI": "true"}) == program


def test_a_missing_peer_skips_the_test_on_a_desk(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match="promtool is not installed"):
        require_peer("promtool", {"PATH": str(tmp_path)})


def test_a_missing_peer_fails_the_test_on_ci(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="promtool is not installed"):
        require_peer("promtool", {"PATH": str(tmp_path), "CI": "true"})


def test_a_peer_that_is_not_in_the_list_is_a_mistake_of_the_test() -> None:
    with pytest.raises(KeyError):
        require_peer("grafana")
