"""Long lists come in pages: whatever is there all along is on exactly one of them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.adapters.web.serializers import Key, alerts_page, as_json, campaigns_page
from monitor.core.snapshot import Entry, Snapshot
from support.boards import a_snapshot, an_entry, an_environment
from support.builders import NOW, a_config
from support.web import serving

LISTS = ["/api/v1/campaigns", "/api/v1/alerts"]

ENVIRONMENTS = ("production", "prod-eu")

FAILED = (NOW, a_config(last_test_success=False))


def board_of(ids: Sequence[str]) -> Snapshot:
    """Return a board with these campaigns in two environments each, in this order."""
    environments = [
        an_environment(
            *(replace_environment(an_entry(one, FAILED), name) for one in ids), name=name
        )
        for name in ENVIRONMENTS
    ]
    return a_snapshot(*environments)


def replace_environment(entry: Entry, name: str) -> Entry:
    """Return the campaign as one of another environment."""
    return replace(entry, target=replace(entry.target, environment=name))


async def pages_of(client: httpx.AsyncClient, path: str, **params: str) -> list[list[Any]]:
    """Return the pages of a list as a client that goes on with `next` gets them."""
    pages: list[list[Any]] = []
    more: dict[str, str] = {}
    while True:
        answer = (await client.get(path, params={**params, **more})).json()
        name = path.rpartition("/")[2]
        pages.append(answer[name])
        if answer["next"] is None:
            return pages
        more = {"next": answer["next"]}


@pytest.mark.matrix(fast=4)
@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 9, 1000])
async def test_all_pages_together_are_the_list(path: str, limit: int) -> None:
    async with serving() as client:
        (whole,) = await pages_of(client, path)
        pages = await pages_of(client, path, limit=str(limit))
    assert [item for page in pages for item in page] == whole
    assert {len(page) for page in pages[:-1]} <= {limit}
    assert 0 < len(pages[-1]) <= limit


@pytest.mark.slow
async def test_a_page_has_1000_items_unless_fewer_are_asked_for() -> None:
    snapshot = board_of([f"c-{number}" for number in range(501)])
    async with serving(snapshot=lambda: snapshot) as client:
        campaigns = await pages_of(client, "/api/v1/campaigns")
        alerts = await pages_of(client, "/api/v1/alerts")
    assert [len(page) for page in campaigns] == [len(page) for page in alerts] == [1000, 2]


async def test_a_filter_holds_on_every_page() -> None:
    async with serving() as client:
        pages = await pages_of(client, "/api/v1/campaigns", health="critical", limit="1")
    assert [[one["campaign_id"] for one in page] for page in pages] == [["failed"], ["missing"]]


PageOf = Callable[[Snapshot, int, Key | None], tuple[list[tuple[str, str | None]], str | None]]


def page_of_campaigns(
    snapshot: Snapshot, limit: int, after: Key | None
) -> tuple[list[tuple[str, str | None]], str | None]:
    page = json.loads(as_json(campaigns_page(snapshot, limit=limit, next=after)))
    found = [(one["environment"], one["campaign_id"]) for one in page["campaigns"]]
    return found, page["next"]


def page_of_alerts(
    snapshot: Snapshot, limit: int, after: Key | None
) -> tuple[list[tuple[str, str | None]], str | None]:
    page = alerts_page(snapshot, limit, after)
    return [(one.environment, one.campaign_id) for one in page.alerts], page.next


IDS = st.lists(st.text("abcXYZ019_-", min_size=1, max_size=4), unique=True, max_size=8)


@pytest.mark.matrix
@pytest.mark.parametrize("page_of", [page_of_campaigns, page_of_alerts])
@given(before=IDS, after=IDS, limit=st.integers(1, 5))
def test_what_stays_is_seen_once_though_campaigns_come_and_go_between_pages(
    page_of: PageOf, before: list[str], after: list[str], limit: int
) -> None:
    seen, more = page_of(board_of(before), limit, None)
    while more is not None:
        found, more = page_of(board_of(after), limit, tuple(more.split("/")))
        seen += found
    stayed = {(name, one) for name in ENVIRONMENTS for one in {*before} & {*after}}
    assert len(set(seen)) == len(seen)
    assert stayed <= set(seen)
