"""Field case 9: a secret where it is shown. The kind: what one key hides, another one shows.

A value that equals or contains a secret of this config is refused at every key that is none for
secrets, whichever secret it is and however it came there: by its variable, by another one with the
same value, or pasted. And since nobody knows what other variables hold, `config show` has
references where the file has them.
"""

from pathlib import Path

import pytest

from monitor.config import ConfigError, effective_yaml, load_config
from support.config_files import MINIMAL, an_environment, loaded, problems_in, written

SECRETS = {
    "token_file": "talq_canary_a_file",
    "credentials": "canary-user:canary-password",
    "password": "canary-password",
    "webhook": "canary-of-a-webhook",
    "apprise": "pover://canary@apprise",
    "variable": "talq_canary_b_variable",
}
TOLD = "holds a secret of this config, and others see what is here"
FILE = """\
environments:
  - name: a
    token_file: token_file
    proxy_url: http://proxy:3128
    proxy_credentials_file: credentials
    campaigns: [{{id: c-1}}]
  - name: b
    token: ${{VARIABLE}}
    campaigns: [{{id: c-1}}]
    labels: {{team: {}}}
notify:
  webhooks: [{{url: https://hooks.example, secret_file: webhook}}]
  apprise: [{{url_file: apprise}}]
"""
OF_ENVIRONMENTS = {
    "labels.team": "labels: {team: '%s'}",
    "overrides[0].labels.team": "overrides: [{match: {name: x}, labels: {team: '%s'}}]",
    "overrides[0].match.name": "overrides: [{match: {name: '%s'}}]",
    "discovery.include[0]": "discovery: {include: ['%s']}",
    "base_url": "base_url: 'https://app.example/%s'",
    "proxy_url": "proxy_url: 'https://proxy.example/%s'",
}
OF_CAMPAIGNS = {"name": "name: '%s'", "labels.team": "labels: {team: '%s'}"}
OTHERS = {
    "links.campaign_url": "links: {campaign_url: 'https://r.example/{campaign_id}/%s'}",
    "alerts.runbook_url": "alerts: {runbook_url: 'https://r.example/{rule}/%s'}",
    "alerts.file.path": "alerts: {file: {path: '%s'}}",
    "web.external_url": "web: {external_url: 'https://me.example/%s'}",
    "web.operators[0]": "web: {operators: ['%s']}",
    "state.path": "state: {path: '%s'}",
    "notify.alertmanager.urls[0]": "notify: {alertmanager: {urls: ['http://am.example/%s']}}",
}
PLACES = (
    {f"environments[0].{key}": an_environment(line) for key, line in OF_ENVIRONMENTS.items()}
    | {
        f"environments[0].campaigns[0].{key}": MINIMAL.replace("id: c-1", f"id: c-1, {part}")
        for key, part in OF_CAMPAIGNS.items()
    }
    | {key: f"{MINIMAL}{line}\n" for key, line in OTHERS.items()}
)


def told(found: list[str], value: str) -> list[str]:
    assert value not in "".join(found)
    return [key for _, key, message in (one.split(": ", 2) for one in found) if message == TOLD]


@pytest.mark.parametrize("written_as", ["${TOKEN}", "${SAME}", "talq_canary_1", "x${TOKEN}y"])
@pytest.mark.parametrize("place", PLACES)
def test_fault_38_no_key_that_is_shown_takes_a_token(
    tmp_path: Path, place: str, written_as: str
) -> None:
    found = problems_in(tmp_path, PLACES[place].replace("%s", written_as))
    assert told(found, "talq_canary_1") == [place]


@pytest.mark.parametrize("secret", SECRETS)
def test_fault_38_it_may_be_any_secret_of_the_file(tmp_path: Path, secret: str) -> None:
    for name, content in SECRETS.items():
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(content + "\n")
    value = SECRETS[secret]
    found = problems_in(tmp_path, FILE.format("'${X}'"), VARIABLE=SECRETS["variable"], X=value)
    assert told(found, value) == ["environments[1].labels.team"]
    assert problems_in(tmp_path, FILE.format("x"), VARIABLE=SECRETS["variable"]) == []


def test_fault_38_a_flag_is_no_way_either(tmp_path: Path) -> None:
    path = written(tmp_path, an_environment())
    flags = {"--state.path": Path("/x/talq_canary")}
    with pytest.raises(ConfigError, match=f"^command line: --state.path: {TOLD}$") as caught:
        load_config(path, {"TOKEN": "talq_canary"}, flags)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("token", ["c-1", "prod", "talover", "a"])
def test_fault_38_a_short_one_may_well_be_part_of_another_word(tmp_path: Path, token: str) -> None:
    loaded(tmp_path, an_environment("labels: {team: 'production c-1 talover'}"), TOKEN=token)


def test_fault_38_what_a_variable_holds_is_shown_as_its_reference(tmp_path: Path) -> None:
    text = an_environment(
        "base_url: https://${HOST}/api/v1/",
        "labels: {team: '${TEAM}', plain: text, both: 'a-${TEAM:-x}', dollar: '$${TEAM}'}",
        "discovery: {include: ['${TEAM}.*']}",
        "overrides: [{match: {name: '${TEAM}'}, labels: {region: '${TEAM}'}}]",
    ).replace("id: c-1", "id: c-1, name: '${TEAM}'")
    text += "alerts: {runbook_url: 'https://${HOST}/{rule}'}\npolling: {interval: '${SPAN}'}\n"
    known = {"TEAM": "Unknown-s3cret", "HOST": "secret.example", "SPAN": "300s"}
    config = loaded(tmp_path, text, **known)
    shown = effective_yaml(config)
    assert "s3cret" not in shown
    assert "secret.example" not in shown
    # The campaign has those of its environment and of the override: references as well.
    assert shown.count("team: ${TEAM}") == 2
    assert shown.count("region: ${TEAM}") == 2
    assert "both: a-${TEAM:-x}" in shown
    assert "dollar: $${TEAM}" in shown
    # What cannot hold a secret is shown as it came out.
    assert "interval: 5m" in shown
    again = loaded(tmp_path, shown.replace("<secret>", "${TOKEN}", 1), **known)
    assert effective_yaml(again) == shown
    target = config.environments[0].resolved.targets["c-1"]
    assert dict(target.labels)["team"] == "Unknown-s3cret"
