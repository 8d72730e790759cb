"""What the answer to a connection test means, and the polls after it: for campaign and guards."""

from dataclasses import replace
from typing import Any

import pytest

from monitor.core.assess import reconcile, reconcile_environment
from monitor.core.attempt import CampaignTests, Result, TestAnswer, Trigger
from monitor.core.connection_tests import Tested, plan
from monitor.core.guards import EnvironmentTests, Guard, Guards, Suspension
from monitor.core.instants import redated
from monitor.core.model import DAY, HOUR, MINUTE, Instant, Reason, Seconds
from monitor.core.outcomes import Step, begin, end, recorded, switched_off
from monitor.core.status import EnvironmentStatus
from support.attempts import (
    a_tested,
    an_attempt,
    failed,
    guards_on,
    no_answer,
    passed,
)
from support.builders import NOW, a_config, a_target
from support.environments import facts_of

LONG_AGO = NOW - 30 * DAY


def begun(campaign: Tested | None = None, guards: Guards | None = None) -> Step:
    campaign = campaign or a_tested(a_config(username="retail"))
    return begin(campaign, guards or guards_on(LONG_AGO), Trigger.SCHEDULE, per_minute=50.0)


def ended(answer: TestAnswer, *, ahead: Seconds = 0.0, after: Step | None = None) -> Step:
    return end(after or begun(), answer, NOW + 5, ahead)


# --- what is stored before it is sent


def test_an_attempt_counts_as_a_failed_login_until_it_has_ended() -> None:
    step = begun()
    assert step.tests.last == step.attempt
    assert (step.attempt.at, step.attempt.result, step.attempt.ended_at) == (
        NOW,
        Result.UNKNOWN,
        None,
    )
    assert (step.attempt.server, step.attempt.login) == (
        "sftp.example:22",
        "retail@sftp.example:22",
    )
    assert step.guards.login.fails == (NOW,)
    assert step.guards.host.under_way == NOW


@pytest.mark.parametrize(
    ("per_minute", "apart"), [(50.0, 12.0), (5.0, 2 * MINUTE), (0.5, 20 * MINUTE)]
)
def test_tests_are_spaced_by_their_share_of_the_budget(per_minute: float, apart: Seconds) -> None:
    step = begin(a_tested(), guards_on(LONG_AGO), Trigger.SCHEDULE, per_minute)
    assert step.guards.environment.next_at == NOW + apart
    # What was not used is not saved up; what was is.
    again = begin(a_tested(now=NOW + 1), step.guards, Trigger.SCHEDULE, per_minute)
    assert again.guards.environment.next_at == NOW + 2 * apart


@pytest.mark.parametrize(
    ("attempts", "first"),
    [([], True), ([an_attempt(NOW - 40 * DAY)], True), ([an_attempt(NOW - DAY)], False)],
)
def test_the_first_test_since_they_are_on_is_marked(attempts: list[Any], first: bool) -> None:
    assert begun(a_tested(None, *attempts)).attempt.first is first


@pytest.mark.parametrize("first", [True, False])
def test_what_confirms_the_first_test_is_marked_as_it_is(first: bool) -> None:
    failed = replace(an_attempt(NOW - HOUR, "failed"), first=first)
    confirming = begin(a_tested(None, failed), guards_on(LONG_AGO), Trigger.CONFIRM, 50.0)
    assert confirming.attempt.first is first
    again = begin(a_tested(None, failed), guards_on(LONG_AGO), Trigger.RETRY, 50.0)
    assert again.attempt.first is False


def test_a_probe_and_who_asked_are_remembered() -> None:
    step = begin(a_tested(), guards_on(LONG_AGO), Trigger.PROBE, 50.0)
    assert step.guards.environment.probed_at == NOW
    asked = begin(a_tested(), guards_on(LONG_AGO), Trigger.COMMAND, 50.0, by="alice")
    assert (asked.attempt.by, asked.guards.environment.probed_at) == ("alice", None)


