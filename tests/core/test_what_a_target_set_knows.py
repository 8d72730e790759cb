"""When a campaign was last listed, what a listing may hold, and what it leaves as it was."""

from monitor.core.discovery import PAGE_SIZE, Listing, TargetSet, take
from monitor.core.model import HOUR, ListedCampaign, Page
from support.builders import NOW


def listed(*ids: str, status: str = "active") -> tuple[ListedCampaign, ...]:
    return tuple(ListedCampaign(one, f"Campaign {one}", status, "sales") for one in ids)


def a_listing(*ids: str, status: str = "active", last: bool = True) -> Listing:
    """Return a listing of one page; that is all of it if it is the `last`."""
    listing = Listing(10_000)
    listing.add(Page(listed(*ids, status=status), 1, last, None))
    return listing


FOUR = take(TargetSet(), a_listing("a", "b", "c", "d"), NOW)


def test_a_campaign_was_seen_when_the_last_complete_listing_that_had_it_ended() -> None:
    assert FOUR.last_read_at("a") == NOW


def test_a_campaign_that_no_listing_had_was_never_seen() -> None:
    assert FOUR.last_read_at("e") is None
    assert TargetSet().last_read_at("a") is None


def test_a_campaign_that_the_last_listing_lacked_was_not_seen_in_it() -> None:
    after = take(FOUR, a_listing("a", "b", "c"), NOW + HOUR)
    assert after.last_read_at("d") is None
    assert after.last_read_at("a") == NOW + HOUR


def test_a_listing_that_is_not_believed_is_a_listing_nevertheless() -> None:
    halved = take(FOUR, a_listing("a"), NOW + HOUR)
    assert list(halved.campaigns) == ["a", "b", "c", "d"]
    assert halved.listed_at == NOW + HOUR


def test_whom_a_listing_lacks_stays_as_it_was_known() -> None:
    after = take(FOUR, a_listing("a", "b", "c", status="paused"), NOW + HOUR)
    statuses = {key: one.status for key, one in after.campaigns.items()}
    assert statuses == {"a": "paused", "b": "paused", "c": "paused", "d": "active"}


def test_a_listing_is_not_complete_before_its_last_page() -> None:
    assert not Listing(10_000).complete
    assert not a_listing("a", last=False).complete


def test_a_page_that_is_begun_counts_as_a_page() -> None:
    listing = Listing(PAGE_SIZE + 1)
    for page in (1, 2):
        assert listing.add(Page(listed(f"c-{page}"), page, False, None)) == page + 1
    assert listing.add(Page(listed("c-3"), 3, False, None)) is None


def test_a_page_more_campaigns_than_it_takes_are_no_reason_to_give_up_and_one_more_is() -> None:
    ids = [str(number) for number in range(2 * PAGE_SIZE)]
    full = Listing(PAGE_SIZE)
    assert full.add(Page(listed(*ids), 1, False, None)) == 2
    too_many = Listing(PAGE_SIZE)
    assert too_many.add(Page(listed(*ids, "one more"), 1, False, None)) is None
