"""The last known truth about every campaign: what metrics, pages and the JSON API are made of."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from monitor.core.alerts import Impact, recheck_at
from monitor.core.connection_tests import Plan
from monitor.core.guards import Reason as HeldBy
from monitor.core.guards import Suspension
from monitor.core.impact import impact_of, impact_of_all
from monitor.core.model import (
    AlertLabels,
    EventKind,
    Finding,
    Instant,
    ListedCampaign,
    PollError,
    Seconds,
    Severity,
    Text,
    Verdict,
)
from monitor.core.rule import NO_CONFIG, NOT_OURS, BaseRule, Target, Testing
from monitor.core.status import Alert, CampaignStatus, EnvironmentStatus
from monitor.core.text import rfc3339

# Evidence older than so many effective intervals is no evidence: the campaign is unknown.
STALE_AFTER_INTERVALS = 3

# What the last decision found, by rule; None in its place: nothing was decided since the start.
Findings = Mapping[str, Finding]


class Health(StrEnum):
    """A campaign in one word, worst first. Unknown beats warning: not knowing is not health."""

    CRITICAL = "critical"
    UNKNOWN = "unknown"
    WARNING = "warning"
    HEALTHY = "healthy"


def in_force(findings: Findings | None, rules: Mapping[str, BaseRule]) -> Findings | None:
    """Return the findings under a changed config: a rule that is gone has lost its own."""
    if findings is None or findings.keys() <= rules.keys():
        return findings
    return {name: finding for name, finding in findings.items() if name in rules}


class ActiveAlert(NamedTuple):
    """An alert that is pending, firing or muted, with its rule and its severity by now."""

    alert: Alert
    rule: BaseRule
    severity: Severity

    @property
    def next_step(self) -> str:
        """What on-call should do: as the alert says it, else as its rule does."""
        return self.alert.next_step or self.rule.next_step

    @property
    def changes_at(self) -> Instant | None:
        """When it fires, or is over, if nothing changes; None: not by itself."""
        return recheck_at(self.alert, self.rule)


def active_alerts(
    alerts: Mapping[str, Alert], rules: Mapping[str, BaseRule]
) -> Iterator[ActiveAlert]:
    """Yield the active ones of these alerts; every view of active alerts is made of this."""
    for alert in alerts.values():
        rule = rules.get(alert.rule)
        # Of a rule that was switched off an alert may be left for a moment; it is about to end.
        if alert.active and rule is not None:
            yield ActiveAlert(alert, rule, alert.notified_severity or rule.severity_of(alert))


class Settled(NamedTuple):
    """Where the same config would be found the same: before `until`, while tests stand so."""

    until: Instant
    testing: Testing


@dataclass(frozen=True, slots=True)
class Entry:
    """One campaign; `findings` are of the decision on its poll at `polled_at`, or an earlier one.

    That is so where it has `settled` what the polls since then have seen; with another target or
    status it has not.
    """

    target: Target
    status: CampaignStatus
    findings: Findings | None = None
    settled: Settled | None = None

    def active_alerts(self) -> Iterator[ActiveAlert]:
        """Yield the campaign's active alerts."""
        return active_alerts(self.status.alerts, self.target.rules)

    def impact(self, now: Instant) -> Impact:
        """Return what is at stake now where something is wrong with the campaign."""
        config = self.status.last_known.config
        return impact_of(self.target.calls, (config and config.import_schedule) or "", now)

    @property
    def labels(self) -> AlertLabels:
        """The labels of an alert that fires now."""
        target, config = self.target, self.status.last_known.config
        return AlertLabels(
            sftp_host=config.host if config else "",
            campaign_name=target.name,
            labels=target.labels,
            exported=target.exported,
        )


