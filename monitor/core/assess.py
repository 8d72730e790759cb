"""(status, observation, rules, now) → (status, findings, events): the product in one module."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple
from zlib import crc32

from monitor.core import alerts as machine
from monitor.core.clock import with_server_date
from monitor.core.environment import ENVIRONMENT_RULES, Call, EnvironmentContext, observe
from monitor.core.model import DAY, AlertLabels, Event, Finding, Instant, Observation, Seconds
from monitor.core.rule import (
    EVERY_OTHER_RULE,
    RULES,
    EvaluationInput,
    RemindEvery,
    Target,
    evaluate_all,
)
from monitor.core.rules import Unreadable
from monitor.core.schedule import Priority
from monitor.core.status import OURS, Ahead, CampaignStatus, EnvironmentStatus, LastKnown, clamped

# A deadline up to so many intervals after the regular poll is kept, in case that runs late.
DEADLINES_KEPT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PollIntervals:
    """How often to poll."""

    interval: Seconds  # what the budget really gives
    unhealthy_interval: Seconds
    idle_interval: Seconds  # for campaigns that nobody is notified of
    stretched: bool = False  # `interval` is longer than wanted


class Decision(NamedTuple):
    """What came of one observation: the status after it, the findings, the events in order."""

    status: CampaignStatus
    findings: Mapping[str, Finding]
    events: tuple[Event, ...]


def assess(  # noqa: PLR0913 - each is one more thing that a decision depends on
    before: CampaignStatus,
    target: Target,
    observation: Observation,
    now: Instant,
    *,
    remind_every: RemindEvery,
    environment_alert: str | None = None,
    others_read_at: Instant | None = None,
    ahead: Ahead = OURS,
) -> Decision:
    """Decide what an observation at `now` of ours means; `environment_alert` mutes `unreadable`."""
    status = before.after(observation, now)
    inputs = EvaluationInput(status.error or observation, status, target, now, others_read_at)
    findings = evaluate_all(target.rules, inputs, ahead)
    initial = before.last_known.last_read_at is None and status.last_known.last_read_at is not None
    source = _source(status, target, now, initial=initial)
    inhibitor_of = partial(_inhibitor_of, status.last_known, target, environment_alert)
    alerts, events = machine.decide(
        before.alerts, findings, target.rules, source, remind_every, inhibitor_of
    )
    return Decision(replace(status, alerts=alerts), findings, events)


def reconcile(
    status: CampaignStatus, target: Target | None, now: Instant, gone: str | None = None
) -> Decision:
    """Decide what a start or a changed config means; without a target it has left, for `gone`."""
    environment, key = status.environment, status.campaign_id
    known = target or Target(environment=environment, campaign_id=key)
    source = _source(status, known, now)
    alerts, events = machine.reconcile(status.alerts, RULES, known.rules, source, gone)
    if target is None:
        # A tombstone: the event counts, so that no event id is reused.
        after = CampaignStatus(environment=environment, campaign_id=key, alerts=alerts)
    else:
        # An instant from the future (the clock was wrong) would confirm a loss of today.
        last_known = replace(
            status.last_known, last_read_at=clamped(now)(status.last_known.last_read_at)
        )
        tests = status.tests.redated(clamped(now))
        after = replace(status, alerts=alerts, last_known=last_known, tests=tests)
    return Decision(after, {}, events)


class NextPoll(NamedTuple):
    """When to poll next and why; should that be late, from `deadline` on because of a deadline."""

    at: Instant
    priority: Priority
    deadline: Instant | None = None


def next_poll(
    status: CampaignStatus,
    target: Target,
    intervals: PollIntervals,
    now: Instant,
    ahead: Ahead = OURS,
    *,
    findings: Mapping[str, Finding] | None = None,
) -> NextPoll | None:
    """Return when to poll next, and why; None for a campaign never polled: as soon as may be.

    Computed from what is remembered alone, so that it is the same after a restart; `findings` of
    the decision that `status` has just come from, by the same clocks, save evaluating them again.
    """
    # From the future (our clock was set back) it would put off the next poll until then.
    polled_at = clamped(now)(status.polled_at)
    if polled_at is None:
        return None
    if target.muted_status is not None:
        idle = max(intervals.idle_interval, intervals.interval)
        return NextPoll(_next_slot(status, polled_at, idle), Priority.ROUTINE)
    watched = any(alert.is_young(polled_at) for alert in status.alerts.values())
    if watched or status.error is not None:
        regular = NextPoll(polled_at + intervals.unhealthy_interval, Priority.UNHEALTHY)
    elif intervals.stretched:
        # Without requests to spare nothing keeps its slot: in turn, each as long after its last
        # poll as the others, is the evenest that there is.
        regular = NextPoll(polled_at + intervals.interval, Priority.ROUTINE)
    else:
        regular = NextPoll(_next_slot(status, polled_at, intervals.interval), Priority.ROUTINE)
    # After a poll that failed, what was read before it has its deadlines all the same. One before
    # the regular poll takes its place, one that has passed since the last poll is due.
    if status.known is not None and (findings is None or status.error is not None):
        findings = evaluate_all(
            target.rules, EvaluationInput(status.known, status, target, polled_at), ahead
        )
    deadline = machine.next_deadline(status.alerts, target.rules, findings or {}, polled_at)
    if deadline is None or deadline > regular.at + DEADLINES_KEPT * intervals.interval:
        return regular
    if deadline + machine.AFTER_DEADLINE < regular.at:
        return NextPoll(deadline + machine.AFTER_DEADLINE, Priority.DEADLINE)
    return regular._replace(deadline=deadline + machine.AFTER_DEADLINE)


def assess_environment(
    before: EnvironmentStatus,
    call: Call,
    server_date: Instant | None,
    context: EnvironmentContext,
    now: Instant,
) -> tuple[EnvironmentStatus, Mapping[str, Finding], tuple[Event, ...]]:
    """Decide what the outcome of a call means; `server_date` is the API's, `now` our clock's."""
    status = observe(with_server_date(before, server_date, now), call, context, now)
    rules, source = context.rules, machine.EventSource(before.name, context.labels, now)
    findings = {name: rule.evaluate(status, context, now) for name, rule in rules.items()}
    alerts, events = machine.decide(before.alerts, findings, rules, source, context.remind_every)
    return replace(status, alerts=alerts), findings, events


def reconcile_environment(
    before: EnvironmentStatus,
    context: EnvironmentContext | None,
    now: Instant,
    gone: str | None = None,
) -> tuple[EnvironmentStatus, tuple[Event, ...]]:
    """Decide what a start or a changed config means; without a context it has left, for `gone`."""
    # A call from the future (the clock was wrong) would put off the next probe until then.
    kept = replace(before.redated(clamped(now)), swept_at=clamped(now)(before.swept_at))
    if kept.tests.on_since and kept.swept_at and now - kept.swept_at > DAY:
        # Tests could not run for so long that all are overdue: each waits for its own minute.
        kept = replace(kept, tests=replace(kept.tests, on_since=now))
    rules, labels = (context.rules, context.labels) if context else ({}, AlertLabels())
    source = machine.EventSource(before.name, labels, now)
    alerts, events = machine.reconcile(kept.alerts, ENVIRONMENT_RULES, rules, source, gone)
    return replace(kept, alerts=alerts), events


def next_probe(
    status: EnvironmentStatus,
    context: EnvironmentContext,
    probe_interval: Seconds,
    token_probe_interval: Seconds,
) -> Instant:
    """Return when the open breaker lets its next probe through; a deadline may be earlier."""
    called_at = status.called_at or 0.0
    interval = token_probe_interval if status.outage_at is None else probe_interval
    # As of the last call: a deadline that has passed since then is due, not forgotten.
    findings = {
        name: rule.evaluate(status, context, called_at) for name, rule in context.rules.items()
    }
    deadline = machine.next_deadline(status.alerts, context.rules, findings, called_at)
    regular = called_at + interval
    return regular if deadline is None else min(regular, deadline + machine.AFTER_DEADLINE)


def _inhibitor_of(
    last_known: LastKnown,
    target: Target,
    environment_alert: str | None,
    rule: str,
    alerts: machine.Alerts,
) -> str | None:
    """Return what mutes a rule, by the order of precedence of the rules' table; None: nothing."""
    for name, other in target.rules.items():
        muted = rule in other.inhibits or (EVERY_OTHER_RULE in other.inhibits and rule != name)
        if muted and name in alerts and alerts[name].unhealthy:
            return name
    # From memory, not from the observation: it stays in force through polls that fail.
    switched_off = last_known.config is not None and not last_known.config.is_enabled
    if switched_off and target.rules[rule].needs_enabled:
        return "disabled"
    if target.muted_status is not None:
        return "campaign_status"
    return environment_alert if rule == Unreadable.name else None


def _source(
    status: CampaignStatus, target: Target, now: Instant, *, initial: bool = False
) -> machine.EventSource:
    config = status.last_known.config
    return machine.EventSource(
        environment=target.environment,
        campaign_id=target.campaign_id,
        labels=target.labels_with(config),
        import_schedule=(config.import_schedule if config else None) or "",
        last_passed_at=status.last_known.last_passed_at,
        decided_at=now,
        observed_at=status.polled_at,
        initial=initial,
        definite=status.error is None,
    )


def _next_slot(status: CampaignStatus, after: Instant, interval: Seconds) -> Instant:
    # Slots hashed from the id spread the polls evenly and for ever, whatever order they began in.
    phase = crc32(f"{status.environment}/{status.campaign_id}".encode()) / 2**32
    # Half an interval away at least: a poll shortly before its slot is not repeated in it.
    earliest = after / interval + 0.5 - phase
    return (int(earliest // 1) + 1 + phase) * interval
