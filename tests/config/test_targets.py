"""Who is watched: campaigns of the file and of the listing, and whose word counts for what."""

from pathlib import Path
from typing import Any

import pytest

from monitor.config import EnvironmentConfig, targets
from monitor.core.discovery import TargetSet
from monitor.core.model import DAY, ListedCampaign
from monitor.core.rule import Target
from monitor.core.rules import StaleTest
from support.config_files import loaded

LISTED_AT = 1_800_000_000.0

FILE = """\
environments:
  - name: production
    token: ${{TOKEN}}
    labels: {{team: platform}}
    rules: {{stale_test: {{max_age: 20d}}}}
    discovery: {{enabled: {enabled}, {discovery}}}
    overrides:
      - match: {{name: "Retail .*"}}
        labels: {{team: retail}}
        rules: {{stale_test: {{max_age: 7d}}}}
      - match: {{campaign_type: sales}}
        labels: {{desk: sales}}
        rules: {{stale_test: {{max_age: 5d}}}}
    campaigns:
      - {{id: named, name: Retail leads, labels: {{team: own}}}}
      - {{id: nameless, rules: {{stale_test: {{max_age: 3d}}}}}}
"""


def environment(folder: Path, discovery: str = "every: 15m", on: str = "true") -> EnvironmentConfig:
    return loaded(folder, FILE.format(enabled=on, discovery=discovery)).environments[0]


def listed(
    campaign_id: str, name: str = "", status: str = "active", kind: str = ""
) -> ListedCampaign:
    return ListedCampaign(campaign_id, name or f"Campaign {campaign_id}", status, kind)


def a_target_set(*campaigns: ListedCampaign, **fields: Any) -> TargetSet:
    known = {one.id: one for one in campaigns}
    return TargetSet(**{"campaigns": known, "listed_at": LISTED_AT, **fields})


def max_age(target: Target) -> float:
    rule = target.rules["stale_test"]
    assert isinstance(rule, StaleTest)
    return rule.max_age


def test_campaigns_of_the_file_come_first_and_then_the_discovered_ones(tmp_path: Path) -> None:
    target_set = a_target_set(listed("new"), listed("nameless"), listed("newer"))
    found = targets(environment(tmp_path), target_set)
    assert list(found) == ["named", "nameless", "new", "newer"]
    assert [target.listed for target in found.values()] == [True, True, False, False]


def test_without_a_listing_there_are_the_campaigns_of_the_file(tmp_path: Path) -> None:
    production = environment(tmp_path)
    assert targets(production, TargetSet()) == production.resolved.targets


def test_what_the_file_says_wins_and_the_listing_adds_what_it_does_not_say(tmp_path: Path) -> None:
    target_set = a_target_set(
        listed("named", "Other name", kind="sales"), listed("nameless", "Retail shop")
    )
    found = targets(environment(tmp_path), target_set)
    assert found["named"].name == "Retail leads"
    assert found["named"].labels == {"team": "own", "desk": "sales"}
    assert max_age(found["named"]) == 5 * DAY
    assert found["nameless"].name == "Retail shop"
    assert found["nameless"].labels == {"team": "retail"}
    assert max_age(found["nameless"]) == 3 * DAY


@pytest.mark.parametrize(
    ("name", "kind", "labels", "days"),
    [
        ("Autumn", "", {"team": "platform"}, 20),
        ("Retail shop", "", {"team": "retail"}, 7),
        ("Autumn", "sales", {"team": "platform", "desk": "sales"}, 5),
        ("Retail shop", "sales", {"team": "retail", "desk": "sales"}, 5),
        ("The Retail shop", "reminder", {"team": "platform"}, 20),
    ],
)
def test_overrides_give_labels_and_rules_by_name_and_type(
    tmp_path: Path, name: str, kind: str, labels: dict[str, str], days: float
) -> None:
    found = targets(environment(tmp_path), a_target_set(listed("new", name, kind=kind)))["new"]
    assert (found.name, dict(found.labels), max_age(found)) == (name, labels, days * DAY)


@pytest.mark.parametrize(
    ("discovery", "names"),
    [
        ("every: 1h", ["Retail A", "Retail test", "Wholesale"]),
        ("include: ['Retail .*']", ["Retail A", "Retail test"]),
        ("include: [Retail]", []),
        ("include: ['Retail A', Wholesale]", ["Retail A", "Wholesale"]),
        ("exclude: ['.* test']", ["Retail A", "Wholesale"]),
        ("exclude: [test]", ["Retail A", "Retail test", "Wholesale"]),
        ("include: ['Retail .*'], exclude: ['.* test']", ["Retail A"]),
    ],
)
def test_include_and_exclude_match_whole_names(
    tmp_path: Path, discovery: str, names: list[str]
) -> None:
    target_set = a_target_set(
        listed("1", "Retail A"), listed("2", "Retail test"), listed("3", "Wholesale")
    )
    found = targets(environment(tmp_path, discovery), target_set)
    assert [target.name for target in found.values() if not target.listed] == names


