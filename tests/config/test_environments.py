"""What an environment of the file is in the config: its API, its authority, what it leaves out."""

import os
from pathlib import Path

import pytest
import trustme

from monitor.core.model import HOUR
from support.config_files import an_environment, loaded, problems_in


def authority(path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(path))


def test_an_api_may_have_an_authority_of_its_own_beside_the_file(tmp_path: Path) -> None:
    authority(tmp_path / "ca.pem")
    environment = loaded(tmp_path, an_environment("ca_file: ca.pem")).environments[0]
    assert environment.ca_file == tmp_path / "ca.pem"


def test_an_authority_may_be_given_by_its_full_path(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    authority(tmp_path / "elsewhere" / "ca.pem")
    text = an_environment(f"ca_file: {tmp_path}/elsewhere/ca.pem")
    assert loaded(tmp_path, text).environments[0].ca_file == tmp_path / "elsewhere" / "ca.pem"


@pytest.mark.parametrize("content", ["", "not a certificate", "-----BEGIN CERTIFICATE-----\n"])
def test_a_file_without_certificates_is_no_authority(tmp_path: Path, content: str) -> None:
    (tmp_path / "ca.pem").write_text(content)
    assert problems_in(tmp_path, an_environment("ca_file: ca.pem")) == [
        f"5: environments[0].ca_file: {tmp_path}/ca.pem has no certificates in PEM format"
    ]


def test_a_folder_is_no_authority(tmp_path: Path) -> None:
    assert problems_in(tmp_path, an_environment("ca_file: .")) == [
        f"5: environments[0].ca_file: {tmp_path} is not a file"
    ]


def test_an_authority_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ca.pem")
    assert problems_in(tmp_path, an_environment("ca_file: ca.pem")) == [
        f"5: environments[0].ca_file: {tmp_path}/ca.pem is not a file"
    ]


def test_the_last_slash_of_a_base_url_is_dropped(tmp_path: Path) -> None:
    text = an_environment("base_url: https://api.example/v1/")
    assert loaded(tmp_path, text).environments[0].base_url == "https://api.example/v1"


@pytest.mark.parametrize(
    ("share", "limit", "budget"), [("1", "100", 100), ("0.5", "1000", 500), ("0.25", "3", 0.75)]
)
def test_the_budget_is_a_share_of_the_limit(
    tmp_path: Path, share: str, limit: str, budget: float
) -> None:
    text = an_environment(f"budget_share: {share}", f"requests_per_minute: {limit}")
    assert loaded(tmp_path, text).environments[0].budget_per_minute == budget


def test_every_key_of_discovery_is_read(tmp_path: Path) -> None:
    text = an_environment(
        "discovery:",
        "  enabled: true",
        "  every: 1h",
        "  statuses: [active, paused]",
        "  include: ['Retail .*']",
        "  exclude: ['.* test', '']",
        "  max_campaigns: 5",
    )
    discovery = loaded(tmp_path, text).environments[0].discovery
    assert (discovery.enabled, discovery.every, discovery.max_campaigns) == (True, HOUR, 5)
    assert discovery.statuses == ("active", "paused")
    assert discovery.include == ("Retail .*",)
    assert discovery.exclude == (".* test", "")


def test_with_discovery_an_environment_needs_no_campaigns(tmp_path: Path) -> None:
    text = an_environment("discovery: {enabled: true}").replace("[{id: c-1}]", "[]")
    assert loaded(tmp_path, text).environments[0].campaigns == ()


@pytest.mark.parametrize("enabled", ["false", "", "no"])
def test_without_discovery_an_environment_needs_campaigns(tmp_path: Path, enabled: str) -> None:
    text = an_environment(f"discovery: {{enabled: {enabled}}}")
    found = problems_in(tmp_path, text.replace("[{id: c-1}]", "[]"))
    assert "4: environments[0].campaigns: expected at least one campaign" in found


def test_overrides_are_kept_for_campaigns_that_are_found_later(tmp_path: Path) -> None:
    text = an_environment(
        "overrides:",
        "  - match: {name: 'Retail .*', campaign_type: sales}",
        "    labels: {team: retail}",
        "    rules: {stale_test: {max_age: 7d}}",
        "  - match: {name: '.*'}",
    )
    first, second = loaded(tmp_path, text).environments[0].overrides
    assert (first.match.name, first.match.campaign_type) == ("Retail .*", "sales")
    assert (first.labels, first.rules.written()) == (
        {"team": "retail"},
        {"stale_test": {"max_age": "1w"}},
    )
    assert (second.match.name, second.match.campaign_type) == (".*", None)
    assert (second.labels, second.rules.written()) == ({}, {})


def test_campaigns_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    ids = ["z", "a", "m", "0"]
    text = an_environment().replace("{id: c-1}", ", ".join(f"{{id: {id_}}}" for id_ in ids))
    assert list(loaded(tmp_path, text).environments[0].resolved.targets) == ids


def test_an_override_may_match_a_campaign_without_a_name(tmp_path: Path) -> None:
    text = an_environment("overrides: [{match: {name: .*}, labels: {team: all}}]")
    assert loaded(tmp_path, text).environments[0].resolved.targets["c-1"].labels == {"team": "all"}


def test_labels_merged_from_several_places_may_be_too_long_together(tmp_path: Path) -> None:
    text = an_environment(
        f"labels: {{one: {'x' * 600}}}",
        f"overrides: [{{match: {{name: .*}}, labels: {{two: {'x' * 600}}}}}]",
    )
    (found,) = problems_in(tmp_path, text)
    assert found.startswith("4: environments[0].campaigns[0].labels: expected labels of at most")


def test_labels_of_campaigns_that_are_still_to_be_discovered_may_be_too_long(
    tmp_path: Path,
) -> None:
    text = an_environment(
        "discovery: {enabled: true}",
        f"labels: {{one: {'x' * 600}}}",
        f"overrides: [{{match: {{name: Later}}, labels: {{two: {'x' * 600}}}}}]",
    )
    (found,) = problems_in(tmp_path, text)
    assert found.startswith("7: environments[0].overrides[0].labels: expected labels of at most")


def test_hundreds_of_campaigns_are_read_in_a_moment(tmp_path: Path) -> None:
    many = ", ".join(f"{{id: c-{number}, labels: {{n: {number}}}}}" for number in range(500))
    config = loaded(tmp_path, an_environment().replace("{id: c-1}", many))
    assert len(config.environments[0].campaigns) == 500
