"""The page of the history: newest first, filtered by its URL, honest about what it leaves out."""

import html
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from monitor.adapters.web import EventsAnswer, HistoryUnreadableError
from monitor.adapters.web.history import ALL_RULES, counted
from monitor.core.model import HOUR, MINUTE, Event, EventKind, EventStatus, Severity
from monitor.core.snapshot import HistoryQuery
from monitor.serialize import Links, record_of
from support.builders import NOW
from support.events import FIRING
from support.web import serving

HOSTILE = "</td><script>alert(1)</script>\x1b[31m\u202e"
FIRED = replace(FIRING, epoch="e", decided_at=NOW - 10 * MINUTE, impact="calls start Mon 09:00 UTC")


async def page_of(
    *events: Event, query: str = "", next: str | None = None, counts: Mapping[str, int] = {}
) -> tuple[str, HistoryQuery]:
    """Return the page of these events, and what the history was asked for."""
    asked = list[HistoryQuery]()

    def history(wanted: HistoryQuery) -> EventsAnswer:
        asked.append(wanted)
        found = [record_of(event, Links("")) for event in events]
        return EventsAnswer(events=found, counts=counts, next=next)

    async with serving(history=history) as client:
        answer = await client.get(f"/events?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return " ".join(answer.text.split()), asked[0]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({}, '<span class="badge warning">warning</span>'),
        ({"status": EventStatus.REMINDER}, '<span class="note">still firing</span>'),
        (
            {"status": EventStatus.RESOLVED, "reason": "recovered"},
            '<span class="badge healthy">resolved</span>',
        ),
        (
            {"status": EventStatus.RESOLVED, "reason": "muted", "muted_by": "disabled"},
            '<span class="badge muted">muted by disabled</span>',
        ),
        (
            {"status": EventStatus.RESOLVED, "reason": "campaign_removed"},
            '<span class="badge muted">campaign removed</span>',
        ),
        (
            {"status": EventStatus.UPDATED, "previous_severity": Severity.CRITICAL},
            '<span class="badge warning">critical → warning</span>',
        ),
        (
            {"kind": EventKind.TEST, "evidence": {"result": "failed", "cause": "refused"}},
            '<span class="badge critical">test failed</span>',
        ),
        (
            {"kind": EventKind.TEST, "evidence": {"result": "unknown"}},
            '<span class="badge unknown">test unknown</span>',
        ),
        (
            {"kind": EventKind.CHANGE, "evidence": {"host": "old.example → new.example"}},
            "<dt>host</dt><dd>old.example → new.example</dd>",
        ),
    ],
)
async def test_each_kind_of_event_says_what_it_is_by_more_than_its_colour(
    event: Mapping[str, Any], expected: str
) -> None:
    page, _ = await page_of(replace(FIRED, **event))
    assert expected in page


async def test_an_event_has_its_time_both_ways_its_campaign_its_words_and_what_is_at_stake() -> (
    None
):
    page, _ = await page_of(FIRED)
    exact = "2027-01-15T07:50:00.000Z"
    assert f'<time datetime="{exact}" title="{exact}">10 min ago</time>' in page
    assert '<a href="./campaigns/production/c-1">Retail leads</a>' in page
    assert '<span class="rule">stale_test</span>' in page
    assert FIRED.summary in page
    assert '<p class="impact">calls start Mon 09:00 UTC</p>' in page


async def test_one_of_the_environment_leads_to_no_campaign() -> None:
    page, _ = await page_of(replace(FIRED, campaign_id=None, campaign_name=""))
    assert "campaigns/" not in page


async def test_what_is_over_has_nothing_at_stake() -> None:
    page, _ = await page_of(replace(FIRED, status=EventStatus.RESOLVED, reason="recovered"))
    assert "calls start" not in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("environment=&rule=&kind=&campaign_id=&since=", {}),  # as the form sends it
        ("environment=staging&rule=missing", {"environment": "staging", "rule": "missing"}),
        ("campaign_id=gone&kind=alert", {"campaign_id": "gone", "kind": EventKind.ALERT}),
        ("since=8h", {"since": NOW - 8 * HOUR}),
        ("since=2027-01-15T08:00:00Z&next=41", {"since": NOW, "next": 41}),
    ],
)
async def test_the_url_has_the_filters(query: str, expected: dict[str, Any]) -> None:
    _, asked = await page_of(query=query)
    assert asked == HistoryQuery(**expected)


async def test_the_form_keeps_what_was_asked_for_and_offers_every_rule() -> None:
    page, _ = await page_of(
        query="environment=gone&rule=failed_test&since=8h&campaign_id=Retail%22"
    )
    for rule in ALL_RULES:
        assert f">{rule}</option>" in page
    assert "<option selected>failed_test</option>" in page
    assert "<option selected>gone</option>" in page
    assert 'name="since" value="8h"' in page
    assert 'value="Retail&#34;"' in page


