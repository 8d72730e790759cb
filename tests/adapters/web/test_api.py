"""The JSON API: what it says of a board, and how it answers what it does not understand."""

from dataclasses import replace
from typing import Any

import pytest

from monitor.adapters.web import EventsAnswer
from monitor.core.model import (
    DAY,
    HOUR,
    MINUTE,
    EventKind,
    NoConfig,
    PollError,
    Reason,
    fingerprint,
)
from monitor.core.rule import unknown
from monitor.core.snapshot import Entry, HistoryQuery, Snapshot
from monitor.serialize import Links, record_of, to_json
from support.boards import a_rich_snapshot, a_snapshot, after_calls, an_entry, an_environment
from support.builders import NOW, a_config
from support.events import FIRING
from support.scrapes import VERSION
from support.web import serving

FILTERS = "environment, health, host, label.NAME, limit, next, q, rule"
"""What may be asked of a list of campaigns or alerts."""

UNTESTABLE = "\ud800 lone \u202e surrogate \x00"


def board_of(*entries: Entry) -> Snapshot:
    """Return a board with one environment of these campaigns."""
    return a_snapshot(an_environment(*entries))


async def answer_of(path: str, snapshot: Snapshot | None = None, **overrides: Any) -> Any:
    """Return what a GET of this path answers, as JSON."""
    shown = a_rich_snapshot() if snapshot is None else snapshot
    async with serving(snapshot=lambda: shown, **overrides) as client:
        answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


async def campaign_of(entry: Entry) -> Any:
    """Return what the API says of one campaign."""
    (campaign,) = (await answer_of("/api/v1/campaigns", board_of(entry)))["campaigns"]
    return campaign


# --- status ------------------------------------------------------------------------------------


async def test_the_status_tells_of_the_monitor_itself() -> None:
    status = await answer_of("/api/v1/status", replace(a_snapshot(), not_ready="the disk is full"))
    assert status == {
        "version": VERSION,
        "started_at": "2027-01-15T07:00:00.000Z",
        "uptime_seconds": HOUR,
        "ready": False,
        "not_ready": "the disk is full",
        "environments": [],
    }


async def test_the_status_tells_of_each_environment() -> None:
    status = await answer_of("/api/v1/status")
    production, staging, rejected = status["environments"]
    assert (status["ready"], status["not_ready"]) == (True, None)
    assert (production["name"], production["reachable"]) == ("production", True)
    assert production["labels"] == {"team": "platform"}
    assert production["budget"] == {"requests_per_minute": 50.0, "available_requests": 12}
    assert production["counts"] == {"critical": 2, "unknown": 3, "warning": 1, "healthy": 4}
    assert production["sweep"] == {
        "swept_at": "2027-01-15T07:59:00.000Z",
        "polled": 10,
        "campaigns": 10,
        "interval_seconds": 5 * MINUTE,
        "lag_seconds": 0.0,
    }
    assert (staging["reachable"], staging["outage_reason"]) == (False, "connect_error")
    assert [alert["rule"] for alert in staging["alerts"]] == ["api_unreachable"]
    assert rejected["token_rejected_since"] == "2027-01-15T07:53:30.000Z"
    assert production["listing_error"] is None
    assert production["findings"] is None


async def test_the_status_has_what_the_rules_of_an_environment_found() -> None:
    found = {"api_unreachable": unknown("2 calls in a row were not answered")}
    snapshot = a_snapshot(an_environment(findings=found))
    (environment,) = (await answer_of("/api/v1/status", snapshot))["environments"]
    (finding,) = environment["findings"]
    assert (finding["rule"], finding["verdict"]) == ("api_unreachable", "unknown")
    assert finding["summary"] == "2 calls in a row were not answered"


async def test_the_status_says_why_campaigns_cannot_be_listed() -> None:
    refused = PollError(Reason.FORBIDDEN, "403")
    status = await answer_of("/api/v1/status", a_snapshot(an_environment(listing_error=refused)))
    error = status["environments"][0]["listing_error"]
    assert error == {"reason": "forbidden", "detail": "403"}


