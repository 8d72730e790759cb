"""What a rule is: settings, meaning and verdict in one frozen dataclass."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache, partial
from typing import Annotated, Any, ClassVar, Protocol, TypeVar, dataclass_transform

from monitor.core.attempt import TestSettings
from monitor.core.guards import Guards
from monitor.core.model import (
    CallTimes,
    Finding,
    Instant,
    NoConfig,
    Observation,
    PollError,
    PositiveSeconds,
    Reason,
    Seconds,
    Severity,
    SftpConfig,
    Verdict,
    setting,
)
from monitor.core.status import OURS, Ahead, Alert, CampaignStatus, LastKnown
from monitor.core.text import rfc3339, span

# The summary of every rule about a config where there is none: that is `missing`'s business.
NO_CONFIG = "there is no SFTP config to look at"

# The summary of a rule about the paths where the test on record is none of ours that says so.
NOT_OURS = "no test of ours on record says whether the paths can be reached"

EVERY_OTHER_RULE = "*"  # in `inhibits`: all other rules of the campaign

# How old something may be, by how often TalkOver imports, in its words: hourly, daily, manual.
AgesBySchedule = Mapping[Annotated[str, "import schedule"], PositiveSeconds]

# How often on-call is reminded of an alert, by severity; 0 or no entry: never.
RemindEvery = Mapping[Severity, Seconds]


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclass(frozen=True, kw_only=True)
class BaseRule(ABC):
    """What every rule has; `alertname` (in Alertmanager) is the class's name, or as it says."""

    name: ClassVar[str]
    alertname: ClassVar[str]
    meaning: ClassVar[str]
    next_step: ClassVar[str]
    inhibits: ClassVar[tuple[str, ...]] = ()  # rules that are not sent while it is unhealthy
    unknown_while: ClassVar[tuple[str, ...]] = ()  # rules whose being unhealthy spoils its evidence

    enabled: bool = setting(True, "false switches the rule off")
    severity: Severity = setting(Severity.WARNING, "critical, warning or info")
    for_: Seconds = setting(0.0, "how long it must be unhealthy before it fires")
    keep_firing_for: Seconds = setting(0.0, "how long it must be healthy before it is resolved")

    def __init_subclass__(cls, alertname: str | None = None) -> None:
        """Make each rule a frozen dataclass; its settings are its fields."""
        super().__init_subclass__()
        cls.alertname = alertname or cls.__name__
        dataclass(frozen=True, kw_only=True)(cls)

    def severity_of(self, found: Finding | Alert) -> Severity:
        """Return how loud a finding or an alert is: as set, unless it depends."""
        return self.severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Testing:
    """Where a campaign's connection tests stand, as far as rules must know."""

    __test__ = False  # no test case of pytest's

    held: str = ""  # why none can run
    same_login: int = 0  # so many campaigns have its login, which has failed
    guards: Guards | None = None  # None: no test of it was ever run, or is about to be


NO_TESTS = Testing()


@dataclass(frozen=True, slots=True)
class EvaluationInput:
    """The evaluation input of a rule: what was seen, and the campaign's status with it taken in."""

    observation: Observation
    status: CampaignStatus
    target: "Target"
    now: Instant  # by the clock that counts for the platform's instants
    others_read_at: Instant | None = None  # when two others were read; None: there are no two
    ahead: Seconds = 0.0  # how far that clock is ahead of ours, which dates what we saw
    testing: Testing = NO_TESTS

    @property
    def last_known(self) -> LastKnown:
        """What is remembered of the campaign's config."""
        return self.status.last_known

    def dated(self, at: Instant | None) -> Instant:
        """Return an instant at which we saw something on the clock of `now`; None: now."""
        return self.now if at is None else at + self.ahead


class Rule(BaseRule):
    """A rule of a campaign."""

    needs_enabled: ClassVar[bool] = False  # it is not sent while the config is switched off

    @abstractmethod
    def evaluate(self, inputs: EvaluationInput) -> Finding:
        """Return the verdict on what was seen."""


class ConfigRule(Rule):
    """A rule about what the config says: unknown unless one was just read."""

    def evaluate(self, inputs: EvaluationInput) -> Finding:
        """Return the verdict on the config, if that is what was seen."""
        match inputs.observation:
            case SftpConfig() as config:
                return self.evaluate_config(config, inputs)
            case NoConfig():
                return unknown(NO_CONFIG)
            case PollError() as error:
                return unread(error)

    @abstractmethod
    def evaluate_config(self, config: SftpConfig, inputs: EvaluationInput) -> Finding:
        """Return the verdict on a config that was just read."""


RULES: dict[str, type[Rule]] = {}  # by its name, in the order in which events are sent

_C = TypeVar("_C", bound=type[Rule])
_Input_contra = TypeVar("_Input_contra", contravariant=True)
_R = TypeVar("_R", bound=BaseRule)


