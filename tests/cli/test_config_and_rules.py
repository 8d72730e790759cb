"""`config check`, `config show`, `config schema`, `rules`: what people ask before they start."""

import json
from pathlib import Path

from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.rules import RULES
from support.command import called, write_config
from support.fake_platform import TOKEN, FakePlatform

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
