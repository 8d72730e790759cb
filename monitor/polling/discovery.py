"""One environment's listing of its campaigns: page by page, and what they come to."""

import structlog

from monitor.core.discovery import Listing, Roster, take
from monitor.core.model import ListingPage, PollError, Seconds
from monitor.polling.watch import Watch

LISTING = "*"
"""The listing's key in the due-queue: no campaign can have this id."""

log = structlog.get_logger()


class Discovery:
    """Takes the pages of one listing after the other; `error` says why the last one failed.

    `listing` is the one that runs, or is to begin.
    """

    def __init__(self, watch: Watch) -> None:
        """Discover for `watch`."""
        self.error: PollError | None = None
        self._watch = watch
        self.listing = self._a_listing()
        self._doubt: tuple[str, int, int] | None = None

    @property
    def page(self) -> int:
        """The page to ask for next, from 1."""
        return self.listing.next_page or 1

    def restart(self) -> None:
        """Forget the pages so far: the config of discovery has changed."""
        self.listing = self._a_listing()

    def take(self, page: ListingPage | PollError) -> list[str]:
        """Take the page that was asked for; return the campaigns that are to be looked at anew."""
        if isinstance(page, PollError):
            self._failed(page)
            return []
        self.listing.add(page)
        return [] if self.listing.next_page else self._ended()

    def wait(self) -> Seconds:
        """Return in how many seconds the next page is to be asked for."""
        settings = self._watch.settings
        if self.page > 1:
            return 0.0
        every = settings.environment.discovery.every
        if self.error is not None and settings.knows_nobody_else:
            return min(every, settings.polling.unhealthy_interval)
        return every

    def _a_listing(self) -> Listing:
        return Listing(self._watch.settings.environment.discovery.max_campaigns)

    def _failed(self, error: PollError) -> None:
        if self.error is None or self.error.reason is not error.reason:
            name, reason = self._watch.name, error.reason.value
            log.warning("listing_failed", environment=name, reason=reason, detail=error.detail)
        self.error = error
        # From page 1 again: by the next try the pages may have shifted, and someone fall between.
        self.listing = self._a_listing()
        self._watch.listing_ended()

    def _ended(self) -> list[str]:
        listing, self.listing = self.listing, self._a_listing()
        if self.error is not None:
            log.info("listing_recovered", environment=self._watch.name, after=self.error.reason)
            self.error = None
        now = self._watch.now()
        before = self._watch.settings.roster
        after = take(before, listing, now)
        self._log(before, after, listing)
        anew = self._watch.discover(after)
        self._watch.listing_ended()
        return anew

    def _log(self, before: Roster, after: Roster, listing: Listing) -> None:
        """Log changes: who joined and left, and that a listing is not believed, or in part."""
        name, listed, known = self._watch.name, len(listing.campaigns), len(before.campaigns)
        doubt = None
        if after.distrusted or not listed:
            doubt = ("listing_distrusted", listed, known)
        elif not listing.complete:
            doubt = ("listing_given_up", listed, known)
        if doubt is not None and doubt != self._doubt:
            log.warning(doubt[0], environment=name, listed=listed, known=known)
        self._doubt = doubt
        joined = len(after.campaigns.keys() - before.campaigns.keys())
        left = len(before.campaigns.keys() - after.campaigns.keys())
        if joined or left:
            log.info("campaigns_listed", environment=name, joined=joined, left=left)
