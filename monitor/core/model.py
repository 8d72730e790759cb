"""The nouns of the monitor: everything that flows between the layers, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

# What a field is, in its annotation: `monitor.serialize` makes JSON of it, the config a key.
INSTANT, SECONDS = "instant", "seconds"
TEXT, SENTENCE, INTERNAL = "text", "sentence", "internal"
PLATFORMS = "the platform's"

Instant = Annotated[float, INSTANT]  # seconds since the epoch, UTC
PlatformInstant = Annotated[float, INSTANT, PLATFORMS]  # by the platform's clock, not by ours
Seconds = Annotated[float, SECONDS]  # a span; in the config: a duration
PositiveSeconds = Annotated[float, SECONDS, "above 0"]  # a span that cannot be 0
Text = Annotated[str, TEXT]  # from outside: shown cleaned and cut to a limit
Sentence = Annotated[str, SENTENCE]  # ours, perhaps with such a text in it: cut to twice the limit
Labels = Mapping[str, Text]  # the operator's; the config holds them short


class Lead(NamedTuple):
    """In the annotation of an instant: it may lie ahead of now, by so many seconds at most."""

    most: Seconds = float("inf")


def setting(default: Any, about: str) -> Any:
    """Declare a setting: its default and its help text for users."""
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"help": about})
    return field(default=default, metadata={"help": about})


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
    """The SFTP config of a campaign as the platform last had it; never a secret."""

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
    last_test_at: PlatformInstant | None = None
    last_test_success: bool | None = None
    created_at: PlatformInstant | None = None
    updated_at: PlatformInstant | None = None
    has_test_fields: Annotated[bool, INTERNAL] = True  # of a test, null or not

    @property
    def half_tested(self) -> bool:
        """True when only one of the two fields of a test is there."""
        return (self.last_test_at is None) != (self.last_test_success is None)


@dataclass(frozen=True, slots=True)
class NoConfig:
    """The platform has no SFTP config: `data: null`, or a 404, which may be a wrong base URL."""

    by_404: bool = False


@dataclass(frozen=True, slots=True)
class PollError:
    """Why the last poll, or the last listing of the campaigns, gave no definite answer."""

    reason: Reason
    detail: Text = ""  # short, sanitised and free of secrets
    # Of the answer, 0 where none came: two refusals are the same by reason and status.
    status: Annotated[int, INTERNAL] = field(default=0, compare=False)


# What one poll of one campaign saw. Only the first two are definite.
Observation = SftpConfig | NoConfig | PollError


@dataclass(frozen=True, slots=True)
class RateHint:
    """The API's rate limit in its words: requests per minute, requests left, seconds to reset."""

    limit: int | None = None
    remaining: int | None = None
    reset: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTimes:
    """When a campaign calls, in its own time zone; what its listing does not say is empty."""

    zone: str = ""  # IANA; empty: UTC
    first_day: str = ""  # ISO, as `last_day`
    last_day: str = ""
    days: tuple[int, ...] = ()  # 1 is Monday; empty: every day
    windows: tuple[tuple[Seconds, Seconds], ...] = ()  # from midnight


@dataclass(frozen=True, slots=True)
class ListedCampaign:
    """A campaign as the platform lists it."""

    id: str
    name: Text
    status: str
    campaign_type: str
    calls: CallTimes = CallTimes()


@dataclass(frozen=True, slots=True)
class Page:
    """One page of GET /campaigns. `last`: no page follows; `total`: of all pages, if it is said."""

    campaigns: tuple[ListedCampaign, ...]
    page: int
    last: bool
    total: int | None


_Seen_co = TypeVar("_Seen_co", bound=Any, covariant=True)


@dataclass(frozen=True, slots=True)
class Reply(Generic[_Seen_co]):
    """What one call brought: its `Date`, unless a cache gave it; `pause` is what it asks for."""

    observation: _Seen_co
    server_date: Instant | None = None
    pause: Seconds | None = None
    rate: RateHint | None = None


class Answer(Reply[Observation]):
    """The reply to a call about one campaign."""


class PageAnswer(Reply[Page | PollError]):
    """The reply to a call for a page of the listing."""


AnyAnswer = Answer | PageAnswer


class Verdict(StrEnum):
    """What a rule makes of an observation. `unknown` is a real answer, never shown as healthy."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule's verdict on one observation, and why."""

    verdict: Verdict
    summary: Sentence
    evidence: Mapping[str, Text] = field(default_factory=dict)
    since: Instant | None = None  # when it became true as far as anyone can know
    recheck_at: Instant | None = None  # when time alone would change it
    next_step: str = ""  # what to do about it; empty: what its rule says
    # What its rule raised, for the log alone.
    error: Annotated[Exception | None, INTERNAL] = field(default=None, compare=False)


class Severity(StrEnum):
    """How loud an alert is, loudest first."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLabels:
    """What an alert goes by beside its fingerprint; those of `labels` on metrics are `exported`."""

    sftp_host: str = ""
    campaign_name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    exported: tuple[str, ...] = ()


def fingerprint(environment: str, campaign_id: str | None, rule: str) -> str:
    """Return an alert's identity as 16 hex digits, made of these three and nothing else."""
    text = "\0".join((environment, campaign_id or "", rule))
    return sha256(text.encode()).hexdigest()[:16]


class EventStatus(StrEnum):
    """What an alert event says. Page on `firing` and `updated`."""

    FIRING = "firing"
    RESOLVED = "resolved"
    REMINDER = "reminder"
    UPDATED = "updated"
    RECORDED = "recorded"  # no alert: a test or a change, for the history alone


class EventKind(StrEnum):
    """What an entry of the history is about; only alerts are sent."""

    ALERT = "alert"
    TEST = "connection_test"
    CHANGE = "config_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing to notify on-call of, as decided; `epoch` and `durable` are filled by the store."""

    status: EventStatus
    seq: int
    rule: str
    severity: Severity  # resolved: that of the page, whatever is configured now
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
    unmuted: bool = False  # it was firing before, and muted
    impact: str | None = None  # what is at stake
    impact_at: Instant | None = None
    kind: EventKind = EventKind.ALERT
    epoch: str = ""  # which start decided it
    redelivery: bool = False  # it may have been delivered before
    durable: bool = True  # it is on disk

    @property
    def fingerprint(self) -> str:
        """The alert's identity; see `fingerprint`."""
        return fingerprint(self.environment, self.campaign_id, self.rule)

    @property
    def event_id(self) -> str:
        """The key to deduplicate by: `<fingerprint>-<epoch>-<seq>`."""
        return f"{self.fingerprint}-{self.epoch}-{self.seq}"
