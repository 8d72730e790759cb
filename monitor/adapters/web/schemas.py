"""What the JSON API answers, as types: they are serialised, and described in `/openapi.json`.

Every class's docstring is the description that users read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from monitor.adapters.web.history import DayAnswer
from monitor.core.attempt import Result, Trigger
from monitor.core.explanation import Paragraph
from monitor.core.guards import Reason as HoldReason
from monitor.core.guards import Suspension
from monitor.core.model import (
    Instant,
    Labels,
    ListedCampaign,
    PollError,
    Reason,
    Sentence,
    Severity,
    SftpConfig,
    Text,
    Verdict,
)
from monitor.core.snapshot import Health, Holder
from monitor.core.status import Failures, LastKnown
from monitor.serialize import EventRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertAnswer:
    """An active alert. campaign_id is null for an alert of the environment itself.

    state is firing (on-call was notified), pending, or muted (muted_by says by what). since is when
    it became true, notified_at when on-call was last notified, changes_at when it would fire or be
    over by itself, changes_in_seconds how long that is from now. `for` has run since pending_at,
    `keep_firing_for` since healthy_at. campaign_name and labels are those with which it fired.
    """

    environment: str
    campaign_id: str | None
    campaign_name: Text
    rule: str
    severity: Severity
    state: Literal["pending", "firing", "muted"]
    muted_by: str | None
    since: Instant | None
    fired_at: Instant | None
    notified_at: Instant | None
    pending_at: Instant | None
    healthy_at: Instant | None
    changes_at: Instant | None
    changes_in_seconds: float | None
    summary: Sentence
    evidence: Mapping[str, Text]
    next_step: str
    fingerprint: str
    labels: Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingAnswer:
    """What one rule made of the last poll. recheck_at is when time alone would change it.

    It is what was decided then; but what was healthy is unknown while the campaign's health is.
    """

    rule: str
    meaning: str
    verdict: Verdict
    summary: Sentence
    evidence: Mapping[str, Text]
    since: Instant | None
    recheck_at: Instant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptAnswer:
    """A connection test of the monitor's; by is the operator who asked for it.

    ended_at is null while it is under way. unknown: it was sent, and no answer says more. cause is
    what the platform said, import_path and export_path whether they were accessible.
    """

    at: Instant
    ended_at: Instant | None
    trigger: Trigger
    by: Text
    result: Result
    cause: Text
    import_path: bool | None
    export_path: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldAnswer:
    """What holds a connection test back, until when (null: until something else ends it)."""

    reason: HoldReason
    why: Sentence
    until: Instant | None
    ends: Sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class TestsAnswer:
    """The connection tests of a campaign. on_record: the test on record is one of the monitor's.

    last is the monitor's last one. next_at is when the next one may go out; null: none is due.
    """

    last: AttemptAnswer | None
    on_record: bool
    next_at: Instant | None
    next_trigger: Trigger | None
    held: HoldAnswer | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignAnswer:
    """What is known of a campaign, and how old that is.

    polled_at is the last poll, evidence_at the last one with a definite answer. config is the last
    one seen: configured is false while the platform has none any more (since missing_since), null
    before the first definite answer. findings are those of the last poll, at polled_at; null until
    the first one since the start, and without those of rules that are new. tests is null where they
    are off for it, unless one was run by hand. impact is what is at stake, null where nothing is
    known: calls from impact_at on. listing: if it is discovered; failures: since polls fail.
    """

    environment: str
    campaign_id: str
    name: Text
    labels: Labels
    health: Health
    polled_at: Instant | None
    evidence_at: Instant | None
    evidence_age_seconds: float | None
    error: PollError | None
    configured: bool | None
    missing_since: Instant | None
    last_passed_at: Instant | None
    config: SftpConfig | None
    tests: TestsAnswer | None
    impact: Sentence | None
    impact_at: Instant | None
    listing: ListedCampaign | None
    remembered: LastKnown
    failures: Failures | None
    findings: Sequence[FindingAnswer] | None
    alerts: Sequence[AlertAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignDetailAnswer(CampaignAnswer):
    """A campaign as of an instant, why its alerts fire or do not, and its newest events.

    history, newest first, and the last 90 days, oldest first, are null while the database cannot be
    read.
    """

    as_of: Instant
    explanation: Sequence[Paragraph]
    days: Sequence[DayAnswer] | None
    history: Sequence[EventRecord] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CountsAnswer:
    """How many campaigns have each health."""

    critical: int
    unknown: int
    warning: int
    healthy: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetAnswer:
    """The share of the API's rate limit that the monitor may spend, and what is left of it now."""

    requests_per_minute: float
    available_requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepAnswer:
    """How far the running sweep is, and when the last complete one ended.

    interval_seconds is what the budget lets a sweep take, lag_seconds how late the latest poll is.
    """

    swept_at: Instant | None
    polled: int
    campaigns: int
    interval_seconds: float
    lag_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentTestsAnswer:
    """Whether connection tests are on in an environment, suspended, or failing everywhere."""

    enabled: bool
    suspended: Suspension | None
    failing_since: Instant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentAnswer:
    """One environment. reachable is null before the first call, false after an unanswered one.

    outage_since, token_rejected_since and refused_since say since when polling has stopped, and
    outage_reason and refused_with why. listing_error is null unless the last listing failed: new
    campaigns are not seen.
    findings are those of its own rules after the last call; null before the first since the start.
    clock_ahead_seconds is how far the API's clock, where it counts, is ahead of ours. owned: this
    process polls it. holder is the replica that polls it instead, empty where none is known, or
    null; what only that one knows (budget left, lag, findings) is 0 or null then.
    """

    name: str
    labels: Labels
    clock_ahead_seconds: float
    reachable: bool | None
    outage_since: Instant | None
    outage_reason: Reason | None
    token_rejected_since: Instant | None
    refused_since: Instant | None
    refused_with: PollError | None
    owned: bool
    holder: Holder | None
    listing_error: PollError | None
    budget: BudgetAnswer
    counts: CountsAnswer
    sweep: SweepAnswer
    tests: EnvironmentTestsAnswer
    findings: Sequence[FindingAnswer] | None
    alerts: Sequence[AlertAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusAnswer:
    """The monitor itself, and each of its environments. not_ready says why it is not ready."""

    version: str
    started_at: Instant
    uptime_seconds: float
    ready: bool
    not_ready: Text | None
    environments: Sequence[EnvironmentAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignsAnswer:
    """A page of campaigns, by environment and id. next asks for the page after; null: the last."""

    campaigns: Sequence[CampaignAnswer]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsAnswer:
    """A page of active alerts, by environment, its own first. next asks for the page after."""

    alerts: Sequence[AlertAnswer]
    next: str | None
