"""The rules of an environment: what its breaker means for on-call."""

from abc import abstractmethod
from dataclasses import dataclass, field

from monitor.core.alerts import RemindEvery
from monitor.core.model import MINUTE, AlertLabels, Finding, Instant, Reason, Seconds, Severity
from monitor.core.rule import BaseRule, healthy, setting, unhealthy, unknown
from monitor.core.status import EnvironmentStatus
from monitor.core.text import rfc3339, span


@dataclass(frozen=True, slots=True)
class Facts:
    """What a decision on an environment depends on beside its status."""

    campaigns: int
    notified: int  # of so many of the campaigns on-call is notified
    effective_interval: Seconds
    unreadable_after: Seconds
    labels: AlertLabels = AlertLabels()  # those of an alert that fires now
    remind_every: RemindEvery = field(default_factory=dict)


class EnvironmentRule(BaseRule):
    """A rule of an environment: looks at the breaker right after a call."""

    @abstractmethod
    def judge(self, status: EnvironmentStatus, facts: Facts, now: Instant) -> Finding:
        """Return the verdict after a call."""


class ApiUnreachable(EnvironmentRule, alertname="TalkoverApiUnreachable"):
    """The breaker has been open for `after` or longer for want of answers."""

    name = "api_unreachable"
    meaning = "the TalkOver API does not answer, so nothing is known"
    next_step = (
        "Check TalkOver's status page, then base_url, DNS, proxy and firewall from this host."
    )

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")
    after: Seconds = setting(5 * MINUTE, "how long the API must have been unreachable")

    def judge(self, status: EnvironmentStatus, facts: Facts, now: Instant) -> Finding:
        """Return unhealthy once the breaker has been open for `after`; unknown before."""
        if status.outage_at is None:
            if status.unanswered:
                return unknown(f"{status.unanswered} calls in a row were not answered")
            return healthy("the API answers")
        reason = (status.outage_reason or Reason.CONNECT_ERROR).value
        evidence = {"reason": reason, "opened_at": rfc3339(status.outage_at)}
        first = status.unanswered_at or status.outage_at
        summary = f"the API does not answer since {rfc3339(first)}: {reason}"
        if reason == Reason.NOT_FOUND:
            what = "every campaign" if facts.campaigns else "the listing"
            summary = f"404 for {what}: base_url is wrong, or the API has moved"
        if now - status.outage_at < self.after:
            return unknown(summary, evidence, recheck_at=status.outage_at + self.after)
        return unhealthy(summary, evidence, since=first)


class TokenRejected(EnvironmentRule, alertname="TalkoverTokenRejected"):
    """The API rejects the environment's token: 401 twice, or a run of 403."""

    name = "token_rejected"
    meaning = "the API rejects the token, so nothing is known"
    next_step = (
        "Make a new environment token in TalkOver and put it where token_file points; it is read "
        "again by itself."
    )

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")
    for_: Seconds = setting(3 * MINUTE, "how long it must be unhealthy before it fires")

    def judge(self, status: EnvironmentStatus, facts: Facts, now: Instant) -> Finding:
        """Return unhealthy while the breaker is open with this cause and the API answers."""
        if status.unanswered or status.outage_at is not None:
            return unknown("the API does not answer")
        if status.rejected_at is not None:
            at, reason = rfc3339(status.rejected_at), status.rejected_by or Reason.UNAUTHORIZED
            evidence = {"reason": reason.value, "opened_at": at}
            summary = f"the API rejects the token since {at}: {reason.value}"
            return unhealthy(summary, evidence, since=status.rejected_at)
        if status.unauthorized_with is not None:
            return unknown("the token was rejected once and is read again")
        return healthy("the API accepts the token")


class BudgetInsufficient(EnvironmentRule, alertname="TalkoverBudgetInsufficient"):
    """The request budget gives a longer interval than a campaign may stay unread."""

    name = "budget_insufficient"
    meaning = "the request budget is too small for so many campaigns"
    next_step = (
        "Raise budget_share, watch fewer campaigns, or have TalkOver raise the plan's limit."
    )

    for_: Seconds = setting(30 * MINUTE, "how long it must be unhealthy before it fires")

    def judge(self, status: EnvironmentStatus, facts: Facts, now: Instant) -> Finding:
        """Return unhealthy when one sweep takes longer than `unreadable.after`."""
        interval, allowed = span(facts.effective_interval), span(facts.unreadable_after)
        evidence = {"effective_interval": interval, "allowed": allowed}
        summary = f"{facts.campaigns} campaigns are read every {interval}, wanted within {allowed}"
        if facts.effective_interval > facts.unreadable_after:
            return unhealthy(summary, evidence)
        return healthy(summary, evidence)


# Every rule of an environment by its name, in the order in which events are told.
ENVIRONMENT_RULES: dict[str, type[EnvironmentRule]] = {
    cls.name: cls for cls in (ApiUnreachable, TokenRejected, BudgetInsufficient)
}


def firing_alert(status: EnvironmentStatus) -> str | None:
    """Return the alert of the environment that mutes its `unreadable` alerts, if one fires."""
    names = (ApiUnreachable.name, TokenRejected.name)
    firing = (name for name in names if name in status.alerts and status.alerts[name].unhealthy)
    return next(firing, None)
