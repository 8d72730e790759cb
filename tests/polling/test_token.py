"""The token is read again when it may have changed, and a broken file keeps the old one."""

from pathlib import Path

import pytest

from monitor.config import SecretError, TokenSource, load_config
from monitor.polling.settings import Token


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    _write(path, "talq_first\n")
    return path


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def _source(file: Path) -> TokenSource:
    config = file.parent / "monitor.yaml"
    config.write_text(
        f"environments: [{{name: production, token_file: {file}, campaigns: [{{id: c-1}}]}}]\n"
    )
    return load_config(config, {}).environments[0].token_source


def test_a_token_is_read_at_once_without_its_newline(file: Path) -> None:
    token = Token("production", _source(file))
    assert (token.value, token.generation) == ("talq_first", 0)


def test_a_replaced_file_is_another_token_of_the_next_generation(file: Path) -> None:
    token = Token("production", _source(file))
    assert not token.changed()
    _write(file, "talq_second\n")
    assert token.changed()
    assert (token.value, token.generation) == ("talq_second", 1)
    assert not token.changed()


def test_reading_the_same_token_again_counts_as_read(file: Path) -> None:
    token = Token("production", _source(file))
    token.read_again()
    assert (token.value, token.generation) == ("talq_first", 1)


def test_a_file_that_is_gone_keeps_the_old_token(file: Path) -> None:
    token = Token("production", _source(file))
    file.unlink()
    token.read_again()
    assert (token.value, token.generation) == ("talq_first", 1)


def test_a_file_that_is_not_there_at_the_start_is_an_error_that_names_it(file: Path) -> None:
    source = _source(file)
    file.unlink()
    with pytest.raises(SecretError, match=str(file)):
        Token("production", source)