async def test_before_the_first_call_nothing_is_said_of_the_api() -> None:
    snapshot = an_environment(status=after_calls("production", Reason.TIMEOUT))
    status = await answer_of("/api/v1/status", a_snapshot(snapshot))
    assert status["environments"][0]["reachable"] is None


# --- campaigns ---------------------------------------------------------------------------------


async def test_a_campaign_has_its_last_known_config_and_how_old_that_is() -> None:
    config = a_config(username="importer", import_path="/in", auth_type="key")
    campaign = await campaign_of(an_entry("c-1", (NOW - MINUTE, config), labels={"team": "x"}))
    assert campaign["config"] == {
        "id": "sftp-1",
        "host": "sftp.example",
        "port": 22,
        "username": "importer",
        "auth_type": "key",
        "import_path": "/in",
        "export_path": None,
        "import_schedule": "daily",
        "is_enabled": True,
        "last_test_at": "2027-01-14T08:00:00.000Z",
        "last_test_success": True,
        "created_at": "2027-01-05T08:00:00.000Z",
        "updated_at": None,
    }
    assert campaign["evidence_at"] == campaign["polled_at"] == "2027-01-15T07:59:00.000Z"
    assert campaign["evidence_age_seconds"] == MINUTE
    assert (campaign["health"], campaign["configured"]) == ("healthy", True)
    assert (campaign["error"], campaign["missing_since"], campaign["alerts"]) == (None, None, [])
    assert campaign["labels"] == {"team": "x"}


async def test_a_campaign_never_polled_is_unknown_with_nothing_to_tell() -> None:
    campaign = await campaign_of(an_entry("c-1"))
    assert campaign["health"] == "unknown"
    known = ("polled_at", "evidence_at", "evidence_age_seconds", "configured", "config")
    assert [campaign[name] for name in known] == [None] * len(known)
    assert campaign["findings"] is None


async def test_a_failed_poll_tells_its_reason_and_keeps_the_evidence() -> None:
    error = (NOW, PollError(Reason.FORBIDDEN, "403"))
    campaign = await campaign_of(an_entry("c-1", (NOW - HOUR, a_config()), error))
    assert campaign["error"] == {"reason": "forbidden", "detail": "403"}
    assert campaign["config"]["host"] == "sftp.example"
    assert campaign["evidence_age_seconds"] == HOUR
    assert {finding["verdict"] for finding in campaign["findings"]} == {"unknown"}


async def test_a_config_that_is_gone_is_still_shown_and_said_to_be_gone() -> None:
    campaign = await campaign_of(an_entry("c-1", (NOW - HOUR, a_config()), (NOW, NoConfig())))
    assert campaign["configured"] is False
    assert campaign["missing_since"] == "2027-01-15T08:00:00.000Z"
    assert campaign["config"]["host"] == "sftp.example"


async def stale_test_seen(before: float) -> dict[str, Any]:
    """Return `stale_test` of a campaign that was read so many seconds ago, just before its limit.

    It is stale by now, but nobody has looked since.
    """
    tested_at = NOW - 30 * DAY - before + MINUTE
    entry = an_entry("c-1", (NOW - before, a_config(last_test_at=tested_at)))
    findings = {finding["rule"]: finding for finding in (await campaign_of(entry))["findings"]}
    assert list(findings) == list(entry.target.rules)
    found: dict[str, Any] = findings["stale_test"]
    return found


async def test_findings_are_those_of_the_last_poll() -> None:
    finding = await stale_test_seen(2 * MINUTE)
    assert finding["verdict"] == "healthy"
    assert finding["recheck_at"] == "2027-01-15T07:59:00.000Z"


