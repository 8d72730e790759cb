"""The target set of an environment: listings of all campaigns, and what is believed of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from monitor.core.model import Instant, ListedCampaign, Page

PAGE_SIZE = 100  # how many campaigns a page of the platform's listing holds at most

# So many complete listings in a row must lack a campaign, or be halved, to be believed: one may
# lie or break off, and to forget a campaign wrongly would resolve its alerts wrongly.
LISTINGS_TO_BELIEVE = 3


@dataclass(frozen=True, slots=True)
class TargetSet:
    """The campaigns of an environment as its listings have them, by id; stored."""

    campaigns: Mapping[str, ListedCampaign] = field(default_factory=dict)
    absent: Mapping[str, int] = field(default_factory=dict)  # complete listings without it
    distrusted: int = 0  # halved listings in a row
    listed_at: Instant | None = None  # the end of the last complete listing with anybody in it

    def last_read_at(self, campaign_id: str) -> Instant | None:
        """Return when the last complete listing ended, if that one had the campaign."""
        known = campaign_id in self.campaigns and campaign_id not in self.absent
        return self.listed_at if known else None


class Listing:
    """The pages of one listing so far; endless ones and repetitions are given up."""

    def __init__(self, max_campaigns: int) -> None:
        """Start with no page; more than `max_campaigns` are not taken in."""
        self.max_campaigns = max_campaigns
        self.campaigns: dict[str, ListedCampaign] = {}
        self.next_page: int | None = 1  # None: the listing has ended
        self.complete = False  # True: every page came
        # A page more than it takes: there may be an empty one behind the last.
        self._most_pages = max_campaigns / PAGE_SIZE + 1
        self._most_campaigns = max_campaigns + PAGE_SIZE

    def add(self, page: Page) -> int | None:
        """Take the page that was asked for; return the next one to ask for, or None."""
        known = len(self.campaigns)
        for one in page.campaigns:
            self.campaigns.setdefault(one.id, one)
        repeats = bool(page.campaigns) and len(self.campaigns) == known
        endless = page.page >= self._most_pages or len(self.campaigns) > self._most_campaigns
        self.complete = page.last and not repeats
        self.next_page = None if page.last or repeats or endless else page.page + 1
        return self.next_page


def take(target_set: TargetSet, listing: Listing, now: Instant) -> TargetSet:
    """Return the target set after a listing that ended at `now`. An empty one changes nothing."""
    if not listing.campaigns:
        return target_set
    # One that was given up brings campaigns in, but proves no absence.
    if not listing.complete:
        absent = {key: n for key, n in target_set.absent.items() if key not in listing.campaigns}
        return replace(target_set, campaigns=_merged(target_set.campaigns, listing), absent=absent)
    missed = [key for key in target_set.campaigns if key not in listing.campaigns]
    absent = {key: target_set.absent.get(key, 0) + 1 for key in missed}
    halved = 2 * len(listing.campaigns) <= len(target_set.campaigns)
    distrusted = target_set.distrusted + 1 if halved else 0
    # One with at most half of the known campaigns only counts, until it is the third in a row.
    if 0 < distrusted < LISTINGS_TO_BELIEVE:
        return replace(target_set, absent=absent, distrusted=distrusted, listed_at=now)
    absent = {key: times for key, times in absent.items() if times < LISTINGS_TO_BELIEVE}
    gone = set(missed) - absent.keys()
    stay = {key: one for key, one in target_set.campaigns.items() if key not in gone}
    return TargetSet(campaigns=_merged(stay, listing), absent=absent, listed_at=now)


def doubt(before: TargetSet, after: TargetSet, listing: Listing) -> str:
    """Return why a listing that has ended, and came to `after`, is not believed; empty: it is."""
    listed, known = len(listing.campaigns), len(before.campaigns)
    if not listing.complete:
        return f"the listing was given up after {listed} campaigns"
    distrusted = after.distrusted or (known and not listed)
    return f"the listing has {listed} campaigns, {known} are known" if distrusted else ""


def _merged(known: Mapping[str, ListedCampaign], listing: Listing) -> dict[str, ListedCampaign]:
    """Return the known campaigns as they are listed now, then new ones while there is room."""
    kept = {key: listing.campaigns.get(key, one) for key, one in known.items()}
    new = [one for one in listing.campaigns.values() if one.id not in kept]
    room = max(0, listing.max_campaigns - len(kept))
    return kept | {one.id: one for one in new[:room]}
