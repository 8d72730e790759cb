"""One environment's listing of its campaigns: page by page, and what they come to."""

import structlog

from monitor.config import DiscoveryConfig
from monitor.core.discovery import Listing, TargetSet, take
from monitor.core.model import Page, PollError
from monitor.core.schedule import Priority
from monitor.polling.environment_state import EnvironmentState

LISTING = "*"  # the listing's key in the due-queue: no campaign can have this id

log = structlog.get_logger()


class Discovery:
    """Takes the pages of one listing after the other; `error` says why the last one failed.

    `listing` is the one that runs, or is to begin; `due` is its next page, on the monotonic clock.
    """

    def __init__(self, state: EnvironmentState) -> None:
        """Have the campaigns of this environment listed at once."""
        self.error: PollError | None = None
        self._state = state
        self._doubt: tuple[str | None, int, int] | None = None
        self._config: DiscoveryConfig | None = None
        self.configure()

    def configure(self) -> None:
        """Have the campaigns listed at once where that was not done under this config."""
        config = self._state.settings.environment.discovery
        if config != self._config:
            self._config, self.listing = config, Listing(config.max_campaigns)
            self.due = (self._state.clock.elapsed(), Priority.NEVER_SEEN)

    def take(self, page: Page | PollError) -> list[str]:
        """Take the page that was asked for; return the campaigns that are to be polled at once."""
        over = isinstance(page, PollError) or not self.listing.add(page)
        anew = self._ended(page) if over else []
        # The first one is due as long as its first page was: it stays ahead of the campaigns.
        if not self._state.awaits_listing:
            settings, wait = self._state.settings, 0.0
            if over:
                wait = settings.environment.discovery.every
                if self.error is not None and settings.knows_nobody_else:
                    wait = min(wait, settings.polling.unhealthy_interval)
            self.due = (self._state.clock.elapsed() + wait, Priority.ROUTINE)
        return anew

    def _ended(self, last: Page | PollError) -> list[str]:
        state, listing = self._state, self.listing
        self.listing = Listing(state.settings.environment.discovery.max_campaigns)
        before, self.error = self.error, last if isinstance(last, PollError) else None
        if self.error is not None:
            # From page 1 again: by the next try pages may have shifted, and someone fall between.
            if before is None or before.reason is not self.error.reason:
                reason, detail = self.error.reason.value, self.error.detail
                log.warning("listing_failed", environment=state.name, reason=reason, detail=detail)
            return state.discover(None)
        if before is not None:
            log.info("listing_recovered", environment=state.name, after=before.reason)
        target_set = state.settings.target_set
        after = take(target_set, listing, state.now())
        self._log(target_set, after, listing)
        return state.discover(after)

    def _log(self, before: TargetSet, after: TargetSet, listing: Listing) -> None:
        """Log changes: who joined and left, and that a listing is not believed, or in part."""
        name, listed, known = self._state.name, len(listing.campaigns), len(before.campaigns)
        why = None if listing.complete else "listing_given_up"
        if after.distrusted or not listed:
            why = "listing_distrusted"
        doubt = (why, listed, known)
        if why is not None and doubt != self._doubt:
            log.warning(why, environment=name, listed=listed, known=known)
        self._doubt = doubt
        joined = len(after.campaigns.keys() - before.campaigns.keys())
        left = len(before.campaigns.keys() - after.campaigns.keys())
        if joined or left:
            log.info("campaigns_listed", environment=name, joined=joined, left=left)
