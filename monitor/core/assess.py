"""(what was, what was seen, rules, now) → (what is, what to tell): the product in one function."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple
from zlib import crc32

from monitor.core import alerts as machine
from monitor.core.model import (
    HOUR,
    Event,
    Finding,
    Instant,
    NoConfig,
    Observation,
    PollError,
    Reason,
    Seconds,
    SftpConfig,
)
from monitor.core.rule import EVERY_OTHER_RULE, RULES, Sight, Target, judge_all
from monitor.core.rules import Unreadable
from monitor.core.schedule import Priority
from monitor.core.status import (
    OURS,
    Ahead,
    Alert,
    AlertState,
    CampaignStatus,
    Failures,
    Memory,
    clamped,
)

# A deadline up to so many intervals after the regular poll is kept, in case that runs late.
DEADLINES_KEPT = 3

YOUNG: Seconds = HOUR  # how long a firing alert is polled at `unhealthy_interval`


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How often to look."""

    interval: Seconds  # what the budget really gives
    unhealthy_interval: Seconds
    idle_interval: Seconds  # for campaigns that are not told
    stretched: bool = False  # `interval` is longer than wanted


class Decision(NamedTuple):
    """What came of one observation: the status after it, the findings, what to tell, in order."""

    status: CampaignStatus
    findings: Mapping[str, Finding]
    events: tuple[Event, ...]


def assess(  # noqa: PLR0913 - each is one more thing that a decision depends on
    before: CampaignStatus,
    target: Target,
    observation: Observation,
    now: Instant,
    *,
    remind_every: machine.RemindEvery,
    environment_alert: str | None = None,
    others_read_at: Instant | None = None,
    ahead: Ahead = OURS,
) -> Decision:
    """Decide what an observation made at `now` of our clock means.

    `environment_alert` is the one that mutes `unreadable`, `others_read_at` the Sight's.
    """
    observation = _trusted(observation, before.memory)
    status = _remember(before, observation, now)
    sight = Sight(observation, status, target, now, others_read_at)
    findings = judge_all(target.rules, sight, ahead)

    initial = before.memory.seen_at is None and status.memory.seen_at is not None
    alerts, told = machine.decide(
        before.alerts,
        findings,
        target.rules,
        _subject(status, target, now, initial=initial),
        remind_every,
        muter_of=partial(_muter_of, status.memory, target, environment_alert),
        definite=not isinstance(observation, PollError),
    )
    return Decision(replace(status, alerts=alerts), findings, told)


def reconcile(status: CampaignStatus, target: Target, now: Instant) -> Decision:
    """Decide what a start or a changed config means for what is remembered. Usually nothing."""
    # An instant from the future (the clock was wrong) would confirm a loss of today.
    read_at = clamped(now)(status.memory.seen_at)
    memory, subject = replace(status.memory, seen_at=read_at), _subject(status, target, now)
    alerts, told = machine.reconcile(status.alerts, RULES, target.rules, subject)
    return Decision(replace(status, alerts=alerts, memory=memory), {}, told)


def remove(status: CampaignStatus, reason: str, now: Instant) -> Decision:
    """Decide what is to be told of a campaign that is no longer watched, for `reason`."""
    environment, key = status.environment, status.campaign_id
    subject = _subject(status, Target(environment=environment, campaign_id=key), now)
    alerts, told = machine.reconcile(status.alerts, RULES, {}, subject, reason)
    # A tombstone: the event counts, so that no event id is reused.
    left = CampaignStatus(environment=environment, campaign_id=key, alerts=alerts)
    return Decision(left, {}, told)


class NextPoll(NamedTuple):
    """When to look again and why; and the deadline for which it is too late should that be late."""

    at: Instant
    priority: Priority
    deadline: Instant | None = None


