"""A new rule touches one source file: here it is this one, and the config takes it up."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from monitor.config import Config, effective_yaml, json_schema
from monitor.config.environments import Campaign, Environment, Override
from monitor.core.model import DAY, HOUR, Finding, Seconds, Severity, SftpConfig, setting
from monitor.core.rule import ConfigRule, EvaluationInput, healthy
from monitor.core.rules import RULES, campaign_rule
from support.config_files import MINIMAL, loaded, problems_in


class OddPort(ConfigRule):
    """The config uses a port that is not expected."""

    name = "odd_port"
    meaning = "the port is not the usual one"
    next_step = "Ask the customer."

    severity: Severity = setting(Severity.INFO, "critical, warning or info")
    port: int = setting(22, "the usual port")
    share: float = setting(0.5, "how many of them may differ")
    vendor: str = setting("any", "whose port it is")
    grace: Seconds = setting(DAY, "how long it may differ")
    grace_by_vendor: Mapping[str, Seconds] = setting({}, "instead of grace, by vendor")

    def evaluate_config(self, config: SftpConfig, inputs: EvaluationInput) -> Finding:
        return healthy("any port will do", {})


def start_again() -> None:
    """Do what a new process would: make the config's sections from the rules that there are."""
    for section in (Campaign, Override, Environment, Config):
        section.model_rebuild(force=True)


@pytest.fixture(autouse=True)
def _rule_of_our_own() -> Iterator[None]:
    campaign_rule(OddPort)
    start_again()
    yield
    del RULES[OddPort.name]
    start_again()


SET = (
    "rules: {odd_port: {port: 2222, share: 1e-1, vendor: x, grace: 1h, grace_by_vendor: {x: 2h}}}\n"
)


def test_its_settings_are_read_by_their_types(tmp_path: Path) -> None:
    target = loaded(tmp_path, MINIMAL + SET).environments[0].resolved.targets["c-1"]
    assert target.rules["odd_port"] == OddPort(
        port=2222, share=0.1, vendor="x", grace=HOUR, grace_by_vendor={"x": 2 * HOUR}
    )


def test_it_has_its_defaults_and_its_place_in_the_order(tmp_path: Path) -> None:
    rules = loaded(tmp_path, MINIMAL).environments[0].resolved.targets["c-1"].rules
    assert list(rules)[-1] == "odd_port"
    assert rules["odd_port"] == OddPort()


def test_its_settings_merge_like_all_others(tmp_path: Path) -> None:
    text = MINIMAL.replace("id: c-1", "id: c-1, rules: {odd_port: {grace: 3h, enabled: true}}")
    rules = loaded(tmp_path, text + SET).environments[0].resolved.targets["c-1"].rules
    assert rules["odd_port"] == OddPort(
        port=2222, share=0.1, vendor="x", grace=3 * HOUR, grace_by_vendor={"x": 2 * HOUR}
    )


def test_its_mistakes_are_told_like_all_others(tmp_path: Path) -> None:
    wrong = "rules: {odd_port: {prot: 22, port: ssh, share: much, grace: 1, vendor: }}\n"
    assert problems_in(tmp_path, MINIMAL + wrong) == [
        "5: rules.odd_port.port: expected a whole number from 0 to 1,000,000,000, found 'ssh'",
        "5: rules.odd_port.share: expected a number, found 'much'",
        "5: rules.odd_port.vendor: expected text, found nothing",
        "5: rules.odd_port.grace: expected a duration with a unit: write 30s, 5m, 1h30m or 7d, "
        "found '1'",
        "5: rules.odd_port.prot: unknown key; did you mean port?",
    ]


def test_it_is_in_the_schema_with_its_help(tmp_path: Path) -> None:
    schema = json_schema()["$defs"]
    assert schema["CampaignRules"]["properties"]["odd_port"]["description"] == OddPort.meaning
    grace = schema["OddPortSettings"]["properties"]["grace"]
    assert (grace["description"], grace["default"]) == ("how long it may differ", "1d")


def test_it_is_shown_with_its_defaults(tmp_path: Path) -> None:
    shown = effective_yaml(loaded(tmp_path, MINIMAL))
    assert shown.count("odd_port:") == 2
    assert "vendor: any" in shown


def test_without_it_its_name_is_unknown(tmp_path: Path) -> None:
    del RULES[OddPort.name]
    start_again()
    try:
        assert "rules.odd_port: unknown key" in problems_in(tmp_path, MINIMAL + SET)[0]
    finally:
        RULES[OddPort.name] = OddPort
