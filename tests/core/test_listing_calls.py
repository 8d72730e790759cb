"""What a page of the listing, or why there is none, says of the environment's API."""

from dataclasses import replace

import pytest

from monitor.core.environment import UNANSWERED, Call, interpret, observe
from monitor.core.model import ListedCampaign, NoConfig, Page, PollError, Reason
from monitor.core.status import EnvironmentStatus
from support.builders import NOW, a_config
from support.environments import facts_of

FRESH = EnvironmentStatus(name="production")
PAGE = Page((ListedCampaign("c-1", "One", "active", ""),), 1, True, 1)
NOT_FOUND = NoConfig(by_404=True)


def listed(
    status: EnvironmentStatus, *outcomes: Page | Reason, campaigns: int = 3
) -> EnvironmentStatus:
    """Return the breaker after these calls for the listing."""
    for generation, outcome in enumerate(outcomes):
        seen = PollError(outcome) if isinstance(outcome, Reason) else outcome
        status = observe(status, Call(None, seen, generation), facts_of(campaigns), NOW)
    return status


def all_404(campaigns: int = 3) -> EnvironmentStatus:
    status = FRESH
    for number in range(campaigns):
        seen = interpret(status, NOT_FOUND, campaigns)
        status = observe(status, Call(f"c-{number}", seen), facts_of(campaigns), NOW)
    return status


def all_forbidden() -> EnvironmentStatus:
    status = FRESH
    for number in range(3):
        call = Call(f"c-{number}", PollError(Reason.FORBIDDEN))
        status = observe(status, call, facts_of(3), NOW)
    return status


@pytest.mark.parametrize("reason", sorted(UNANSWERED))
def test_listings_that_were_not_answered_count_for_the_breaker(reason: Reason) -> None:
    assert not listed(FRESH, reason, reason).breaker_open
    assert listed(FRESH, reason, reason, reason).outage_reason is reason


def test_a_page_starts_the_count_anew_and_closes_an_outage() -> None:
    down = listed(FRESH, *[Reason.TIMEOUT] * 3)
    assert down.breaker_open
    up = listed(down, PAGE)
    assert (up.breaker_open, up.unanswered, up.up) == (False, 0, True)


def test_a_page_shows_that_the_base_url_is_right() -> None:
    status = listed(FRESH, PAGE)
    assert status.readable_seen
    assert interpret(status, NOT_FOUND, 3) == NOT_FOUND


def test_a_page_closes_an_outage_by_404s() -> None:
    down = all_404()
    assert down.outage_reason is Reason.NOT_FOUND
    up = listed(down, PAGE)
    assert not up.breaker_open
    assert not listed(up, Reason.NOT_FOUND).breaker_open


def test_a_page_shows_that_the_token_is_right() -> None:
    rejected = listed(FRESH, Reason.UNAUTHORIZED, Reason.UNAUTHORIZED)
    assert rejected.rejected_by is Reason.UNAUTHORIZED
    assert not listed(rejected, PAGE).breaker_open
    once = listed(FRESH, Reason.UNAUTHORIZED)
    assert listed(once, PAGE).unauthorized_with is None


def test_a_page_does_not_show_that_the_configs_may_be_read() -> None:
    forbidden = all_forbidden()
    assert forbidden.rejected_by is Reason.FORBIDDEN
    assert listed(forbidden, PAGE).rejected_by is Reason.FORBIDDEN


@pytest.mark.parametrize("reason", [Reason.NOT_FOUND, Reason.FORBIDDEN])
@pytest.mark.parametrize("campaigns", [1, 2, 3, 10])
def test_a_listing_that_is_refused_is_no_matter_where_campaigns_can_be_asked(
    reason: Reason, campaigns: int
) -> None:
    status = listed(FRESH, *[reason] * 5, campaigns=campaigns)
    assert not status.breaker_open
    assert status.run is None


def test_a_listing_that_is_refused_does_not_close_what_campaigns_opened() -> None:
    assert listed(all_404(), Reason.NOT_FOUND).breaker_open
    assert listed(all_forbidden(), Reason.FORBIDDEN).breaker_open


@pytest.mark.parametrize("reason", [Reason.NOT_FOUND, Reason.FORBIDDEN])
def test_a_listing_that_is_refused_opens_the_breaker_where_no_campaign_is_known(
    reason: Reason,
) -> None:
    status = listed(FRESH, reason, reason, campaigns=0)
    assert status.breaker_open
    assert reason in (status.outage_reason, status.rejected_by)
    assert not listed(status, PAGE, campaigns=0).breaker_open


def test_campaigns_that_are_refused_are_counted_without_the_listing() -> None:
    status = replace(FRESH, readable_seen=True)
    for number in range(2):
        call = Call(f"c-{number}", PollError(Reason.FORBIDDEN))
        status = observe(status, call, facts_of(3), NOW)
    status = listed(status, Reason.FORBIDDEN)
    assert not status.breaker_open
    assert not observe(status, Call("c-0", a_config()), facts_of(3), NOW).breaker_open
