"""What the class of a rule says is what the config, its schema and Alertmanager make of it."""

from dataclasses import fields

import pytest

from monitor.core.model import DAY, Finding, Severity, SftpConfig, setting
from monitor.core.rule import AgesBySchedule, ConfigRule, EvaluationInput, healthy

AGES = {"daily": DAY}


def a_rule(alertname: str | None = None) -> type[ConfigRule]:
    """Return a rule that is declared now, as those of the product are when they are imported."""

    class Declared(ConfigRule, alertname=alertname):
        name = "declared"

        severity: Severity = setting(Severity.INFO, "how loud it is")
        ages: AgesBySchedule = setting(AGES, "how old it may be")

        def evaluate_config(self, config: SftpConfig, inputs: EvaluationInput) -> Finding:
            return healthy("all is well", {})

    return Declared


def test_a_setting_has_the_default_and_the_help_that_are_declared() -> None:
    rule = a_rule()
    helps = {field.name: field.metadata["help"] for field in fields(rule)}
    assert (helps["severity"], helps["ages"]) == ("how loud it is", "how old it may be")
    assert (rule().severity, vars(rule())["ages"]) == (Severity.INFO, AGES)


def test_a_default_that_is_a_mapping_is_each_rules_own() -> None:
    assert vars(a_rule()())["ages"] is not vars(a_rule()())["ages"]


@pytest.mark.parametrize(("given", "alertname"), [(None, "Declared"), ("SftpOther", "SftpOther")])
def test_an_alert_has_the_name_of_the_class_unless_another_is_given(
    given: str | None, alertname: str
) -> None:
    assert a_rule(given).alertname == alertname
