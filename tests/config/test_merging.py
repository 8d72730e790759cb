"""Global < environment < overrides in order < campaign, field by field."""

from pathlib import Path

import pytest

from monitor.config import Config, EnvironmentConfig
from monitor.core.environment_rules import ApiUnreachable
from monitor.core.model import DAY, HOUR, MINUTE, Severity
from monitor.core.rules import StaleTest
from support.config_files import loaded

LAYERS = """\
rules:
  stale_test: {severity: info, max_age: 1d, for: 1m}
  missing: {enabled: false}
  unreadable: {after: 30m}
  api_unreachable: {after: 1m, severity: warning}
environments:
  - name: production
    token: ${TOKEN}
    labels: {team: platform, tier: one, site: a}
    rules:
      stale_test: {max_age: 2d}
      api_unreachable: {after: 2m}
      token_rejected: {enabled: false}
    overrides:
      - match: {name: "Retail .*"}
        labels: {team: retail, tier: two}
        rules: {stale_test: {max_age: 3d}, missing: {enabled: true}}
      - match: {name: ".* leads"}
        labels: {team: leads}
        rules: {stale_test: {max_age: 4d, keep_firing_for: 5m}}
      - match: {name: "Retail .*", campaign_type: sales}
        labels: {team: sales}
        rules: {stale_test: {max_age: 6d}}
    campaigns:
      - {id: plain}
      - {id: shop, name: Retail shop}
      - {id: leads, name: Retail leads}
      - id: own
        name: Retail leads
        labels: {team: own}
        rules: {stale_test: {max_age: 5d, max_age_by_schedule: {hourly: 1h}}}
  - name: staging
    token: ${OTHER}
    rules: {unreadable: {after: 1h}, disabled: {enabled: false}}
    campaigns: [{id: plain}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return loaded(tmp_path, LAYERS)


@pytest.fixture
def production(config: Config) -> EnvironmentConfig:
    return config.environments[0]


def stale_test(environment: EnvironmentConfig, campaign: str) -> StaleTest:
    rule = environment.resolved.targets[campaign].rules["stale_test"]
    assert isinstance(rule, StaleTest)
    return rule


@pytest.mark.parametrize(
    ("campaign", "max_age"), [("plain", 2), ("shop", 3), ("leads", 4), ("own", 5)]
)
def test_the_last_layer_wins(production: EnvironmentConfig, campaign: str, max_age: float) -> None:
    assert stale_test(production, campaign).max_age == max_age * DAY


def test_rules_merge_field_by_field(production: EnvironmentConfig) -> None:
    rule = stale_test(production, "own")
    assert rule.severity is Severity.INFO
    assert rule.for_ == MINUTE
    assert rule.keep_firing_for == 5 * MINUTE
    assert rule.max_age_by_schedule == {"hourly": HOUR}


def test_a_rule_that_is_off_can_be_on_for_some(production: EnvironmentConfig) -> None:
    with_missing = [
        id_ for id_, target in production.resolved.targets.items() if "missing" in target.rules
    ]
    assert with_missing == ["shop", "leads", "own"]


def test_the_order_of_the_rules_is_that_of_their_table(production: EnvironmentConfig) -> None:
    assert list(production.resolved.targets["own"].rules)[:2] == ["missing", "never_tested"]


def test_labels_merge_like_rules(production: EnvironmentConfig) -> None:
    labels = {id_: dict(target.labels) for id_, target in production.resolved.targets.items()}
    assert labels == {
        "plain": {"team": "platform", "tier": "one", "site": "a"},
        "shop": {"team": "retail", "tier": "two", "site": "a"},
        "leads": {"team": "leads", "tier": "two", "site": "a"},
        "own": {"team": "own", "tier": "two", "site": "a"},
    }


def test_an_override_for_a_type_is_not_for_listed_campaigns_whose_type_is_unknown(
    production: EnvironmentConfig,
) -> None:
    assert stale_test(production, "shop").max_age == 3 * DAY


def test_an_override_matches_whole_names_only(tmp_path: Path) -> None:
    text = LAYERS.replace('"Retail .*"', '"Retail"').replace('".* leads"', '"leads"')
    environment = loaded(tmp_path, text).environments[0]
    assert stale_test(environment, "leads").max_age == 2 * DAY


def test_the_rules_of_an_environment_merge_as_well(config: Config) -> None:
    production, staging = config.environments
    assert production.resolved.rules["api_unreachable"] == ApiUnreachable(
        after=2 * MINUTE, severity=Severity.WARNING
    )
    assert staging.resolved.rules["api_unreachable"] == ApiUnreachable(
        after=MINUTE, severity=Severity.WARNING
    )
    assert list(production.resolved.rules) == [
        "api_unreachable",
        "budget_insufficient",
        "api_refusing",
    ]


def test_one_environment_leaves_the_other_alone(config: Config) -> None:
    production, staging = config.environments
    assert "disabled" in production.resolved.targets["plain"].rules
    assert "disabled" not in staging.resolved.targets["plain"].rules
    assert staging.resolved.targets["plain"].labels == {}


def test_the_same_id_may_be_in_two_environments(config: Config) -> None:
    assert ["plain" in environment.resolved.targets for environment in config.environments] == [
        True
    ] * 2


def test_unreadable_after_is_that_of_the_environment(config: Config) -> None:
    assert [environment.resolved.unreadable_after for environment in config.environments] == [
        30 * MINUTE,
        HOUR,
    ]


def test_campaigns_without_settings_of_their_own_share_their_rules(tmp_path: Path) -> None:
    text = LAYERS.replace("- {id: plain}", "- {id: plain}\n      - {id: plain-2}")
    campaigns = loaded(tmp_path, text).environments[0].resolved.targets
    assert campaigns["plain"].rules is campaigns["plain-2"].rules


@pytest.mark.parametrize(
    ("written", "critical", "info"),
    [("1h", HOUR, HOUR), ("0", 0, 0), ("{critical: 1h}", HOUR, 0), ("{info: 1d}", 4 * HOUR, DAY)],
)
def test_reminders_take_one_duration_or_one_for_each_severity(
    tmp_path: Path, written: str, critical: float, info: float
) -> None:
    every = loaded(tmp_path, LAYERS + f"alerts: {{remind_every: {written}}}\n").alerts.remind_every
    assert (every[Severity.CRITICAL], every[Severity.INFO]) == (critical, info)


@pytest.mark.parametrize(
    ("written", "interval", "unhealthy"),
    [
        ("{interval: 30s}", 30, 30),
        ("{interval: 10m}", 600, 60),
        ("{interval: 30s, unhealthy_interval: 20s}", 30, 20),
        ("{interval: 1m, unhealthy_interval: 1m}", 60, 60),
    ],
)
def test_the_default_for_unhealthy_campaigns_gives_way_to_a_shorter_interval(
    tmp_path: Path, written: str, interval: float, unhealthy: float
) -> None:
    polling = loaded(tmp_path, LAYERS + f"polling: {written}\n").polling
    assert (polling.interval, polling.unhealthy_interval) == (interval, unhealthy)
