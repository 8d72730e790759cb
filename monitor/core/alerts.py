"""When a finding becomes an alert, when it is over, and which events come of it.

Level, not edge: `due_event` compares what on-call was last notified of with the state now, so
there is no transition to miss. Instants only come from findings; there are no timers.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from monitor.core.instants import redated
from monitor.core.model import (
    AlertLabels,
    Event,
    EventKind,
    EventStatus,
    Finding,
    Instant,
    Severity,
    Verdict,
)
from monitor.core.rule import EVERY_OTHER_RULE, BaseRule, RemindEvery
from monitor.core.status import Alert, AlertState

# For a deadline D is polled at D + 1 s, so that it has passed on the platform's clock too.
AFTER_DEADLINE = 1.0

Alerts = Mapping[str, Alert]


class Impact(NamedTuple):
    """What is at stake in words, and since when or from when on; nothing where nothing is known."""

    text: str = ""
    at: Instant | None = None


@dataclass(frozen=True, slots=True)
class EventSource:
    """What the events of a decision are about; `labels` are those of an alert that fires now."""

    environment: str
    labels: AlertLabels
    decided_at: Instant
    impact: Callable[[Instant], Impact] = lambda _: Impact()  # asked for an event alone
    observed_at: Instant | None = None  # None: when it was decided
    campaign_id: str | None = None
    import_schedule: str = ""
    last_passed_at: Instant | None = None
    initial: bool = False
    definite: bool = False  # a campaign was read
    muted: Mapping[str, str] = field(default_factory=dict)  # by rule: what mutes it, but for rules


def advance(alert: Alert, finding: Finding, rule: BaseRule, now: Instant) -> Alert:
    """Return the alert after a finding made at `now`; an unknown one changes nothing."""
    if finding.verdict is Verdict.UNKNOWN:
        return alert
    # Instants from the future (the clock was wrong) would put off reminders until then. Only here,
    # not at a start: an answer has shown whose clock is right. `since` may be the platform's word.
    alert = redated(alert, latest=now)
    if finding.verdict is Verdict.HEALTHY:
        healthy_at = alert.healthy_at or now
        firing = alert.state is AlertState.FIRING and now < healthy_at + rule.keep_firing_for
        return replace(alert, healthy_at=healthy_at) if firing else ended(alert)
    # While it fires, too: a reminder and the snapshot show how things are by now.
    summary, evidence, next_step = finding.summary, finding.evidence, finding.next_step
    alert = replace(alert, summary=summary, evidence=evidence, next_step=next_step, healthy_at=None)
    if alert.state is AlertState.INACTIVE:
        since = now if finding.since is None else finding.since
        alert = replace(alert, state=AlertState.PENDING, since=since, pending_at=now)
    # Not in the next decision: without `for` the first unhealthy finding is enough to fire.
    due = (alert.pending_at or now) + rule.for_
    if alert.state is AlertState.PENDING and now >= due:
        return replace(alert, state=AlertState.FIRING, fired_at=now)
    return alert


def ended(alert: Alert) -> Alert:
    """Return the alert as inactive; what on-call was notified of stays, for `due_event`."""
    return Alert(
        rule=alert.rule,
        notified=alert.notified,
        notified_at=alert.notified_at,
        notified_severity=alert.notified_severity,
        fired_as=alert.fired_as,
        seq=alert.seq,
    )


def due_event(
    alert: Alert,
    rule: BaseRule,
    source: EventSource,
    remind_every: RemindEvery,
    before: Alert | None = None,
) -> tuple[Alert, EventStatus | None]:
    """Return the alert as on-call is notified of it now, and by which event, if by one.

    `before` is the alert before its last finding, which may be louder than the one before that.
    """
    now, severity = source.decided_at, rule.severity_of(alert)
    to_notify = alert.state is AlertState.FIRING and alert.muted_by is None
    if to_notify and not alert.notified:
        fired = replace(alert, notified=True, fired_as=source.labels)
        return _sent(fired, now, severity), EventStatus.FIRING
    if alert.notified and not to_notify:
        return _resolved(alert), EventStatus.RESOLVED
    if alert.notified and before is not None and rule.severity_of(before) is not severity:
        return _sent(alert, now, severity), EventStatus.UPDATED
    every = remind_every.get(alert.notified_severity or rule.severity, 0)
    if alert.notified and every > 0 and now >= (alert.notified_at or 0.0) + every:
        return _sent(alert, now, alert.notified_severity), EventStatus.REMINDER
    return alert, None


def _resolved(alert: Alert) -> Alert:
    return _sent(replace(alert, notified=False, fired_as=None), None, None)


def _sent(alert: Alert, at: Instant | None, severity: Severity | None) -> Alert:
    return replace(alert, notified_at=at, notified_severity=severity, seq=alert.seq + 1)


def recheck_at(alert: Alert, rule: BaseRule) -> Instant | None:
    """Return the end of the `for` or `keep_firing_for` that is running, if one is."""
    if alert.state is AlertState.PENDING and alert.pending_at is not None:
        return alert.pending_at + rule.for_
    return None if alert.healthy_at is None else alert.healthy_at + rule.keep_firing_for


def next_deadline(
    alerts: Alerts, rules: Mapping[str, BaseRule], findings: Mapping[str, Finding], after: Instant
) -> Instant | None:
    """Return the first instant after `after` at which time alone changes something."""
    instants = [recheck_at(alerts[name], rules[name]) for name in alerts.keys() & rules.keys()]
    instants += [finding.recheck_at for finding in findings.values()]
    return min((at for at in instants if at is not None and at > after), default=None)


def decide(
    before: Alerts,
    findings: Mapping[str, Finding],
    rules: Mapping[str, BaseRule],
    source: EventSource,
    remind_every: RemindEvery,
) -> tuple[dict[str, Alert], tuple[Event, ...]]:
    """Return the alerts after these findings, and the events in their order."""
    now, events = source.decided_at, list[Event]()
    # A rule that never had an alert needs one only for an unhealthy finding: nearly all have none.
    concerned = {
        name: before.get(name) or Alert(rule=name)
        for name in rules
        if name in before or findings[name].verdict is Verdict.UNHEALTHY
    }
    # All rules have moved before any mute is decided: what mutes may come later in the table.
    moved = dict(before)
    for name, old in concerned.items():
        moved[name] = advance(old, findings[name], rules[name], now)
    after = dict(moved)
    inhibitors = [one for name, one in rules.items() if name in moved and moved[name].unhealthy]
    for name, old in concerned.items():
        rule, finding, alert = rules[name], findings[name], moved[name]
        known = finding.verdict is not Verdict.UNKNOWN
        # After a definite observation mutes are facts of their own, whatever the finding.
        if not (known or source.definite):
            continue
        if alert.active:
            mutes = {name, EVERY_OTHER_RULE}.intersection
            by = (one.name for one in inhibitors if one.name != name and mutes(one.inhibits))
            alert = replace(alert, muted_by=next(by, source.muted.get(name)))
        after[name], status = due_event(alert, rule, source, remind_every if known else {}, old)
        if status is not None:
            events.append(_event(status, old, after[name], finding, source, rule))
    # One that had an event has a `seq` and stays: a number that is reused would be an id reused.
    kept = {name: alert for name, alert in after.items() if alert != Alert(rule=name)}
    return kept, in_sending_order(events)


def reconcile(
    before: Alerts,
    table: Iterable[str],
    rules: Mapping[str, BaseRule],
    source: EventSource,
    gone: str | None = None,
) -> tuple[dict[str, Alert], tuple[Event, ...]]:
    """Return the alerts under a changed config and the events; `gone`: why one has no rule left."""
    # All but a changed severity waits for the next observation.
    after, events = dict[str, Alert](), list[Event]()
    for name in dict.fromkeys(name for name in (*table, *before) if name in before):
        old, rule = before[name], rules.get(name)
        new = ended(old) if rule is None else old
        if rule is None and old.notified:
            new = _resolved(new)
            resolved = _event(EventStatus.RESOLVED, old, new, None, source)
            events.append(replace(resolved, reason=gone or "rule_removed"))
        elif rule and old.notified and old.notified_severity is not rule.severity_of(old):
            new = _sent(old, source.decided_at, rule.severity_of(old))
            events.append(_event(EventStatus.UPDATED, old, new, None, source, rule))
        if new != Alert(rule=name):
            after[name] = new
    return after, in_sending_order(events)


def in_sending_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """Return events with those that fire before those that resolve, else in their order."""
    return tuple(sorted(events, key=lambda event: event.status is EventStatus.RESOLVED))


def standing_event(alert: Alert, rule: BaseRule, source: EventSource) -> Event:
    """Return the event that says how an alert that fires stands now."""
    return _event(EventStatus.FIRING, alert, alert, None, source, rule)


def note(kind: EventKind, source: EventSource, summary: str, evidence: Mapping[str, str]) -> Event:
    """Return an entry of the history that is about no alert, as if there were one that says so."""
    seq = int(source.decided_at * 1000)
    said = Alert(rule=kind.value, seq=seq, summary=summary, evidence=evidence)
    return replace(_event(EventStatus.RECORDED, said, said, None, source), kind=kind)


def _event(
    status: EventStatus,
    old: Alert,
    new: Alert,
    finding: Finding | None,
    source: EventSource,
    rule: BaseRule | None = None,
) -> Event:
    """Return the event of a change; one that resolves has the severity that paged on-call."""
    over, at = status is EventStatus.RESOLVED, source.decided_at
    labels, impact = new.fired_as or old.fired_as or source.labels, source.impact(at)
    # Muted or gone, nothing has recovered: what was wrong is still the thing to say.
    wrong, recovered = old if over else new, over and new.muted_by is None
    said = finding if finding is not None and recovered else wrong
    return Event(
        status=status,
        seq=new.seq,
        rule=new.rule,
        severity=new.notified_severity or old.notified_severity or Severity.INFO,
        previous_severity=old.notified_severity if status is EventStatus.UPDATED else None,
        environment=source.environment,
        campaign_id=source.campaign_id,
        campaign_name=labels.campaign_name,
        labels=labels.labels,
        exported=labels.exported,
        sftp_host=labels.sftp_host,
        import_schedule=source.import_schedule,
        last_passed_at=source.last_passed_at,
        summary=said.summary,
        evidence=said.evidence,
        since=wrong.since,
        observed_at=source.observed_at or at,
        decided_at=at,
        next_step="" if over or rule is None else new.next_step or rule.next_step,
        reason=("recovered" if recovered else "muted") if over else None,
        muted_by=new.muted_by,
        initial=source.initial,
        unmuted=not over and old.muted_by is not None,
        impact=impact.text or None,
        impact_at=impact.at,
    )
