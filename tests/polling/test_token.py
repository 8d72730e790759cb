"""The token is read again when it may have changed, and a broken file keeps the old one."""

from pathlib import Path

import pytest

from monitor.config import SecretError, load_config
from monitor.polling import Api, Settings
from monitor.polling.settings import Connection
from support.virtual import FakeApi, VirtualClock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    _write(path, "talq_first\n")
    return path


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def _settings(file: Path) -> Settings:
    path = file.parent / "monitor.yaml"
    path.write_text(
        f"environments: [{{name: production, token_file: {file}, campaigns: [{{id: c-1}}]}}]\n"
    )
    config = load_config(path, {})
    return Settings(config.environments[0], config.polling, config.alerts)


def _connect(_settings: Settings, token: str) -> Api:
    return FakeApi(VirtualClock(), tokens=[token])


def _used(connection: Connection) -> list[str]:
    assert isinstance(connection.api, FakeApi)
    return connection.api.tokens


def test_a_token_is_read_at_once_without_its_newline(file: Path) -> None:
    connection = Connection(_settings(file), _connect)
    assert (connection.token, connection.generation) == ("talq_first", 0)


def test_a_replaced_file_is_another_token_of_the_next_generation(file: Path) -> None:
    connection = Connection(_settings(file), _connect)
    assert not connection.token_changed()
    _write(file, "talq_second\n")
    assert connection.token_changed()
    assert (connection.token, connection.generation) == ("talq_second", 1)
    assert _used(connection) == ["talq_first", "talq_second"]
    assert not connection.token_changed()


def test_reading_the_same_token_again_counts_as_read(file: Path) -> None:
    connection = Connection(_settings(file), _connect)
    connection.read_again()
    assert (connection.token, connection.generation) == ("talq_first", 1)


def test_a_file_that_is_gone_keeps_the_old_token(file: Path) -> None:
    connection = Connection(_settings(file), _connect)
    file.unlink()
    connection.read_again()
    assert (connection.token, connection.generation) == ("talq_first", 1)


def test_a_file_that_is_not_there_at_the_start_is_an_error_that_names_it(file: Path) -> None:
    settings = _settings(file)
    file.unlink()
    with pytest.raises(SecretError, match=str(file)):
        Connection(settings, _connect)
