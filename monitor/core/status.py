"""What is remembered of campaigns and environments between polls; stored, but for what says so."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitor.core.model import (
    Alert,
    Instant,
    NoConfig,
    Observation,
    PollError,
    Reason,
    Seconds,
    SftpConfig,
)

Ahead = tuple[Seconds, ...]
"""How far ahead of ours the clocks are that count for the platform's instants; see `clock`."""

OURS: Ahead = (0.0,)
"""Our clock counts alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered of a campaign's SFTP config between polls.

    `config` is the last one seen (kept while there is none any more: `gone_at` says since when).
    `disabled_since` is the first sight of `is_enabled: false` since it was last seen enabled.
    `first_seen_at` is the first sight of this very config, `seen_at` the last definite answer.
    """

    config: SftpConfig | None = None
    gone_at: Instant | None = None
    first_seen_at: Instant | None = None
    seen_at: Instant | None = None
    enabled_seen: bool = False
    disabled_since: Instant | None = None
    last_passed_at: Instant | None = None
    tested_seen: bool = False


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed polls of one campaign in a row, in this process: how many, and since when."""

    count: int
    first_at: Instant


@dataclass(frozen=True, slots=True)
class Run:
    """Answers about campaigns in a row that all refuse for the same reason, with nothing between.

    `count` of them, the first at `first_at`; `campaigns` are the different ones that count, up to
    the number that decides.
    """

    reason: Reason
    count: int
    first_at: Instant
    campaigns: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentStatus:
    """What is known about one environment's API: the breaker, the clock, its alerts.

    `unanswered` calls in a row, the first at `unanswered_at`, open the breaker at `outage_at`
    for `outage_reason`; a rejected token opens it at `rejected_at` for `rejected_by`.
    `readable_seen`: a config or a listing was read once, so the base URL is right. `run`: the last
    answers about campaigns were all the same refusal. `skews` are the API's last `Date` headers
    minus our clock, `medians` what their median was since when, in the last 5 minutes: it moved,
    and is doubted until `doubted_until`. `corrected`: the API's clock was the last to count alone.
    Instants are our clock's. Stored are the breaker, `readable_seen`, `swept_at` (the last
    complete sweep), `listed_at` (the last listing that was complete and believed) and the alerts.
    """

    name: str
    unanswered: int = 0
    unanswered_at: Instant | None = None
    outage_at: Instant | None = None
    outage_reason: Reason | None = None
    rejected_at: Instant | None = None
    rejected_by: Reason | None = None
    unauthorized_with: int | None = None
    readable_seen: bool = False
    run: Run | None = None
    skews: tuple[Seconds, ...] = ()
    medians: tuple[tuple[Instant, Seconds], ...] = ()
    doubted_until: Instant | None = None
    corrected: bool = False
    called_at: Instant | None = None
    up: bool | None = None
    swept_at: Instant | None = None
    listed_at: Instant | None = None
    alerts: Mapping[str, Alert] = field(default_factory=dict)

    @property
    def breaker_open(self) -> bool:
        """True while no campaign is polled but for one probe now and then."""
        return self.outage_at is not None or self.rejected_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStatus:
    """All that is known about one campaign. Everything but `failures` is stored."""

    environment: str
    campaign_id: str
    memory: Memory = Memory()
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    polled_at: Instant | None = None
    error: PollError | None = None
    failures: Failures | None = None

    @property
    def observation(self) -> Observation | None:
        """What the last poll saw; None before the first one."""
        if self.polled_at is None:
            return None
        if self.error is not None:
            return self.error
        return NoConfig() if self.memory.gone_at is not None else self.memory.config