def test_a_config_that_is_new_to_a_blocked_login_uses_up_a_try() -> None:
    login = Guard(failures=(NOW - 2 * HOUR, NOW - HOUR))
    blocked = replace(guards_on(LONG_AGO), login=login)
    assert begun(a_tested(moved_at=NOW - MINUTE), blocked).guards.login.tries == (NOW,)


def test_only_the_last_attempts_are_kept() -> None:
    tests = CampaignTests()
    for day in range(9):
        tests = tests.begun(an_attempt(NOW + day * DAY))
    assert [one.at for one in tests.attempts] == [NOW + day * DAY for day in (6, 7, 8)]


# --- every answer


@pytest.mark.parametrize(
    ("answer", "result", "counts"),
    [
        (passed(NOW + 3), "passed", False),
        (passed(NOW + 3, import_path=None, export_path=None), "passed", False),
        (passed(NOW + 3, import_path=False), "passed", False),
        (failed(NOW + 3), "failed", True),
        (failed(NOW + 3, ""), "failed", True),
        (failed(NOW + 3, "Connection refused"), "failed", False),
        # When it tested cannot be: the record decides.
        (passed(NOW + HOUR), "unknown", True),
        (passed(0.0), "unknown", True),
        (failed(NOW - DAY, "Connection refused"), "unknown", True),
        # It was sent, and nobody knows what came of it.
        (no_answer(reason=Reason.TIMEOUT), "unknown", True),
        (no_answer(reason=Reason.CONNECTION_LOST), "unknown", True),
        (no_answer(reason=Reason.PROTOCOL_ERROR), "unknown", True),
        (no_answer(reason=Reason.TLS_ERROR), "unknown", True),  # while its answer was read
        (no_answer(500, Reason.HTTP_5XX), "unknown", True),
        (no_answer(504, Reason.HTTP_5XX), "unknown", True),
        (no_answer(200, Reason.MALFORMED), "unknown", True),
        (no_answer(200, Reason.SCHEMA_MISMATCH), "unknown", True),
        (no_answer(200, Reason.BAD_CONTENT_TYPE), "unknown", True),
        (no_answer(302, Reason.REDIRECT), "unknown", True),
        (no_answer(402, Reason.HTTP_4XX), "unknown", True),
    ],
)
def test_an_answer_has_one_meaning(answer: TestAnswer, result: str, counts: bool) -> None:
    step = ended(answer)
    assert step.attempt.result == result
    assert step.attempt.ended_at == NOW + 5
    assert step.tests.last == step.attempt
    assert step.guards.login.fails == ((NOW,) if counts else ())
    assert step.guards.host.failures == ((NOW,) if counts else ())
    assert step.guards.host.under_way is None
    assert step.guards.environment.recent == (step.attempt,)
    assert step.tests.failures == (0 if result == "passed" and not step.attempt.inaccessible else 1)


def test_what_it_says_is_kept() -> None:
    said = ended(failed(NOW + 3, "Authentication failed")).attempt
    assert (said.tested_at, said.cause, said.import_path) == (
        NOW + 3,
        "Authentication failed",
        None,
    )
    said = ended(passed(NOW + 3, export_path=False)).attempt
    assert (said.import_path, said.export_path, said.inaccessible) == (True, False, True)


def test_the_platforms_clock_may_be_ahead() -> None:
    assert ended(passed(NOW + HOUR), ahead=HOUR).attempt.result == "passed"
    assert ended(passed(NOW), ahead=HOUR).attempt.result == "unknown"


def test_a_passed_test_clears_the_login_but_not_the_host() -> None:
    once = Guard(failures=(NOW - HOUR,))
    guards = replace(guards_on(LONG_AGO), login=once, host=once)
    after = ended(passed(NOW + 3), after=begun(guards=guards)).guards
    assert (after.login.fails, after.host.failures) == ((), (NOW - HOUR,))