class Holder(NamedTuple):
    """The replica that polls an environment, and where it answers; empty: none that is known."""

    replica: Text = ""
    address: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSnapshot:
    """One environment, with its campaigns by id."""

    status: EnvironmentStatus
    now: Instant  # our clock
    ahead: Seconds = 0.0  # how far the clock that counts for the platform's instants is
    labels: AlertLabels = AlertLabels()
    rules: Mapping[str, BaseRule] = field(default_factory=dict)  # its own, as `findings` are
    findings: Findings | None = None
    campaigns: Mapping[str, Entry] = field(default_factory=dict)
    listed: Mapping[str, ListedCampaign] = field(default_factory=dict)  # as they are discovered
    interval_seconds: Seconds = 0.0  # the sweep time that the budget really gives
    stale_after: Seconds = float("inf")  # how old evidence may be
    idle_stale_after: Seconds = float("inf")  # of campaigns that nobody is notified of
    requests_per_minute: float = 0.0
    available_requests: int = 0
    lag_seconds: Seconds = 0.0  # how late the most overdue poll is
    polled: int = 0  # campaigns polled in the running sweep
    listing_error: PollError | None = None  # why the last listing failed
    tests_on: bool = False  # connection tests, for one of the campaigns at least
    suspended: Suspension | None = None  # no test is run at its platform
    planned: Mapping[str, Plan] = field(default_factory=dict)  # the next tests, by campaign
    owned: bool = True  # this process may poll it now
    holder: Holder | None = None  # it is shown as the database has it, without findings

    def impact(self, now: Instant) -> Impact:
        """Return what is at stake now where something is wrong with all of its campaigns."""
        return impact_of_all((entry.target for entry in self.campaigns.values()), now)

    def active_alerts(self) -> Iterator[ActiveAlert]:
        """Yield the active alerts of the environment itself."""
        return active_alerts(self.status.alerts, self.rules)

    def health(self, entry: Entry) -> Health:
        """Return the campaign's health, of firing alerts and of not being readable."""
        worst = worst_firing(entry.active_alerts())
        # Before the age of the evidence: on-call has this page open until it is resolved.
        current = worst is Health.CRITICAL or self.is_current(entry)
        return worst if current else Health.UNKNOWN

    def is_current(self, entry: Entry) -> bool:
        """Return whether what was last read of the campaign still counts as evidence."""
        last_read_at = entry.status.last_known.last_read_at
        idle = entry.target.muted_status is not None
        allowed = self.idle_stale_after if idle else self.stale_after
        # Dated further ahead (the clock was wrong), how old it is cannot be known, either.
        fresh = last_read_at is not None and abs(self.now - last_read_at) <= allowed
        return fresh and entry.status.error is None and not self.status.breaker_open

    def findings_of(self, entry: Entry) -> Findings | None:
        """Return the findings of the campaign's last decision; outdated ones are not healthy."""
        found, polled_at = entry.findings, entry.status.polled_at
        if found is None or polled_at is None or self.is_current(entry):
            return found
        summary = f"not read since {rfc3339(polled_at)}; it was healthy then"
        outdated = partial(replace, verdict=Verdict.UNKNOWN, summary=summary)
        healthy = [name for name, finding in found.items() if finding.verdict is Verdict.HEALTHY]
        return {**found, **{name: outdated(found[name]) for name in healthy}}

    def held_back(self) -> dict[HeldBy, int]:
        """Return how many campaigns' tests are held back by what; every reason is there."""
        plans = (self.planned[key] for key in self.planned.keys() & self.campaigns)
        counter = Counter(plan.hold.reason for plan in plans if plan.hold is not None)
        return {reason: counter[reason] for reason in HeldBy}

    def counts(self) -> dict[Health, int]:
        """Return how many campaigns have each health; every health is there."""
        counter = Counter(self.health(entry) for entry in self.campaigns.values())
        return {health: counter[health] for health in Health}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All environments by name. `now` is our clock at the time of the view.

    Those `elsewhere` are not among them until they are read from the database.
    """

    environments: Mapping[str, EnvironmentSnapshot]
    now: Instant
    not_ready: str | None = None  # why the monitor is not ready
    elsewhere: Mapping[str, Holder] = field(default_factory=dict)  # what other replicas are to show

    def entries(self) -> Iterator[tuple[EnvironmentSnapshot, Entry]]:
        """Return every campaign with its environment, in the order of the config."""
        for environment in self.environments.values():
            for entry in environment.campaigns.values():
                yield environment, entry

    def active_alerts(self) -> Iterator[tuple[EnvironmentSnapshot, Entry | None, ActiveAlert]]:
        """Yield every active alert: the environments' own (no entry), then the campaigns'."""
        for environment in self.environments.values():
            yield from ((environment, None, active) for active in environment.active_alerts())
        for environment, entry in self.entries():
            yield from ((environment, entry, active) for active in entry.active_alerts())


def worst_firing(alerts: Iterable[ActiveAlert]) -> Health:
    """Return the health that alerts leave: the worst of those that on-call was notified of."""
    severities = {active.severity for active in alerts if active.alert.notified}
    if not severities:
        return Health.HEALTHY
    if Severity.CRITICAL in severities:
        return Health.CRITICAL
    return Health.WARNING if Severity.WARNING in severities else Health.HEALTHY


def doubts(found: Iterable[tuple[Verdict, str]]) -> list[str]:
    """Return the summaries of unknown verdicts, each once, but for what others have said."""
    # `missing` of a config that is not there, `failed_test` of a test that is not ours.
    elsewhere, unknown = (NO_CONFIG, NOT_OURS), Verdict.UNKNOWN
    said = [summary for verdict, summary in found if verdict is unknown]
    return list(dict.fromkeys(summary for summary in said if summary not in elsewhere))


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """Which events are asked for, newest first, older than row `next`; None is no limit.

    Those of an environment itself are of campaign ''.
    """

    limit: int = 100  # as many are shown with a campaign
    environment: str | None = None
    campaign_id: str | None = None
    rule: str | None = None
    kind: EventKind | None = None
    since: Instant | None = None
    next: int | None = None
