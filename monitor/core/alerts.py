"""When a finding becomes an alert, when it is over, and what on-call is to be told of it.

`advance` moves the state machine by one finding; `tell` compares what on-call was last told with
what is so now, and says what to tell (level, not edge: there is no transition to miss). `decide`
does both for a campaign or an environment. Instants only come from findings; there are no timers.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from monitor.core.model import (
    AlertLabels,
    Event,
    EventStatus,
    Finding,
    Instant,
    Seconds,
    Severity,
    Verdict,
)
from monitor.core.rule import BaseRule
from monitor.core.status import Alert, AlertState, clamped

# A deadline D is looked at from D + 1 s on, so that it has passed on the platform's clock too.
AFTER_DEADLINE: Seconds = 1.0

Alerts = Mapping[str, Alert]

# How often a told alert is told again, by severity; 0 or no entry: never.
RemindEvery = Mapping[Severity, Seconds]

# What mutes a rule's alert, given the alerts there are after the findings; None: nothing.
MuterOf = Callable[[str, Alerts], str | None]


class Telling(NamedTuple):
    """What is to be told of one alert, and why; becomes an `Event`."""

    status: EventStatus
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom the events of one decision are about; `labels` are those of an alert that fires now."""

    environment: str
    campaign_id: str | None = None
    labels: AlertLabels
    import_schedule: str = ""
    last_passed_at: Instant | None = None
    observed_at: Instant
    decided_at: Instant
    initial: bool = False


def advance(alert: Alert, finding: Finding, rule: BaseRule, now: Instant) -> Alert:
    """Return the alert after a finding made at `now`; an unknown one changes nothing."""
    if finding.verdict is Verdict.UNKNOWN:
        return alert
    # Instants from the future (the clock was wrong) would put off reminders until then. Only here,
    # not at a start: an answer has told whose clock is right. `since` may be the platform's word.
    alert = alert.redated(clamped(now))
    if finding.verdict is Verdict.HEALTHY:
        healthy_at = alert.healthy_at or now
        firing = alert.state is AlertState.FIRING and now < healthy_at + rule.keep_firing_for
        return replace(alert, healthy_at=healthy_at) if firing else ended(alert)
    # While it fires, too: a reminder and the board tell how things are by now.
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
    """Return the alert as inactive. What on-call was told stays: `tell` compares with it."""
    return Alert(
        rule=alert.rule,
        told=alert.told,
        told_at=alert.told_at,
        told_severity=alert.told_severity,
        fired_as=alert.fired_as,
        seq=alert.seq,
    )


def tell(
    alert: Alert, rule: BaseRule, subject: Subject, remind_every: RemindEvery | None
) -> tuple[Alert, Telling | None]:
    """Return the alert with what on-call is told now; without `remind_every` no reminder is."""
    now, to_tell = subject.decided_at, alert.state is AlertState.FIRING and alert.muted_by is None
    if to_tell and not alert.told:
        fired = replace(alert, told=True, told_severity=rule.severity, fired_as=subject.labels)
        return _counted(fired, now), Telling(EventStatus.FIRING)
    if alert.told and not to_tell:
        reason = "recovered" if alert.muted_by is None else "muted"
        return _resolved(alert), Telling(EventStatus.RESOLVED, reason)
    every = (remind_every or {}).get(alert.told_severity or rule.severity, 0)
    if alert.told and every > 0 and now >= (alert.told_at or 0.0) + every:
        return _counted(alert, now), Telling(EventStatus.REMINDER)
    return alert, None


def _counted(alert: Alert, told_at: Instant | None) -> Alert:
    return replace(alert, told_at=told_at, seq=alert.seq + 1)


def _resolved(alert: Alert) -> Alert:
    return _counted(replace(alert, told=False, told_severity=None, fired_as=None), None)


def recheck_at(alert: Alert, rule: BaseRule) -> Instant | None:
    """Return the end of the `for` or `keep_firing_for` that is running, if one is."""
    if alert.state is AlertState.PENDING and alert.pending_at is not None:
        return alert.pending_at + rule.for_
    return None if alert.healthy_at is None else alert.healthy_at + rule.keep_firing_for


def next_deadline(
    alerts: Alerts,
    rules: Mapping[str, BaseRule],
    findings: Mapping[str, Finding],
    after: Instant,
) -> Instant | None:
    """Return the first instant after `after` at which time alone changes something."""
    instants = [recheck_at(alerts[name], rules[name]) for name in alerts.keys() & rules.keys()]
    instants += [finding.recheck_at for finding in findings.values()]
    return min((at for at in instants if at is not None and at > after), default=None)


