"""What another replica holds: shown from the database, and asked of the one that holds it."""

from dataclasses import replace
from typing import Any

import pytest

from monitor.adapters.web.pages import row_of
from monitor.core.snapshot import Holder, Snapshot
from support.boards import a_snapshot, an_entry, an_environment
from support.builders import NOW, a_config
from support.scrapes import scrape
from support.web import serving

THERE = "https://two.example:10022"
CAMPAIGN = "/api/v1/campaigns/production/c-1"


def asks(answer: str | None, acts: list[bool]) -> Any:
    """Return what says where an environment is, and notes whether something is to be done."""

    def elsewhere(_: str, *, to_act: bool) -> str | None:
        acts.append(to_act)
        return answer

    return elsewhere


@pytest.mark.parametrize("path", [CAMPAIGN, f"{CAMPAIGN}?x=1", "/campaigns/production/c-1"])
async def test_who_asks_for_a_campaign_of_another_replica_is_sent_there(path: str) -> None:
    acts = list[bool]()
    async with serving(elsewhere=asks(THERE, acts)) as web:
        answer = await web.get(path)
    assert (answer.status_code, answer.headers["Location"]) == (307, THERE + path)
    assert acts == [False]


async def test_a_test_of_a_campaign_of_another_replica_is_asked_for_there() -> None:
    acts = list[bool]()
    async with serving(elsewhere=asks(f"{THERE}/", acts)) as web:
        answer = await web.post(f"{CAMPAIGN}/test")
    assert (answer.status_code, answer.headers["Location"]) == (307, f"{THERE}{CAMPAIGN}/test")
    assert acts == [True]


async def test_where_no_replica_has_it_the_answer_says_so_and_to_ask_again() -> None:
    async with serving(elsewhere=asks("", [])) as web:
        answer = await web.get(CAMPAIGN)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json() == {"error": "no replica polls production now: try again"}


@pytest.mark.parametrize("path", ["/", "/events", "/api/v1/status", "/metrics"])
async def test_nobody_is_sent_away_from_what_is_of_all_environments(path: str) -> None:
    acts = list[bool]()
    async with serving(elsewhere=asks(THERE, acts)) as web:
        assert (await web.get(path)).status_code == 200
    assert acts == []


async def test_before_the_state_is_loaded_nobody_knows_where_anything_is() -> None:
    acts = list[bool]()
    async with serving(elsewhere=asks(THERE, acts), loaded=lambda: False) as web:
        assert (await web.get(CAMPAIGN)).status_code == 503
    assert acts == []


def a_stored_one(holder: Holder) -> Snapshot:
    """Return a board whose one environment is another replica's."""
    entry = replace(an_entry("c-1", (NOW, a_config(last_test_at=NOW))), findings=None)
    own = a_snapshot(an_environment(entry)).environments["production"]
    return Snapshot({"production": replace(own, owned=False, holder=holder)}, NOW)


@pytest.mark.parametrize(
    ("holder", "said"),
    [
        (Holder("6e837340", THERE), f'held by replica 6e837340, at <a href="{THERE}">{THERE}</a>'),
        (Holder("<b>"), "held by replica &lt;b&gt;"),
        (Holder(), "held by no replica that is known"),
    ],
    ids=["with its address", "without one", "by nobody"],
)
async def test_the_page_and_the_status_say_who_holds_it(holder: Holder, said: str) -> None:
    board = a_stored_one(holder)
    async with serving(complete=lambda _: board) as web:
        page = (await web.get("/")).text
        (one,) = (await web.get("/api/v1/status")).json()["environments"]
    assert said in page
    assert one["owned"] is False
    assert one["holder"] == {"replica": holder.replica, "address": holder.address}


def test_a_healthy_campaign_of_another_replica_is_healthy_though_its_findings_are_there() -> None:
    board = a_stored_one(Holder("6e837340", THERE))
    (row,) = [row_of("", *each) for each in board.entries()]
    assert row.state == "healthy"


def test_of_what_others_hold_metrics_say_that_it_is_not_owned_and_nothing_else() -> None:
    page = scrape(Snapshot({}, NOW, elsewhere={"production": Holder()}))
    assert page.value("environment_owned", environment="production") == 0
    named = {name for name in page.names() if page.labels(name)}
    assert "campaigns" not in named
    assert "campaign_info" not in named


def test_what_was_held_last_is_shown_as_it_was_and_not_owned() -> None:
    own = a_snapshot(an_environment(an_entry("c-1", (NOW, a_config())))).environments["production"]
    page = scrape(Snapshot({"production": replace(own, owned=False, tests_on=True)}, NOW))
    assert page.value("environment_owned", environment="production") == 0
    # Else two would seem to run tests there.
    assert page.value("connection_tests_enabled", environment="production") == 0
    assert page.value("campaign_up", environment="production", campaign_id="c-1") == 1
