"""What can be wrong with an SFTP config: each rule's verdict at and around its thresholds."""

from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import pytest

from monitor.core import rules as families
from monitor.core.model import (
    DAY,
    HOUR,
    MINUTE,
    NoConfig,
    Observation,
    PollError,
    Reason,
    Severity,
    SftpConfig,
    Verdict,
)
from monitor.core.rule import ConfigRule, EvaluationInput, Rule, evaluate_all, resolve_rules
from monitor.core.rules import (
    RULES,
    Disabled,
    LastTestRule,
    Missing,
    NeverTested,
    StaleTest,
    Unreadable,
    campaign_rule,
)
from monitor.core.status import Failures
from support.builders import (
    EVIDENCE_KEYS,
    NOW,
    a_config,
    an_error,
    an_input,
    an_untested_config,
    some_rules,
)

HEALTHY, UNHEALTHY, UNKNOWN = Verdict.HEALTHY, Verdict.UNHEALTHY, Verdict.UNKNOWN

ALL_SIGHTS = [
    an_input(a_config()),
    an_input(a_config(last_test_success=False)),
    an_input(a_config(last_test_success=None)),
    an_input(a_config(last_test_at=NOW - 90 * DAY)),
    an_input(a_config(last_test_at=NOW + DAY)),
    an_input(an_untested_config(created_at=NOW - 90 * DAY)),
    an_input(NoConfig(), config=a_config(), missing_since=NOW),
    an_input(an_error(), failures=Failures(3, NOW - DAY)),
]


def half_records() -> list[SftpConfig]:
    return [a_config(last_test_at=None), a_config(last_test_success=None)]


def test_the_rules_stand_in_the_order_in_which_their_events_are_told() -> None:
    assert list(RULES) == [
        "missing",
        "never_tested",
        "disabled",
        "failed_test",
        "stale_test",
        "future_test",
        "unreadable",
        "path_inaccessible",
        "changed_untested",
    ]


def test_every_file_of_the_rules_has_its_rules_in_the_table() -> None:
    files = {path.stem for path in Path(families.__file__).parent.glob("*.py")}
    in_the_table = {cls.__module__.rpartition(".")[2] for cls in RULES.values()}
    assert files - {"__init__", "table"} == in_the_table


def test_what_stops_an_import_is_critical_all_else_warns() -> None:
    critical = {name for name, cls in RULES.items() if cls().severity is Severity.CRITICAL}
    assert critical == {"missing", "failed_test", "path_inaccessible"}
    assert {cls().severity for cls in RULES.values()} == {Severity.CRITICAL, Severity.WARNING}


def test_no_rule_of_a_campaign_waits_before_it_is_told_unless_it_is_set_to() -> None:
    assert {(cls().for_, cls().keep_firing_for) for cls in RULES.values()} == {(0, 0)}


@pytest.mark.parametrize("cls", RULES.values(), ids=RULES)
def test_every_rule_says_what_it_means_what_to_do_and_what_each_setting_is(cls: type[Rule]) -> None:
    assert cls.meaning
    assert cls.next_step.endswith(".")
    assert all(field.metadata["help"] for field in fields(cls))


def test_a_rule_that_is_switched_off_is_not_among_the_resolved_ones() -> None:
    rules = resolve_rules(RULES, {"missing": {"enabled": False}, "stale_test": {"max_age": DAY}})
    assert list(rules) == [name for name in RULES if name != "missing"]
    assert rules["stale_test"] == StaleTest(max_age=DAY)


def test_a_second_rule_of_the_same_name_is_refused() -> None:
    class Impostor(Missing):
        name: ClassVar[str] = "missing"

    with pytest.raises(ValueError, match="'missing'"):
        campaign_rule(Impostor)
    assert RULES["missing"] is Missing


# --- what every rule makes of the absence of a config


@pytest.mark.matrix(fast=10)
@pytest.mark.parametrize("name", [name for name in RULES if name != "unreadable"])
@pytest.mark.parametrize("reason", Reason)
def test_a_failed_poll_leaves_every_rule_but_unreadable_unknown(name: str, reason: Reason) -> None:
    finding = RULES[name]().evaluate(an_input(PollError(reason), config=a_config()))
    assert finding.verdict is UNKNOWN
    assert finding.evidence == {"reason": reason.value}


@pytest.mark.parametrize("name", [n for n in RULES if n not in {"missing", "unreadable"}])
def test_no_config_leaves_every_rule_but_missing_and_unreadable_unknown(name: str) -> None:
    assert RULES[name]().evaluate(an_input(NoConfig(), config=a_config())).verdict is UNKNOWN


@pytest.mark.parametrize("inputs", ALL_SIGHTS)
def test_evidence_has_keys_of_the_closed_set_only(inputs: EvaluationInput) -> None:
    for finding in evaluate_all(resolve_rules(RULES, {}), inputs).values():
        assert set(finding.evidence) <= EVIDENCE_KEYS
        assert finding.summary


# --- missing


EARLIER, LATER = NOW - HOUR, NOW + HOUR
ONCE_SEEN = {"config": a_config(), "missing_since": NOW}


