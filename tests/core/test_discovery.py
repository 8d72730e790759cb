"""What a listing is believed: pages, who joins, who leaves when, and lies."""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.discovery import LISTINGS_TO_BELIEVE, PAGE_SIZE, Listing, TargetSet, take
from monitor.core.model import ListedCampaign, Page
from support.builders import NOW

ENOUGH = 10_000


def a_page(ids: Iterable[str], page: int = 1, *, last: bool = True, status: str = "active") -> Page:
    listed = tuple(ListedCampaign(one, f"Campaign {one}", status, "sales") for one in ids)
    return Page(listed, page, last, None)


def a_listing(*ids: str, status: str = "active", max_campaigns: int = ENOUGH) -> Listing:
    """Return a complete listing of these campaigns."""
    listing = Listing(max_campaigns)
    assert listing.add(a_page(ids, status=status)) is None
    return listing


def given_up(*ids: str, max_campaigns: int = ENOUGH) -> Listing:
    """Return a listing that showed these campaigns and then nothing new."""
    listing = Listing(max_campaigns)
    listing.add(a_page(ids, last=False))
    assert listing.add(a_page(ids, 2, last=False)) is None
    return listing


def after(*listings: str, start: str = "") -> list[str]:
    """Return who is known after each of these complete listings; a letter is a campaign."""
    target_set, known = take(TargetSet(), a_listing(*start), NOW), []
    for number, letters in enumerate(listings):
        target_set = take(target_set, a_listing(*letters), NOW + number)
        known.append("".join(sorted(target_set.campaigns)))
    return known


# --- the pages of a listing


def test_pages_are_asked_for_one_after_the_other_until_the_last() -> None:
    listing = Listing(ENOUGH)
    assert listing.next_page == 1
    assert listing.add(a_page(["a"], 1, last=False)) == 2
    assert listing.add(a_page(["b"], 2, last=False)) == 3
    assert listing.add(a_page(["c"], 3)) is None
    assert listing.complete
    assert list(listing.campaigns) == ["a", "b", "c"]


def test_an_empty_last_page_completes_the_listing() -> None:
    listing = Listing(ENOUGH)
    listing.add(a_page(["a"], last=False))
    assert listing.add(a_page([], 2)) is None
    assert listing.complete


@pytest.mark.parametrize("last", [True, False])
def test_fault_31_the_same_page_twice_ends_the_listing_which_is_not_complete(last: bool) -> None:
    listing = Listing(ENOUGH)
    listing.add(a_page(["a", "b"], 1, last=False))
    assert listing.add(a_page(["b", "a"], 2, last=last)) is None
    assert not listing.complete


def test_fault_31_an_endless_listing_is_given_up_after_a_page_more_than_it_takes() -> None:
    listing, pages = Listing(max_campaigns=3 * PAGE_SIZE), 0
    while listing.next_page is not None:
        pages = listing.next_page
        listing.add(a_page([f"c-{pages}"], pages, last=False))
    assert pages == 4
    assert not listing.complete


def test_fault_31_a_page_of_a_million_ends_the_listing() -> None:
    listing = Listing(max_campaigns=10)
    assert listing.add(a_page(map(str, range(1000)), last=False)) is None
    assert len(take(TargetSet(), listing, NOW).campaigns) == 10


def test_fault_31_of_a_campaign_that_comes_twice_the_first_word_counts() -> None:
    listing = Listing(ENOUGH)
    listing.add(a_page(["a"], 1, last=False, status="active"))
    listing.add(a_page(["a", "b"], 2, status="paused"))
    assert [listing.campaigns[one].status for one in ("a", "b")] == ["active", "paused"]


# --- who joins


def test_a_new_campaign_joins_at_once() -> None:
    assert after("abc", "abcd", start="ab") == ["abc", "abcd"]


def test_what_is_said_of_a_known_campaign_is_taken() -> None:
    target_set = take(TargetSet(), a_listing("a"), NOW)
    target_set = take(target_set, a_listing("a", status="paused"), NOW)
    assert target_set.campaigns["a"].status == "paused"


def test_no_more_join_than_there_is_room_for_and_the_known_ones_stay() -> None:
    target_set = take(TargetSet(), a_listing("x", "y", max_campaigns=3), NOW)
    target_set = take(target_set, a_listing("a", "b", "c", "x", "y", max_campaigns=3), NOW)
    assert list(target_set.campaigns) == ["x", "y", "a"]


