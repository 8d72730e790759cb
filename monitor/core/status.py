"""What is remembered of campaigns and environments between polls; stored, but for what says so."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, NamedTuple

from monitor.core.attempt import CampaignTests
from monitor.core.guards import EnvironmentTests
from monitor.core.instants import redated
from monitor.core.model import (
    HOUR,
    INSTANT,
    INTERNAL,
    MINUTE,
    AlertLabels,
    Instant,
    Lead,
    NoConfig,
    Observation,
    PlatformInstant,
    PollError,
    Reason,
    Seconds,
    Severity,
    SftpConfig,
    Text,
)

# How far ahead of ours the clocks are that count for the platform's instants; see `clock`.
Ahead = tuple[Seconds, ...]
OURS: Ahead = (0.0,)  # our clock counts alone


class AlertState(StrEnum):
    """Where an alert stands, whether or not it is muted."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """The state of one rule of one campaign (or environment); the unit of what is stored."""

    rule: str
    state: AlertState = AlertState.INACTIVE
    since: PlatformInstant | None = None  # or ours
    pending_at: Instant | None = None  # when `for` began
    fired_at: Instant | None = None  # when it fired
    healthy_at: Instant | None = None  # when `keep_firing_for` began
    muted_by: str | None = None
    notified: bool = False  # what on-call was last notified of
    notified_at: Instant | None = None  # the reminder clock
    notified_severity: Severity | None = None
    fired_as: AlertLabels | None = None  # the labels that were sent
    seq: int = 0  # the number of its last event; it outlives the campaign
    summary: str = ""  # its texts are those of its last unhealthy finding
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
        """The `alertstate` label: `pending`, `firing` (was sent), `muted` (would be sent)."""
        muted = self.state is AlertState.FIRING and self.muted_by is not None
        return "muted" if muted else self.state.value

    def is_young(self, now: Instant) -> bool:
        """Return whether it is pending, or has fired within the last hour, and is not muted."""
        young = self.fired_at is not None and now - self.fired_at < HOUR
        return self.muted_by is None and (young or self.state is AlertState.PENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigChange:
    """A change of a config, seen at `at`, after `since`: each field's value before and after it."""

    at: Instant
    since: Instant | None
    fields: Mapping[str, tuple[str, str]]


CONNECTION = ("id", "host", "port", "username", "auth_type", "import_path", "export_path")
"""What a passed test was for: differing in one of them, a config is untested."""

LOGIN = CONNECTION[:5]
"""What makes a try a new one on a blocked login; a path does not."""

WATCHED = (*CONNECTION, "is_enabled", "import_schedule")
CHANGES_KEPT = 3


def values_of(config: SftpConfig, names: tuple[str, ...] = CONNECTION) -> tuple[str, ...]:
    """Return fields of a config as text; empty where it has none."""
    values = (getattr(config, name) for name in names)
    texts = (str(one).lower() if isinstance(one, bool) else one for one in values)
    return tuple("" if one is None else str(one) for one in texts)


def changes_of(
    was: tuple[str, ...], now: tuple[str, ...], names: tuple[str, ...] = CONNECTION
) -> dict[str, tuple[str, str]]:
    """Return which of these fields of a config differ, each with its value before and after."""
    return {name: (a, b) for name, a, b in zip(names, was, now, strict=True) if a != b}


