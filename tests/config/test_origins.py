"""Where a setting of a campaign is set: the layer that counts, with its line."""

from pathlib import Path

import pytest

from monitor.config import targets
from monitor.core.discovery import TargetSet
from monitor.core.model import ListedCampaign
from support.config_files import loaded

LAYERS = """\
rules:
  stale_test: {max_age: 1d, for: 1m}
  missing: {enabled: false}
connection_tests:
  enabled: true
environments:
  - name: other
    token: ${OTHER}
    campaigns: [{id: plain}]
  - name: production
    token: ${TOKEN}
    discovery: {enabled: true}
    rules:
      stale_test:
        for: 2m
    connection_tests: {every: 6h}
    overrides:
      - match: {name: "Retail .*"}
        rules: {stale_test: {max_age: 3d}}
        connection_tests: {every: 2h}
      - match: {campaign_type: sales}
        rules: {stale_test: {max_age: 4d}}
    campaigns:
      - {id: plain}
      - id: leads
        name: Retail leads
        rules:
          stale_test: {keep_firing_for: 5m}
"""


@pytest.mark.parametrize(
    ("environment", "campaign", "section", "name", "line"),
    [
        ("production", "plain", "rules.stale_test", "max_age", 2),
        ("production", "plain", "rules.stale_test", "for_", 15),
        ("production", "plain", "rules.missing", "enabled", 3),
        ("production", "plain", "rules.disabled", "grace", None),
        ("production", "plain", "connection_tests", "enabled", 5),
        ("production", "plain", "connection_tests", "every", 16),
        ("production", "leads", "rules.stale_test", "max_age", 19),
        ("production", "leads", "rules.stale_test", "keep_firing_for", 28),
        ("production", "leads", "connection_tests", "every", 20),
        ("production", "found", "rules.stale_test", "max_age", 22),
        ("production", "found", "connection_tests", "every", 16),
        ("other", "plain", "rules.stale_test", "for_", 2),
    ],
)
def test_the_strongest_layer_that_sets_it_is_named_with_its_line(
    tmp_path: Path, environment: str, campaign: str, section: str, name: str, line: int | None
) -> None:
    config = loaded(tmp_path, LAYERS, OTHER="another")
    of = next(one for one in config.environments if one.name == environment)
    listed = ListedCampaign(id="found", name="Summer", campaign_type="sales", status="active")
    target = targets(of, TargetSet(campaigns={"found": listed}))[campaign]
    said = config.origins(target)(section, name)
    assert said == ("" if line is None else f"{tmp_path / 'config.yaml'}:{line}")