@pytest.mark.parametrize(
    "answer",
    [
        no_answer(reason=Reason.CONNECT_ERROR),
        no_answer(reason=Reason.DNS_ERROR),
        no_answer(401, Reason.UNAUTHORIZED),
        no_answer(403, Reason.FORBIDDEN),
        no_answer(404, Reason.NOT_FOUND),
        no_answer(405, Reason.HTTP_4XX),
        no_answer(409, Reason.HTTP_4XX),
        no_answer(422, Reason.HTTP_4XX),
        no_answer(429, Reason.RATE_LIMITED),
    ],
    ids=lambda answer: str(answer.status or answer.observation.reason),
)
def test_what_was_turned_away_or_not_sent_is_no_attempt(answer: TestAnswer) -> None:
    before = a_tested(a_config(last_test_at=NOW - 2 * DAY), an_attempt(NOW - 2 * DAY))
    step = ended(answer, after=begun(before))
    # Whoever is refused is so for long; an import is over soon.
    later = NOW + 5 + (HOUR if answer.status in {403, 404, 405, 422} else 15 * MINUTE)
    assert step.tests == replace(before.status.tests, not_before=later)
    assert step.guards.login.fails == ()
    assert step.guards.host.fails == ()
    assert step.guards.environment.recent == ()
    # It is due as before, but not at once.
    again = replace(before, status=replace(before.status, tests=step.tests), now=NOW + 6)
    found = plan(again, step.guards)
    assert found is not None
    assert found.at == later


def test_a_refusal_and_a_429_are_remembered_for_the_environment() -> None:
    assert ended(no_answer(403)).guards.environment.refused == ("c-1",)
    slowed = ended(no_answer(429, pause=40.0)).guards.environment
    assert (slowed.next_at, slowed.limited) == (NOW + 45, (NOW + 5,))
    assert ended(no_answer(429)).guards.environment.next_at == NOW + 5 + MINUTE
    for status in (401, 409):
        assert ended(no_answer(status)).guards.environment.refused == ()


# --- the poll after it


def poll(
    tested_at: Instant | None,
    success: bool | None,
    came_to: str = "unknown",
    guards: Guards | None = None,
    **fields: Any,
) -> tuple[CampaignTests, Guards]:
    """Return tests and guards after a poll a minute after a test of ours."""
    config = a_config(last_test_at=tested_at, last_test_success=success)
    campaign = a_tested(config, an_attempt(NOW, came_to), now=NOW + MINUTE, **fields)
    guards = guards or Guards(login=Guard(failures=(NOW,) if came_to != "passed" else ()))
    return recorded(campaign, guards)


@pytest.mark.parametrize(
    ("tested_at", "success", "result"),
    [
        (NOW + 2, True, "passed"),
        (NOW + 2, False, "failed"),
        (NOW + 60, True, "passed"),
        (NOW - 40, True, "passed"),  # a clock that is a little off
        (NOW - 61, True, "unknown"),
        (NOW + 121, True, "unknown"),
        (NOW - DAY, True, "unknown"),
        (None, None, "unknown"),
        (NOW + 2, None, "unknown"),
        (NOW + DAY, True, "unknown"),
    ],
)
def test_an_attempt_without_a_result_takes_the_records(
    tested_at: Instant | None, success: bool | None, result: str
) -> None:
    tests, _ = poll(tested_at, success)
    assert tests.last is not None
    assert tests.last.result == result


def test_so_it_passed_and_nothing_has_failed() -> None:
    tests, guards = poll(NOW - 1, True)
    assert (tests.failures, tests.suspect, guards.login.fails) == (0, 0, ())
    assert [one.result for one in guards.environment.recent] == ["passed"]


@pytest.mark.parametrize("came_to", ["unknown", "under way"])
def test_or_it_failed_and_that_counts_once(came_to: str) -> None:
    tests, guards = poll(NOW + 2, False, came_to, failures=int(came_to == "unknown"))
    assert (tests.failures, tests.suspect, guards.login.fails) == (1, 4, (NOW,))


def test_a_test_that_is_under_way_is_not_ended_by_a_poll() -> None:
    guards = Guards(login=Guard().begun(NOW))
    assert poll(NOW + 2, True, "under way", guards)[1] == guards


