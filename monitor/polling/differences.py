"""What is logged of an environment: differences, never states."""

import structlog

from monitor.core.budget import LONGEST_PAUSE, Budget
from monitor.core.discovery import Listing, TargetSet
from monitor.core.model import PollError, Reason, Seconds
from monitor.core.snapshot import Entry, Findings
from monitor.core.status import EnvironmentStatus
from monitor.core.text import rfc3339

log = structlog.get_logger()


def log_listing_error(name: str, before: PollError | None, error: PollError | None) -> None:
    """Log that the listing of an environment fails, for which reason, or works again."""
    if error is not None and (before is None or before.reason is not error.reason):
        reason, detail = error.reason.value, error.detail
        log.warning("listing_failed", environment=name, reason=reason, detail=detail)
    elif error is None and before is not None:
        log.info("listing_recovered", environment=name, after=before.reason)


def log_listing(
    name: str, before: TargetSet, after: TargetSet, listing: Listing, *, doubted: bool
) -> None:
    """Log changes: who joined and left, and that a listing is not believed, or in part."""
    if doubted:
        event = "listing_distrusted" if listing.complete else "listing_given_up"
        listed, known = len(listing.campaigns), len(before.campaigns)
        log.warning(event, environment=name, listed=listed, known=known)
    joined = len(after.campaigns.keys() - before.campaigns.keys())
    left = len(before.campaigns.keys() - after.campaigns.keys())
    if joined or left:
        log.info("campaigns_listed", environment=name, joined=joined, left=left)


def log_poll(before: Entry, after: Entry) -> None:
    """Log that a campaign cannot be read, for which reason, or can be again; and broken rules."""
    known = {"environment": after.status.environment, "campaign_id": after.status.campaign_id}
    was, error = before.status.error, after.status.error
    if error is not None and (was is None or was.reason is not error.reason):
        # Another campaign's config is a security matter: somebody may see what is not theirs.
        say = log.error if error.reason is Reason.WRONG_CAMPAIGN else log.warning
        say("poll_failed", **known, reason=error.reason.value, detail=error.detail)
    elif error is None and was is not None:
        log.info("poll_recovered", **known, after=was.reason.value)
    log_broken(before.findings, after.findings, **known)


def log_broken(before: Findings | None, after: Findings | None, **about: str) -> None:
    """Log each rule that breaks, once; the core, where it was caught, cannot log."""
    broken = before or {}
    for rule, finding in (after or {}).items():
        if finding.error is not None and (rule not in broken or broken[rule].error is None):
            log.error("rule_broke", **about, rule=rule, exc_info=finding.error)


def log_environment(before: EnvironmentStatus, after: EnvironmentStatus) -> None:
    """Log that the breaker opened or closed, and that the API's clock is taken or is not."""
    if before.breaker_open != after.breaker_open:
        refused = after.refused_with and after.refused_with.reason
        reason, error = after.rejected_by or after.outage_reason or refused, after.error
        detail = error.detail if error is not None and error.reason is reason else ""
        if after.breaker_open:
            known = {"environment": after.name, "reason": str(reason), "detail": detail}
            log.warning("breaker_opened", **known)
        else:
            since = next(at for at in before.opened_at if at is not None)
            log.info("breaker_closed", environment=after.name, opened_at=rfc3339(since))
    if before.corrected != after.corrected:
        log.warning("clock_corrected", environment=after.name, by_api=after.corrected)


def log_limits(name: str, before: Budget, after: Budget, pause: Seconds | None) -> None:
    """Log that the API asks for a pause, and that its limits leave us more or less."""
    if pause is not None:
        log.warning("paused_by_api", environment=name, seconds=round(min(pause, LONGEST_PAUSE)))
    if (after.room < 1) != (before.room < 1):
        log.info("yielding", environment=name, part=round(after.room, 2))
