"""Builders for what connection tests of ours rest on; everything is in order unless it is said."""

from dataclasses import replace
from typing import Any

from monitor.core.attempt import (
    Attempt,
    CampaignTests,
    Result,
    TestAnswer,
    TestReport,
    TestSettings,
    Trigger,
    login_of,
    server_of,
)
from monitor.core.connection_tests import Tested
from monitor.core.guards import EnvironmentTests, Guards
from monitor.core.model import Instant, PollError, Reason, SftpConfig
from monitor.core.status import CampaignStatus, LastKnown
from support.builders import NOW, a_config, a_target

TESTS_ON = TestSettings(enabled=True)

WORDS = {"denied": "Authentication failed", "timeout": "Connection timed out"}


def an_attempt(at: Instant = NOW, came_to: str = "passed", **fields: Any) -> Attempt:
    """Return a test of ours that began at `at`: passed, denied, timeout, unknown or under way."""
    result = {"passed": Result.PASSED, "unknown": Result.UNKNOWN, "under way": Result.UNKNOWN}
    answered = came_to in {"passed", *WORDS}
    attempt = Attempt(
        environment="production",
        campaign_id="c-1",
        server=server_of(a_config()),
        login=login_of(a_config()),
        at=at,
        trigger=Trigger.SCHEDULE,
        ended_at=None if came_to == "under way" else at + 2,
        result=result.get(came_to, Result.FAILED),
        tested_at=at if answered else None,
        cause=WORDS.get(came_to, ""),
        import_path=True if came_to == "passed" else None,
        export_path=True if came_to == "passed" else None,
    )
    return replace(attempt, **fields)


def a_tested(
    config: SftpConfig | None = None,
    *attempts: Attempt,
    now: Instant = NOW,
    settings: TestSettings = TESTS_ON,
    failures: int | None = None,
    not_before: Instant = 0.0,
    muted: str | None = None,
    **fields: Any,
) -> Tested:
    """Return a campaign with tests on, and these tests of ours; `fields` of `Tested`, or what is
    remembered of its config.
    """
    config = config or a_config()
    known = {name: fields.pop(name) for name in LastKnown.__dataclass_fields__ if name in fields}
    last_known = LastKnown(
        **{
            "config": config,
            "first_seen_at": config.created_at,
            "last_passed_at": config.last_test_at if config.last_test_success else None,
            **known,
        }
    )
    bad = sum(one.result is not Result.PASSED or one.inaccessible for one in attempts)
    tests = CampaignTests(
        attempts=attempts,
        failures=bad if failures is None else failures,
        not_before=not_before,
    )
    status = CampaignStatus(
        environment="production",
        campaign_id=fields.pop("key", "c-1"),
        last_known=last_known,
        tests=tests,
        error=fields.pop("error", None),
    )
    key = status.campaign_id
    target = a_target(campaign_id=key, tests=settings, muted_status=muted)
    return Tested(status, target, now, **fields)


def guards_on(since: Instant, **fields: Any) -> Guards:
    """Return guards that hold nothing back, where tests can run since then."""
    return Guards(environment=EnvironmentTests(on_since=since, **fields))


def passed(at: Instant, **fields: Any) -> TestAnswer:
    """Return the answer to a test that passed, both paths accessible unless it is said."""
    report = TestReport(passed=True, tested_at=at, import_path=True, export_path=True)
    return TestAnswer(replace(report, **fields), status=200)


def failed(at: Instant, cause: str = WORDS["denied"]) -> TestAnswer:
    """Return the answer to a test that failed."""
    return TestAnswer(TestReport(passed=False, tested_at=at, cause=cause), status=200)


def no_answer(status: int = 0, reason: Reason = Reason.TIMEOUT, pause: float | None = None) -> Any:
    """Return what there is where no report of a test came."""
    return TestAnswer(PollError(reason), status=status, pause=pause)
