"""What the rules of a campaign say: the words that people read, and the evidence for pipelines."""

from dataclasses import replace

import pytest

from monitor.core.model import DAY, HOUR, MINUTE, NoConfig, PollError, Reason
from monitor.core.rule import EvaluationInput, Rule, evaluate_all
from monitor.core.rules import (
    RULES,
    ChangedUntested,
    Disabled,
    FailedTest,
    FutureTest,
    Missing,
    NeverTested,
    PathInaccessible,
    StaleTest,
    Unreadable,
)
from monitor.core.status import Failures, values_of
from support.builders import NOW, a_config, an_input, an_untested_config, some_rules

AN_HOUR_AGO, NOW_TEXT, IN_AN_HOUR = (
    "2027-01-15T07:00:00Z",
    "2027-01-15T08:00:00Z",
    "2027-01-15T09:00:00Z",
)
TESTED = {"last_test_at": AN_HOUR_AGO, "last_test_success": "true"}
HALF_A_RECORD = "the record of the last test is incomplete"

SEEN = an_input(a_config(last_test_at=NOW - HOUR))
HALF = an_input(a_config(last_test_at=NOW - HOUR, last_test_success=None))
GONE = an_input(NoConfig(), config=a_config(), missing_since=NOW - HOUR)
UNTESTED = an_input(an_untested_config(created_at=NOW - HOUR))
FIRST_SEEN = an_input(an_untested_config(created_at=None), first_seen_at=NOW - HOUR)
DATED_AHEAD = an_input(a_config(last_test_at=NOW + HOUR))
OFF = an_input(a_config(is_enabled=False), enabled_seen=True, disabled_since=NOW - HOUR)
NEVER_ON = an_input(a_config(is_enabled=False))
UNREAD = an_input(PollError(Reason.FORBIDDEN, "403 no"), failures=Failures(3, NOW - HOUR))
MOVED = an_input(
    a_config(username="retail"),
    passed_for=values_of(a_config(host="old.example")),
    untested_since=NOW - HOUR,
)

MOVES = {"host": "old.example → sftp.example", "username": "nothing → retail"}
CREATED = {"created_at": AN_HOUR_AGO}
SWITCHED_OFF = {"is_enabled": "false", "disabled_since": AN_HOUR_AGO}
FAILURES = {
    "reason": "forbidden",
    "detail": "403 no",
    "failures": "3",
    "first_failure_at": AN_HOUR_AGO,
}