async def test_a_healthy_finding_that_nobody_has_confirmed_for_too_long_is_unknown() -> None:
    finding = await stale_test_seen(HOUR)
    assert finding["verdict"] == "unknown"
    assert finding["summary"] == "not read since 2027-01-15T07:00:00Z; it was healthy then"
    assert finding["evidence"]["max_age"] == "30 d"


async def test_after_a_start_findings_are_null_until_the_first_poll_and_alerts_are_there() -> None:
    entry = an_entry("c-1", (NOW, a_config(last_test_success=False)))
    campaign = await campaign_of(replace(entry, findings=None))
    assert campaign["findings"] is None
    assert [alert["rule"] for alert in campaign["alerts"]] == ["failed_test"]


async def test_an_alert_tells_all_there_is_to_know_of_it() -> None:
    entry = an_entry(
        "c-1",
        (NOW, a_config(last_test_success=False)),
        name="Retail leads",
        labels={"team": "retail"},
    )
    (alert,) = (await campaign_of(entry))["alerts"]
    assert "does not give the cause" in alert.pop("next_step")
    assert alert == {
        "environment": "production",
        "campaign_id": "c-1",
        "campaign_name": "Retail leads",
        "rule": "failed_test",
        "severity": "critical",
        "state": "firing",
        "muted_by": None,
        "since": "2027-01-14T08:00:00.000Z",
        "fired_at": "2027-01-15T08:00:00.000Z",
        "notified_at": "2027-01-15T08:00:00.000Z",
        "pending_at": "2027-01-15T08:00:00.000Z",
        "healthy_at": None,
        "changes_at": None,
        "changes_in_seconds": None,
        "summary": "last test failed 1 d ago (2027-01-14T08:00:00Z)",
        "evidence": {"last_test_at": "2027-01-14T08:00:00Z", "last_test_success": "false"},
        "fingerprint": fingerprint("production", "c-1", "failed_test"),
        "labels": {"team": "retail"},
    }


async def test_a_pending_alert_tells_when_it_will_fire() -> None:
    rules = {"failed_test": {"for_": HOUR}}
    entry = an_entry("c-1", (NOW, a_config(last_test_success=False)), rules=rules)
    (alert,) = (await campaign_of(entry))["alerts"]
    assert (alert["state"], alert["changes_at"]) == ("pending", "2027-01-15T09:00:00.000Z")
    assert alert["changes_in_seconds"] == HOUR
    assert alert["fired_at"] is alert["notified_at"] is None


async def test_a_muted_alert_tells_by_what() -> None:
    entry = an_entry("c-1", (NOW, a_config(is_enabled=False, last_test_success=False)))
    muted = [alert for alert in (await campaign_of(entry))["alerts"] if alert["state"] == "muted"]
    assert [(alert["rule"], alert["muted_by"]) for alert in muted] == [("failed_test", "disabled")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("environment=staging", {"lost"}),
        ("environment=rejected", set()),
        ("health=critical", {"failed", "missing"}),
        ("health=critical&health=warning", {"failed", "missing", "stale"}),
        ("environment=staging&health=unknown", {"lost"}),
        ("environment=staging&health=healthy", set()),
        ("q=RETAIL", {"failed"}),
        ("q=northwind.example", {"stale"}),
        ("q=never-po", {"never-polled"}),
        ("rule=failed_test", {"failed", "off", "pending"}),
        ("rule=api_unreachable", set()),
        ("host=sftp.northwind.example", {"stale"}),
        ("label.team=retail", {"healthy", "failed"}),
        ("label.team=retail&label.region=emea", set()),
        ("label.team=retail&rule=failed_test", {"failed"}),
        ("q=&health=critical", {"failed", "missing"}),
    ],
)
async def test_campaigns_can_be_filtered(query: str, expected: set[str]) -> None:
    campaigns = (await answer_of(f"/api/v1/campaigns?{query}"))["campaigns"]
    assert {campaign["campaign_id"] for campaign in campaigns} == expected


