"""What a list says of a campaign is encoded once, and never older than what is known."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest

from monitor.adapters.web.serializers import as_json, campaign, campaigns_page
from monitor.core.attempt import TestSettings, Trigger
from monitor.core.connection_tests import Plan
from monitor.core.model import DAY, HOUR, MINUTE, ListedCampaign, PollError, Reason
from monitor.core.snapshot import Entry, EnvironmentSnapshot
from monitor.core.status import EnvironmentStatus
from support.boards import AROUND_THE_CLOCK, BLOCKED, a_snapshot, an_entry, an_environment
from support.builders import NOW, a_config

TESTED = TestSettings(enabled=True)
BEFORE = an_entry("c-1", (NOW, a_config()), calls=AROUND_THE_CLOCK, tests=TESTED)


def after(observation: Any, **target: Any) -> Entry:
    """Return the campaign after one more poll."""
    about = {"calls": AROUND_THE_CLOCK, "tests": TESTED, **target}
    return an_entry("c-1", (NOW, a_config()), (NOW + 1, observation), **about)


def polled_once_more() -> Entry:
    """Return the campaign after a poll that has moved nothing but its instants."""
    known = replace(BEFORE.status.last_known, last_read_at=NOW + 1)
    return replace(BEFORE, status=replace(BEFORE.status, polled_at=NOW + 1, last_known=known))


CHANGES: dict[str, tuple[Callable[[], Entry], dict[str, Any]]] = {
    "nothing": (lambda: BEFORE, {}),
    "time": (lambda: BEFORE, {"now": NOW + HOUR, "stale_after": DAY}),
    "too much time": (lambda: BEFORE, {"now": NOW + HOUR}),
    "a poll": (polled_once_more, {}),
    "a failed test": (lambda: after(a_config(last_test_success=False)), {}),
    "another host": (lambda: after(a_config(host="moved.example")), {}),
    "a failed poll": (lambda: after(PollError(Reason.TIMEOUT)), {}),
    "another name": (lambda: after(a_config(), name="Spring"), {}),
    "another label": (lambda: after(a_config(), labels={"team": "b"}), {}),
    "an open breaker": (
        lambda: BEFORE,
        {"status": EnvironmentStatus(name="production", outage_at=NOW)},
    ),
    "a listing": (
        lambda: BEFORE,
        {"listed": {"c-1": ListedCampaign("c-1", "x", "active", "sales")}},
    ),
    "a plan": (lambda: BEFORE, {"planned": {"c-1": Plan(NOW + MINUTE, Trigger.SCHEDULE)}}),
    "a guard": (lambda: BEFORE, {"planned": {"c-1": Plan(None, Trigger.RETRY, BLOCKED)}}),
}


def board(change: str) -> EnvironmentSnapshot:
    """Return the environment after a change."""
    made, fields = CHANGES[change]
    return an_environment(made(), **fields)


def compare(environment: EnvironmentSnapshot) -> None:
    """Assert that the list says what the campaign itself does."""
    listed = json.loads(as_json(campaigns_page(a_snapshot(environment))))["campaigns"]
    (entry,) = environment.campaigns.values()
    assert listed == [json.loads(as_json(campaign(environment, entry)))]


@pytest.mark.parametrize("change", CHANGES)
def test_after_any_change_and_back_a_list_says_what_is_known_now(change: str) -> None:
    for one in ("nothing", change, "nothing"):
        compare(board(one))


def test_a_list_makes_no_finding_anew_while_polls_find_the_same() -> None:
    made = Counter[str]()

    def note(frame: FrameType, event: str, _: Any) -> None:
        """Count calls by the name of the function."""
        made[frame.f_code.co_name] += event == "call"

    environments = [an_environment(one) for one in (BEFORE, polled_once_more())]
    compare(environments[0])
    sys.setprofile(note)
    try:
        for each in environments:
            campaigns_page(a_snapshot(each))
    finally:
        sys.setprofile(None)
    assert (made["_settled"], made["_polled"], made["_moment"]) == (0, 1, 2)