def test_a_listing_that_was_given_up_brings_campaigns_in_but_takes_none_away() -> None:
    target_set = take(TargetSet(), a_listing("a", "b"), NOW)
    for _ in range(2 * LISTINGS_TO_BELIEVE):
        target_set = take(target_set, given_up("b", "c"), NOW + 1)
    assert list(target_set.campaigns) == ["a", "b", "c"]
    assert target_set.absent == {}
    assert target_set.listed_at == NOW


# --- who leaves


def test_a_campaign_leaves_after_three_complete_listings_without_it() -> None:
    assert after("abc", "abc", "abc", "abc", start="abcd") == ["abcd", "abcd", "abc", "abc"]


def test_a_campaign_that_comes_back_is_as_before() -> None:
    known = after("abc", "abc", "abcd", "abc", "abc", "abc", start="abcd")
    assert known == ["abcd", "abcd", "abcd", "abcd", "abcd", "abc"]


def test_a_campaign_that_is_seen_in_a_listing_that_was_given_up_is_not_absent() -> None:
    target_set = take(TargetSet(), a_listing("a", "b", "c"), NOW)
    for listing in (a_listing("a", "b"), a_listing("a", "b"), given_up("c"), a_listing("a", "b")):
        target_set = take(target_set, listing, NOW)
    assert list(target_set.campaigns) == ["a", "b", "c"]


def test_an_empty_listing_is_never_believed() -> None:
    assert after(*[""] * 10, start="abc") == ["abc"] * 10


def test_an_empty_listing_neither_counts_nor_starts_the_count_anew() -> None:
    assert after("abc", "", "abc", "", "abc", start="abcd") == ["abcd"] * 4 + ["abc"]


def test_a_halved_listing_is_believed_when_it_came_three_times_in_a_row() -> None:
    assert after("ab", "ab", "ab", start="abcd") == ["abcd", "abcd", "ab"]


def test_nobody_joins_from_a_listing_that_is_distrusted() -> None:
    assert after("ax", "ax", "ax", start="abcd") == ["abcd", "abcd", "ax"]


def test_a_whole_listing_in_between_starts_the_count_of_halved_ones_anew() -> None:
    known = after("ab", "ab", "abcd", "ab", "ab", start="abcd")
    assert known == ["abcd"] * 5


def test_a_campaign_that_was_absent_before_waits_for_the_listing_to_be_believed() -> None:
    assert after("abc", "abc", "ab", "ab", "ab", start="abcd") == ["abcd"] * 4 + ["ab"]


def test_more_than_half_is_believed_at_once() -> None:
    assert after("abcx", start="abcd") == ["abcdx"]


# --- when a campaign was listed


def test_the_last_complete_listing_tells_when_who_was_there() -> None:
    target_set = take(TargetSet(), a_listing("a", "b", "c"), NOW)
    target_set = take(target_set, a_listing("a", "b"), NOW + 900)
    assert (target_set.listed_at, dict(target_set.absent)) == (NOW + 900, {"c": 1})
    assert take(target_set, a_listing(), NOW + 1800) == target_set


# --- whatever is listed

LETTERS = st.text(alphabet="abcdef", max_size=6)


@given(st.lists(LETTERS, max_size=12))
def test_nobody_leaves_who_was_in_one_of_the_last_three_listings(history: Sequence[str]) -> None:
    known = after(*history)
    complete: list[str] = []
    for number, letters in enumerate(history):
        if letters:
            complete.append(letters)
        lost = set(known[number - 1] if number else "") - set(known[number])
        recently = set("".join(complete[-LISTINGS_TO_BELIEVE:]))
        assert not lost & recently


@given(st.lists(LETTERS.filter(bool), min_size=1, max_size=12))
def test_what_is_listed_often_enough_is_what_is_known(history: Sequence[str]) -> None:
    # It may be believed as the third of several that are too short, and be too short once more.
    known = after(*history, *[history[-1]] * 2 * LISTINGS_TO_BELIEVE)
    assert known[-1] == "".join(sorted(set(history[-1])))


@given(st.lists(LETTERS, max_size=12), st.integers(1, 4))
def test_never_more_are_known_than_there_is_room_for(history: Sequence[str], most: int) -> None:
    target_set = TargetSet()
    for letters in history:
        target_set = take(target_set, a_listing(*letters, max_campaigns=most), NOW)
        assert len(target_set.campaigns) <= most
        assert target_set.absent.keys() <= target_set.campaigns.keys()
        assert all(times > 0 for times in target_set.absent.values())