@dataclass(frozen=True, slots=True, kw_only=True)
class LastKnown:
    """What is remembered of a campaign's SFTP config between polls."""

    config: Annotated[SftpConfig | None, INTERNAL] = None  # the last one seen
    missing_since: Instant | None = None  # there is none any more since then
    first_seen_at: Instant | None = None  # when this very config was first seen
    last_read_at: Instant | None = None  # the last definite answer
    enabled_seen: bool = False
    disabled_since: Instant | None = None  # first seen off after it was last seen on
    last_passed_at: PlatformInstant | None = None
    tested_seen: bool = False
    changes: Annotated[tuple[ConfigChange, ...], INTERNAL] = ()  # the newest last
    changed_at: Annotated[float, INTERNAL, INSTANT] = 0.0  # the last change of the connection seen
    moved_at: Annotated[float, INTERNAL, INSTANT] = 0.0  # the last one that makes it another login
    passed_for: tuple[Text, ...] = ()  # the connection that the last passed test was for
    untested_since: Instant | None = None  # first seen with another one

    def after(self, seen: SftpConfig | NoConfig, now: Instant) -> "LastKnown":
        """Return it after a definite answer at `now`."""
        dated = redated(self, latest=now)
        last_known = replace(dated, last_read_at=now)
        if isinstance(seen, NoConfig):
            return replace(last_known, missing_since=last_known.missing_since or now)
        last_known = last_known._changed(seen, dated.last_read_at, now)
        # Made anew under another id it is another config: its graces start afresh.
        if last_known.config is None or last_known.config.id != seen.id:
            last_known = replace(
                last_known,
                first_seen_at=now,
                enabled_seen=False,
                disabled_since=None,
                tested_seen=False,
            )
        passed_at = seen.last_test_at if seen.last_test_success else last_known.last_passed_at
        return replace(
            last_known,
            config=seen,
            missing_since=None,
            enabled_seen=seen.is_enabled or last_known.enabled_seen,
            disabled_since=None if seen.is_enabled else last_known.disabled_since or now,
            last_passed_at=passed_at,
            tested_seen=seen.last_test_at is not None or last_known.tested_seen,
        )

    def _changed(self, seen: SftpConfig, since: Instant | None, now: Instant) -> "LastKnown":
        """Return it with what is another way than before, and than the last passed test had it."""
        after, connection = self, values_of(seen)
        if self.config is not None and self.config != seen:
            was, is_now = values_of(self.config, WATCHED), values_of(seen, WATCHED)
            if fields := changes_of(was, is_now, WATCHED):
                change = ConfigChange(at=now, since=since, fields=fields)
                after = replace(
                    after,
                    changes=(*self.changes, change)[-CHANGES_KEPT:],
                    changed_at=now if fields.keys() & {*CONNECTION} else self.changed_at,
                    moved_at=now if fields.keys() & {*LOGIN} else self.moved_at,
                )
        # A pass that is first seen together with a change counts as of the new config.
        passed = seen.last_test_success and seen.last_test_at not in (None, self.last_passed_at)
        if passed or (seen.last_test_success and not self.passed_for):
            after = replace(after, passed_for=connection)
        if not after.passed_for or after.passed_for == connection:
            return replace(after, untested_since=None)
        return replace(after, untested_since=after.untested_since or now)


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed polls of one campaign in a row, in this process: how many, and since when."""

    count: int
    first_at: Instant


@dataclass(frozen=True, slots=True)
class Run:
    """Answers about campaigns in a row that all refuse for the same reason."""

    reason: Reason
    count: int
    first_at: Instant
    campaigns: frozenset[str] = frozenset()  # different ones, up to the number that decides
    status: int = 0  # of all of them


class Median(NamedTuple):
    """A median of the API's differences to our clock, and when it ceased to count."""

    ended_at: Instant
    skew: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentStatus:
    """What is known about one environment's API; instants are our clock's. Alerts are stored."""

    name: str
    unanswered: int = 0  # calls in a row, the first at `unanswered_at`, open the breaker
    unanswered_at: Instant | None = None
    outage_at: Instant | None = None  # the breaker is open for want of answers; stored
    outage_reason: Reason | None = None
    rejected_at: Instant | None = None  # it is open for the token; stored
    rejected_by: Reason | None = None
    refused_at: Instant | None = None  # it is open for one refusal of every campaign; stored
    refused_with: PollError | None = None  # that refusal; stored
    error: PollError | None = None  # why the last call that failed did
    unauthorized_with: int | None = None  # the generation of the token that was rejected once
    readable_seen: bool = False  # something was read once: the base URL is right; stored
    run: Run | None = None  # the last answers about campaigns were all the same refusal
    skews: tuple[Seconds, ...] = ()  # the API's last `Date` headers minus our clock
    medians: tuple[Median, ...] = ()  # theirs of 5 minutes
    doubted_until: Annotated[Instant, Lead(5 * MINUTE)] | None = None  # their median moved
    corrected: bool = False  # the API's clock was the last to count alone
    called_at: Instant | None = None
    up: bool | None = None
    swept_at: Instant | None = None  # the last complete sweep; stored
    listed_at: Instant | None = None  # the last listing that was complete; stored
    discovered_at: Instant | None = None  # the last one that was believed, too; stored
    discovering_since: Instant | None = None  # when discovery was switched on; stored
    listing_doubt: str = ""  # why the last one was not, if one has ended since the API answers
    tests: EnvironmentTests = EnvironmentTests()  # stored
    alerts: Mapping[str, Alert] = field(default_factory=dict)

    @property
    def breaker_open(self) -> bool:
        """True while no campaign is polled but for one probe now and then."""
        return self.opened_at != (None, None, None)

    @property
    def opened_at(self) -> tuple[Instant | None, ...]:
        """Since when the breaker is open for each cause: no answers, the token, one refusal."""
        return self.outage_at, self.rejected_at, self.refused_at


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStatus:
    """All that is known about one campaign. Everything but `failures` is stored."""

    environment: str
    campaign_id: str
    last_known: LastKnown = LastKnown()
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    polled_at: Instant | None = None
    error: PollError | None = None
    failures: Failures | None = None
    tests: CampaignTests = CampaignTests()

    @property
    def known(self) -> SftpConfig | NoConfig | None:
        """What the last definite answer was; None before the first one."""
        return NoConfig() if self.last_known.missing_since is not None else self.last_known.config

    def understood(self, observation: Observation) -> Observation:
        """Return what an observation means for this campaign."""
        known = self.last_known.config
        if isinstance(observation, SftpConfig) and not observation.has_test_fields:
            # An API release that drops the fields of the test must not read as "never tested".
            tested = (
                known is not None and known.id == observation.id and self.last_known.tested_seen
            )
            if observation.is_enabled or tested:
                absent = "last_test_at or last_test_success is absent"
                return PollError(Reason.SCHEMA_MISMATCH, absent)
        return observation

    def after(self, observation: Observation, now: Instant) -> "CampaignStatus":
        """Return the status after a poll at `now`: an `error`, or the observation remembered."""
        observation = self.understood(observation)
        if not isinstance(observation, PollError):
            last_known = self.last_known.after(observation, now)
            return replace(self, last_known=last_known, polled_at=now, error=None, failures=None)
        before = self.failures or Failures(0, now)
        failures = replace(before, count=before.count + 1)
        return replace(self, polled_at=now, error=observation, failures=failures)
