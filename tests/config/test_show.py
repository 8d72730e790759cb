"""The effective config loads again to the same one; the JSON Schema says what the loader does."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from monitor.config import Config, effective_yaml, json_schema
from monitor.config.yaml import parse
from support.config_files import MINIMAL, an_environment, loaded, problems_of
from support.documents import read_yaml

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
TESTDATA = Path(__file__).parent / "testdata"

FULL = """\
environments:
  - name: production
    token: ${TOKEN}
    base_url: http://127.0.0.1:1/api/
    requests_per_minute: 1000
    budget_share: 0.25
    labels: {team: platform, zip: 01234, empty: ""}
    rules: {stale_test: {max_age: 2d}, token_rejected: {enabled: false}}
    overrides:
      - match: {name: "Retail .*"}
        labels: {tier: two}
        rules: {stale_test: {max_age_by_schedule: {hourly: 1h}}}
      - match: {campaign_type: sales}
        expect_sftp: true
    campaigns:
      - {id: 0123, name: "null"}
      - {id: 6e12345, name: Retail, labels: {team: "yes"}, rules: {missing: {for: 90s}}}
      - {id: "1", name: "Retail: a # b", rules: {stale_test: {max_age: 2d}}}
      - {id: "2", name: "Retail ünï", expect_sftp: false}
    discovery: {include: ["a.*"], statuses: [active, paused], every: 1h, expect_sftp: true}
  - name: staging
    token: ${OTHER}
    campaigns: [{id: 0123}]
rules: {stale_test: {severity: critical}, disabled: {enabled: false}}
polling: {interval: 30s}
alerts:
  remind_every: {info: 1h}
  runbook_url: "https://wiki.example/{rule}"
  file: {path: alerts.jsonl}