def campaign_rule(cls: _C) -> _C:
    """Register a rule of a campaign."""
    if cls.name in RULES:
        raise ValueError(f"there is a rule named {cls.name!r} already")
    RULES[cls.name] = cls
    return cls


def resolve_rules(
    table: Mapping[str, type[_R]], settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, _R]:
    """Return the enabled rules with these settings (rule name → field → value), in table order."""
    made = {name: cls(**settings.get(name, {})) for name, cls in table.items()}
    return {name: rule for name, rule in made.items() if rule.enabled}


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the config says of one campaign."""

    environment: str
    campaign_id: str
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    exported: tuple[str, ...] = ()  # those of `labels` that go on metrics and to Alertmanager
    rules: Mapping[str, Rule] = field(default_factory=dict)  # the enabled ones, as in `RULES`
    listed: bool = True  # false: known from discovery alone
    listed_at: Instant | None = None  # when the last complete listing had it; None: that had not
    expected: bool = True  # it must have a config, whether or not one was ever seen
    muted_status: str | None = None  # its status, where nobody is notified of it
    tests: TestSettings = TestSettings()
    calls: CallTimes = CallTimes()  # by its listing
    overrides: tuple[int, ...] = ()  # which of its environment's are for it

    def is_as(self, before: "Target | None") -> bool:
        """Return whether nothing has changed but that a listing confirmed the campaign."""
        return before is not None and self._same(before, _BUT_LISTED_AT)

    def is_polled_as(self, before: "Target") -> bool:
        """Return whether its next poll and its next test are due as under that one."""
        return self._same(before, ("rules", "muted_status", "tests", "calls"))

    def _same(self, before: "Target", names: Iterable[str]) -> bool:
        return all(getattr(self, name) == getattr(before, name) for name in names)


_BUT_LISTED_AT = tuple(one.name for one in fields(Target) if one.name != "listed_at")

# Findings with their verdict: the summary, the evidence, and by name whatever else they say.
healthy = partial(Finding, Verdict.HEALTHY)
unhealthy = partial(Finding, Verdict.UNHEALTHY)
unknown = partial(Finding, Verdict.UNKNOWN)
plain = lru_cache(healthy)  # one for all campaigns, where its text never differs


def unread(error: PollError) -> Finding:
    """Return the finding of a rule that needs a definite answer where the poll failed."""
    return unknown(f"the last poll failed: {error.reason}", {"reason": error.reason.value})


def by_deadline(
    deadline: Instant, now: Instant, summary: str, evidence: Mapping[str, str]
) -> Finding:
    """Return unhealthy from `deadline` on; before it healthy, to be rechecked then."""
    if now >= deadline:
        return unhealthy(summary, evidence, since=deadline)
    return healthy(f"{summary}; the limit is at {rfc3339(deadline)}", evidence, recheck_at=deadline)


def evaluate_all(
    rules: Mapping[str, Rule], inputs: EvaluationInput, ahead: Ahead = OURS
) -> dict[str, Finding]:
    """Return every rule's finding on what was seen; of two clocks both must give the verdict."""
    if ahead == OURS:
        return evaluate_by(rules, inputs)
    by_clock = [evaluate_by(rules, replace(inputs, now=inputs.now + by, ahead=by)) for by in ahead]
    return {name: _agreed([found[name] for found in by_clock], ahead) for name in rules}


def _agreed(findings: Sequence[Finding], ahead: Ahead) -> Finding:
    first, clocks = findings[0], zip(findings, ahead, strict=True)
    rechecks = [one.recheck_at - by for one, by in clocks if one.recheck_at is not None]
    if any(one.verdict is not first.verdict for one in findings):
        apart = span(max(ahead) - min(ahead))
        first = unknown(f"our clock and the API's are {apart} apart, and only one can be right")
    return replace(first, recheck_at=max(rechecks, default=None))


class Evaluates(Protocol[_Input_contra]):
    """A rule of a campaign, or of an environment: each kind looks at inputs of its own type."""

    @property
    def unknown_while(self) -> Iterable[str]:
        """Rules that make this one's finding unknown while they are unhealthy."""

    def evaluate(self, inputs: _Input_contra) -> Finding:
        """Return the verdict on what was seen."""


def evaluate_by(
    rules: Mapping[str, Evaluates[_Input_contra]], inputs: _Input_contra
) -> dict[str, Finding]:
    """Return every rule's finding on what was seen, by one clock."""
    findings = dict[str, Finding]()
    for name, rule in rules.items():
        # A rule that breaks must cost only its own verdict, never another alert.
        try:
            findings[name] = rule.evaluate(inputs)
        except Exception as error:
            summary = f"internal error: {type(error).__name__}"
            evidence = {"reason": Reason.INTERNAL_ERROR.value}
            findings[name] = unknown(summary, evidence, error=error)
    for name, rule in rules.items():
        for spoiler in rule.unknown_while:
            if spoiler in findings and findings[spoiler].verdict is Verdict.UNHEALTHY:
                findings[name] = unknown(f"unknown while {spoiler} is unhealthy")
    return findings
