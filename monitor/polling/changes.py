"""What is logged of polls: changes, not states. The first failure of its kind, and the recovery."""

from collections.abc import Mapping

import structlog

from monitor.core.budget import LONGEST_PAUSE, Budget
from monitor.core.model import Finding, Reason, Seconds
from monitor.core.rule import Broken
from monitor.core.status import CampaignStatus, EnvironmentStatus
from monitor.core.text import rfc3339

log = structlog.get_logger()


def _log_poll(before: CampaignStatus, after: CampaignStatus) -> None:
    """Log that a campaign cannot be read, for which reason, or can be again."""
    known = {"environment": after.environment, "campaign_id": after.campaign_id}
    was = before.error.reason if before.error else None
    error = after.error
    if error is not None and error.reason is not was:
        # Another campaign's config is a security matter: somebody may see what is not theirs.
        say = log.error if error.reason is Reason.WRONG_CAMPAIGN else log.warning
        say("poll_failed", **known, reason=error.reason.value, detail=error.detail)
    elif error is None and was is not None:
        log.info("poll_recovered", **known, after=was.value)


class CampaignLog:
    """Logs the polls of an environment's campaigns; `polled` is called for each."""

    def __init__(self) -> None:
        self._broken: set[tuple[str, str]] = set()

    def polled(
        self, before: CampaignStatus, after: CampaignStatus, findings: Mapping[str, Finding]
    ) -> None:
        """Log what has changed, and the rules that raised, which the core cannot: each once."""
        _log_poll(before, after)
        for rule, finding in findings.items():
            which = (after.campaign_id, rule)
            if not isinstance(finding, Broken):
                self._broken.discard(which)
            elif which not in self._broken:
                self._broken.add(which)
                known = {"environment": after.environment, "campaign_id": after.campaign_id}
                log.error("rule_broke", **known, rule=rule, exc_info=finding.error)


def log_environment(before: EnvironmentStatus, after: EnvironmentStatus) -> None:
    """Log that the breaker opened or closed, and that the API's clock is taken or is not."""
    if before.breaker_open != after.breaker_open:
        reason = after.rejected_by or after.outage_reason
        if after.breaker_open:
            log.warning("breaker_opened", environment=after.name, reason=str(reason))
        else:
            since = before.outage_at or before.rejected_at or 0.0
            log.info("breaker_closed", environment=after.name, opened_at=rfc3339(since))
    if before.corrected != after.corrected:
        log.warning("clock_corrected", environment=after.name, by_api=after.corrected)


def log_budget(name: str, before: Budget, after: Budget, pause: Seconds | None) -> None:
    """Log that the API asks an environment to pause, and that it yields to others or no more."""
    if pause is not None:
        log.warning("paused_by_api", environment=name, seconds=round(min(pause, LONGEST_PAUSE)))
    if (after.room < 1) != (before.room < 1):
        log.info("yielding", environment=name, part=round(after.room, 2))