@pytest.mark.parametrize(
    ("observation", "expected", "last_known", "others_read_at", "verdict"),
    [
        (a_config(), True, {}, None, HEALTHY),
        (a_config(), False, {}, None, HEALTHY),
        (NoConfig(), True, {"missing_since": NOW}, None, UNHEALTHY),
        (NoConfig(by_404=True), True, {"missing_since": NOW}, None, UNHEALTHY),
        (NoConfig(), False, {"missing_since": NOW}, None, HEALTHY),
        # One that never had a config needs nobody's word, whatever the others say.
        (NoConfig(), True, {"missing_since": NOW}, EARLIER, UNHEALTHY),
        (NoConfig(), False, {"missing_since": NOW}, EARLIER, HEALTHY),
        # One that had is believed once two others were asked after it and read, or there are none.
        (NoConfig(), True, ONCE_SEEN, None, UNHEALTHY),
        (NoConfig(), True, ONCE_SEEN, EARLIER, UNKNOWN),
        (NoConfig(), True, ONCE_SEEN, NOW, UNHEALTHY),
        (NoConfig(), True, ONCE_SEEN, LATER, UNHEALTHY),
        (NoConfig(by_404=True), True, ONCE_SEEN, EARLIER, UNKNOWN),
        (NoConfig(), False, ONCE_SEEN, None, UNHEALTHY),
        (NoConfig(), False, ONCE_SEEN, EARLIER, UNKNOWN),
        (NoConfig(), False, ONCE_SEEN, LATER, UNHEALTHY),
        (a_config(), True, ONCE_SEEN, EARLIER, HEALTHY),
    ],
)
def test_missing_is_unhealthy_where_a_config_is_expected_or_was_seen(
    observation: Observation,
    expected: bool,
    last_known: dict[str, Any],
    others_read_at: float | None,
    verdict: Verdict,
) -> None:
    inputs = an_input(observation, expected=expected, others_read_at=others_read_at, **last_known)
    assert Missing().evaluate(inputs).verdict is verdict


@pytest.mark.parametrize(
    ("expected", "config", "verdict"),
    [(True, None, UNKNOWN), (False, None, HEALTHY), (False, a_config(), UNKNOWN)],
)
def test_a_discovered_campaign_waits_for_the_listing_only_if_a_config_is_expected(
    expected: bool, config: SftpConfig | None, verdict: Verdict
) -> None:
    known: dict[str, Any] = {"expected": expected, "config": config, "missing_since": NOW}
    gone = an_input(NoConfig(), listed=False, **known)
    assert Missing().evaluate(gone).verdict is verdict
    confirmed = an_input(NoConfig(), listed=False, listed_at=NOW + 1, **known)
    expected_now = HEALTHY if verdict is HEALTHY else UNHEALTHY
    assert Missing().evaluate(confirmed).verdict is expected_now


@pytest.mark.parametrize(
    ("listed_at", "verdict"),
    [(None, UNKNOWN), (NOW - HOUR, UNKNOWN), (NOW, UNKNOWN), (NOW + 1, UNHEALTHY)],
)
def test_a_discovered_campaign_misses_its_config_once_a_later_listing_still_has_it(
    listed_at: float | None, verdict: Verdict
) -> None:
    known: dict[str, Any] = {"listed_at": listed_at, "config": a_config(), "missing_since": NOW}
    assert Missing().evaluate(an_input(NoConfig(), listed=False, **known)).verdict is verdict
    assert Missing().evaluate(an_input(NoConfig(), listed=True, **known)).verdict is UNHEALTHY


def test_a_campaign_that_does_not_use_sftp_is_healthy_and_says_so() -> None:
    assert Missing().evaluate(an_input(NoConfig(), listed=False)).summary == (
        "the campaign does not use SFTP"
    )


def test_missing_tells_a_config_that_went_from_one_that_never_was() -> None:
    gone = Missing().evaluate(an_input(NoConfig(), config=a_config(), missing_since=NOW))
    assert gone.summary == "the SFTP config that was there is gone"
    assert gone.evidence == {"missing_since": "2027-01-15T08:00:00Z"}
    never = Missing().evaluate(an_input(NoConfig()))
    assert never.summary == "the platform has no SFTP config for this campaign"


# --- never_tested


@pytest.mark.parametrize(
    ("age", "verdict"),
    [(0, HEALTHY), (DAY - 1, HEALTHY), (DAY, UNHEALTHY), (DAY + 1, UNHEALTHY), (-DAY, HEALTHY)],
)
def test_never_tested_is_unhealthy_from_creation_plus_grace_on(
    age: float, verdict: Verdict
) -> None:
    created = NOW - age
    finding = NeverTested().evaluate(an_input(an_untested_config(created_at=created)))
    assert finding.verdict is verdict
    if verdict is UNHEALTHY:
        assert finding.since == created + DAY
        assert finding.recheck_at is None
    else:
        assert finding.recheck_at == created + DAY