def decide(
    before: Alerts,
    findings: Mapping[str, Finding],
    rules: Mapping[str, BaseRule],
    subject: Subject,
    remind_every: RemindEvery,
    *,
    muter_of: MuterOf = lambda _rule, _alerts: None,
    definite: bool = False,
) -> tuple[dict[str, Alert], tuple[Event, ...]]:
    """Return the alerts after these findings, and what is to be told, in order."""
    now, events = subject.decided_at, list[Event]()
    # A rule that never had an alert needs one only for an unhealthy finding: nearly all have none.
    concerned = {
        name: before.get(name) or Alert(rule=name)
        for name in rules
        if name in before or findings[name].verdict is Verdict.UNHEALTHY
    }
    # All rules have moved before any mute is looked at: what mutes may come later in the table.
    moved = dict(before)
    for name, old in concerned.items():
        moved[name] = advance(old, findings[name], rules[name], now)
    after = dict(moved)
    for name, old in concerned.items():
        rule, finding, alert = rules[name], findings[name], moved[name]
        known = finding.verdict is not Verdict.UNKNOWN
        # After a definite observation mutes are facts of their own, whatever the finding.
        if not (known or definite):
            continue
        if alert.active:
            alert = replace(alert, muted_by=muter_of(name, moved))
        after[name], telling = tell(alert, rule, subject, remind_every if known else None)
        if telling is not None:
            events.append(_event(telling, old, after[name], rule, finding, subject))
    return _worth_keeping(after), in_telling_order(events)


def reconcile(
    before: Alerts,
    table: Iterable[str],
    rules: Mapping[str, BaseRule],
    subject: Subject,
    gone: str = "rule_removed",
) -> tuple[dict[str, Alert], tuple[Event, ...]]:
    """Return the alerts under a changed config, and what is to be told of it, in table order.

    Those without a rule end, for the reason `gone`. All but a changed severity waits for the next
    observation.
    """
    after, events = dict[str, Alert](), list[Event]()
    for name in dict.fromkeys(name for name in (*table, *before) if name in before):
        old, rule, telling = before[name], rules.get(name), None
        new = ended(old) if rule is None else old
        if rule is None and old.told:
            new, telling = _resolved(new), Telling(EventStatus.RESOLVED, gone)
        elif rule is not None and old.told and old.told_severity != rule.severity:
            new = _counted(replace(old, told_severity=rule.severity), subject.decided_at)
            telling = Telling(EventStatus.UPDATED)
        after[name] = new
        if telling is not None:
            events.append(_event(telling, old, new, rule, None, subject))
    return _worth_keeping(after), in_telling_order(events)


def in_telling_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """Return events with those that fire before those that resolve, else in their order."""
    return tuple(sorted(events, key=lambda event: event.status is EventStatus.RESOLVED))


def _worth_keeping(after: Alerts) -> dict[str, Alert]:
    # One that was ever told has a `seq` and stays: a number that is reused would be an id reused.
    return {name: alert for name, alert in after.items() if alert != Alert(rule=name)}


def standing_event(alert: Alert, rule: BaseRule, subject: Subject) -> Event:
    """Return the event that says how an alert that fires stands now."""
    return _event(Telling(EventStatus.FIRING), alert, alert, rule, None, subject)


def _event(
    telling: Telling,
    old: Alert,
    new: Alert,
    rule: BaseRule | None,
    finding: Finding | None,
    subject: Subject,
) -> Event:
    over = telling.status is EventStatus.RESOLVED
    labels = new.fired_as or old.fired_as or subject.labels
    # Muted or gone, nothing has recovered: what was wrong is still the thing to say.
    wrong = old if over else new
    said = finding if finding is not None and telling.reason == "recovered" else wrong
    return Event(
        status=telling.status,
        seq=new.seq,
        rule=new.rule,
        # A resolved event has the severity that on-call was paged with, whatever is configured now.
        severity=new.told_severity or old.told_severity or Severity.INFO,
        previous_severity=old.told_severity if telling.status is EventStatus.UPDATED else None,
        environment=subject.environment,
        campaign_id=subject.campaign_id,
        campaign_name=labels.campaign_name,
        labels=labels.labels,
        exported=labels.exported,
        sftp_host=labels.sftp_host,
        import_schedule=subject.import_schedule,
        last_passed_at=subject.last_passed_at,
        summary=said.summary,
        evidence=said.evidence,
        since=wrong.since,
        observed_at=subject.observed_at,
        decided_at=subject.decided_at,
        next_step="" if over or rule is None else rule.next_step_for(new),
        reason=telling.reason,
        muted_by=new.muted_by if telling.reason == "muted" else None,
        initial=subject.initial,
    )