def test_a_campaign_of_the_file_is_watched_whatever_is_excluded(tmp_path: Path) -> None:
    found = targets(environment(tmp_path, "exclude: ['.*']"), a_target_set(listed("named")))
    assert list(found) == ["named", "nameless"]


@pytest.mark.parametrize(
    ("discovery", "status", "muted"),
    [
        ("every: 1h", "active", None),
        ("every: 1h", "paused", "paused"),
        ("every: 1h", "a status of next year", "a status of next year"),
        ("statuses: [active, paused]", "paused", None),
        ("statuses: []", "active", "active"),
    ],
)
def test_a_status_that_is_not_told_mutes_listed_and_discovered_alike(
    tmp_path: Path, discovery: str, status: str, muted: str | None
) -> None:
    target_set = a_target_set(listed("named", status=status), listed("new", status=status))
    found = targets(environment(tmp_path, discovery), target_set)
    assert [found[key].muted_status for key in ("named", "nameless", "new")] == [muted, None, muted]


def test_a_discovered_campaign_knows_when_a_listing_last_had_it(tmp_path: Path) -> None:
    target_set = a_target_set(
        listed("there"), listed("not-now"), listed("named"), absent={"not-now": 1}
    )
    found = targets(environment(tmp_path), target_set)
    assert {key: target.listed_at for key, target in found.items()} == {
        "named": None,
        "nameless": None,
        "there": LISTED_AT,
        "not-now": None,
    }


def test_campaigns_with_the_same_overrides_share_their_rules(tmp_path: Path) -> None:
    target_set = a_target_set(
        listed("1", "Retail A"), listed("2", "Retail B"), listed("3", "Autumn")
    )
    found = targets(environment(tmp_path), target_set)
    assert found["1"].rules is found["2"].rules
    assert found["1"].rules is not found["3"].rules


# --- who must have a config

EXPECTING = """\
environments:
  - name: production
    token: ${{TOKEN}}
    discovery: {{enabled: true{discovery}}}
    overrides:
      - match: {{name: "Retail .*"}}
        labels: {{team: retail}}
{overrides}
    campaigns: [{{id: listed, name: Retail leads{own}}}]
"""
OFF, ON = "expect_sftp: false", "expect_sftp: true"


@pytest.mark.parametrize(
    ("discovery", "overrides", "own", "of_listed", "of_found", "of_other"),
    [
        ("", [], "", True, False, False),
        ("", [], OFF, False, False, False),
        (ON, [], "", True, True, True),
        (OFF, [], "", True, False, False),
        (ON, [], OFF, False, True, True),
        ("", [ON], "", True, True, False),
        ("", [OFF], "", False, False, False),
        ("", [OFF], ON, True, False, False),
        ("", [ON], OFF, False, True, False),
        (ON, [OFF], "", False, False, True),
        # Of several overrides the later wins; one that says nothing leaves it.
        ("", [ON, OFF], "", False, False, False),
        ("", [OFF, ON], "", True, True, False),
        ("", [ON, "labels: {a: b}"], "", True, True, False),
        ("", [OFF, "expect_sftp:"], "", False, False, False),
    ],
)
def test_what_must_have_a_config_can_be_said_without_having_seen_one(
    tmp_path: Path,
    discovery: str,
    overrides: list[str],
    own: str,
    of_listed: bool,
    of_found: bool,
    of_other: bool,
) -> None:
    text = EXPECTING.format(
        discovery=f", {discovery}" if discovery else "",
        overrides="\n".join(
            f'      - match: {{name: "Retail .*"}}\n        {line}' for line in overrides
        ),
        own=f", {own}" if own else "",
    )
    production = loaded(tmp_path, text).environments[0]
    target_set = a_target_set(listed("found", "Retail shop"), listed("other", "Wholesale"))
    found = targets(production, target_set)
    expected = {key: target.expected for key, target in found.items()}
    assert expected == {"listed": of_listed, "found": of_found, "other": of_other}
    # What is known from the file stays so, whatever is expected of it.
    assert {key: target.listed for key, target in found.items()} == {
        "listed": True,
        "found": False,
        "other": False,
    }
    assert targets(production, TargetSet())["listed"].expected is of_listed


def test_a_status_from_the_listing_changes_nothing_of_what_is_expected(tmp_path: Path) -> None:
    production = environment(tmp_path, "expect_sftp: true")
    found = targets(production, a_target_set(listed("new", status="paused")))
    assert found["new"].expected
