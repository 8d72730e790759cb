"""`config check`, `config show`, `config schema`, `rules`: what people ask before they start."""

import json
import os
from pathlib import Path

import pytest

from monitor.adapters.store import Change, Store
from monitor.core.discovery import TargetSet
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.model import ListedCampaign
from monitor.core.rules import RULES
from support.command import called, write_config
from support.fake_platform import TOKEN, FakePlatform, fake_platform

PLATFORM = FakePlatform("https://app.talkover.ai/api/v1")


async def test_fault_30_a_good_file_is_ok_and_the_interval_is_what_the_budget_gives(
    tmp_path: Path,
) -> None:
    config = write_config(
        tmp_path,
        PLATFORM,
        [f"c-{n}" for n in range(97)],
        environment={"requests_per_minute": 20},
        polling={"interval": "5m"},
    )
    told = await called("config", "check", config)
    assert told.code == 0
    # 97 calls at 0.97 × 10 a minute take 10 minutes.
    assert "97 campaigns, 10 requests a minute, each read every 10 min instead of 5m" in told.out
    assert told.out.endswith(f"{config}: ok")


async def test_where_campaigns_are_discovered_it_says_how_many_the_budget_reads(
    tmp_path: Path,
) -> None:
    discovery = {"requests_per_minute": 100, "discovery": {"enabled": True}}
    config = write_config(tmp_path, PLATFORM, [], environment=discovery, polling={"interval": "5m"})
    told = await called("config", "check", config)
    assert "production: 0 campaigns, 50 requests a minute" in told.out
    # 5 minutes of 0.97 × 50.
    assert "discovered ones come on top, up to 242 in all keep that interval" in told.out


async def test_a_pattern_that_may_not_mean_what_it_says_is_noted_and_no_error(
    tmp_path: Path,
) -> None:
    discovery = {"discovery": {"enabled": True, "include": [r"\w+"]}}
    config = write_config(tmp_path, PLATFORM, [], environment=discovery)
    checked = await called("config", "check", config)
    assert (checked.code, checked.err) == (0, "")
    assert r"environments[0].discovery.include[0]: note: \w matches ASCII alone" in checked.out


async def test_fault_34_a_bad_file_is_78_with_every_problem_and_its_line(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "environments:\n"
        "  - name: production\n"
        f"    token: {TOKEN}\n"
        "    campagns: [{id: c-1}]\n"
        "polling: {interval: 5}\n"
    )
    told = await called("config", "check", config)
    assert told.code == 78
    assert f"{config}:3: environments[0].token: " in told.err
    assert f"{config}:4: environments[0].campagns: unknown key; did you mean campaigns?" in told.err
    assert f"{config}:5: polling.interval: " in told.err
    assert TOKEN not in told.err


async def test_show_fills_every_default_in_and_hides_the_secret(tmp_path: Path) -> None:
    config = write_config(tmp_path, PLATFORM, ["c-1"])
    told = await called("config", "show", config)
    assert told.code == 0
    assert "max_age: 30d" in told.out
    assert "unhealthy_interval: 1s" in told.out
    assert TOKEN not in told.out


LAYERS = """\
environments:
  - name: eu
    token: ${TOKEN}
    labels: {region: eu}
    rules: {stale_test: {for: 5m}}
    campaigns:
      - {id: c-1, name: Retail leads, rules: {stale_test: {severity: info}}}
    discovery: {enabled: true, exclude: [Old .*]}
    overrides:
      - match: {name: Retail.*}
        labels: {team: retail}
        rules: {stale_test: {max_age: 8d}}
      - {match: {name: Solar.*}, connection_tests: {every: 6h}, expect_sftp: true}
  - {name: us, token: "${OTHER}", campaigns: [{id: c-1}, {id: c-2}]}
rules: {stale_test: {max_age: 60d}, missing: {enabled: false}}
"""
TOKENS = {"TOKEN": "talq_one", "OTHER": "talq_other"}


async def settings_shown(folder: Path, *arguments: str) -> str:
    """Return what `config show` says of the file with layers, without its path and blanks."""
    config = folder / "config.yaml"
    config.write_text(LAYERS)
    told = await called("config", "show", config, *arguments, **TOKENS)
    assert (told.code, told.err) == (0, "")
    return "\n".join(
        " ".join(line.split()) for line in told.out.replace(f"{config}:", "").split("\n")
    )