async def test_campaigns_come_by_environment_and_id() -> None:
    snapshot = a_rich_snapshot()
    campaigns = (await answer_of("/api/v1/campaigns", snapshot))["campaigns"]
    keys = [(campaign["environment"], campaign["campaign_id"]) for campaign in campaigns]
    targets = [entry.target for _, entry in snapshot.entries()]
    assert keys == sorted((target.environment, target.campaign_id) for target in targets)


async def test_hostile_strings_cannot_break_the_answer() -> None:
    config = a_config(
        host=UNTESTABLE, username=UNTESTABLE, import_path=UNTESTABLE, last_test_success=False
    )
    entry = an_entry(
        "c-1",
        (NOW, config),
        (NOW, PollError(Reason.API_ERROR, UNTESTABLE)),
        name=UNTESTABLE,
        labels={"team": UNTESTABLE},
    )
    campaign = await campaign_of(entry)
    assert campaign["config"]["host"] == campaign["name"] == "lone surrogate"
    assert campaign["error"]["detail"] == campaign["labels"]["team"] == "lone surrogate"


# --- one campaign with its history, and all events ---------------------------------------------


class History:
    """A history that remembers what it was asked for."""

    def __init__(self, page: EventsAnswer) -> None:
        self.page = page
        self.asked: list[HistoryQuery] = []

    def __call__(self, query: HistoryQuery) -> EventsAnswer:
        self.asked.append(query)
        return self.page


AN_EVENT = record_of(replace(FIRING, epoch="01234567"), Links("https://runbooks.example/{rule}"))


async def test_one_campaign_adds_its_newest_events() -> None:
    history = History(EventsAnswer(events=[AN_EVENT], next=None))
    in_list = (await answer_of("/api/v1/campaigns?environment=staging"))["campaigns"][0]
    alone = await answer_of("/api/v1/campaigns/staging/lost", history=history)
    assert alone.pop("explanation")[0]["title"] == "Campaign"
    assert len(alone.pop("days")) == 90
    as_of = "2027-01-15T08:00:00.000Z"
    assert alone == {**in_list, "as_of": as_of, "history": [to_json(AN_EVENT)]}
    assert history.asked[0] == HistoryQuery(limit=100, environment="staging", campaign_id="lost")


async def test_an_unknown_campaign_is_404_as_json() -> None:
    async with serving() as client:
        answer = await client.get("/api/v1/campaigns/production/nobody")
    assert (answer.status_code, answer.json()) == (404, {"error": "there is no such campaign"})


async def test_events_are_a_page_with_the_way_to_the_next() -> None:
    history = History(EventsAnswer(events=[AN_EVENT], counts={"firing": 2}, next="41"))
    assert await answer_of("/api/v1/events", history=history) == {
        "events": [to_json(AN_EVENT)],
        "counts": {"firing": 2},
        "next": "41",
    }
    assert history.asked == [HistoryQuery(limit=1000)]


async def test_the_last_page_of_events_leads_nowhere() -> None:
    page = await answer_of("/api/v1/events", history=History(EventsAnswer(events=[], next=None)))
    assert page == {"events": [], "counts": {}, "next": None}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=1", {"limit": 1}),
        ("limit=1000", {"limit": 1000}),
        ("next=41", {"limit": 1000, "next": 41}),
        ("environment=gone", {"limit": 1000, "environment": "gone"}),
        ("campaign_id=c-1", {"limit": 1000, "campaign_id": "c-1"}),
        ("rule=failed_test", {"limit": 1000, "rule": "failed_test"}),
        ("rule=tests_failing", {"limit": 1000, "rule": "tests_failing"}),
        ("kind=test", {"limit": 1000, "kind": EventKind.TEST}),
        ("since=8h", {"limit": 1000, "since": NOW - 8 * HOUR}),
        ("since=2027-01-15T08:00:00Z", {"limit": 1000, "since": NOW}),
        ("since=2027-01-15T09:00:00.5%2B01:00", {"limit": 1000, "since": NOW + 0.5}),
    ],
)
async def test_events_can_be_narrowed(query: str, expected: dict[str, Any]) -> None:
    history = History(EventsAnswer(events=[], next=None))
    await answer_of(f"/api/v1/events?{query}", history=history)
    assert history.asked == [HistoryQuery(**expected)]


