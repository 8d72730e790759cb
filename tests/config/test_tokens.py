"""The tokens of a whole file: each environment its own, and none in any message."""

import traceback
from pathlib import Path

import pytest

from monitor.config import ConfigError, effective_yaml, load_config
from support.config_files import ENVIRON, MINIMAL, loaded, problems_in, written

TWO = """\
environments:
  - {name: a, token_file: one, campaigns: [{id: c}]}
  - {name: b, token_file: two, campaigns: [{id: c}]}
"""


def tokens(folder: Path, mode: int = 0o600, **files: str) -> None:
    for name, content in files.items():
        path = folder / name
        path.write_text(content)
        path.chmod(mode)


def test_two_environments_have_two_tokens(tmp_path: Path) -> None:
    tokens(tmp_path, one="talq_1\n", two="talq_2\n")
    environments = loaded(tmp_path, TWO).environments
    assert [environment.token_source.read() for environment in environments] == ["talq_1", "talq_2"]


def test_one_token_in_two_files_is_told_at_the_second(tmp_path: Path) -> None:
    tokens(tmp_path, one="talq_canary\n", two="talq_canary")
    assert problems_in(tmp_path, TWO) == [
        "3: environments[1].token_file: duplicate token: environments[0] uses it already"
    ]


def test_one_token_in_a_file_and_a_variable_is_found_as_well(tmp_path: Path) -> None:
    tokens(tmp_path, one=ENVIRON["TOKEN"])
    text = TWO.replace("token_file: two", "token: '${TOKEN}'")
    assert "environments[1].token: duplicate token" in problems_in(tmp_path, text)[0]


def test_a_token_that_others_can_read_is_77_when_it_is_all_that_is_wrong(tmp_path: Path) -> None:
    tokens(tmp_path, 0o644, one="talq_1", two="talq_2")
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, TWO), ENVIRON)
    assert caught.value.exit_code == 77
    assert len(caught.value.problems) == 2


def test_with_anything_else_wrong_it_is_78(tmp_path: Path) -> None:
    tokens(tmp_path, 0o644, one="talq_1", two="talq_2")
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, TWO + "log: {level: loud}\n"), ENVIRON)
    assert caught.value.exit_code == 78


def test_tokens_are_looked_at_even_where_keys_are_wrong(tmp_path: Path) -> None:
    tokens(tmp_path, one="", two="talq canary")
    found = problems_in(tmp_path, TWO + "poling: {}\n")
    assert [problem.split(": ")[1] for problem in found] == [
        "environments[0].token_file",
        "environments[1].token_file",
        "poling",
    ]


def test_a_token_file_without_a_path_is_told_of(tmp_path: Path) -> None:
    tokens(tmp_path, one="talq_1")
    assert problems_in(tmp_path, TWO.replace("token_file: two", "token_file: ''")) == [
        "3: environments[1].token_file: expected a path, found ''"
    ]


@pytest.mark.matrix(fast=6)
@pytest.mark.parametrize(
    "wrong",
    [
        "token: talq_canary",
        "token: 'Bearer talq_canary'",
        "token: [talq_canary]",
        "token: {value: talq_canary}",
        "token: canary",
        "token: '${TOKEN}canary'",
        "token: '${NOWHERE:-canary}'",
        "token: &t talq_canary\n    token_file: *t",
        "token_file: talq_canary",
        "tokn: canary",
        "talq_canary: x",
        "token: !secret canary",
        "token: 'canary",
        "token: canary: canary",
        "token: *talq_canary",
        "token: '${talq_canary'",
        'token: "canary\\n"',
        "token: '${TOKEN}'\n    base_url: https://canary@app.example",
        "token: '${TOKEN}'\n    base_url: 'http://app.example/${TOKEN}'",
        "token: '${TOKEN}'\n    requests_per_minute: '${TOKEN}'",
        "token: '${TOKEN}'\n    labels: {campaign_id: '${TOKEN}'}",
        "token: '${TOKEN}'\n    ca_file: '${TOKEN}'",
    ],
)
def test_no_token_is_ever_in_a_message(tmp_path: Path, wrong: str) -> None:
    text = f"environments:\n  - name: a\n    campaigns: [{{id: c}}]\n    {wrong}\n"
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, text), ENVIRON)
    assert "canary" not in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert "canary" not in shown.replace("test_no_token_is_ever_in_a_message", "")


def test_no_token_is_ever_in_a_config(tmp_path: Path) -> None:
    tokens(tmp_path, one="talq_canary")
    config = loaded(tmp_path, TWO.replace("token_file: two", "token: '${TOKEN}'"))
    assert "canary" not in repr(config) + effective_yaml(config)


def test_fault_36_a_variable_may_end_in_a_line_end_as_a_file_may(tmp_path: Path) -> None:
    config = loaded(tmp_path, MINIMAL, TOKEN="talq_canary\n")
    assert config.environments[0].token_source.read() == "talq_canary"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("environments[0].token", MINIMAL),
        ("environments[1].token_file", TWO),
        ("notify.webhooks[0].secret_file", MINIMAL + "notify: {webhooks: [{url: http://h, %s}]}"),
        ("notify.apprise[0].url_file", MINIMAL + "notify: {apprise: [{%s}]}"),
    ],
)
def test_fault_36_config_check_says_where_no_secret_is(tmp_path: Path, key: str, text: str) -> None:
    tokens(tmp_path, one="talq_1\n", two="'canary'", three="'canary'")
    text = text.replace("%s", f"{key.rpartition('.')[2]}: three")
    found = problems_in(tmp_path, text, TOKEN="'canary'" if key.endswith("token") else "talq_2")
    assert [one.split(": ")[1] for one in found] == [key]
    assert found[0].endswith("is in quotes: write it without them")
