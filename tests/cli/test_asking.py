"""What `--url` reads from a running daemon: whole lists, page by page, and nothing it misreads."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from monitor.adapters.web.history import EventsAnswer
from monitor.adapters.web.schemas import CampaignsAnswer, StatusAnswer
from monitor.cli.client import Monitor
from monitor.core.snapshot import HistoryQuery
from monitor.serialize import Links, record_of
from support.boards import a_snapshot, an_entry, an_environment
from support.events import FIRING
from support.web import HOST, a_program, listening

AN_EVENT = record_of(replace(FIRING, epoch="01234567"), Links("https://runbooks.example/{rule}"))


def history(query: HistoryQuery) -> EventsAnswer:
    """Return one of five pages of events, each with the way to the next."""
    page = query.next or 0
    return EventsAnswer(events=[AN_EVENT], next=str(page + 1) if page < 4 else None)


async def read(url: str, path: str, answer: type[Any], **params: str) -> Any:
    """Ask in a thread, for the server answers in this one."""
    return await asyncio.to_thread(lambda: list(Monitor(url).ask(path, answer, **params)))


@pytest.mark.slow
async def test_a_list_is_read_to_its_last_page() -> None:
    snapshot = a_snapshot(an_environment(*(an_entry(f"c-{number}") for number in range(2001))))
    async with listening(a_program(snapshot=lambda: snapshot, history=history)) as port:
        url = f"http://{HOST}:{port}"
        campaigns = await read(url, "/api/v1/campaigns", CampaignsAnswer)
        events = await read(url, "/api/v1/events", EventsAnswer)
    assert [len(page.campaigns) for page in campaigns] == [1000, 1000, 1]
    ids = [one.campaign_id for page in campaigns for one in page.campaigns]
    assert sorted(ids) == sorted(snapshot.environments["production"].campaigns)
    assert [event for page in events for event in page.events] == [AN_EVENT] * 5


async def test_a_filter_holds_on_every_page() -> None:
    asked: list[str | None] = []

    def noted(query: HistoryQuery) -> EventsAnswer:
        asked.append(query.campaign_id)
        return history(query)

    async with listening(a_program(history=noted)) as port:
        params = {"campaign_id": "c-1"}
        await read(f"http://{HOST}:{port}", "/api/v1/events", EventsAnswer, **params)
    assert asked == ["c-1"] * 5


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/api/v1/alerts"])
async def test_an_answer_of_something_else_is_an_error_that_says_so(path: str) -> None:
    async with listening(a_program()) as port:
        with pytest.raises(OSError, match="unexpected response from --url: not sftp-monitor"):
            await read(f"http://{HOST}:{port}", path, StatusAnswer)


async def test_a_refusal_is_an_error_with_its_status() -> None:
    async with listening(a_program()) as port:
        url, params = f"http://{HOST}:{port}", {"limit": "0"}
        with pytest.raises(OSError, match="answered 400 Bad Request"):
            await read(url, "/api/v1/events", EventsAnswer, **params)
