"""Connection tests of ours, and when campaigns call, on the page of metrics (contract §5)."""

import re
from dataclasses import replace
from itertools import product

import pytest

from monitor.adapters.metrics import Exposition, SelfMetrics
from monitor.core.attempt import Attempt, Result, TestSettings, Trigger
from monitor.core.connection_tests import Plan
from monitor.core.guards import EnvironmentTests, Hold
from monitor.core.guards import Reason as HeldBy
from monitor.core.model import DAY, HOUR, CallTimes, Instant, Reason
from monitor.core.snapshot import Entry, EnvironmentSnapshot, Snapshot
from support.boards import AROUND_THE_CLOCK, a_rich_snapshot, a_snapshot, an_entry, an_environment
from support.boards import tested as with_a_test
from support.builders import NOW, a_config
from support.scrapes import VERSION, Scrape, scrape, some_own_metrics

ON = TestSettings(enabled=True)
KEY = {"environment": "production", "campaign_id": "c-1"}
OFFICE_HOURS = CallTimes(zone="Europe/Berlin", days=(1,), windows=((9 * HOUR, 17 * HOUR),))
MIDNIGHT = NOW - 8 * HOUR


def entry_of(**target: object) -> Entry:
    return an_entry("c-1", (NOW, a_config()), **target)


def scraped(entry: Entry, **environment: object) -> Scrape:
    return scrape(a_snapshot(an_environment(entry, **environment)))


def without_tests(snapshot: Snapshot) -> Snapshot:
    """Return the board with tests switched off, and no listing that says when campaigns call."""

    def off(one: EnvironmentSnapshot) -> EnvironmentSnapshot:
        plain = {"tests": TestSettings(), "calls": CallTimes()}
        campaigns = {
            key: replace(entry, target=replace(entry.target, **plain))  # type: ignore[arg-type]
            for key, entry in one.campaigns.items()
        }
        return replace(one, tests_on=False, planned={}, campaigns=campaigns)

    return replace(snapshot, environments={k: off(one) for k, one in snapshot.environments.items()})


def test_while_tests_are_off_there_is_no_series_more() -> None:
    own = SelfMetrics(VERSION)
    own.prepare("production")
    page = scrape(without_tests(a_rich_snapshot()), own=own)
    # Nor a heading.
    families = {family.name for family in page.families}
    assert {
        name for name in families if re.search("connection_test|path_|next_calls", name)
    } == set()
    assert {labels["status"] for labels in page.labels("events_total")} == {
        "firing", "resolved", "reminder", "updated"
    }  # fmt: skip
    endpoints = {labels["endpoint"] for labels in page.labels("api_requests_total")}
    assert endpoints == {"sftp", "campaigns"}


def test_switched_off_the_counters_of_tests_are_gone_and_those_of_polls_stay() -> None:
    own = some_own_metrics()
    own.call_made("production", "sftp", 1.0, None)
    own.call_made("production", "test", 1.0, Reason.TIMEOUT)
    own.show_tests("production", on=False)
    page = scrape(own=own)
    assert {name for name in page.names() if "connection_test" in name} == set()
    calls = page.labels("api_requests_total") + page.labels("api_request_failures_total")
    assert {labels["endpoint"] for labels in calls} == {"sftp", "campaigns"}
    assert page.value("api_requests_total", environment="production", endpoint="sftp") == 1


def test_tests_are_counted_by_their_result_and_timed() -> None:
    own, production = some_own_metrics(), {"environment": "production"}
    assert scrape(own=own).value("connection_tests_total", **production, result="failed") == 0
    attempt = Attempt(
        environment="production",
        campaign_id="c-1",
        server="sftp.example:22",
        login="leads@sftp.example:22",
        at=NOW,
        trigger=Trigger.SCHEDULE,
        ended_at=NOW + 2,
    )
    for result in (Result.FAILED, Result.FAILED, Result.PASSED):
        own.test_ended(replace(attempt, result=result))
    page = scrape(own=own)
    counts = [
        page.value("connection_tests_total", **production, result=result.value) for result in Result
    ]
    assert counts == [1, 2, 0]
    assert page.value("connection_test_duration_seconds_sum", **production) == 6