async def test_it_says_that_there_is_more_and_leads_there_with_the_same_filters() -> None:
    page, _ = await page_of(FIRED, query="rule=stale_test&next=90", next="41")
    assert 'href="?rule=stale_test&amp;next=41"' in page
    assert 'href="events?rule=stale_test"' in page
    page, _ = await page_of(FIRED, query="rule=stale_test", next="41")
    assert "the latest 1 are shown" in page
    page, _ = await page_of(FIRED)
    assert "older ones" not in page


async def test_since_you_slept_so_much_has_happened() -> None:
    counts = {"firing": 3, "resolved": 2, "updated": 0, "reminder": 1, "recorded": 0}
    page, _ = await page_of(FIRED, query="since=8h", counts=counts)
    assert "last 8h: <strong>3 fired, 2 resolved, 1 reminded</strong>" in page
    page, _ = await page_of(query="since=2027-01-14T22:00:00Z")
    assert "since 2027-01-14T22:00:00Z: <strong>0 fired, 0 resolved</strong>" in page
    assert "Nothing that these filters let through." in page


def test_counts_are_said_in_words_the_usual_ones_always() -> None:
    assert counted({}) == "0 fired, 0 resolved"
    counts = {"firing": 1, "reminder": 2, "updated": 3, "resolved": 4, "recorded": 5}
    assert counted(counts) == "1 fired, 4 resolved, 3 updated, 2 reminded, 5 recorded"


async def test_a_history_that_cannot_be_read_is_503_and_says_so() -> None:
    def unreadable(_: HistoryQuery) -> EventsAnswer:
        raise HistoryUnreadableError(text="the history cannot be read: disk I/O error")

    async with serving(history=unreadable) as client:
        answer = await client.get("/events")
    assert (answer.status_code, answer.text) == (
        503,
        "the history cannot be read: disk I/O error\n",
    )


async def test_a_filter_that_is_not_understood_is_400_and_says_what_was_expected() -> None:
    async with serving() as client:
        answer = await client.get("/events?since=yesterday")
    assert answer.status_code == 400
    assert "since: expected an RFC 3339 time" in answer.text
    assert "or a duration such as 8h" in answer.text


async def test_what_others_have_written_is_text_and_nothing_else() -> None:
    hostile = replace(
        FIRED,
        summary=HOSTILE,
        campaign_name=HOSTILE,
        impact=HOSTILE,
        evidence={"cause": HOSTILE},
    )
    change = replace(hostile, kind=EventKind.CHANGE)
    test = replace(hostile, kind=EventKind.TEST, evidence={"result": HOSTILE})
    query = "campaign_id=%3Cscript%3E&environment=%3Cscript%3E&since=8h"
    page, _ = await page_of(hostile, change, test, query=query)
    assert page.count("<script") == 1  # our own
    assert not {"\x1b", "\u202e"} & {*page}
    assert page.count("&lt;script&gt;") >= 10


async def test_the_overview_says_what_happened_since() -> None:
    asked = list[HistoryQuery]()

    def history(wanted: HistoryQuery) -> EventsAnswer:
        asked.append(wanted)
        return EventsAnswer(events=[], counts={"firing": 3, "resolved": 2}, next=None)

    async with serving(history=history) as client:
        page = (await client.get("/?since=8h")).text
    assert "Since 8h: <b>3 fired, 2 resolved</b>" in page
    assert '<a href="events?since=8h">Events</a>' in page
    (wanted,) = asked
    assert (wanted.kind, wanted.since) == (EventKind.ALERT, NOW - 8 * HOUR)


async def test_the_overview_is_shown_though_its_history_cannot_be_read() -> None:
    def history(_wanted: HistoryQuery) -> EventsAnswer:
        raise HistoryUnreadableError(text="no")

    async with serving(history=history) as client:
        answer = await client.get("/?since=8h")
    assert answer.status_code == 200
    assert "the history cannot be read now" in answer.text


async def test_what_happened_since_stays_on_the_overview_whatever_filter_is_set_or_cleared() -> (
    None
):
    def history(_wanted: HistoryQuery) -> EventsAnswer:
        return EventsAnswer(events=[], counts={}, next=None)

    async with serving(history=history) as client:
        page = (await client.get("/?health=critical&since=8h")).text
        links = {html.unescape(link) for link in re.findall(r'href="([^"]*)"', page)}
        # Another filter, this one cleared, and all of them; the JSON knows no `since` of the page.
        assert {"?health=critical&since=8h&rule=failed_test", "?since=8h"} <= links
        assert "./" not in links
        assert '<input type="hidden" name="since" value="8h">' in page
        for link in links:
            if link.startswith(("?", "api/", "events")):
                assert (await client.get(f"/{link}")).status_code == 200, link
