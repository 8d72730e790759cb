"""`discovery_failing`: no listing was complete and believed for four times `every`.

The kind: new campaigns are not watched, and nothing says so. Whatever keeps a listing from being
believed counts the same: a refusal, an error, half of it, none of it, one without an end.
"""

from dataclasses import replace

import pytest

from monitor.core.discovery import Listing, TargetSet, doubt, take
from monitor.core.environment import EnvironmentInput
from monitor.core.environment_rules import DiscoveryFailing
from monitor.core.model import HOUR, MINUTE, ListedCampaign, Page, Verdict
from monitor.core.status import EnvironmentStatus
from support.builders import NOW
from support.environments import facts_of

KNOWN = TargetSet({f"c-{n}": ListedCampaign(f"c-{n}", "", "active", "") for n in range(10)})
CONTEXT = replace(facts_of(10), discovery_every=15 * MINUTE)
FAILED = EnvironmentStatus(name="production", discovered_at=NOW, listing_doubt="forbidden 403")


def verdict(status: EnvironmentStatus, after: float, **context: object) -> Verdict:
    known = replace(CONTEXT, **context)  # type: ignore[arg-type]
    return DiscoveryFailing().evaluate(EnvironmentInput(status, known, NOW + after)).verdict


@pytest.mark.parametrize(
    ("every", "limit"),
    [(MINUTE, 10 * MINUTE), (2.5 * MINUTE, 10 * MINUTE), (15 * MINUTE, HOUR), (HOUR, 4 * HOUR)],
)
def test_it_is_unhealthy_from_four_times_every_on_and_ten_minutes_at_least(
    every: float, limit: float
) -> None:
    assert verdict(FAILED, limit - 1, discovery_every=every) is Verdict.HEALTHY
    assert verdict(FAILED, limit, discovery_every=every) is Verdict.UNHEALTHY


def test_it_says_why_and_since_when() -> None:
    found = DiscoveryFailing().evaluate(EnvironmentInput(FAILED, CONTEXT, NOW + 75 * MINUTE))
    assert found.summary == "no listing of the campaigns for 75 min: forbidden 403"
    assert found.evidence == {"allowed": "1 h", "reason": "forbidden 403"}
    assert found.since == NOW + HOUR


def test_where_none_was_ever_believed_it_counts_from_when_discovery_was_switched_on() -> None:
    never = replace(FAILED, discovered_at=None, discovering_since=NOW)
    assert verdict(never, HOUR - 1) is Verdict.HEALTHY
    assert verdict(never, HOUR) is Verdict.UNHEALTHY


@pytest.mark.parametrize("opened", ["outage_at", "rejected_at", "refused_at"])
def test_while_the_breaker_is_open_nothing_is_known(opened: str) -> None:
    status = replace(FAILED, **{opened: NOW})  # type: ignore[arg-type]
    assert verdict(status, 9 * HOUR) is Verdict.UNKNOWN


def test_while_the_api_has_paused_us_nothing_is_known() -> None:
    assert verdict(FAILED, 9 * HOUR, paused=True) is Verdict.UNKNOWN


def test_after_a_start_or_an_outage_the_next_listing_tells() -> None:
    """Nobody is woken because the daemon was stopped for a night."""
    assert verdict(replace(FAILED, listing_doubt=""), 9 * HOUR) is Verdict.UNKNOWN


def doubted(known: TargetSet, *listed: str, last: bool = True, most: int = 10_000) -> str:
    listing = Listing(most)
    listing.add(Page(tuple(ListedCampaign(key, "", "active", "") for key in listed), 1, last, None))
    return doubt(known, take(known, listing, NOW), listing)


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ([f"c-{n}" for n in range(10)], ""),
        ([f"c-{n}" for n in range(6)], ""),
        (["c-1", "c-2", "c-3"], "the listing has 3 campaigns, 10 are known"),
        ([], "the listing has 0 campaigns, 10 are known"),
    ],
)
def test_half_a_listing_and_an_empty_one_say_so(listed: list[str], why: str) -> None:
    assert doubted(KNOWN, *listed) == why


def test_an_empty_listing_is_believed_where_nobody_is_known() -> None:
    assert doubted(TargetSet()) == ""


def test_half_a_listing_is_believed_when_it_has_come_three_times() -> None:
    twice = replace(KNOWN, distrusted=2)
    assert doubted(twice, "c-1") == ""


def test_a_listing_without_an_end_is_not_believed() -> None:
    why = doubted(KNOWN, *(f"c-{n}" for n in range(200)), last=False, most=50)
    assert why == "the listing was given up after 200 campaigns"
