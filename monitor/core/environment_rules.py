"""The rules of an environment, and what is to be told of it: views of its breaker."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from monitor.core import events
from monitor.core.alerts import RemindEvery, clamped, recheck_at
from monitor.core.events import Alerts, Subject
from monitor.core.identity import AlertLabels
from monitor.core.model import (
    MINUTE,
    Event,
    Finding,
    Instant,
    Reason,
    Seconds,
    Severity,
)
from monitor.core.rule import BaseRule, healthy, setting, unhealthy, unknown
from monitor.core.status import EnvironmentStatus
from monitor.core.text import rfc3339, span

AFTER_DEADLINE: Seconds = 1.0
"""A deadline D is probed from D + 1 s on, as a campaign's is."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules of an environment need to know beside the breaker; spans in seconds."""

    campaigns: int
    effective_interval: Seconds
    unreadable_after: Seconds


@dataclass(frozen=True, kw_only=True)
class EnvironmentRule(BaseRule, ABC):
    """A rule of an environment: looks at the breaker right after a call."""

    @abstractmethod
    def judge(self, status: EnvironmentStatus, facts: Facts, now: Instant) -> Finding:
        """Return the verdict after a call."""


@dataclass(frozen=True, kw_only=True)
class ApiUnreachable(EnvironmentRule, alertname="TalkoverApiUnreachable"):
    """The breaker has been open for `after` or longer for want of answers."""

    name: ClassVar[str] = "api_unreachable"
    meaning: ClassVar[str] = "the TalkOver API does not answer, so nothing is known"
    next_step: ClassVar[str] = (
        "Check TalkOver's status page, then base_url, DNS, proxy and firewall from this host."
    )

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")
    after: Seconds = setting(5 * MINUTE, "how long the API must have been unreachable")

    def judge(self, status: EnvironmentStatus, facts: Facts, now: Instant) -> Finding:
        """Return unhealthy once the breaker has been open for `after`; unknown before."""
        if status.outage_at is None:
            if status.unanswered:
                return unknown(f"{status.unanswered} calls in a row were not answered")
            return healthy("the API answers", {})
        reason = (status.outage_reason or Reason.CONNECT_ERROR).value
        evidence = {"reason": reason, "opened_at": rfc3339(status.outage_at)}
        first = status.outage_at if status.unanswered_at is None else status.unanswered_at
        summary = f"the API does not answer since {rfc3339(first)}: {reason}"
        if reason == Reason.NOT_FOUND:
            what = "every campaign" if facts.campaigns else "the listing"
            summary = f"404 for {what}: base_url is wrong, or the API has moved"
        if now - status.outage_at < self.after:
            return replace(unknown(summary, evidence), recheck_at=status.outage_at + self.after)
        return unhealthy(summary, evidence, since=first)


@dataclass(frozen=True, kw_only=True)
class TokenRejected(EnvironmentRule, alertname="TalkoverTokenRejected"):
    """The API rejects the environment's token: 401 twice, or 403 to every campaign."""

    name: ClassVar[str] = "token_rejected"
    meaning: ClassVar[str] = "the API rejects the token, so nothing is known"
    next_step: ClassVar[str] = (
        "Make a new environment token in TalkOver and put it where token_file points; it is read "
        "again by itself."
    )

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")
    for_: Seconds = setting(3 * MINUTE, "how long it must be unhealthy before on-call is told")

    def judge(self, status: EnvironmentStatus, facts: Facts, now: Instant) -> Finding:
        """Return unhealthy while the breaker is open with this cause and the API answers."""
        if status.unanswered or status.outage_at is not None:
            return unknown("the API does not answer")
        if status.rejected_at is not None:
            reason = (status.rejected_by or Reason.UNAUTHORIZED).value
            evidence = {"reason": reason, "opened_at": rfc3339(status.rejected_at)}
            summary = f"the API rejects the token since {rfc3339(status.rejected_at)}: {reason}"
            return unhealthy(summary, evidence, since=status.rejected_at)
        if status.unauthorized_with is not None:
            return unknown("the token was rejected once and is read again")
        return healthy("the API accepts the token", {})