@pytest.mark.parametrize("name", ["eu/c-1", "Retail leads", "eu/Retail leads"])
async def test_the_settings_of_a_campaign_say_where_each_is_set(tmp_path: Path, name: str) -> None:
    shown = await settings_shown(tmp_path, "--campaign", name)
    assert shown.startswith("# eu/c-1 Retail leads\n# overrides[0] of eu applies\nlabels: ")
    assert 'labels: {"region": "eu", "team": "retail"}\nexpect_sftp: true\n' in shown
    stale = shown[shown.index("rules.stale_test:") : shown.index("rules.future_test:")]
    assert stale.splitlines() == [
        "rules.stale_test:",
        "enabled: true # default",
        "severity: info # 7",
        "for: 5m # 5",
        "keep_firing_for: 0s # default",
        "max_age: 8d # 12",
        "max_age_by_schedule: {} # default",
    ]
    assert "rules.missing:\nenabled: false # 15\n" in shown


async def test_an_id_of_two_environments_shows_both(tmp_path: Path) -> None:
    shown = await settings_shown(tmp_path, "--campaign", "c-1")
    assert [line for line in shown.splitlines() if line.startswith("# ")][::2] == [
        "# eu/c-1 Retail leads",
        "# us/c-1",
    ]


async def test_a_name_stands_for_a_discovered_campaign_and_says_so(tmp_path: Path) -> None:
    shown = await settings_shown(tmp_path, "--campaign", "Solar leads")
    first, second, third, *_ = shown.splitlines()
    assert first == "# eu/Solar leads"
    assert "not in the file" in second
    assert "--url" in second
    assert third == "# overrides[1] of eu applies"
    assert "\nexpect_sftp: true\n" in shown
    assert "every: 6h # 13" in shown


@pytest.mark.parametrize("name", ["us/c-3", "Old leads"])
async def test_a_campaign_that_is_nobody_s_is_wrong_usage(tmp_path: Path, name: str) -> None:
    config = tmp_path / "config.yaml"
    text = LAYERS if name == "Old leads" else LAYERS.replace("enabled: true, ", "enabled: false, ")
    config.write_text(text)
    told = await called("config", "show", config, "--campaign", name, **TOKENS)
    assert told.code == os.EX_USAGE
    assert f"no such campaign: {name}" in told.err


async def test_a_first_config_works_at_once(tmp_path: Path) -> None:
    """As it is printed it passes the check and, but for the API's address, finds who is there."""
    file = tmp_path / "first.yaml"
    printed = await called("config", "init")
    written = await called("config", "init", file)
    assert (printed.code, written.code) == (0, 0)
    assert file.read_text() == f"{printed.out}\n"
    checked = await called("config", "check", file, TALKOVER_TOKEN=TOKEN)
    assert (checked.code, checked.err) == (0, "")
    async with fake_platform("c-1") as platform:
        platform.set("c-1", last_test_success=False)
        platform.listed = {"c-1": "active"}
        name, api = "  - name: production", f"    base_url: {platform.base_url}"
        file.write_text(file.read_text().replace(name, f"{name}\n{api}\n    #"))
        swept = await called("check", "--config.file", file, TALKOVER_TOKEN=TOKEN)
    assert (swept.code, swept.err) == (2, "")
    assert "production/c-1" in swept.out


async def test_a_first_config_takes_the_place_of_no_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    told = await called("config", "init", file)
    assert told.code == os.EX_USAGE
    assert f"{file} is there already" in told.err
    assert file.read_text() == "mine"


SECRETS = """\
environments:
  - {name: eu, token_file: /run/secrets/none, campaigns: [{id: c-1}]}
  - name: us
    token: ${UNSET_TOKEN}
    proxy_url: https://proxy.example
    proxy_credentials_file: none
    campaigns: [{id: c-1}]
notify: {webhooks: [{url: "https://hook.example", secret_file: hook}]}
web: {config_file: web.yaml, listen_address: ":10022"}
"""


