"""What is made of connection tests of ours, and of a config that nobody has tested since."""

from dataclasses import replace
from typing import Any

import pytest

from monitor.core.attempt import Attempt, TestSettings
from monitor.core.guards import Guard, Guards
from monitor.core.model import (
    DAY,
    HOUR,
    MINUTE,
    Finding,
    Instant,
    Seconds,
    Severity,
    SftpConfig,
    Verdict,
)
from monitor.core.rule import EvaluationInput, Rule, Testing
from monitor.core.rules import ChangedUntested, FailedTest, PathInaccessible, StaleTest
from monitor.core.status import Alert, ConfigChange, values_of
from support.attempts import TESTS_ON, a_tested, an_attempt, guards_on
from support.builders import NOW, a_config, a_target

HEALTHY, UNHEALTHY, UNKNOWN = Verdict.HEALTHY, Verdict.UNHEALTHY, Verdict.UNKNOWN

PASSED_BEFORE = NOW - DAY
WITH_PATHS = {"import_path": "/in", "export_path": "/out"}


def finding(
    rule: Rule,
    config: SftpConfig,
    *attempts: Attempt,
    testing: Testing | None = None,
    settings: TestSettings = TESTS_ON,
    **known: Any,
) -> Finding:
    """Return a rule's finding on a config with these tests of ours."""
    known = {"last_passed_at": PASSED_BEFORE, **known}
    status = a_tested(config, *attempts, **known).status
    inputs = EvaluationInput(config, status, a_target(tests=settings), NOW)
    return rule.evaluate(replace(inputs, testing=testing or Testing()))


def failed_at(at: Instant) -> SftpConfig:
    return a_config(last_test_at=at, last_test_success=False)


def minutes_ago(number: float, came_to: str, **fields: Any) -> Attempt:
    return an_attempt(NOW - number * MINUTE, came_to, **fields)


# --- failed_test


@pytest.mark.parametrize(
    ("attempts", "verdict"),
    [
        ([], UNHEALTHY),  # somebody's test counts at once
        ([minutes_ago(1, "denied")], UNHEALTHY),
        ([minutes_ago(1, "timeout")], UNKNOWN),
        ([minutes_ago(11, "timeout"), minutes_ago(1, "timeout")], UNHEALTHY),
        ([minutes_ago(6, "timeout"), minutes_ago(1, "timeout")], UNHEALTHY),
        ([minutes_ago(4, "timeout"), minutes_ago(1, "timeout")], UNKNOWN),  # too soon after it
        ([minutes_ago(11, "unknown"), minutes_ago(1, "timeout")], UNKNOWN),
        ([minutes_ago(11, "passed"), minutes_ago(1, "timeout")], UNKNOWN),
        ([minutes_ago(25 * 60, "timeout"), minutes_ago(1, "timeout")], UNKNOWN),  # a pass between
        ([minutes_ago(30, "denied"), minutes_ago(1, "timeout")], UNHEALTHY),
        ([minutes_ago(1, "timeout", cause="")], UNHEALTHY),  # no words: as good as a login failure
        ([minutes_ago(30, "denied")], UNHEALTHY),  # the one on record is somebody else's
    ],
)
def test_a_failure_of_ours_counts_when_it_is_of_the_login_or_confirmed(
    attempts: list[Attempt], verdict: Verdict
) -> None:
    found = finding(FailedTest(), failed_at(NOW - MINUTE), *attempts)
    assert found.verdict is verdict


def test_one_that_is_to_be_confirmed_says_so() -> None:
    found = finding(FailedTest(), failed_at(NOW - MINUTE), minutes_ago(1, "timeout"))
    assert found.summary == (
        "a test failed at 2027-01-15T07:59:00Z, to be confirmed by another: "
        'TalkOver says: "Connection timed out"'
    )