FINDINGS: list[tuple[Rule, EvaluationInput, str, dict[str, str]]] = [
    (Missing(), SEEN, "the campaign has an SFTP config", {}),
    (Missing(), UNREAD, "the last poll failed: forbidden", {"reason": "forbidden"}),
    (Missing(), an_input(NoConfig(), expected=False, missing_since=NOW - HOUR),
     "the campaign does not use SFTP", {}),
    (Missing(), an_input(NoConfig(), listed=False, config=a_config(), missing_since=NOW - HOUR),
     "no SFTP config; the next listing says whether the campaign is there", {}),
    (Missing(), replace(GONE, others_read_at=NOW - 2 * HOUR),
     "the SFTP config is gone; two other campaigns are asked first", {}),
    (Missing(), GONE, "the SFTP config that was there is gone", {"missing_since": AN_HOUR_AGO}),
    (Missing(), an_input(NoConfig()),
     "the platform has no SFTP config for this campaign", {"missing_since": NOW_TEXT}),
    (NeverTested(), GONE, "there is no SFTP config to look at", {}),
    (NeverTested(), SEEN, "a connection test is on record", TESTED),
    (NeverTested(), HALF, HALF_A_RECORD, {"last_test_at": AN_HOUR_AGO}),
    (NeverTested(grace=2 * HOUR), UNTESTED,
     f"no connection test on record, created {AN_HOUR_AGO}, allowed 2 h;"
     f" the limit is at {IN_AN_HOUR}", {**CREATED, "grace": "2 h"}),
    (NeverTested(grace=HOUR), FIRST_SEEN,
     f"no connection test on record, created {AN_HOUR_AGO}, allowed 1 h",
     {**CREATED, "grace": "1 h"}),
    (NeverTested(grace=HOUR), an_input(an_untested_config(created_at=None)),
     f"no connection test on record, created {NOW_TEXT}, allowed 1 h;"
     f" the limit is at {IN_AN_HOUR}", {"created_at": NOW_TEXT, "grace": "1 h"}),
    (Disabled(grace=HOUR), an_input(a_config(is_enabled=False, created_at=None)),
     f"disabled since {NOW_TEXT} or earlier (allowed: 1 h); the limit is at {IN_AN_HOUR}",
     {"is_enabled": "false", "disabled_since": NOW_TEXT, "grace": "1 h"}),
    (Disabled(), SEEN, "the SFTP config is enabled", {"is_enabled": "true"}),
    (Disabled(grace=2 * HOUR), OFF,
     f"disabled since {AN_HOUR_AGO} or earlier (allowed: 2 h);"
     f" the limit is at {IN_AN_HOUR}", {**SWITCHED_OFF, "grace": "2 h"}),
    (Disabled(grace=HOUR), OFF,
     f"disabled since {AN_HOUR_AGO} or earlier (allowed: 1 h)",
     {**SWITCHED_OFF, "grace": "1 h"}),
    (Disabled(grace=10 * DAY), NEVER_ON,
     "disabled since 2027-01-05T08:00:00Z or earlier (allowed: 10 d)",
     {"is_enabled": "false", "disabled_since": "2027-01-05T08:00:00Z", "grace": "10 d"}),
    (FailedTest(), SEEN, f"last test passed at {AN_HOUR_AGO}", TESTED),
    (FailedTest(), UNTESTED, "no connection test on record", {}),
    (FailedTest(), HALF, HALF_A_RECORD, {"last_test_at": AN_HOUR_AGO}),
    (StaleTest(max_age=2 * HOUR), SEEN,
     f"last test at {AN_HOUR_AGO}, allowed 2 h; the limit is at {IN_AN_HOUR}",
     {**TESTED, "max_age": "2 h"}),
    (FutureTest(), SEEN, "the last test is not dated in the future",
     {**TESTED, "tolerance": "5 min"}),
    (FutureTest(), DATED_AHEAD, f"last test dated 1 h ahead ({IN_AN_HOUR})",
     {"last_test_at": IN_AN_HOUR, "last_test_success": "true", "tolerance": "5 min"}),
    (PathInaccessible(), SEEN,
     "no test of ours on record says whether the paths can be reached", {}),
    (ChangedUntested(), SEEN,
     "the connection has not changed since its last passed test", {}),
    (ChangedUntested(grace=2 * HOUR), MOVED,
     f"host, username changed, seen at {AN_HOUR_AGO}, and not tested since;"
     f" the limit is at {IN_AN_HOUR}", {**MOVES, "grace": "2 h"}),
    (ChangedUntested(grace=HOUR), MOVED,
     f"host, username changed, seen at {AN_HOUR_AGO}, and not tested since",
     {**MOVES, "grace": "1 h"}),
    (Unreadable(), SEEN, "the SFTP config can be read", {}),
    (Unreadable(), an_input(PollError(Reason.FORBIDDEN, "403 no")),
     "the last poll failed: forbidden", {"reason": "forbidden"}),
    (Unreadable(after=DAY), UNREAD,
     f"3 polls in a row failed since {AN_HOUR_AGO}: forbidden", FAILURES),
    (Unreadable(after=MINUTE), UNREAD,
     f"3 polls in a row failed since {AN_HOUR_AGO}: forbidden", FAILURES),
]  # fmt: skip


def test_every_rule_is_in_the_table() -> None:
    assert {rule.name for rule, *_ in FINDINGS} == RULES.keys()


@pytest.mark.parametrize(("rule", "inputs", "summary", "evidence"), FINDINGS)
def test_each_finding_has_its_words_and_its_evidence(
    rule: Rule, inputs: EvaluationInput, summary: str, evidence: dict[str, str]
) -> None:
    finding = rule.evaluate(inputs)
    assert (finding.summary, finding.evidence) == (summary, evidence)


def test_a_rule_whose_evidence_another_has_spoiled_names_it() -> None:
    finding = evaluate_all(some_rules("stale_test", "future_test"), DATED_AHEAD)["stale_test"]
    assert finding.summary == "unknown while future_test is unhealthy"
    assert finding.evidence == {}