def test_tests_are_on_or_have_no_series() -> None:
    name = "connection_tests_enabled"
    assert scraped(entry_of(), tests_on=True).value(name, environment="production") == 1
    assert scraped(entry_of()).value(name, environment="production") is None


def test_what_is_held_back_is_counted_by_its_reason_and_every_reason_is_there() -> None:
    holds = {
        "c-1": Hold(HeldBy.HOST, NOW + HOUR, "three failed logins"),
        "gone": Hold(HeldBy.LOGIN, None, "a campaign that has left"),
    }
    plans = {key: Plan(hold.until, Trigger.SCHEDULE, hold) for key, hold in holds.items()}
    page = scraped(entry_of(), tests_on=True, planned=plans)
    counts = {
        why: page.value("connection_tests_held_back", environment="production", reason=why.value)
        for why in HeldBy
    }
    assert counts == {why: float(why is HeldBy.HOST) for why in HeldBy}


@pytest.mark.parametrize("reached", [True, False])
def test_a_path_is_accessible_or_not_in_a_test_of_ours(reached: bool) -> None:
    page = scraped(with_a_test(entry_of(tests=ON), import_path=reached, export_path=None))
    assert page.value("sftp_path_accessible", **KEY, path="import") == reached
    assert page.value("sftp_path_accessible", **KEY, path="export") is None


def test_nothing_is_said_of_paths_where_the_test_on_record_is_not_ours_or_tests_are_off() -> None:
    others = with_a_test(entry_of(tests=ON), tested_at=NOW - 2 * DAY)
    switched_off = with_a_test(entry_of())
    for entry in (others, switched_off, entry_of(tests=ON)):
        assert scraped(entry).labels("sftp_path_accessible") == []


@pytest.mark.parametrize(
    ("calls", "at"),
    [
        (AROUND_THE_CLOCK, MIDNIGHT),
        (OFFICE_HOURS, NOW + 3 * DAY),
        (CallTimes(), None),
        (replace(AROUND_THE_CLOCK, last_day="2027-01-14"), None),
    ],
    ids=["calling now", "on Monday", "not said", "ended"],
)
def test_when_calls_begin_is_what_the_listing_says(calls: CallTimes, at: Instant | None) -> None:
    page = scraped(entry_of(calls=calls))
    assert page.value("campaign_next_calls_timestamp_seconds", **KEY) == at


def test_kept_lines_show_no_calls_that_are_over_and_no_tests_of_before() -> None:
    entry, exposition = entry_of(calls=AROUND_THE_CLOCK, tests=ON), Exposition(some_own_metrics())

    def shown(now: Instant, since: Instant) -> list[bytes]:
        """Return what the next page has of when calls begin, and of when the test is stale."""
        environment = an_environment(entry, now=now)
        tests = EnvironmentTests(on_since=since)
        environment = replace(environment, status=replace(environment.status, tests=tests))
        ((lines),) = exposition.campaign_lines(a_snapshot(environment))
        return [line.split()[-1] for line in lines if b"next_calls" in line or b"_stale_" in line]

    first = shown(NOW, NOW - 9 * DAY)
    assert first == shown(NOW + HOUR, NOW - 9 * DAY)
    tomorrow, before, resumed = (
        shown(NOW + DAY, NOW - 9 * DAY),
        shown(NOW, NOW - 9 * DAY),
        shown(NOW, NOW),
    )
    assert tomorrow[1] != first[1]
    assert before == first
    assert resumed[0] != first[0]


def test_the_results_and_reasons_are_closed_lists() -> None:
    page, production = scrape(a_rich_snapshot()), {"environment": "production"}
    for result, why in product(Result, HeldBy):
        assert page.value("connection_tests_total", **production, result=result.value) is not None
        held = page.value("connection_tests_held_back", **production, reason=why.value)
        assert held is not None