def test_never_tested_counts_from_the_first_sight_where_the_creation_is_unknown() -> None:
    config = an_untested_config(created_at=None)
    early = NeverTested().evaluate(an_input(config, first_seen_at=NOW - DAY + 1))
    assert (early.verdict, early.recheck_at) == (HEALTHY, NOW + 1)
    late = NeverTested().evaluate(an_input(config, first_seen_at=NOW - DAY))
    assert (late.verdict, late.since) == (UNHEALTHY, NOW)


def test_never_tested_is_healthy_once_a_test_is_on_record_even_a_failed_one() -> None:
    assert NeverTested().evaluate(an_input(a_config(last_test_success=False))).verdict is HEALTHY


def test_never_tested_says_what_it_found_and_what_was_allowed() -> None:
    finding = NeverTested(grace=HOUR).evaluate(an_input(an_untested_config(created_at=NOW - HOUR)))
    assert finding.summary == (
        "no connection test on record, created 2027-01-15T07:00:00Z, allowed 1 h"
    )
    assert finding.evidence == {"created_at": "2027-01-15T07:00:00Z", "grace": "1 h"}


# --- disabled


@pytest.mark.parametrize(
    ("enabled_seen", "disabled_for", "age", "verdict"),
    [
        (True, DAY - 1, 90 * DAY, HEALTHY),
        (True, DAY, 90 * DAY, UNHEALTHY),
        (False, 0, DAY - 1, HEALTHY),
        (False, 0, DAY, UNHEALTHY),
        (False, 0, None, HEALTHY),
        (False, DAY, None, UNHEALTHY),
    ],
)
def test_disabled_is_unhealthy_once_seen_so_or_never_enabled_for_grace(
    enabled_seen: bool, disabled_for: float, age: float | None, verdict: Verdict
) -> None:
    config = a_config(is_enabled=False, created_at=None if age is None else NOW - age)
    inputs = an_input(config, enabled_seen=enabled_seen, disabled_since=NOW - disabled_for)
    assert Disabled().evaluate(inputs).verdict is verdict


def test_disabled_is_rechecked_when_its_grace_ends_and_counts_from_the_first_observation() -> None:
    config = a_config(is_enabled=False)
    early = Disabled().evaluate(an_input(config, enabled_seen=True, disabled_since=NOW - HOUR))
    assert early.recheck_at == NOW + 23 * HOUR
    late = Disabled().evaluate(an_input(config, enabled_seen=True, disabled_since=NOW - 2 * DAY))
    assert (late.verdict, late.since, late.recheck_at) == (UNHEALTHY, None, None)


def test_an_enabled_config_is_not_disabled() -> None:
    assert Disabled().evaluate(an_input(a_config(), disabled_since=0.0)).verdict is HEALTHY


# --- unreadable


@pytest.mark.parametrize(
    ("count", "first_ago", "verdict"),
    [
        (1, DAY, UNKNOWN),
        (2, DAY, UNKNOWN),
        (3, 15 * MINUTE - 1, UNKNOWN),
        (3, 15 * MINUTE, UNHEALTHY),
        (100, MINUTE, UNKNOWN),
    ],
)
def test_unreadable_takes_three_failures_and_a_while(
    count: int, first_ago: float, verdict: Verdict
) -> None:
    failures = Failures(count, NOW - first_ago)
    finding = Unreadable().evaluate(an_input(an_error(Reason.FORBIDDEN), failures=failures))
    assert finding.verdict is verdict
    assert finding.evidence["reason"] == "forbidden"
    assert finding.evidence["failures"] == str(count)
    if verdict is UNHEALTHY:
        assert finding.since == NOW - first_ago


@pytest.mark.parametrize("observation", [a_config(), NoConfig(), NoConfig(by_404=True)])
def test_unreadable_is_healthy_at_the_first_definite_answer(observation: Observation) -> None:
    assert Unreadable().evaluate(an_input(observation)).verdict is HEALTHY


def test_unreadable_is_unknown_where_no_failure_is_remembered() -> None:
    assert Unreadable().evaluate(an_input(an_error())).verdict is UNKNOWN


# --- a rule that breaks


class Broken(Rule):
    name: ClassVar[str] = "broken"

    def evaluate(self, inputs: EvaluationInput) -> Any:
        raise ZeroDivisionError


def test_a_rule_that_judges_nothing_cannot_be_made() -> None:
    for kind in (Rule, ConfigRule, LastTestRule):
        with pytest.raises(TypeError, match="abstract method"):
            type("Unfinished", (kind,), {})()


def test_fault_43_a_rule_that_breaks_costs_only_its_own_verdict() -> None:
    rule = Broken()
    rules = {rule.name: rule, **some_rules("failed_test")}
    findings = evaluate_all(rules, an_input(a_config(last_test_success=False)))
    assert findings[rule.name].verdict is UNKNOWN
    assert findings[rule.name].evidence == {"reason": "internal_error"}
    assert findings[rule.name].summary == "internal error: ZeroDivisionError"
    # For the log, which has room for a traceback.
    assert isinstance(findings[rule.name].error, ZeroDivisionError)
    assert findings["failed_test"].verdict is UNHEALTHY