NAMED_ALIKE = a_snapshot(
    an_environment(
        an_entry("c-1", name="Retail"), an_entry("c-2", name="Twice"), an_entry("c-4", name="c-1")
    ),
    an_environment(an_entry("c-3", name="Twice", environment="staging"), name="staging"),
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("campaign_id=Retail", ("production", "c-1")),
        ("campaign_id=production/c-2", ("production", "c-2")),
        ("campaign_id=Twice&environment=staging", ("staging", "c-3")),
        ("campaign_id=gone", (None, "gone")),
        ("campaign_id=production/gone", ("production", "gone")),
        ("campaign_id=production/c-1&environment=staging", ("staging", "production/c-1")),
        ("campaign_id=c-1", (None, "c-1")),  # an id, although it is somebody's name, too
        ("campaign_id=", (None, "")),
    ],
)
async def test_events_are_those_of_a_campaign_by_its_id_its_name_or_both(
    query: str, expected: tuple[str | None, str]
) -> None:
    history = History(EventsAnswer(events=[], next=None))
    await answer_of(f"/api/v1/events?{query}", snapshot=NAMED_ALIKE, history=history)
    assert [(one.environment, one.campaign_id) for one in history.asked] == [expected]


async def test_a_name_of_several_campaigns_is_400_and_names_them() -> None:
    async with serving(snapshot=lambda: NAMED_ALIKE) as client:
        answer = await client.get("/api/v1/events?campaign_id=Twice")
    assert answer.status_code == 400
    expected = "campaign_id: expected one of production/c-2, staging/c-3: all have that name"
    assert answer.json() == {"error": expected}


# --- alerts ------------------------------------------------------------------------------------


async def test_all_active_alerts_are_there_by_environment_and_campaign() -> None:
    alerts = (await answer_of("/api/v1/alerts"))["alerts"]
    assert [(alert["campaign_id"], alert["rule"], alert["state"]) for alert in alerts] == [
        ("failed", "failed_test", "firing"),
        ("missing", "missing", "firing"),
        ("off", "failed_test", "muted"),
        ("pending", "failed_test", "pending"),
        ("stale", "stale_test", "firing"),
        ("unreadable", "unreadable", "firing"),
        (None, "token_rejected", "firing"),
        (None, "api_unreachable", "firing"),
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("rule=failed_test", ["failed", "off", "pending"]),
        ("rule=failed_test&health=critical", ["failed"]),
        ("host=sftp.northwind.example", ["stale"]),
        ("label.team=retail", ["failed"]),
        ("label.team=platform", [None]),
        ("rule=api_unreachable", [None]),
        ("environment=staging", [None]),
        ("environment=staging&host=sftp.example", []),
        ("q=stag", [None]),
        ("health=warning", ["stale"]),
    ],
)
async def test_alerts_can_be_filtered(query: str, expected: list[str | None]) -> None:
    alerts = (await answer_of(f"/api/v1/alerts?{query}"))["alerts"]
    assert [alert["campaign_id"] for alert in alerts] == expected


async def test_an_alert_of_an_environment_has_no_campaign() -> None:
    (*_, alert) = (await answer_of("/api/v1/alerts"))["alerts"]
    assert (alert["campaign_id"], alert["campaign_name"]) == (None, "")
    assert alert["environment"] == "staging"
    assert alert["labels"] == {"team": "platform"}
    assert alert["fingerprint"] == fingerprint("staging", None, "api_unreachable")


async def test_an_alert_of_a_rule_that_was_switched_off_is_left_out() -> None:
    entry = an_entry("c-1", (NOW, a_config(last_test_success=False)))
    off = an_entry("c-1", rules={"failed_test": {"enabled": False}}).target
    snapshot = board_of(replace(entry, target=off))
    assert await answer_of("/api/v1/alerts", snapshot) == {"alerts": [], "next": None}


