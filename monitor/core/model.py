"""The nouns of the monitor: everything that flows between the layers, as frozen values.

Instants are seconds since the epoch (UTC, float); spans are seconds. Nothing here decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from monitor.core.identity import AlertLabels, fingerprint
from monitor.core.shown import INTERNAL, Sentence, Text

INSTANT, SECONDS = "instant", "seconds"

Instant = Annotated[float, INSTANT]
"""A moment: seconds since the epoch, UTC."""

Seconds = Annotated[float, SECONDS]
"""A span in seconds. The annotation tells the config that the key takes a duration."""

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


class Reason(StrEnum):
    """Why a poll gave no definite answer. A closed list: it is a metric's label."""

    TIMEOUT = "timeout"
    CONNECT_ERROR = "connect_error"
    DNS_ERROR = "dns_error"
    TLS_ERROR = "tls_error"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    REDIRECT = "redirect"
    BAD_CONTENT_TYPE = "bad_content_type"
    TOO_LARGE = "too_large"
    BAD_ENCODING = "bad_encoding"
    MALFORMED = "malformed"
    SCHEMA_MISMATCH = "schema_mismatch"
    WRONG_CAMPAIGN = "wrong_campaign"
    API_ERROR = "api_error"
    CONNECTION_LOST = "connection_lost"
    PROTOCOL_ERROR = "protocol_error"
    UNEXPECTED_STATUS = "unexpected_status"
    CACHED = "cached"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpConfig:
    """A campaign's SFTP config as the platform has it (GET /campaigns/{id}/sftp).

    `has_test_fields`: it has the keys `last_test_at` and `last_test_success`, null or not.
    """

    id: Text
    campaign_id: Annotated[str, INTERNAL] = ""
    host: Text
    port: int | None = None
    username: Text | None = None
    auth_type: Text | None = None
    import_path: Text | None = None
    export_path: Text | None = None
    import_schedule: Text | None = None
    is_enabled: bool
    last_test_at: Instant | None = None
    last_test_success: bool | None = None
    created_at: Instant | None = None
    updated_at: Instant | None = None
    has_test_fields: Annotated[bool, INTERNAL] = True

    @property
    def never_tested(self) -> bool:
        """True when no test is on record: both fields of it are empty."""
        return self.last_test_at is None and self.last_test_success is None

    @property
    def half_tested(self) -> bool:
        """True when only one of the two fields of a test is there: nothing can be concluded."""
        return (self.last_test_at is None) != (self.last_test_success is None)


@dataclass(frozen=True, slots=True)
class NoConfig:
    """The platform says that the campaign has no SFTP config: a 404, or `data: null`.

    `by_404` tells the two apart: a 404 may also mean that the base URL is wrong.
    """

    by_404: bool = False


@dataclass(frozen=True, slots=True)
class PollError:
    """The poll told nothing definite. `detail` is short, sanitised and free of secrets."""

    reason: Reason
    detail: Text = ""


Observation = SftpConfig | NoConfig | PollError
"""What one poll of one campaign saw. Only the first two are definite."""


@dataclass(frozen=True, slots=True)
class RateHint:
    """What the API said of its rate limit: requests per minute, requests left, seconds to reset."""

    limit: int | None = None
    remaining: int | None = None
    reset: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call brought: its `Date`, unless a cache gave it; `pause` is what it asks for."""

    observation: Observation
    server_date: Instant | None = None
    pause: Seconds | None = None
    rate: RateHint | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A campaign as the platform lists it."""

    id: str
    name: str
    status: str
    campaign_type: str


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of GET /campaigns. `last`: no page follows; `total`: of all pages, if it is said."""

    campaigns: tuple[Listed, ...]
    page: int
    last: bool
    total: int | None


@dataclass(frozen=True, slots=True)
class ListingAnswer:
    """One call for a page of the listing; the last three as in `Answer`."""

    page: ListingPage | PollError
    server_date: Instant | None = None
    pause: Seconds | None = None
    rate: RateHint | None = None


class Verdict(StrEnum):
    """What a rule makes of an observation. `unknown` is a real answer, never shown as healthy."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule's verdict on one observation, and why.

    `since` is when it became true as far as anyone can know; `recheck_at` the instant at which
    time alone would change the verdict. `evidence` has keys of `EVIDENCE_KEYS` only. `next_step`
    says what to do about this one in place of what its rule says; empty: the rule's.
    """

    verdict: Verdict
    summary: Sentence
    evidence: Mapping[str, Text] = field(default_factory=dict)
    since: Instant | None = None
    recheck_at: Instant | None = None
    next_step: str = ""


class Severity(StrEnum):
    """How loud an alert is, loudest first."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class AlertState(StrEnum):
    """Where an alert stands, whether or not it is muted."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """The state of one rule of one campaign (or environment); the unit of what is stored.

    `pending_at`, `fired_at` and `healthy_at` are when `for`, firing and `keep_firing_for` began;
    `told` is what on-call was last told, `told_at` the reminder clock, `seq` the number of the last
    event (it outlives the campaign). `fired_as` are the labels of its last `firing` event: while it
    is told, it goes by them. Its texts are those of its last unhealthy finding.
    """

    rule: str
    state: AlertState = AlertState.INACTIVE
    since: Instant | None = None
    pending_at: Instant | None = None
    fired_at: Instant | None = None
    healthy_at: Instant | None = None
    muted_by: str | None = None
    told: bool = False
    told_at: Instant | None = None
    told_severity: Severity | None = None
    fired_as: AlertLabels | None = None
    seq: int = 0
    summary: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)
    next_step: str = ""

    @property
    def active(self) -> bool:
        """True while pending or firing."""
        return self.state is not AlertState.INACTIVE

    @property
    def unhealthy(self) -> bool:
        """True while it fires and its last definite finding was unhealthy: then it can mute."""
        return self.state is AlertState.FIRING and self.healthy_at is None

    @property
    def shown_as(self) -> str:
        """The `alertstate` label: `pending`, `firing` (what is told), `muted` (would be sent)."""
        if self.state is AlertState.FIRING and self.muted_by is not None:
            return "muted"
        return self.state.value


class EventStatus(StrEnum):
    """What an alert event says. Page on `firing` and `updated`."""

    FIRING = "firing"
    RESOLVED = "resolved"
    REMINDER = "reminder"
    UPDATED = "updated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing to notify on-call of, as decided.

    The store fills `epoch` (which start decided it) and `durable` (it is on disk); `redelivery`
    says that it may have been delivered before a crash.
    """

    status: EventStatus
    seq: int
    rule: str
    severity: Severity
    environment: str
    campaign_id: str | None
    summary: str
    since: Instant | None
    observed_at: Instant
    decided_at: Instant
    next_step: str = ""
    previous_severity: Severity | None = None
    campaign_name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    exported: tuple[str, ...] = ()
    sftp_host: str = ""
    import_schedule: str = ""
    last_passed_at: Instant | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    muted_by: str | None = None
    initial: bool = False
    epoch: str = ""
    redelivery: bool = False
    durable: bool = True

    @property
    def fingerprint(self) -> str:
        """The alert's identity; see `fingerprint`."""
        return fingerprint(self.environment, self.campaign_id, self.rule)

    @property
    def event_id(self) -> str:
        """The key to deduplicate by: `<fingerprint>-<epoch>-<seq>`."""
        return f"{self.fingerprint}-{self.epoch}-{self.seq}"