@dataclass(frozen=True, kw_only=True)
class BudgetInsufficient(EnvironmentRule, alertname="TalkoverBudgetInsufficient"):
    """The request budget gives a longer interval than a campaign may stay unread."""

    name: ClassVar[str] = "budget_insufficient"
    meaning: ClassVar[str] = "the request budget is too small for so many campaigns"
    next_step: ClassVar[str] = (
        "Raise budget_share, watch fewer campaigns, or have TalkOver raise the plan's limit."
    )

    for_: Seconds = setting(30 * MINUTE, "how long it must be unhealthy before on-call is told")

    def judge(self, status: EnvironmentStatus, facts: Facts, now: Instant) -> Finding:
        """Return unhealthy when one sweep takes longer than `unreadable.after`."""
        interval, allowed = span(facts.effective_interval), span(facts.unreadable_after)
        evidence = {"effective_interval": interval, "allowed": allowed}
        summary = f"{facts.campaigns} campaigns are read every {interval}, wanted within {allowed}"
        if facts.effective_interval > facts.unreadable_after:
            return unhealthy(summary, evidence)
        return healthy(summary, evidence)


ENVIRONMENT_RULES: dict[str, type[EnvironmentRule]] = {
    cls.name: cls for cls in (ApiUnreachable, TokenRejected, BudgetInsufficient)
}
"""Every rule of an environment by its name, in the order in which events are told."""


def resolve_environment_rules(
    settings: Mapping[str, Mapping[str, Any]],
) -> dict[str, EnvironmentRule]:
    """Return the enabled rules with these settings (rule name → field → value), in table order."""
    made = {name: cls(**settings.get(name, {})) for name, cls in ENVIRONMENT_RULES.items()}
    return {name: rule for name, rule in made.items() if rule.enabled}


def assess_environment(
    before: EnvironmentStatus,
    rules: Mapping[str, EnvironmentRule],
    facts: Facts,
    now: Instant,
    *,
    labels: AlertLabels,
    remind_every: RemindEvery,
) -> tuple[EnvironmentStatus, Mapping[str, Finding], tuple[Event, ...]]:
    """Decide, right after a call, what the state of the breaker means; with the findings."""
    findings = {name: rule.judge(before, facts, now) for name, rule in rules.items()}
    alerts, told = events.decide(
        before.alerts,
        findings,
        rules,
        _subject(before.name, labels, now),
        muter_of=_nothing_mutes,
        remind_every=remind_every,
        definite=False,
    )
    return replace(before, alerts=alerts), findings, told


def reconcile_environment(
    before: EnvironmentStatus,
    rules: Mapping[str, EnvironmentRule],
    now: Instant,
    labels: AlertLabels,
    gone: str = "rule_removed",
) -> tuple[EnvironmentStatus, tuple[Event, ...]]:
    """Decide what a start or a changed config means for an environment's alerts.

    An environment that was removed has no `rules` left and is `gone` as `environment_removed`.
    """
    kept = _not_after(before, now)
    ordered = events.in_table_order(kept.alerts, ENVIRONMENT_RULES)
    alerts, told = events.reconcile(ordered, rules, _subject(before.name, labels, now), gone)
    return replace(kept, alerts=alerts), told


def firing_alert(status: EnvironmentStatus) -> str | None:
    """Return the alert of the environment that mutes its `unreadable` alerts, if one fires."""
    for name in (ApiUnreachable.name, TokenRejected.name):
        alert = status.alerts.get(name)
        if alert is not None and alert.unhealthy:
            return name
    return None


def next_probe(
    status: EnvironmentStatus,
    rules: Mapping[str, EnvironmentRule],
    facts: Facts,
    probe_interval: Seconds,
    token_probe_interval: Seconds,
) -> Instant:
    """Return when the open breaker lets its next probe through; a deadline may be earlier."""
    called_at = 0.0 if status.called_at is None else status.called_at
    interval = token_probe_interval if status.outage_at is None else probe_interval
    # As of the last call: a deadline that has passed since then is due, not forgotten.
    instants = [rule.judge(status, facts, called_at).recheck_at for rule in rules.values()]
    instants += [
        recheck_at(alert, rules[name]) for name, alert in status.alerts.items() if name in rules
    ]
    deadlines = [at + AFTER_DEADLINE for at in instants if at is not None and at > called_at]
    return min([called_at + interval, *deadlines])


def _not_after(status: EnvironmentStatus, now: Instant) -> EnvironmentStatus:
    # A call from the future (the clock was wrong) would put off the next probe until then.
    return replace(
        status,
        unanswered_at=clamped(status.unanswered_at, now),
        outage_at=clamped(status.outage_at, now),
        rejected_at=clamped(status.rejected_at, now),
        called_at=clamped(status.called_at, now),
        swept_at=clamped(status.swept_at, now),
    )


def _nothing_mutes(_rule: str, _alerts: Alerts) -> None:
    return None


def _subject(environment: str, labels: AlertLabels, now: Instant) -> Subject:
    return Subject(environment=environment, labels=labels, observed_at=now, decided_at=now)
