"""The last known truth about every campaign: what metrics, pages and the JSON API are made of.

A board holds immutable entries and is read by views; only the daemon puts new ones on it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from monitor.core.identity import AlertLabels
from monitor.core.model import Alert, Instant, PollError, Seconds, Severity
from monitor.core.rule import BaseRule, Target
from monitor.core.status import CampaignStatus, EnvironmentStatus

STALE_AFTER_INTERVALS = 3
"""Evidence older than so many effective intervals is no evidence: the campaign is unknown."""


class Health(StrEnum):
    """A campaign in one word, worst first. Unknown beats warning: not knowing is not health."""

    CRITICAL = "critical"
    UNKNOWN = "unknown"
    WARNING = "warning"
    HEALTHY = "healthy"


@dataclass(frozen=True, slots=True)
class Entry:
    """One campaign on the board: what the config says of it and what is known about it."""

    target: Target
    status: CampaignStatus

    @property
    def labels(self) -> AlertLabels:
        """What an alert goes by that on-call is not told of."""
        return self.target.labels_with(self.status.memory.config)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentBoard:
    """One environment on the board, with its campaigns by id.

    `now` is its corrected clock, `rules` are its own enabled ones. `interval` is the sweep time
    that the budget really gives, `stale_after` how old evidence may be (`idle_stale_after`
    that of campaigns which are not told), `lag` how late the most
    overdue poll is; in seconds. `per_minute` and `available` are calls. `swept` campaigns were
    polled in the running sweep. `listing_error` says why the last listing of the campaigns failed.
    """

    status: EnvironmentStatus
    now: Instant
    labels: AlertLabels = AlertLabels()
    rules: Mapping[str, BaseRule] = field(default_factory=dict)
    campaigns: Mapping[str, Entry] = field(default_factory=dict)
    interval: Seconds = 0.0
    stale_after: Seconds = float("inf")
    idle_stale_after: Seconds = float("inf")
    per_minute: float = 0.0
    available: int = 0
    lag: Seconds = 0.0
    swept: int = 0
    listing_error: PollError | None = None

    def health(self, entry: Entry) -> Health:
        """Return the campaign's health, of told alerts and of not being readable."""
        severities = {a.told_severity for a in entry.status.alerts.values() if a.told}
        # Before the age of the evidence: on-call has this page open until it is resolved.
        if Severity.CRITICAL in severities:
            return Health.CRITICAL
        seen_at = entry.status.memory.seen_at
        idle = entry.target.muted_status is not None
        allowed = self.idle_stale_after if idle else self.stale_after
        # Dated further ahead (the clock was wrong), how old it is cannot be told, either.
        too_old = seen_at is None or abs(self.now - seen_at) > allowed
        if too_old or entry.status.error is not None or self.status.breaker_open:
            return Health.UNKNOWN
        return Health.WARNING if Severity.WARNING in severities else Health.HEALTHY

    def counts(self) -> dict[Health, int]:
        """Return how many campaigns have each health; every health is there."""
        counter = Counter(self.health(entry) for entry in self.campaigns.values())
        return {health: counter[health] for health in Health}


@dataclass(frozen=True, slots=True)
class Board:
    """All environments by name. `now` is our clock at the time of the view."""

    environments: Mapping[str, EnvironmentBoard]
    now: Instant

    def entries(self) -> Iterator[tuple[EnvironmentBoard, Entry]]:
        """Return every campaign with its environment, in the order of the config."""
        for environment in self.environments.values():
            for entry in environment.campaigns.values():
                yield environment, entry


def active_alerts(alerts: Iterable[Alert]) -> list[Alert]:
    """Return those that are pending, firing or muted."""
    return [alert for alert in alerts if alert.active]
