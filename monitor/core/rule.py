"""What a rule is: settings, meaning and verdict in one frozen dataclass."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

from monitor.core.identity import AlertLabels
from monitor.core.model import (
    SECONDS,
    Alert,
    Finding,
    Instant,
    NoConfig,
    Observation,
    PollError,
    Reason,
    Seconds,
    Severity,
    SftpConfig,
    Verdict,
)
from monitor.core.status import OURS, Ahead, Failures, Memory
from monitor.core.text import span

EVIDENCE_KEYS: frozenset[str] = frozenset(
    {
        "allowed", "created_at", "detail", "disabled_since", "effective_interval", "failures",
        "first_failure_at", "gone_at", "grace", "is_enabled", "last_test_at", "last_test_success",
        "max_age", "opened_at", "reason", "tolerance",
    }
)  # fmt: skip
"""Every key that `Finding.evidence` may have: log pipelines index by them."""


NO_CONFIG = "there is no SFTP config to look at"
"""The summary of every rule about a config where there is none: that is `missing`'s business."""

EVERY_OTHER_RULE = "*"
"""In `Rule.mutes`: all other rules of the campaign."""

PositiveSeconds = Annotated[float, SECONDS, "above 0"]
"""A span in seconds that cannot be 0."""

AgesBySchedule = Mapping[Annotated[str, "import schedule"], PositiveSeconds]
"""How old something may be, by how often TalkOver imports, in its words: hourly, daily, manual."""


def setting(default: Any, about: str) -> Any:
    """Declare a setting of a rule: its default and its help text for users."""
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"help": about})
    return field(default=default, metadata={"help": about})


@dataclass(frozen=True, kw_only=True)
class BaseRule:
    """What every rule has: its identity and the settings that all rules share.

    `alertname` is what its alert is called in Alertmanager: the class's name, unless the class
    statement gives another.
    """

    name: ClassVar[str]
    alertname: ClassVar[str]
    meaning: ClassVar[str]
    next_step: ClassVar[str]

    enabled: bool = setting(True, "false switches the rule off")
    severity: Severity = setting(Severity.WARNING, "critical, warning or info")
    for_: Seconds = setting(0.0, "how long it must be unhealthy before it fires")
    keep_firing_for: Seconds = setting(0.0, "how long it must be healthy before it is resolved")

    def __init_subclass__(cls, alertname: str | None = None) -> None:
        """Take the alert's name from the class statement."""
        super().__init_subclass__()
        cls.alertname = alertname or cls.__name__

    def next_step_for(self, found: Finding | Alert) -> str:
        """Return what to do about a finding or an alert: what it says itself, or else the rule."""
        return found.next_step or self.next_step


@dataclass(frozen=True, slots=True)
class Sight:
    """What a rule may look at: the observation, and what is remembered with it taken in.

    `listed`, `listed_at` and `expected` are the Target's. `others_read_at` is when the second to
    last of the other campaigns with a config was asked that could be read; None: there are no two.
    `now` is for the platform's instants: it is so far `ahead` of our clock, by which everything is
    dated that we saw.
    """

    observation: Observation
    memory: Memory
    now: Instant
    listed: bool = True
    failures: Failures | None = None
    listed_at: Instant | None = None
    expected: bool = True
    others_read_at: Instant | None = None
    ahead: Seconds = 0.0

    @property
    def gone_by_itself(self) -> bool:
        """True unless the config that was there may be gone for all: a token, an API release."""
        memory, others = self.memory, self.others_read_at
        if memory.config is None or memory.gone_at is None or others is None:
            return True
        return others >= memory.gone_at

    def dated(self, at: Instant | None) -> Instant:
        """Return an instant at which we saw something on the clock of `now`; None: now."""
        return self.now if at is None else at + self.ahead

    def since(self, at: Instant) -> Seconds:
        """Return how long ago it was that we saw something."""
        return self.now - self.dated(at)

    @property
    def still_there(self) -> bool:
        """True unless a campaign without a config may be gone itself, known from discovery alone.

        It is there if a listing that was completed after the first NoConfig still has it.
        """
        gone_at = self.memory.gone_at
        if self.listed or gone_at is None:
            return True
        return self.listed_at is not None and self.listed_at > gone_at


@dataclass(frozen=True, kw_only=True)
class Rule(BaseRule, ABC):
    """A rule of a campaign. `mutes` names the rules that are not told while this one is unhealthy.

    `needs_enabled` says that it is not told while the config is switched off; `unknown_while`
    names rules whose being unhealthy leaves this one without evidence.
    """

    mutes: ClassVar[tuple[str, ...]] = ()
    needs_enabled: ClassVar[bool] = False
    unknown_while: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def judge(self, sight: Sight) -> Finding:
        """Return the verdict on what was seen."""


