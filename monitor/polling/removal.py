"""What is left of an environment that is no longer watched, and what is to be told of it."""

from collections.abc import Iterable

from monitor.adapters.store import Change
from monitor.core import assess, environment
from monitor.core.discovery import Roster
from monitor.core.identity import AlertLabels
from monitor.core.model import Instant
from monitor.core.rule import Target
from monitor.core.status import CampaignStatus, EnvironmentStatus


def removal(status: EnvironmentStatus, campaigns: Iterable[CampaignStatus], now: Instant) -> Change:
    """Return what is left, and what is to be told, of an environment that is no longer watched."""
    why = "environment_removed"
    after, events = environment.reconcile(status, {}, now, AlertLabels(), why)
    # Without its breaker: an environment that comes back under this name starts closed.
    left = EnvironmentStatus(name=status.name, alerts=after.alerts)
    tombstones, told = [], list(events)
    for campaign in campaigns:
        target = Target(environment=status.name, campaign_id=campaign.campaign_id)
        decision = assess.remove(campaign, target, why, now)
        tombstones.append(decision.status)
        told += decision.events
    return Change(
        campaigns=tuple(tombstones),
        environments=(left,),
        events=tuple(told),
        rosters={status.name: Roster()},
    )
