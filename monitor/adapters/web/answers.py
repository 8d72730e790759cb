"""What the JSON API answers, as types. The schemas of `/openapi.json` are made of them.

Every class's docstring is the description that users read. Instants are RFC 3339 in UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import WithJsonSchema

from monitor.core.board import Health
from monitor.core.model import EventStatus, Reason, Severity, Verdict

Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
AlertStateWord = Annotated[
    str, WithJsonSchema({"type": "string", "enum": ["pending", "firing", "muted"]})
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertAnswer:
    """An active alert. campaign_id is null for an alert of the environment itself.

    state is firing (on-call was told), pending, or muted (muted_by says by what). since is when
    it became true, told_at when on-call was last told, changes_at when it would fire or be over
    by itself, should nothing else change, changes_in_seconds how long that is from now.
    campaign_name and labels of one that fires are as they were when it fired.
    """

    environment: str
    campaign_id: str | None
    campaign_name: str
    rule: str
    severity: Severity
    state: AlertStateWord
    muted_by: str | None
    since: Timestamp | None
    fired_at: Timestamp | None
    told_at: Timestamp | None
    changes_at: Timestamp | None
    changes_in_seconds: float | None
    summary: str
    evidence: Mapping[str, str]
    next_step: str
    fingerprint: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingAnswer:
    """What one rule made of the last poll. recheck_at is when time alone would change it.

    It is what was decided then; but what was healthy is unknown while the campaign's health is.
    """

    rule: str
    meaning: str
    verdict: Verdict
    summary: str
    evidence: Mapping[str, str]
    since: Timestamp | None
    recheck_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigAnswer:
    """The SFTP config of a campaign as the platform last had it; never a secret."""

    id: str
    host: str
    port: int | None
    username: str | None
    auth_type: str | None
    import_path: str | None
    export_path: str | None
    import_schedule: str | None
    is_enabled: bool
    last_test_at: Timestamp | None
    last_test_success: bool | None
    created_at: Timestamp | None
    updated_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PollErrorAnswer:
    """Why the last poll, or the last listing of the campaigns, gave no definite answer."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignAnswer:
    """What is known of a campaign, and how old that is.

    polled_at is the last poll, evidence_at the last one with a definite answer. config is the
    last one seen: configured is false while the platform has none any more (since gone_at), and
    null before the first definite answer. findings are those of the last poll, at polled_at; null
    until the first one since the monitor has started, and without those of rules that are new.
    """

    environment: str
    campaign_id: str
    name: str
    labels: Mapping[str, str]
    health: Health
    polled_at: Timestamp | None
    evidence_at: Timestamp | None
    evidence_age_seconds: float | None
    error: PollErrorAnswer | None
    configured: bool | None
    gone_at: Timestamp | None
    last_passed_at: Timestamp | None
    config: ConfigAnswer | None
    findings: Sequence[FindingAnswer] | None
    alerts: Sequence[AlertAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventAnswer:
    """One alert event, as in the log. event_id is the key to deduplicate by."""

    timestamp: Timestamp
    level: Literal["critical", "warning", "info"]
    event: Literal["alert"]
    status: EventStatus
    event_id: str
    fingerprint: str
    epoch: str
    seq: int
    rule: str
    severity: Severity
    previous_severity: Severity | None
    environment: str
    campaign_id: str | None
    campaign_name: str
    labels: Mapping[str, str]
    sftp_host: str
    import_schedule: str
    summary: str
    since: Timestamp | None
    observed_at: Timestamp
    last_passed_at: Timestamp | None
    evidence: Mapping[str, str]
    next_step: str
    runbook_url: str
    url: str | None
    reason: str | None
    muted_by: str | None
    initial: bool
    redelivery: bool
    durable: bool


# Events come in ready for JSON: to take them apart and put them together again gains nothing.
EventRecord = Annotated[
    Mapping[str, Any], WithJsonSchema({"$ref": "#/components/schemas/EventAnswer"})
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignDetailAnswer(CampaignAnswer):
    """A campaign with its newest events, newest first; older ones are under /api/v1/events."""

    history: Sequence[EventRecord]


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

    interval_seconds is how long the budget lets a sweep take, lag_seconds how late the most
    overdue poll is.
    """

    swept_at: Timestamp | None
    polled: int
    campaigns: int
    interval_seconds: float
    lag_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentAnswer:
    """One environment. reachable is null before the first call, false after an unanswered one.

    outage_since and token_rejected_since say since when polling has stopped, and outage_reason why.
    listing_error is null unless the last listing of the campaigns failed: new ones are not seen.
    findings are those of its own rules after the last call; null before the first since the start.
    """

    name: str
    labels: Mapping[str, str]
    reachable: bool | None
    outage_since: Timestamp | None
    outage_reason: Reason | None
    token_rejected_since: Timestamp | None
    listing_error: PollErrorAnswer | None
    budget: BudgetAnswer
    counts: CountsAnswer
    sweep: SweepAnswer
    findings: Sequence[FindingAnswer] | None
    alerts: Sequence[AlertAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusAnswer:
    """The monitor itself, and each of its environments. not_ready says why it is not ready."""

    version: str
    started_at: Timestamp
    uptime_seconds: float
    ready: bool
    not_ready: str | None
    environments: Sequence[EnvironmentAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignsAnswer:
    """Campaigns, in the order of the config file."""

    campaigns: Sequence[CampaignAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsAnswer:
    """All active alerts: of the environments, then of their campaigns."""

    alerts: Sequence[AlertAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsAnswer:
    """A page of events, newest first. next_cursor asks for the next page; null on the last."""

    events: Sequence[EventRecord]
    next_cursor: int | None


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What is wrong with the request, and what was expected."""

    error: str


Answer = (
    StatusAnswer
    | CampaignsAnswer
    | CampaignAnswer
    | CampaignDetailAnswer
    | AlertsAnswer
    | AlertAnswer
    | EventsAnswer
    | ErrorAnswer
)
"""What a request to the JSON API may be answered with, and the items of long lists."""