def test_a_failure_of_ours_says_its_cause_what_to_do_and_since_when() -> None:
    attempts = [minutes_ago(40, "denied"), minutes_ago(1, "denied")]
    found = finding(
        FailedTest(), failed_at(NOW - MINUTE), *attempts, testing=Testing(same_login=39)
    )
    assert found.summary == (
        'last test failed 1 min ago (2027-01-15T07:59:00Z): TalkOver says: "Authentication failed"'
    )
    assert found.since == NOW - 40 * MINUTE
    assert found.next_step.endswith("or run `sftp-monitor test CAMPAIGN --unblock`.")
    assert found.evidence == {
        "last_test_at": "2027-01-15T07:59:00Z",
        "last_test_success": "false",
        "cause": 'TalkOver says: "Authentication failed"',
        "tested_by": "monitor",
        "same_login": "39",
    }


def test_a_failure_whose_words_nobody_knows_says_so() -> None:
    strange = finding(FailedTest(), failed_at(NOW), minutes_ago(0, "denied", cause="0x80004005"))
    assert strange.next_step.startswith("No known cause: ")
    silent = finding(FailedTest(), failed_at(NOW), minutes_ago(0, "denied", cause=""))
    assert silent.evidence["cause"] == "no cause is known"


def test_a_failure_of_somebody_else_has_no_cause_of_ours() -> None:
    found = finding(FailedTest(), failed_at(NOW), minutes_ago(30, "denied"))
    assert found.evidence.keys() == {"last_test_at", "last_test_success"}
    assert found.next_step == ""


@pytest.mark.parametrize(
    ("changed", "evidence"),
    [
        ([(20, "host")], "host changed from a to b 20 min before"),
        ([(90, "username"), (20, "port")], "port changed from a to b 20 min before"),
        ([(20, "import_schedule")], None),
        ([(90, "host"), (20, "is_enabled")], "host changed from a to b 90 min before"),
        ([(-5, "host")], None),  # after the test
        ([(20, "host"), (-5, "port")], "host changed from a to b 20 min before"),
        ([], None),
    ],
)
def test_what_was_changed_before_a_failed_test_is_evidence(
    changed: list[tuple[float, str]], evidence: str | None
) -> None:
    tested = minutes_ago(10, "denied")
    changes = tuple(
        ConfigChange(at=tested.at - before * MINUTE, since=None, fields={name: ("a", "b")})
        for before, name in changed
    )
    found = finding(FailedTest(), failed_at(tested.at), tested, changes=changes)
    assert found.evidence.get("changed") == evidence


@pytest.mark.parametrize(
    ("last_pass", "verdict"), [(-2 * HOUR, UNKNOWN), (-HOUR, HEALTHY), (-60, HEALTHY)]
)
def test_a_pass_from_before_its_login_was_blocked_says_nothing_any_more(
    last_pass: Seconds, verdict: Verdict
) -> None:
    blocked = Testing(guards=Guards(login=Guard(failures=(NOW - HOUR, NOW - MINUTE))))
    found = finding(FailedTest(), a_config(last_test_at=NOW + last_pass), testing=blocked)
    assert found.verdict is verdict


# --- stale_test


@pytest.mark.parametrize(
    ("settings", "schedule", "limit"),
    [
        (TestSettings(), "daily", 30 * DAY),
        (TESTS_ON, "daily", 3 * DAY),
        (replace(TESTS_ON, every=HOUR), "daily", (3 + 9) * HOUR),  # `between` shuts out nine
        (replace(TESTS_ON, every=HOUR, between=None), "daily", 3 * HOUR),
        (replace(TESTS_ON, every=20 * DAY), "daily", 30 * DAY),
        (TESTS_ON, "manual", 30 * DAY),
        (replace(TESTS_ON, manual=True), "manual", 3 * DAY),
    ],
)
def test_where_tests_run_one_is_stale_after_three_times_every(
    settings: TestSettings, schedule: str, limit: Seconds
) -> None:
    config = a_config(last_test_at=NOW - limit, import_schedule=schedule)
    on = Testing(guards=guards_on(NOW - 60 * DAY))
    found = finding(StaleTest(), config, settings=settings, testing=on)
    assert (found.verdict, found.since) == (UNHEALTHY, NOW)
    younger = replace(config, last_test_at=NOW - limit + 1)
    assert finding(StaleTest(), younger, settings=settings, testing=on).verdict is HEALTHY