# --- questions that are not understood ---------------------------------------------------------


@pytest.mark.matrix(fast=6)
@pytest.mark.parametrize(
    ("path", "error"),
    [
        (
            "/api/v1/campaigns?environment=nowhere",
            "environment: expected one of production, staging, rejected, got 'nowhere'",
        ),
        (
            "/api/v1/campaigns?health=sick",
            "health: expected one of critical, unknown, warning, healthy, got 'sick'",
        ),
        (
            "/api/v1/campaigns?helth=critical",
            f"expected one of {FILTERS}, got 'helth'",
        ),
        (
            "/api/v1/campaigns?environment=staging&environment=production",
            "environment: expected one value, got 2",
        ),
        ("/api/v1/campaigns?host=", "host: expected a host, got ''"),
        ("/api/v1/campaigns?label.=x", f"expected one of {FILTERS}, got 'label.'"),
        ("/api/v1/alerts?label.team=a&label.team=b", "label.team: expected one value, got 2"),
        ("/api/v1/alerts?page=1", f"expected one of {FILTERS}, got 'page'"),
        ("/api/v1/status?x", "expected no parameter at all, got 'x'"),
        ("/api/v1/campaigns/staging/lost?x=", "expected no parameter at all, got 'x'"),
        ("/api/v1/alerts?limit=0", "limit: expected a whole number from 1 to 1,000, got '0'"),
        (
            "/api/v1/alerts?next=production",
            "next: expected the `next` of the page before, got 'production'",
        ),
        (
            "/api/v1/campaigns?next=a/b/c",
            "next: expected the `next` of the page before, got 'a/b/c'",
        ),
        ("/api/v1/events?limit=0", "limit: expected a whole number from 1 to 1,000, got '0'"),
        ("/api/v1/events?limit=1001", "limit: expected a whole number from 1 to 1,000, got '1001'"),
        ("/api/v1/events?limit=", "limit: expected a whole number from 1 to 1,000, got ''"),
        ("/api/v1/events?limit=1e3", "limit: expected a whole number from 1 to 1,000, got '1e3'"),
        (
            "/api/v1/events?limit=%D9%A1",
            "limit: expected a whole number from 1 to 1,000, got '\u0661'",
        ),
        (
            "/api/v1/events?next=-1",
            "next: expected the `next` of the page before, got '-1'",
        ),
        (
            "/api/v1/events?since=yesterday",
            "since: expected an RFC 3339 time such as 2026-10-23T09:30:00Z, "
            "or a duration such as 8h, got 'yesterday'",
        ),
    ],
)
async def test_a_bad_parameter_is_400_and_says_what_was_expected(path: str, error: str) -> None:
    async with serving() as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


@pytest.mark.parametrize(
    "since",
    ["2027-01-15", "2027-01-15T08:00:00", "2027-W02-5T08:00:00Z", "2027-02-30T08:00:00Z", "0"],
)
async def test_only_whole_rfc_3339_times_and_durations_with_a_unit_are_taken(since: str) -> None:
    async with serving() as client:
        assert (await client.get("/api/v1/events", params={"since": since})).status_code == 400


async def test_what_is_echoed_is_short_and_clean() -> None:
    async with serving() as client:
        answer = await client.get("/api/v1/events", params={"limit": "<b>\x1b" + "x" * 5000})
    assert len(answer.text) < 200
    assert "\\u001b" not in answer.text
    assert answer.headers["Content-Type"] == "application/json"


async def test_a_wrong_path_or_method_of_the_api_is_told_as_json() -> None:
    async with serving() as client:
        missing, refused = await client.get("/api/v2/status"), await client.put("/api/v1/status")
    assert (missing.status_code, list(missing.json())) == (404, ["error"])
    assert (refused.status_code, list(refused.json())) == (405, ["error"])