def test_a_test_of_somebody_else_counts_for_login_and_host() -> None:
    _, guards = poll(NOW + 30, False, "passed")
    assert guards.login.fails == (NOW + 30,)
    assert (guards.login.last_at, guards.host.last_at) == (NOW + 30, NOW + 30)
    assert guards.host.failures == ()
    _, guards = poll(NOW + 30, True, guards=Guards(login=Guard(failures=(NOW - HOUR, NOW))))
    assert guards.login.fails == ()


def test_one_of_ours_counts_by_our_own_clock_and_not_as_somebody_elses() -> None:
    _, guards = poll(NOW, False, "denied", guards=Guards(login=Guard(failures=(NOW,))))
    assert guards.login.fails == (NOW,)
    assert guards.login.last_at == NOW


def test_a_pass_from_before_it_was_another_login_clears_nothing() -> None:
    blocked = Guards(login=Guard(failures=(NOW - 3 * HOUR, NOW - 2 * HOUR)))
    record = a_config(last_test_at=NOW - HOUR)
    moved = a_tested(record, moved_at=NOW - MINUTE)
    assert recorded(moved, blocked)[1].login.failures == blocked.login.failures
    stayed = a_tested(record, moved_at=NOW - DAY)
    assert recorded(stayed, blocked)[1].login.failures == ()


@pytest.mark.parametrize(
    ("tested_at", "success", "ours"),
    [
        (NOW, False, True),
        (NOW + 1, False, True),
        (NOW - 1, False, True),
        (NOW + 1.5, False, False),
        (NOW, True, False),
        (NOW - DAY, False, False),
        (None, None, False),
    ],
)
def test_the_test_on_record_is_ours_within_a_second_and_with_the_same_result(
    tested_at: Instant | None, success: bool | None, ours: bool
) -> None:
    tests = CampaignTests(attempts=(an_attempt(NOW, "denied"),))
    config = a_config(last_test_at=tested_at, last_test_success=success)
    assert (tests.on_record(config) is not None) is ours


# --- 5: it switches off


ON = a_config(last_test_at=NOW - DAY)
OFF_AND_SHOWN = replace(ON, is_enabled=False, last_test_at=NOW, last_test_success=False)
SHOWN = replace(OFF_AND_SHOWN, is_enabled=True)
LAGS = ON


def suspended_by(*seen: Any, every: Seconds = MINUTE, came_to: str = "denied") -> Suspension | None:
    """Return what suspends tests in these answers after a failed test of ours."""
    status = a_tested(ON, an_attempt(NOW, came_to)).status
    suspect = 4 if came_to in {"denied", "timeout"} else 0
    status = replace(status, tests=replace(status.tests, suspect=suspect))
    found = None
    for number, config in enumerate(seen, start=1):
        now = NOW + number * every
        tests, suspension = switched_off(status, config, now)
        status = replace(status.after(config, now), tests=tests)
        found = found or suspension
    return found


@pytest.mark.parametrize(
    ("seen", "every", "suspended"),
    [
        ([OFF_AND_SHOWN], MINUTE, True),
        ([SHOWN, OFF_AND_SHOWN], MINUTE, True),
        ([SHOWN, SHOWN, SHOWN, OFF_AND_SHOWN], MINUTE, True),
        ([SHOWN, SHOWN, SHOWN, SHOWN, OFF_AND_SHOWN], MINUTE, False),
        ([LAGS, LAGS, LAGS, SHOWN, OFF_AND_SHOWN], MINUTE, True),  # the record lags
        ([replace(LAGS, is_enabled=False)], MINUTE, True),
        ([SHOWN, OFF_AND_SHOWN], 5 * MINUTE, True),
        ([SHOWN, SHOWN, SHOWN, OFF_AND_SHOWN], 5 * MINUTE, False),  # 20 min later
        ([OFF_AND_SHOWN], 15 * MINUTE, True),
        ([OFF_AND_SHOWN], 15 * MINUTE + 1, False),
        ([replace(OFF_AND_SHOWN, host="other.example")], MINUTE, False),
        ([replace(OFF_AND_SHOWN, username="other")], MINUTE, False),
        ([replace(OFF_AND_SHOWN, import_path="/other")], MINUTE, False),
        ([SHOWN, SHOWN], MINUTE, False),
    ],
)
def test_a_config_that_is_switched_off_after_a_failed_test_of_ours_suspends_all(
    seen: list[Any], every: Seconds, suspended: bool
) -> None:
    found = suspended_by(*seen, every=every)
    assert (found is not None) is suspended
    if found:
        assert (found.campaign_id, found.until) == ("c-1", None)
        assert found.why == "TalkOver has switched c-1 off after our failed test at " + (
            "2027-01-15T08:00:00Z"
        )