notify: {alertmanager: {urls: [http://alertmanager:9093/, "https://am.example/two"]}}
metrics: {campaign_labels: [team]}
web: {listen_address: "[::]:1", allow_unauthenticated: true, external_url: https://m.example/}
state: {path: x.db, retention: 1y}
log: {level: debug, format: console}
"""


def in_force(config: Config) -> tuple[object, ...]:
    """Return what a config comes to, without what says where things came from."""
    environments = [
        (
            one.model_dump(exclude={"rules", "campaigns", "token"}),
            one.resolved,
        )
        for one in config.environments
    ]
    rest = config.model_dump(exclude={"environments", "rules"})
    return (environments, rest)


@pytest.mark.parametrize("text", [MINIMAL, FULL], ids=["minimal", "full"])
def test_the_effective_config_loads_again_to_the_same(tmp_path: Path, text: str) -> None:
    config = loaded(tmp_path, text)
    shown = effective_yaml(config)
    again = shown.replace("<secret>", "${TOKEN}", 1).replace("<secret>", "${OTHER}", 1)
    assert in_force(loaded(tmp_path, again)) == in_force(config)


def test_showing_it_again_shows_the_same(tmp_path: Path) -> None:
    shown = effective_yaml(loaded(tmp_path, FULL))
    again = shown.replace("<secret>", "${TOKEN}", 1).replace("<secret>", "${OTHER}", 1)
    assert effective_yaml(loaded(tmp_path, again)) == shown


@pytest.mark.parametrize("name", ["$${TOKEN}", "$$$${", "a $${ b", "${NAME}"])
def test_what_looks_like_a_variable_is_shown_so_that_it_stays_text(
    tmp_path: Path, name: str
) -> None:
    text = an_environment(f"labels: {{as: '{name}'}}").replace(
        "id: c-1", f"id: c-1, name: '{name}'"
    )
    config = loaded(tmp_path, text, NAME="${X}")
    again = effective_yaml(config).replace("<secret>", "${TOKEN}", 1)
    assert in_force(loaded(tmp_path, again, NAME="${X}")) == in_force(config)
    assert "talq" not in again


def test_a_secret_is_hidden_and_its_source_named(tmp_path: Path) -> None:
    assert "token: <secret>  # from ${TOKEN}" in effective_yaml(loaded(tmp_path, MINIMAL))


def test_a_token_file_is_shown_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("talq_canary")
    (tmp_path / "token").chmod(0o600)
    text = MINIMAL.replace("token: ${TOKEN}", "token_file: token")
    assert f"token_file: {tmp_path / 'token'}" in effective_yaml(loaded(tmp_path, text))


def test_every_default_is_filled_in(tmp_path: Path) -> None:
    shown = effective_yaml(loaded(tmp_path, MINIMAL))
    for default in ("interval: 5m", "max_age: 30d", "heartbeat_every: 5m", "retention: 90d"):
        assert default in shown


def schema_keys(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield every key that the schema has, as a path without indexes."""
    definitions = schema["$defs"]

    def walk(part: Mapping[str, Any], path: str) -> Iterator[str]:
        if "$ref" in part:
            part = definitions[part["$ref"].rpartition("/")[2]]
        for way in part.get("anyOf", ()):
            yield from walk(way, path)
        if "items" in part:
            yield from walk(part["items"], path)
        for key, inner in part.get("properties", {}).items():
            yield f"{path}.{key}".lstrip(".")
            yield from walk(inner, f"{path}.{key}")

    yield from walk(schema, "")


def as_data(path: Path) -> Any:
    return read_yaml(path.read_text())


@pytest.mark.slow
def test_the_schema_is_one_of_2020_12() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


def test_the_schema_takes_the_example() -> None:
    Draft202012Validator(json_schema()).validate(as_data(EXAMPLE))


def test_the_schema_takes_what_the_loader_takes(tmp_path: Path) -> None:
    (tmp_path / "full.yaml").write_text(FULL.replace("id: 0123", "id: '0123'").replace(
        "id: 6e12345", "id: '6e12345'"
    ))  # fmt: skip
    Draft202012Validator(json_schema()).validate(as_data(tmp_path / "full.yaml"))


VISIBLE = """
    bare-number-as-duration duration-in-the-wrong-order empty-environments
    environment-rule-of-a-campaign id-with-a-slash label-with-a-dash label-with-two-underscores
    literal-token no-concurrency no-environments no-name one-reminder-without-unit
    override-without-match section-is-a-word share-above-one unknown-key-at-the-top
    unknown-log-level unknown-rule unknown-severity
"""


@pytest.mark.matrix(fast=5)
@pytest.mark.parametrize("mistake", VISIBLE.split())
def test_the_schema_refuses_what_an_editor_can_see(mistake: str) -> None:
    validator = Draft202012Validator(json_schema())
    assert not validator.is_valid(as_data(TESTDATA / f"{mistake}.yaml"))


def test_every_key_of_the_schema_has_a_help_text() -> None:
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]
    without = [
        (section["title"], key)
        for section in sections
        for key, about in section.get("properties", {}).items()
        if not about.get("description")
    ]
    assert without == []


def keys_in_example() -> set[str]:
    """Return every key of the example as a path without indexes, with those in comments."""
    lines = []
    for line in EXAMPLE.read_text().splitlines():
        indent, mark, rest = line.partition("# ")
        commented_out = mark and not indent.strip() and rest.split(" ")[0].rstrip(":") in COMMENTED
        lines.append(indent + rest if commented_out else line)
    text = "\n".join(lines).replace("token_file: /run/secrets/talkover", "# in place of token")
    document = parse(text.encode(), "example")
    named = {
        tuple(p for p in place if isinstance(p, str))
        for place, _ in document.lines_of(*document.value)
    }
    return {".".join(place) for place in named if place} | {"environments.token_file"}


COMMENTED = {
    "token",
    "ca_file",
    "proxy_credentials_file",
    "external_url",
    "replica_url",
    "url",
    "password_file",
    "migrate",
    "unavailable_after",
    "config_file",
    "path",
    "file",
    "webhooks",
    "apprise",
    "-",
}


def test_the_example_has_every_key_of_the_schema_and_no_other() -> None:
    layers = ("environments.", "environments.campaigns.", "environments.overrides.")
    # At the top level every key of both is there; below they are the same.
    of_rules = tuple(f"{one}{name}." for one in layers for name in ("rules", "connection_tests"))
    labels = (
        "environments.labels.",
        "environments.campaigns.labels.",
        "environments.overrides.labels.",
    )
    expected = {key for key in schema_keys(json_schema()) if not key.startswith(of_rules)}
    found = {key for key in keys_in_example() if not key.startswith(of_rules + labels)}
    assert found == expected


def test_the_example_loads_where_its_secret_is(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("talq_canary")
    (tmp_path / "token").chmod(0o600)
    text = EXAMPLE.read_text().replace("/run/secrets/talkover", str(tmp_path / "token"))
    environment = loaded(tmp_path, text).environments[0]
    assert [target.name for target in environment.resolved.targets.values()] == ["Retail leads", ""]


def test_the_example_has_the_defaults(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    start, end = text.index("environments:"), text.index("polling:")
    config = loaded(tmp_path, text[:start] + MINIMAL + text[end:])
    default = loaded(tmp_path, MINIMAL)
    assert in_force(config) == in_force(default)


def test_it_says_where_the_problem_is_when_the_secret_is_not_there() -> None:
    assert [problem.split(": ")[1] for problem in problems_of(EXAMPLE)] == [
        "environments[0].token_file"
    ]