def test_tests_that_were_just_switched_on_make_no_test_stale() -> None:
    just_on = Testing(guards=guards_on(NOW - HOUR))
    old = a_config(last_test_at=NOW - 20 * DAY)
    found = finding(StaleTest(), old, testing=just_on)
    assert (found.verdict, found.recheck_at) == (HEALTHY, NOW - HOUR + 3 * DAY)


def test_a_stale_test_says_why_none_runs() -> None:
    held = Testing(held="one test of this host in 3 min", guards=guards_on(NOW - 60 * DAY))
    found = finding(StaleTest(), a_config(last_test_at=NOW - 4 * DAY), testing=held)
    assert found.summary.endswith("allowed 3 d; none runs: one test of this host in 3 min")


# --- path_inaccessible


@pytest.mark.parametrize(
    ("said", "verdict", "severity"),
    [
        ({}, HEALTHY, None),
        ({"import_path": False}, UNHEALTHY, Severity.CRITICAL),
        ({"export_path": False}, UNHEALTHY, Severity.WARNING),
        ({"import_path": False, "export_path": False}, UNHEALTHY, Severity.CRITICAL),
        ({"import_path": None, "export_path": False}, UNHEALTHY, Severity.WARNING),
        ({"import_path": None, "export_path": None}, UNKNOWN, None),  # it does not say
        ({"export_path": None}, UNKNOWN, None),
    ],
)
def test_a_path_that_a_passed_test_could_not_reach(
    said: dict[str, Any], verdict: Verdict, severity: Severity | None
) -> None:
    rule = PathInaccessible()
    found = finding(rule, a_config(last_test_at=NOW, **WITH_PATHS), an_attempt(**said))
    assert found.verdict is verdict
    if severity:
        assert rule.severity_of(found) is severity
        assert rule.severity_of(Alert(rule=rule.name, evidence=found.evidence)) is severity
        assert found.since == NOW


def test_a_path_that_is_not_set_and_not_spoken_of_is_no_doubt() -> None:
    said = an_attempt(import_path=None, export_path=None)
    assert finding(PathInaccessible(), a_config(last_test_at=NOW), said).verdict is HEALTHY


def test_it_names_the_paths() -> None:
    config = a_config(last_test_at=NOW, import_path="/in")
    found = finding(PathInaccessible(), config, an_attempt(import_path=False, export_path=False))
    assert found.summary == "import path /in and export path not set cannot be reached"
    assert found.evidence == {
        "import_path": "/in",
        "export_path": "not set",
        "tested_by": "monitor",
        "last_test_at": "2027-01-15T08:00:00Z",
    }


@pytest.mark.parametrize(
    "config",
    [a_config(last_test_at=NOW + MINUTE), failed_at(NOW), a_config(last_test_at=None)],
    ids=["somebody's", "failed", "half a record"],
)
def test_of_any_other_test_nobody_knows_the_paths(config: SftpConfig) -> None:
    found = finding(PathInaccessible(), config, an_attempt(import_path=False))
    assert found.verdict is UNKNOWN


# --- changed_untested


CHANGED: dict[str, Any] = {
    "passed_for": values_of(a_config(host="old.example")),
    "untested_since": NOW - HOUR,
}


@pytest.mark.parametrize(
    ("settings", "held", "verdict"),
    [
        (TestSettings(), "", UNHEALTHY),  # tests are off
        (TESTS_ON, "", HEALTHY),  # one is about to run
        (TESTS_ON, "the login has had 2 failed tests", UNHEALTHY),
    ],
)
def test_a_changed_config_that_the_monitor_does_not_test_is_told(
    settings: TestSettings, held: str, verdict: Verdict
) -> None:
    testing = Testing(held=held)
    found = finding(ChangedUntested(), a_config(), testing=testing, settings=settings, **CHANGED)
    assert found.verdict is verdict


@pytest.mark.parametrize(
    ("grace", "verdict", "recheck"),
    [(HOUR, UNHEALTHY, None), (HOUR + 1, HEALTHY, NOW + 1), (0.0, UNHEALTHY, None)],
)
def test_it_has_its_grace(grace: Seconds, verdict: Verdict, recheck: Instant | None) -> None:
    rule = ChangedUntested(grace=grace)
    found = finding(rule, a_config(), settings=TestSettings(), **CHANGED)
    assert (found.verdict, found.recheck_at) == (verdict, recheck)
