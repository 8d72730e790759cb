"""What the JSON API shows of connection tests, and of what is at stake."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from monitor.core.attempt import (
    Attempt,
    CampaignTests,
    Result,
    TestSettings,
    Trigger,
    login_of,
    server_of,
)
from monitor.core.connection_tests import Tested, plan
from monitor.core.guards import Guard, Guards, Suspension
from monitor.core.model import DAY, HOUR, MINUTE, CallTimes
from monitor.core.snapshot import Entry
from monitor.core.text import rfc3339
from support.attempts import guards_on
from support.boards import a_snapshot, an_entry, an_environment
from support.builders import NOW, a_config
from support.web import serving

CONFIG = a_config(last_test_at=NOW - HOUR, import_schedule="daily")
ON = TestSettings(enabled=True, between=None)


def attempt(**fields: Any) -> Attempt:
    """Return a test of ours that is the one on record."""
    usual = {
        "environment": "production",
        "campaign_id": "c-1",
        "server": server_of(CONFIG),
        "login": login_of(CONFIG),
        "at": NOW - HOUR,
        "ended_at": NOW - HOUR,
        "trigger": Trigger.SCHEDULE,
        "result": Result.PASSED,
        "tested_at": CONFIG.last_test_at,
    }
    return Attempt(**{**usual, **fields})


def campaign_with(*attempts: Attempt, settings: TestSettings = ON, **target: Any) -> Entry:
    entry = an_entry("c-1", (NOW - MINUTE, CONFIG))
    tests = CampaignTests(attempts=attempts)
    aim = replace(entry.target, tests=settings, **target)
    return replace(entry, target=aim, status=replace(entry.status, tests=tests))


async def campaign_of(entry: Entry, guards: Guards | None = None) -> Mapping[str, Any]:
    due = plan(Tested(entry.status, entry.target, NOW), guards or Guards())
    planned = {} if due is None else {"c-1": due}
    snapshot = a_snapshot(an_environment(entry, planned=planned))
    async with serving(snapshot=lambda: snapshot) as client:
        (campaign,) = (await client.get("/api/v1/campaigns")).json()["campaigns"]
        single = (await client.get("/api/v1/campaigns/production/c-1")).json()
    assert single["tests"] == campaign["tests"]
    found: Mapping[str, Any] = campaign
    return found


async def test_the_last_test_of_ours_is_shown_and_that_it_is_the_one_on_record() -> None:
    ours = attempt(trigger=Trigger.COMMAND, by="anna", import_path=True, export_path=False)
    tests = (await campaign_of(campaign_with(ours)))["tests"]
    assert tests["last"] == {
        "at": rfc3339(NOW - HOUR, milliseconds=True),
        "ended_at": rfc3339(NOW - HOUR, milliseconds=True),
        "trigger": "command",
        "by": "anna",
        "result": "passed",
        "cause": "",
        "import_path": True,
        "export_path": False,
    }
    assert tests["on_record"] is True


async def test_a_test_of_somebody_else_is_not_ours() -> None:
    tests = (await campaign_of(campaign_with(attempt(tested_at=NOW - 2 * DAY))))["tests"]
    assert (tests["last"]["result"], tests["on_record"]) == ("passed", False)


async def test_the_next_one_is_shown_with_why() -> None:
    failed = attempt(result=Result.FAILED, cause="Authentication failed", tested_at=NOW)
    entry = campaign_with(replace(failed, at=NOW - MINUTE))
    tests = (await campaign_of(entry, guards_on(NOW - DAY)))["tests"]
    assert tests["last"]["cause"] == "Authentication failed"
    assert tests["next_trigger"] == "retry"
    assert tests["next_at"] == rfc3339(NOW - MINUTE + 30 * MINUTE, milliseconds=True)
    assert tests["held"] is None


async def test_what_holds_it_is_shown_with_what_ends_it() -> None:
    failures = (NOW - 2 * HOUR, NOW - HOUR)
    guards = Guards(login=Guard(failures=failures))
    tests = (await campaign_of(campaign_with(), guards))["tests"]
    assert (tests["held"]["reason"], tests["held"]["until"], tests["next_at"]) == (
        "login",
        None,
        None,
    )
    assert "has had 2 failed tests" in tests["held"]["why"]
    assert "`sftp-monitor test CAMPAIGN --unblock`" in tests["held"]["ends"]


async def test_a_guard_that_ends_by_itself_says_when() -> None:
    guards = Guards(host=Guard(failures=(NOW + 90 * DAY - 6 * HOUR,) * 3))
    held = (await campaign_of(campaign_with(), guards))["tests"]["held"]
    assert (held["reason"], held["ends"]) == (
        "host",
        f"by itself at {rfc3339(NOW + 90 * DAY)}",
    )


@pytest.mark.parametrize("by_hand", [False, True])
async def test_where_tests_are_off_only_one_by_hand_is_shown(by_hand: bool) -> None:
    ours = (attempt(trigger=Trigger.COMMAND),) if by_hand else ()
    tests = (await campaign_of(campaign_with(*ours, settings=TestSettings())))["tests"]
    assert (tests is not None) == by_hand
    if by_hand:
        assert (tests["next_at"], tests["held"]) == (None, None)


async def test_what_is_at_stake_is_that_by_now() -> None:
    calls = CallTimes(windows=((9 * HOUR, 17 * HOUR),))
    campaign = await campaign_of(campaign_with(calls=calls))
    assert campaign["impact"] == "calls start Fri 09:00 UTC, in 1 h; imports daily"
    assert campaign["impact_at"] == rfc3339(NOW + HOUR, milliseconds=True)


async def test_the_status_says_of_each_environment_whether_tests_run() -> None:
    suspended = Suspension("suspended by hand", NOW - HOUR, by="anna")
    off, on = an_environment(), an_environment(name="staging", tests_on=True, suspended=suspended)
    snapshot = a_snapshot(off, on)
    async with serving(snapshot=lambda: snapshot) as client:
        said = (await client.get("/api/v1/status")).json()["environments"]
    assert said[0]["tests"] == {"enabled": False, "suspended": None, "failing_since": None}
    assert said[1]["tests"] == {
        "enabled": True,
        "suspended": {
            "why": "suspended by hand",
            "since": rfc3339(NOW - HOUR, milliseconds=True),
            "by": "anna",
            "campaign_id": "",
            "until": None,
        },
        "failing_since": None,
    }
