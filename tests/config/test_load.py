"""Files that are no config at all (fault 34), and what a right one gives by default."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.config import Config, ConfigError, Problem, load_config
from monitor.core.model import DAY, HOUR, MINUTE, Severity
from support.config_files import (
    ENVIRON,
    MINIMAL,
    loaded,
    meaning,
    problems_in,
    problems_of,
    written,
)

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


def test_fault_34_a_missing_file_is_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.yaml"
    with pytest.raises(ConfigError) as caught:
        load_config(path, ENVIRON)
    message = "cannot be read: No such file or directory"
    assert caught.value.problems == (Problem(str(path), None, "", message),)
    assert str(caught.value) == f"{path}: {message}"
    assert caught.value.exit_code == 78


def test_fault_34_a_folder_is_one_problem(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == ["cannot be read: Is a directory"]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user who may read no more than anybody, where the tests run as root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_fault_34_an_unreadable_file_is_one_problem(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL)
    path.chmod(0)
    with as_nobody():
        assert problems_of(path) == ["cannot be read: Permission denied"]


def test_fault_34_a_path_that_is_none_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: not a path"):
        load_config(tmp_path / "a\0b", ENVIRON)


def test_fault_34_an_endless_file_is_one_problem() -> None:
    assert problems_of(Path("/dev/zero")) == ["is longer than 64 MiB"]


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"# caf\xe9\n", "5: is not UTF-8"),
        ("# é".encode("utf-16"), "5: is not UTF-8"),
        (b"log: {level: \0}\n", "5: not YAML: the character U+0000 is not allowed"),
        (b"log: " + b"[" * 10_000, "5: the file is nested more than 64 deep"),
    ],
)
def test_fault_34_bytes_that_are_no_yaml_are_one_problem(
    tmp_path: Path, raw: bytes, problem: str
) -> None:
    assert problems_in(tmp_path, MINIMAL.encode() + raw) == [problem]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert problems_in(tmp_path, b"\xef\xbb\xbf" + MINIMAL.encode()) == []


def test_fault_34_an_error_of_several_problems_tells_them_line_by_line(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "log: {level: loud, format: xml}\npoling: {}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, ENVIRON)
    assert str(caught.value).splitlines() == [
        f"{path}:5: log.level: expected one of debug, info, warning, error, found 'loud'",
        f"{path}:5: log.format: expected one of json, console, found 'xml'",
        f"{path}:6: poling: unknown key; did you mean polling?",
    ]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return loaded(tmp_path, MINIMAL)


def test_polling_has_the_defaults_of_the_contract(config: Config) -> None:
    polling = config.polling
    assert (polling.interval, polling.unhealthy_interval) == (5 * MINUTE, MINUTE)
    assert (polling.idle_interval, polling.timeout) == (30 * MINUTE, 10)
    assert (polling.probe_interval, polling.token_probe_interval) == (30, 5 * MINUTE)
    assert polling.concurrency == 8


def test_alerts_have_the_defaults_of_the_contract(config: Config) -> None:
    assert config.alerts.remind_every == {
        Severity.CRITICAL: 4 * HOUR,
        Severity.WARNING: DAY,
        Severity.INFO: 0,
    }
    assert config.alerts.heartbeat_every == 5 * MINUTE
    assert config.alerts.runbook_url.endswith("/docs/runbooks/{rule}.md")


def test_the_rest_has_the_defaults_of_the_contract(config: Config) -> None:
    assert str(config.web.listen_address) == "127.0.0.1:10022"
    assert not config.web.allow_unauthenticated
    assert config.web.external_url is None
    assert (config.state.path, config.state.retention) == (
        Path("sftp-monitor.db").absolute(),
        90 * DAY,
    )
    assert (config.log.level, config.log.format) == ("info", "json")
    assert config.metrics.campaign_labels == ()


def test_an_environment_has_the_defaults_of_the_contract(config: Config) -> None:
    (environment,) = config.environments
    assert environment.base_url == "https://app.talkover.ai/api/v1"
    assert (environment.requests_per_minute, environment.budget_share) == (100, 0.5)
    assert environment.budget_per_minute == 50
    assert (environment.ca_file, environment.labels) == (None, {})
    assert environment.resolved.unreadable_after == 15 * MINUTE
    assert list(environment.resolved.rules) == [
        "api_unreachable",
        "token_rejected",
        "budget_insufficient",
        "api_refusing",
    ]
    assert not environment.discovery.enabled
    assert environment.discovery.statuses == ("active",)


def test_a_campaign_has_every_rule_with_its_default(config: Config) -> None:
    target = config.environments[0].resolved.targets["c-1"]
    assert (target.environment, target.campaign_id, target.name) == ("production", "c-1", "")
    assert target.listed
    assert list(target.rules) == [
        "missing", "never_tested", "disabled", "failed_test", "stale_test", "future_test",
        "unreadable", "changed_untested",
    ]  # fmt: skip
    assert target.rules["missing"].severity is Severity.CRITICAL


def test_a_rule_about_tests_is_there_only_where_they_are_on(tmp_path: Path) -> None:
    off, on = (
        loaded(tmp_path, MINIMAL + f"connection_tests: {{enabled: {word}}}\n").environments[0]
        for word in ("false", "true")
    )
    found = [
        (set(one.resolved.rules) | set(one.resolved.targets["c-1"].rules)) for one in (off, on)
    ]
    assert found[1] - found[0] == {"path_inaccessible", "tests_failing", "tests_suspended"}


def test_systemd_says_where_the_state_is(tmp_path: Path) -> None:
    config = loaded(tmp_path, MINIMAL, STATE_DIRECTORY="/var/lib/sftp-monitor:/var/lib/other")
    assert config.state.path == Path("/var/lib/sftp-monitor/sftp-monitor.db")


def test_the_file_beats_systemd(tmp_path: Path) -> None:
    text = MINIMAL + "state: {path: here.db}\n"
    assert loaded(tmp_path, text, STATE_DIRECTORY="/var/lib/x").state.path == tmp_path / "here.db"


def test_secrets_and_authorities_are_looked_for_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("talq_canary")
    (tmp_path / "token").chmod(0o600)
    text = MINIMAL.replace("token: ${TOKEN}", "token_file: token")
    environment = loaded(tmp_path, text).environments[0]
    assert environment.token_source.file == tmp_path / "token"
    assert environment.token_source.read() == "talq_canary"


def test_every_relative_path_starts_at_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "secret").write_text("canary")
    (tmp_path / "etc" / "secret").chmod(0o600)
    (tmp_path / "etc" / "web.yaml").write_text("{}")
    monkeypatch.chdir(tmp_path)
    text = MINIMAL.replace("token: ${TOKEN}", "token_file: secret") + (
        "alerts: {file: {path: alerts.jsonl}}\nstate: {path: state.db}\n"
        "web: {config_file: web.yaml}\n"
        "notify: {webhooks: [{url: 'https://a.example', secret_file: secret}],"
        " apprise: [{url_file: secret}]}\n"
    )
    written(tmp_path / "etc", text)
    config = load_config(Path("etc/config.yaml"), ENVIRON)
    (webhook,), (apprise,) = config.notify.webhooks, config.notify.apprise
    assert [
        config.environments[0].token_source.file,
        config.alerts.file.path,
        config.state.path,
        config.web.config_file,
        webhook.secret_file.file,
        apprise.url_file.file,
    ] == [
        tmp_path / "etc" / name
        for name in ("secret", "alerts.jsonl", "state.db", "web.yaml", "secret", "secret")
    ]


def test_the_digest_is_of_the_bytes_of_the_file(tmp_path: Path) -> None:
    digests = [
        loaded(tmp_path, text, TOKEN=token).digest
        for text, token in (
            (MINIMAL, "talq_1"),
            (MINIMAL, "talq_2"),
            (MINIMAL + "# a comment\n", "talq_1"),
        )
    ]
    assert digests[0] == digests[1] != digests[2]
    assert digests[0] == sha256(MINIMAL.encode()).digest()


def test_secrets_of_receivers_are_looked_at_even_where_keys_are_wrong(tmp_path: Path) -> None:
    text = MINIMAL + (
        "notify:\n  webhooks: [{url: 'https://a.example', secret_file: nowhere}]\n"
        "  apprise: [{url_file: nowhere}]\npoling: {}\n"
    )
    assert [problem.split(": ")[1] for problem in problems_in(tmp_path, text)] == [
        "notify.webhooks[0].secret_file",
        "notify.apprise[0].url_file",
        "poling",
    ]


def test_no_secret_is_in_a_config_that_is_printed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("canary")
    (tmp_path / "secret").chmod(0o600)
    text = MINIMAL + (
        "notify: {webhooks: [{url: 'https://a.example/canary', secret_file: secret}]}\n"
    )
    config = loaded(tmp_path, text)
    assert config.notify.webhooks[0].url.endswith("canary")
    assert "canary" not in repr(config) + str(config)


def test_sections_without_a_value_are_as_if_left_out(tmp_path: Path) -> None:
    text = MINIMAL + "".join(
        f"{section}:\n" for section in ("polling", "rules", "alerts", "web", "state", "log")
    )
    assert meaning(loaded(tmp_path, text)) == meaning(loaded(tmp_path, MINIMAL))


def test_lists_and_labels_without_a_value_are_empty(tmp_path: Path) -> None:
    text = MINIMAL + "    labels:\n    overrides:\n    discovery: {include: , exclude: }\n"
    assert meaning(loaded(tmp_path, text)) == meaning(loaded(tmp_path, MINIMAL))


def test_optional_keys_without_a_value_are_as_if_left_out(tmp_path: Path) -> None:
    text = MINIMAL + "    token_file:\n    ca_file: ~\nweb: {external_url: null}\n"
    assert meaning(loaded(tmp_path, text)) == meaning(loaded(tmp_path, MINIMAL))


def test_what_a_variable_holds_takes_the_type_of_its_key(tmp_path: Path) -> None:
    text = MINIMAL + '    requests_per_minute: "${N}"\npolling: {interval: "${I:-2m}"}\n'
    config = loaded(tmp_path, text, N="250")
    assert config.environments[0].requests_per_minute == 250
    assert config.polling.interval == 2 * MINUTE


def test_a_value_of_a_variable_is_never_yaml(tmp_path: Path) -> None:
    text = MINIMAL.replace("id: c-1", 'id: c-1, name: "${NAME}"')
    for name in ("a: b", "[x]", "null", "", "12:30", "*alias", "# no"):
        assert (
            loaded(tmp_path, text, NAME=name).environments[0].resolved.targets["c-1"].name == name
        )


def test_a_wrong_value_of_a_variable_is_not_repeated(tmp_path: Path) -> None:
    text = MINIMAL + 'log: {level: "${SECRET}"}\n'
    assert problems_in(tmp_path, text, SECRET="canary") == [
        "5: log.level: expected one of debug, info, warning, error, found '${SECRET}'"
    ]


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fault_34_no_bytes_at_all_break_it(tmp_path: Path, raw: bytes) -> None:
    assert problems_in(tmp_path, raw) != []


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fault_34_no_damage_to_a_right_file_breaks_it(tmp_path: Path, data: st.DataObject) -> None:
    text = EXAMPLE.read_text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    put = data.draw(st.text(alphabet="{}[]&*!|>'\"%@`#,:-? \n\t\\ax0$", max_size=6))
    problems_in(tmp_path, text[:start] + put + text[end:])


def with_campaigns(letter: str) -> str:
    campaigns = [{"id": f"{letter}-{n}"} for n in range(100)]
    environment = {"name": "production", "token": "${TOKEN}", "campaigns": campaigns}
    return json.dumps({"environments": [environment]}, indent=1)


OLD, NEW = with_campaigns("old"), with_campaigns("new")


def rename_over(path: Path, text: str) -> None:
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    fresh.rename(path)


def swap_folders(path: Path, text: str) -> None:
    """Do what the kubelet does with a ConfigMap: the file is a link through a link."""
    folder = path.with_name("..new" if text == NEW else "..old")
    folder.mkdir(exist_ok=True)
    (folder / path.name).write_text(text)
    link = path.with_name("..fresh")
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.rename(path.with_name("..data"))
    if not path.is_symlink():
        path.symlink_to(f"..data/{path.name}")


def write_in_parts(path: Path, text: str) -> None:
    with path.open("w") as file:
        for start in range(0, len(text), 500):
            file.write(text[start : start + 500])
            file.flush()


@pytest.mark.matrix
@pytest.mark.parametrize("swap", [rename_over, swap_folders, write_in_parts])
def test_fault_35_while_a_file_is_changed_all_the_time_only_whole_ones_are_taken(
    tmp_path: Path, swap: Callable[[Path, str], None]
) -> None:
    path, done = tmp_path / "config.yaml", threading.Event()
    swap(path, OLD)

    def change() -> None:
        while not done.is_set():
            swap(path, NEW)
            swap(path, OLD)

    thread = threading.Thread(target=change)
    thread.start()
    seen = set()
    try:
        for _ in range(20):
            with suppress(ConfigError):
                found = load_config(path, ENVIRON).environments[0].resolved.targets
                seen.add(tuple(found))
    finally:
        done.set()
        thread.join()
    assert seen <= {tuple(f"{letter}-{n}" for n in range(100)) for letter in ("old", "new")}


class Meanwhile(dict[str, str]):
    """An environment in which something happens each time that it is looked at."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__(ENVIRON)
        self._happens = happens

    def get(self, name: str, default: Any = None) -> Any:
        self._happens()
        return super().get(name, default)


@pytest.mark.parametrize("swap", [rename_over, swap_folders, write_in_parts])
def test_fault_35_a_file_that_was_changed_while_it_was_read_is_refused(
    tmp_path: Path, swap: Callable[[Path, str], None]
) -> None:
    path = tmp_path / "config.yaml"
    swap(path, OLD)
    with pytest.raises(ConfigError, match="was changed while it was read: reload it again"):
        load_config(path, Meanwhile(lambda: swap(path, NEW)))


def test_a_pipe_may_be_read_though_reading_changes_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(MINIMAL,))
    writer.start()
    assert load_config(pipe, ENVIRON).environments[0].name == "production"
    writer.join()