async def test_without_secrets_all_else_is_checked_and_what_is_not_read_is_named(
    tmp_path: Path,
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(SECRETS)
    told = await called("config", "check", config, "--no-secrets")
    assert (told.code, told.err) == (0, "")
    here = ", ".join(str(tmp_path / name) for name in ("none", "hook", "web.yaml"))
    assert f"\nnot read: /run/secrets/none, ${{UNSET_TOKEN}}, {here}\n" in told.out
    assert (await called("config", "check", config)).code == 78
    config.write_text(SECRETS.replace("campaigns: [{id: c-1}]}", "campaigns: [{id: c/1}]}"))
    bad = await called("config", "check", config, "--no-secrets")
    assert bad.code == 78
    assert f"{config}:2: environments[0].campaigns[0].id: expected an id" in bad.err
    for same in ("/run/secrets/none", "${UNSET_TOKEN}"):
        kind = "token_file" if same.startswith("/") else "token"
        text = SECRETS.replace("token_file: /run/secrets/none", f"{kind}: '{same}'")
        config.write_text(text.replace("token: ${UNSET_TOKEN}", f"{kind}: {same}"))
        twice = await called("config", "check", config, "--no-secrets")
        assert f"environments[1].{kind}: duplicate token" in twice.err


async def test_a_listener_without_a_web_config_is_refused_without_secrets_too(
    tmp_path: Path,
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(SECRETS.replace("config_file: web.yaml, ", ""))
    told = await called("config", "check", config, "--no-secrets")
    assert told.code == 78
    assert "web.listen_address: listens beyond loopback without authentication" in told.err


async def test_what_is_for_nobody_is_a_warning_and_no_error(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "environments:\n"
        "  - name: eu\n"
        "    token: ${TOKEN}\n"
        "    campaigns: [{id: c-1, name: Retail leads, labels: {team: retail}}]\n"
        "    discovery: {include: [Retail.*]}\n"
        "    overrides: [{match: {name: Retail.*}}, {match: {name: retail.*}}]\n"
        "metrics: {campaign_labels: [team, tem]}\n"
    )
    told = await called("config", "check", config, **TOKENS)
    assert told.code == 0
    assert told.out.endswith(f"{config}: ok")
    assert told.err.splitlines() == [
        f"{config}: warning: environments[0].discovery.include: discovery is off",
        f"{config}: warning: environments[0].overrides[1]: matches no campaign",
        f"{config}: warning: metrics.campaign_labels[1]: no campaign has a label tem",
    ]


async def test_where_campaigns_are_discovered_the_state_says_whom_patterns_match(
    tmp_path: Path,
) -> None:
    config, state = tmp_path / "config.yaml", tmp_path / "state.db"
    config.write_text(
        "environments:\n"
        "  - name: eu\n"
        "    token: ${TOKEN}\n"
        "    discovery: {enabled: true, include: [Retail.*, Nope], exclude: [.*old, Nope]}\n"
        "    overrides: [{match: {name: .*old}}, {match: {campaign_type: sales}}]\n"
        f"state: {{path: {state}}}\n"
    )
    nothing_known = await called("config", "check", config, **TOKENS)
    assert (nothing_known.code, nothing_known.err) == (0, "")
    store = Store(state, now=0.0)
    names = ("Retail leads", "Retail old")
    found = {name: ListedCampaign(name, name, "active", "sales") for name in names}
    store.save(Change(target_sets={"eu": TargetSet(found)}))
    await store.aclose()
    told = await called("config", "check", config, **TOKENS)
    assert [line.partition("warning: environments[0].")[2] for line in told.err.splitlines()] == [
        "overrides[0]: matches no campaign",
        "discovery.include[1]: matches no campaign that is listed",
        "discovery.exclude[1]: matches no campaign that is listed",
    ]


async def test_the_schema_is_json_and_describes_the_file() -> None:
    told = await called("config", "schema")
    assert told.code == 0
    assert {"environments", "polling", "rules"} <= json.loads(told.out)["properties"].keys()


async def test_every_rule_is_explained_with_its_settings_and_what_to_do() -> None:
    told = await called("rules")
    assert told.code == 0
    for rule in (*RULES.values(), *ENVIRONMENT_RULES.values()):
        assert f"\n{rule.name}  ({rule().severity})\n" in told.out
        assert rule.meaning in told.out
        assert rule.next_step in told.out
