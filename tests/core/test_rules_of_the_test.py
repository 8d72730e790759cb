"""What can be wrong with the last connection test: failed, too old, or dated in the future."""

import pytest

from monitor.core.attempt import TestSettings
from monitor.core.model import DAY, HOUR, MINUTE, SftpConfig, Verdict
from monitor.core.rule import Rule, evaluate_all
from monitor.core.rules import FailedTest, FutureTest, LastTestRule, NeverTested, StaleTest
from support.builders import NOW, a_config, an_input, an_untested_config, some_rules

HEALTHY, UNHEALTHY, UNKNOWN = Verdict.HEALTHY, Verdict.UNHEALTHY, Verdict.UNKNOWN


def half_records() -> list[SftpConfig]:
    return [a_config(last_test_at=None), a_config(last_test_success=None)]


@pytest.mark.parametrize("cls", [FailedTest, StaleTest, FutureTest])
def test_without_a_test_on_record_the_rules_of_the_last_test_are_healthy(
    cls: type[LastTestRule],
) -> None:
    assert cls().evaluate(an_input(an_untested_config(created_at=0.0))).verdict is HEALTHY


@pytest.mark.parametrize("cls", [NeverTested, FailedTest, StaleTest, FutureTest])
@pytest.mark.parametrize("config", half_records(), ids=["no instant", "no outcome"])
def test_half_a_record_makes_the_rules_of_the_test_unknown(
    cls: type[Rule], config: SftpConfig
) -> None:
    finding = cls().evaluate(an_input(config))
    assert (finding.verdict, finding.recheck_at) == (UNKNOWN, None)


@pytest.mark.parametrize("config", half_records(), ids=["no instant", "no outcome"])
def test_half_a_record_is_neither_a_test_nor_none(config: SftpConfig) -> None:
    assert config.half_tested


@pytest.mark.parametrize(
    ("tested_at", "summary"),
    [
        (NOW, "last test failed 0 s ago (2027-01-15T08:00:00Z)"),
        (NOW + 90, "last test failed 90 s ahead (2027-01-15T08:01:30Z)"),
    ],
)
def test_a_test_of_right_now_is_not_ahead(tested_at: float, summary: str) -> None:
    config = a_config(last_test_at=tested_at, last_test_success=False)
    assert FailedTest().evaluate(an_input(config)).summary == summary


def test_failed_test_is_unhealthy_since_the_test_that_failed() -> None:
    finding = FailedTest().evaluate(an_input(a_config(last_test_success=False)))
    assert (finding.verdict, finding.since) == (UNHEALTHY, NOW - DAY)
    assert finding.summary == "last test failed 1 d ago (2027-01-14T08:00:00Z)"
    assert finding.evidence == {
        "last_test_at": "2027-01-14T08:00:00Z",
        "last_test_success": "false",
    }


def test_failed_test_is_healthy_after_a_test_that_passed_however_old() -> None:
    assert FailedTest().evaluate(an_input(a_config(last_test_at=0.0))).verdict is HEALTHY


@pytest.mark.parametrize("passed", [True, False])
@pytest.mark.parametrize(
    ("age", "verdict"),
    [
        (0, HEALTHY),
        (30 * DAY - 1, HEALTHY),
        (30 * DAY, UNHEALTHY),
        (30 * DAY + 1, UNHEALTHY),
        (-MINUTE, HEALTHY),
    ],
)
def test_stale_test_is_unhealthy_from_max_age_on_whatever_its_outcome(
    age: float, verdict: Verdict, passed: bool
) -> None:
    tested = NOW - age
    finding = StaleTest().evaluate(
        an_input(a_config(last_test_at=tested, last_test_success=passed))
    )
    assert finding.verdict is verdict
    if verdict is UNHEALTHY:
        assert (finding.since, finding.recheck_at) == (tested + 30 * DAY, None)
    else:
        assert finding.recheck_at == tested + 30 * DAY


@pytest.mark.parametrize(
    ("schedule", "max_age"),
    [
        ("hourly", DAY),
        ("daily", 3 * DAY),
        ("manual", 30 * DAY),
        ("weekly", 30 * DAY),
        (None, 30 * DAY),
    ],
)
def test_max_age_goes_by_the_import_schedule_where_that_is_set(
    schedule: str | None, max_age: float
) -> None:
    rule = StaleTest(max_age_by_schedule={"hourly": DAY, "daily": 3 * DAY})
    config = a_config(import_schedule=schedule, last_test_at=NOW - max_age)
    assert rule.stale_at(config, NOW, TestSettings(), None) == NOW + max_age
    assert rule.evaluate(an_input(config)).verdict is UNHEALTHY
    assert rule.evaluate(an_input(config, now=NOW - 1)).verdict is HEALTHY


def test_stale_test_says_the_age_the_instant_and_what_is_allowed() -> None:
    finding = StaleTest().evaluate(an_input(a_config(last_test_at=NOW - 31 * DAY)))
    assert finding.summary == "last test 31 d ago (2026-12-15T08:00:00Z), allowed 30 d"


@pytest.mark.parametrize(
    ("ahead", "verdict"),
    [
        (-DAY, HEALTHY),
        (0, HEALTHY),
        (5 * MINUTE, HEALTHY),
        (5 * MINUTE + 1, UNHEALTHY),
        (9999 * DAY, UNHEALTHY),
    ],
)
def test_future_test_is_unhealthy_beyond_its_tolerance(ahead: float, verdict: Verdict) -> None:
    finding = FutureTest().evaluate(an_input(a_config(last_test_at=NOW + ahead)))
    assert finding.verdict is verdict
    if verdict is UNHEALTHY:
        assert (finding.since, finding.recheck_at) == (None, NOW + ahead - 5 * MINUTE)


def test_future_test_is_healthy_at_the_instant_at_which_it_is_rechecked() -> None:
    config = a_config(last_test_at=NOW + HOUR)
    recheck_at = FutureTest().evaluate(an_input(config)).recheck_at
    assert recheck_at is not None
    assert FutureTest().evaluate(an_input(config, now=recheck_at)).verdict is HEALTHY


def test_while_the_test_lies_in_the_future_its_age_is_unknown() -> None:
    inputs = an_input(a_config(last_test_at=NOW + HOUR))
    findings = evaluate_all(some_rules("stale_test", "future_test"), inputs)
    assert findings["future_test"].verdict is UNHEALTHY
    assert (findings["stale_test"].verdict, findings["stale_test"].recheck_at) == (UNKNOWN, None)


def test_with_future_test_switched_off_stale_test_stands_alone() -> None:
    findings = evaluate_all(some_rules("stale_test"), an_input(a_config(last_test_at=NOW + HOUR)))
    assert findings["stale_test"].verdict is HEALTHY
