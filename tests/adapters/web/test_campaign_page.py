"""A campaign's page: what `explain` says, and its history; nothing hostile gets through."""

from dataclasses import replace
from typing import Any

import pytest

from monitor.adapters.web import EventsAnswer, HistoryUnreadableError
from monitor.core.model import CallTimes, Event, EventStatus, Severity
from monitor.core.snapshot import HistoryQuery, Snapshot
from monitor.serialize import Links, record_of
from support.boards import a_rich_snapshot, a_snapshot, an_entry, an_environment
from support.builders import NOW, a_config
from support.web import serving

HOSTILE = "</li><script>alert(1)</script>\x1b[31m\u202e"

FIRED = Event(
    status=EventStatus.FIRING,
    seq=1,
    rule="failed_test",
    severity=Severity.CRITICAL,
    environment="production",
    campaign_id="failed",
    summary=f"last test failed: {HOSTILE}",
    since=NOW,
    observed_at=NOW,
    decided_at=NOW,
    evidence={"cause": HOSTILE},
    epoch="e",
)


def one_event(_: HistoryQuery) -> EventsAnswer:
    return EventsAnswer(events=[record_of(FIRED, Links(""))], next=None)


async def page_of(campaign: str = "production/failed", **program: Any) -> tuple[int, str]:
    async with serving(**program) as client:
        answer = await client.get(f"/campaigns/{campaign}")
    return answer.status_code, answer.text


async def test_it_has_every_paragraph_of_the_explanation_and_the_history() -> None:
    async with serving(history=one_event) as client:
        said = (await client.get("/api/v1/campaigns/production/failed")).json()["explanation"]
        page = (await client.get("/campaigns/production/failed")).text
    assert {"Campaign", "Tests", "failed_test: firing (critical)"} <= {one["title"] for one in said}
    for paragraph in said:
        assert f"<h2>{paragraph['title']}</h2>" in page
    assert '<section class="card critical">' in page
    assert "<title>critical: Retail leads" in page
    assert (
        '<span class="badge critical">critical</span> <span class="rule">failed_test</span>' in page
    )
    # Whose it is stands above: in its own history each line would only repeat it.
    assert "last test failed: &lt;/li&gt;" in page
    assert "production/failed: last test failed" not in page


async def test_the_status_page_leads_to_it_and_it_leads_back() -> None:
    async with serving() as client:
        assert 'href="campaigns/production/failed"' in (await client.get("/")).text
        page = (await client.get("/campaigns/production/failed")).text
    assert 'href="../../"' in page
    assert 'href="../../static/style.css"' in page
    assert 'href="../../api/v1/campaigns/production/failed"' in page


@pytest.mark.parametrize("campaign", ["production/nobody", "nowhere/failed"])
async def test_one_that_nobody_knows_is_404(campaign: str) -> None:
    status, page = await page_of(campaign)
    assert (status, page) == (404, "there is no such campaign\n")


async def test_a_history_that_cannot_be_read_is_said_and_the_rest_is_there() -> None:
    def unreadable(_: HistoryQuery) -> EventsAnswer:
        raise HistoryUnreadableError(text="the history cannot be read")

    status, page = await page_of(history=unreadable)
    assert status == 200
    assert "The history cannot be read now" in page
    assert "failed_test: firing" in page


async def test_what_the_platform_and_the_servers_say_is_text_and_nothing_else() -> None:
    def hostile() -> Snapshot:
        config = a_config(
            host=f"sftp{HOSTILE}",
            username=HOSTILE,
            import_path=HOSTILE,
            import_schedule=HOSTILE,
            auth_type=HOSTILE,
        )
        entry = an_entry("failed", (NOW - 60, config), name=HOSTILE, labels={"team": HOSTILE})
        calls = CallTimes(windows=((0.0, 86_400.0),), zone=HOSTILE)
        entry = replace(entry, target=replace(entry.target, calls=calls, muted_status=HOSTILE))
        return a_snapshot(an_environment(entry))

    status, page = await page_of(snapshot=hostile, history=one_event)
    assert status == 200
    assert page.count("<script") == 1, "ours"
    assert not {"\x1b", "\u202e"} & {*page}
    assert page.count("&lt;script&gt;") > 5


async def test_a_rich_board_has_a_page_for_every_campaign() -> None:
    async with serving(snapshot=a_rich_snapshot) as client:
        for environment, entry in a_rich_snapshot().entries():
            path = f"/campaigns/{environment.status.name}/{entry.target.campaign_id}"
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (
                200,
                "text/html; charset=utf-8",
            )