def next_poll(
    status: CampaignStatus,
    target: Target,
    cadence: Cadence,
    now: Instant,
    ahead: Ahead = OURS,
    *,
    findings: Mapping[str, Finding] | None = None,
) -> NextPoll | None:
    """Return when to look again, and why; None for a campaign never polled: as soon as may be.

    Computed from what is remembered alone, so it is the same after a restart. A deadline that
    comes before the regular poll takes its place, one that passed since the last poll is due.
    `findings` of the decision that `status` has just come from, by the same clocks, save a second.
    """
    # From the future (our clock was set back) it would put off the next poll until then.
    polled_at = clamped(now)(status.polled_at)
    if polled_at is None:
        return None
    if target.muted_status is not None:
        idle = max(cadence.idle_interval, cadence.interval)
        return NextPoll(_next_slot(status, polled_at, idle), Priority.ROUTINE)
    watched = any(_needs_watching(alert, polled_at) for alert in status.alerts.values())
    if watched or status.error is not None:
        regular = NextPoll(polled_at + cadence.unhealthy_interval, Priority.UNHEALTHY)
    elif cadence.stretched:
        # Without requests to spare nothing keeps its slot: in turn, each as long after its last
        # poll as the others, is the evenest that there is.
        regular = NextPoll(polled_at + cadence.interval, Priority.ROUTINE)
    else:
        regular = NextPoll(_next_slot(status, polled_at, cadence.interval), Priority.ROUTINE)
    # After a poll that failed, what was read before it has its deadlines all the same.
    if status.known is not None and (findings is None or status.error is not None):
        findings = judge_all(target.rules, Sight(status.known, status, target, polled_at), ahead)
    deadline = machine.next_deadline(status.alerts, target.rules, findings or {}, polled_at)
    if deadline is None or deadline > regular.at + DEADLINES_KEPT * cadence.interval:
        return regular
    if deadline + machine.AFTER_DEADLINE < regular.at:
        return NextPoll(deadline + machine.AFTER_DEADLINE, Priority.DEADLINE)
    return regular._replace(deadline=deadline + machine.AFTER_DEADLINE)


def _trusted(observation: Observation, memory: Memory) -> Observation:
    # An API release that drops the fields of the test must not read as "never tested".
    if isinstance(observation, SftpConfig) and not observation.has_test_fields:
        known = memory.config is not None and memory.config.id == observation.id
        if observation.is_enabled or (known and memory.tested_seen):
            return PollError(Reason.SCHEMA_MISMATCH, "last_test_at or last_test_success is absent")
    return observation


def _remember(before: CampaignStatus, observation: Observation, now: Instant) -> CampaignStatus:
    if isinstance(observation, PollError):
        failures = before.failures or Failures(0, now)
        failures = replace(failures, count=failures.count + 1)
        return replace(before, polled_at=now, error=observation, failures=failures)
    memory = replace(before.memory.redated(clamped(now)), seen_at=now)
    if isinstance(observation, NoConfig):
        memory = replace(memory, gone_at=memory.gone_at or now)
    else:
        memory = _remember_config(memory, observation, now)
    return replace(before, memory=memory, polled_at=now, error=None, failures=None)


def _remember_config(memory: Memory, config: SftpConfig, now: Instant) -> Memory:
    # Made anew under another id it is another config: its graces start afresh.
    if memory.config is None or memory.config.id != config.id:
        memory = Memory(first_seen_at=now, seen_at=now, last_passed_at=memory.last_passed_at)
    return replace(
        memory,
        config=config,
        gone_at=None,
        enabled_seen=config.is_enabled or memory.enabled_seen,
        disabled_since=None if config.is_enabled else memory.disabled_since or now,
        last_passed_at=config.last_test_at if config.last_test_success else memory.last_passed_at,
        tested_seen=config.last_test_at is not None or memory.tested_seen,
    )


def _muter_of(
    memory: Memory, target: Target, environment_alert: str | None, rule: str, alerts: machine.Alerts
) -> str | None:
    """Return what mutes a rule, by the order of precedence of the rules' table; None: nothing."""
    for name, other in target.rules.items():
        muted = rule in other.mutes or (EVERY_OTHER_RULE in other.mutes and rule != name)
        if muted and name in alerts and alerts[name].unhealthy:
            return name
    # From memory, not from the observation: it stays in force through polls that fail.
    switched_off = memory.config is not None and not memory.config.is_enabled
    if switched_off and target.rules[rule].needs_enabled:
        return "disabled"
    if target.muted_status is not None:
        return "campaign_status"
    return environment_alert if rule == Unreadable.name else None


def _subject(
    status: CampaignStatus, target: Target, now: Instant, *, initial: bool = False
) -> machine.Subject:
    config = status.memory.config
    return machine.Subject(
        environment=target.environment,
        campaign_id=target.campaign_id,
        labels=target.labels_with(config),
        import_schedule=(config.import_schedule if config else None) or "",
        last_passed_at=status.memory.last_passed_at,
        observed_at=status.polled_at or now,
        decided_at=now,
        initial=initial,
    )


def _needs_watching(alert: Alert, now: Instant) -> bool:
    young = alert.fired_at is not None and now - alert.fired_at < YOUNG
    return alert.muted_by is None and (young or alert.state is AlertState.PENDING)


def _next_slot(status: CampaignStatus, after: Instant, interval: Seconds) -> Instant:
    # Slots hashed from the id spread the polls evenly and for ever, whatever order they began in.
    phase = crc32(f"{status.environment}/{status.campaign_id}".encode()) / 2**32
    # Half an interval away at least: a poll shortly before its slot is not repeated in it.
    earliest = after / interval + 0.5 - phase
    return (int(earliest // 1) + 1 + phase) * interval