@dataclass(frozen=True, kw_only=True)
class ConfigRule(Rule):
    """A rule about what the config says: unknown unless one was just read."""

    def judge(self, sight: Sight) -> Finding:
        """Return the verdict on the config, if that is what was seen."""
        match sight.observation:
            case SftpConfig() as config:
                return self.judge_config(config, sight)
            case NoConfig():
                return unknown(NO_CONFIG)
            case PollError() as error:
                return unread(error)

    @abstractmethod
    def judge_config(self, config: SftpConfig, sight: Sight) -> Finding:
        """Return the verdict on a config that was just read."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the config says of one campaign: its name, its labels and its rules' settings.

    `rules` has the enabled rules only, in the order of `RULES`. `listed` is false for a campaign
    known from discovery alone, `listed_at` when the last complete listing had it (None: the last
    one had not). `expected`: it must have a config, whether or not one was ever seen.
    `muted_status` is its status where that is not told. `exported` names those of `labels` that go
    on metrics and to Alertmanager.
    """

    environment: str
    campaign_id: str
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    exported: tuple[str, ...] = ()
    rules: Mapping[str, Rule] = field(default_factory=dict)
    listed: bool = True
    listed_at: Instant | None = None
    expected: bool = True
    muted_status: str | None = None

    def is_as(self, before: "Target | None") -> bool:
        """Return whether nothing has changed but that a listing confirmed the campaign."""
        return before is not None and replace(before, listed_at=self.listed_at) == self

    def labels_with(self, config: SftpConfig | None) -> AlertLabels:
        """Return the labels of an alert that fires now; `config` is the last one seen."""
        return AlertLabels(
            sftp_host=config.host if config else "",
            campaign_name=self.name,
            labels=self.labels,
            exported=self.exported,
        )


def healthy(
    summary: str, evidence: Mapping[str, str], recheck_at: Instant | None = None
) -> Finding:
    """Return a healthy finding; time alone changes it at `recheck_at`."""
    return Finding(Verdict.HEALTHY, summary, evidence, recheck_at=recheck_at)


def unhealthy(
    summary: str,
    evidence: Mapping[str, str],
    since: Instant | None = None,
    recheck_at: Instant | None = None,
    next_step: str = "",
) -> Finding:
    """Return an unhealthy finding, true since `since` (None: since this observation).

    `next_step` is what to do about it, where that is not what the rule says of all.
    """
    return Finding(Verdict.UNHEALTHY, summary, evidence, since, recheck_at, next_step)


def unknown(summary: str, evidence: Mapping[str, str] | None = None) -> Finding:
    """Return an unknown finding: it neither fires nor resolves anything."""
    return Finding(Verdict.UNKNOWN, summary, evidence or {})


def unread(error: PollError) -> Finding:
    """Return the finding of a rule that needs a definite answer where the poll failed."""
    return unknown(f"the last poll failed: {error.reason}", {"reason": error.reason.value})


@dataclass(frozen=True, slots=True)
class Broken(Finding):
    """The finding of a rule that raised: unknown, and `error` says why, for the log alone."""

    error: Exception | None = field(default=None, compare=False)


def judge_all(rules: Mapping[str, Rule], sight: Sight, ahead: Ahead = OURS) -> dict[str, Finding]:
    """Return every rule's finding on what was seen at `sight.now` of our clock.

    Of two clocks that count both must give the verdict, or it is unknown; every `recheck_at` is on
    our clock, when all of them have passed it.
    """
    if ahead == OURS:
        return _judge_by(rules, sight)
    by_clock = [_judge_by(rules, replace(sight, now=sight.now + by, ahead=by)) for by in ahead]
    return {name: _agreed([found[name] for found in by_clock], ahead) for name in rules}


def _agreed(findings: Sequence[Finding], ahead: Ahead) -> Finding:
    first, clocks = findings[0], zip(findings, ahead, strict=True)
    rechecks = [one.recheck_at - by for one, by in clocks if one.recheck_at is not None]
    if any(one.verdict is not first.verdict for one in findings):
        apart = span(max(ahead) - min(ahead))
        first = unknown(f"our clock and the API's are {apart} apart, and only one can be right")
    return replace(first, recheck_at=max(rechecks, default=None))


def _judge_by(rules: Mapping[str, Rule], sight: Sight) -> dict[str, Finding]:
    """Return the findings by one clock; one whose evidence another rule has spoiled is unknown."""
    findings = {name: _judge(rule, sight) for name, rule in rules.items()}
    for name, rule in rules.items():
        for spoiler in rule.unknown_while:
            found = findings.get(spoiler)
            if found is not None and found.verdict is Verdict.UNHEALTHY:
                findings[name] = unknown(f"unknown while {spoiler} is unhealthy")
    return findings


def _judge(rule: Rule, sight: Sight) -> Finding:
    # A rule that breaks must cost only its own verdict, never the campaign's other alerts.
    try:
        return rule.judge(sight)
    except Exception as error:
        summary = f"internal error: {type(error).__name__}"
        evidence = {"reason": Reason.INTERNAL_ERROR.value}
        return Broken(Verdict.UNKNOWN, summary, evidence, error=error)