def test_after_a_passed_test_somebody_has_switched_it_off() -> None:
    passed_and_off = replace(ON, is_enabled=False, last_test_at=NOW)
    assert suspended_by(passed_and_off, came_to="passed") is None


def test_a_campaign_that_was_switched_off_is_called_by_its_name() -> None:
    status = a_tested(ON, an_attempt(NOW, "denied")).status
    status = replace(status, tests=replace(status.tests, suspect=4))
    _, found = switched_off(status, OFF_AND_SHOWN, NOW + MINUTE, "Retail leads")
    assert found is not None
    assert found.why.startswith("TalkOver has switched Retail leads off after our failed test")
    assert found.campaign_id == "c-1"


def test_one_that_was_off_before_was_not_switched_off() -> None:
    status = a_tested(replace(ON, is_enabled=False), an_attempt(NOW, "denied")).status
    status = replace(status, tests=replace(status.tests, suspect=4))
    assert switched_off(status, OFF_AND_SHOWN, NOW + MINUTE)[1] is None


def test_a_test_without_an_answer_that_switched_it_off_suspends_all_too() -> None:
    before = a_tested(ON, an_attempt(NOW, "unknown")).status
    after = a_tested(OFF_AND_SHOWN, an_attempt(NOW, "unknown"), now=NOW + MINUTE)
    tests, _ = recorded(after, Guards())
    _, suspension = switched_off(replace(before, tests=tests), OFF_AND_SHOWN, NOW + MINUTE)
    assert suspension is not None


# --- a wrong clock of ours


def test_after_a_step_of_our_clock_attempts_are_redated_but_for_the_platforms_instants() -> None:
    tests = CampaignTests(attempts=(an_attempt(NOW),), not_before=NOW)
    later = redated(tests, by=HOUR)
    assert later.attempts == (replace(an_attempt(NOW + HOUR), tested_at=NOW),)
    assert later.not_before == NOW + HOUR


def test_at_a_start_nothing_was_later_than_now_and_nothing_waits_for_days() -> None:
    # The clock was days ahead when it was stored.
    stored = a_tested(None, an_attempt(NOW + 3 * DAY), not_before=NOW + 3 * DAY).status
    tests = reconcile(stored, a_target(), NOW).status.tests
    assert tests.last is not None
    assert (tests.last.at, tests.not_before) == (NOW, NOW + HOUR)
    # What has to wait for minutes does so over a start, too.
    waits = replace(stored, tests=CampaignTests(not_before=NOW + 9 * MINUTE))
    assert reconcile(waits, a_target(), NOW).status.tests == waits.tests
    environment = EnvironmentStatus(
        name="production", tests=EnvironmentTests(next_at=NOW + 9 * MINUTE)
    )
    assert reconcile_environment(environment, facts_of(3), NOW)[0].tests == environment.tests


@pytest.mark.parametrize(
    ("swept", "on_since"),
    [(-MINUTE, LONG_AGO), (-DAY, LONG_AGO), (-DAY - 1, NOW), (None, LONG_AGO)],
)
def test_after_a_day_without_a_monitor_each_test_waits_for_its_own_minute(
    swept: Seconds | None, on_since: Instant
) -> None:
    environment = EnvironmentStatus(
        name="production",
        tests=EnvironmentTests(on_since=LONG_AGO),
        swept_at=None if swept is None else NOW + swept,
    )
    assert reconcile_environment(environment, facts_of(3), NOW)[0].tests.on_since == on_since
