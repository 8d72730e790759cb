"""Over a step of our clock all that it dated goes along; what the platform dated stays."""

from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import pytest

from monitor.core.attempt import Attempt, CampaignTests, Trigger
from monitor.core.guards import EnvironmentTests, Guard, Suspension
from monitor.core.instants import redated
from monitor.core.model import DAY, HOUR, MINUTE, Instant, PlatformInstant, Reason
from monitor.core.status import (
    Alert,
    CampaignStatus,
    ConfigChange,
    EnvironmentStatus,
    Failures,
    LastKnown,
    Median,
    Run,
)
from support.builders import NOW, a_config


def dated(cls: type, **more: Any) -> Any:
    """Return one with NOW for each of its instants that is a field of its own."""
    hints = get_type_hints(cls, include_extras=True)
    ours = {Instant, Instant | None, PlatformInstant, PlatformInstant | None}
    return cls(**{name: NOW for name, kind in hints.items() if kind in ours} | more)


ATTEMPT = dated(
    Attempt, environment="e", campaign_id="c", server="s", login="l", trigger=Trigger.RETRY
)
CAMPAIGN = dated(
    CampaignStatus,
    environment="e",
    campaign_id="c",
    last_known=dated(
        LastKnown,
        config=a_config(last_test_at=NOW, created_at=NOW),
        changes=(ConfigChange(at=NOW, since=NOW, fields={}),),
    ),
    alerts={"disabled": dated(Alert, rule="disabled")},
    failures=Failures(1, NOW),
    tests=CampaignTests(attempts=(ATTEMPT,), not_before=NOW),
)
ENVIRONMENT = dated(
    EnvironmentStatus,
    name="e",
    run=Run(Reason.FORBIDDEN, 1, NOW),
    medians=(Median(NOW, 7.0),),
    skews=(7.0,),
    tests=dated(
        EnvironmentTests,
        recent=(ATTEMPT,),
        limited=(NOW, NOW),
        next_at=NOW,
        suspended=Suspension("by hand", NOW, until=NOW + DAY),
    ),
)
GUARD = dated(Guard, failures=(NOW,), tries=(NOW,))
PLATFORMS = {"last_test_at", "created_at", "tested_at", "last_passed_at", "since"}


def moved(before: Any, after: Any, by: float, name: str = "") -> None:
    """Assert that each instant of ours has moved `by`, and nothing else has."""
    if is_dataclass(before):
        # `since` of an alert may be the platform's word; that of a change is ours.
        change = isinstance(before, ConfigChange)
        for one in fields(before):
            known = "at" if change else one.name
            moved(getattr(before, one.name), getattr(after, one.name), by, known)
    elif isinstance(before, dict):
        for key, one in before.items():
            moved(one, after[key], by)
    elif isinstance(before, tuple):
        for one, other in zip(before, after, strict=True):
            moved(one, other, by, name)
    elif isinstance(before, float) and before >= NOW and name not in PLATFORMS:
        assert after == before + by, name
    else:
        assert after == before, name


@pytest.mark.parametrize("known", [CAMPAIGN, ENVIRONMENT, GUARD])
@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_after_a_step_all_of_ours_have_moved_and_nothing_else(known: Any, by: float) -> None:
    moved(known, redated(known, by=by), by)


def test_what_may_lie_ahead_does_so_by_its_own_limit() -> None:
    before = NOW - DAY
    tests = redated(ENVIRONMENT, latest=before).tests
    assert (tests.on_since, tests.next_at) == (before, before + HOUR)
    assert tests.suspended == Suspension("by hand", before, until=NOW + DAY)
    doubted = EnvironmentStatus(name="e", doubted_until=NOW + 9 * MINUTE)
    assert redated(doubted, latest=NOW).doubted_until == NOW + 5 * MINUTE


@pytest.mark.parametrize("known", [CAMPAIGN, ENVIRONMENT, GUARD])
def test_what_is_not_from_the_future_is_the_very_same(known: Any) -> None:
    assert redated(known, latest=NOW + DAY) is known
    assert redated(known) is known


def test_0_is_no_instant() -> None:
    assert redated(Guard(), by=HOUR) == Guard()
    assert redated(CampaignTests(), by=HOUR) == CampaignTests()
