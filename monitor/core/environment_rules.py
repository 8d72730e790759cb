"""The rules of an environment: views of its breaker, its listings and its connection tests."""

from collections.abc import Iterable
from typing import ClassVar

from monitor.core.environment import EnvironmentInput, EnvironmentRule
from monitor.core.model import MINUTE, Finding, Reason, Seconds, Severity, setting
from monitor.core.rule import healthy, unhealthy, unknown
from monitor.core.status import Alert, EnvironmentStatus
from monitor.core.text import rfc3339, span


class ApiUnreachable(EnvironmentRule, alertname="TalkoverApiUnreachable"):
    """The breaker has been open for `after` or longer for want of answers."""

    name = "api_unreachable"
    meaning = "the TalkOver API does not answer, so nothing is known"
    next_step = (
        "Check TalkOver's status page, then base_url, DNS, proxy and firewall from this host."
    )

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")
    after: Seconds = setting(5 * MINUTE, "how long the API must have been unreachable")

    def evaluate(self, inputs: EnvironmentInput) -> Finding:
        """Return unhealthy once the breaker has been open for `after`; unknown before."""
        status, context, now = inputs
        if status.outage_at is None:
            if status.unanswered:
                return unknown(f"{status.unanswered} calls in a row were not answered")
            return healthy("the API answers")
        reason = (status.outage_reason or Reason.CONNECT_ERROR).value
        evidence = {"reason": reason, "opened_at": rfc3339(status.outage_at)}
        evidence |= _words(status, reason)
        first = status.unanswered_at or status.outage_at
        summary = f"the API does not answer since {rfc3339(first)}: {reason}"
        if reason == Reason.NOT_FOUND:
            what = "every campaign" if context.campaigns else "the listing"
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
    rights: ClassVar[str] = (
        "Read the API's words in the evidence: is this host's address allowed, and may the token "
        "read the campaigns? Give it that in TalkOver; it is no matter of another token yet."
    )

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")
    for_: Seconds = setting(3 * MINUTE, "how long it must be unhealthy before it fires")

    def evaluate(self, inputs: EnvironmentInput) -> Finding:
        """Return unhealthy while the breaker is open with this cause and the API answers."""
        status = inputs.status
        if status.unanswered or status.outage_at is not None:
            return unknown("the API does not answer")
        if status.rejected_at is not None:
            at, reason = rfc3339(status.rejected_at), status.rejected_by or Reason.UNAUTHORIZED
            evidence = {"reason": reason.value, "opened_at": at, **_words(status, reason.value)}
            summary = f"the API rejects the token since {at}: {reason.value}"
            # Another token would be forbidden the same.
            step = self.rights if reason is Reason.FORBIDDEN else ""
            return unhealthy(summary, evidence, since=status.rejected_at, next_step=step)
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

    def evaluate(self, inputs: EnvironmentInput) -> Finding:
        """Return unhealthy when one sweep takes longer than `unreadable.after`."""
        context = inputs.context
        interval, allowed = span(context.effective_interval), span(context.unreadable_after)
        evidence = {"effective_interval": interval, "allowed": allowed}
        summary = (
            f"{context.campaigns} campaigns are read every {interval}, wanted within {allowed}"
        )
        if context.effective_interval > context.unreadable_after:
            return unhealthy(summary, evidence)
        return healthy(summary, evidence)


class ApiRefusing(EnvironmentRule, alertname="TalkoverApiRefusing"):
    """The breaker has been open for `after` or longer for one and the same refusal of all."""

    name = "api_refusing"
    meaning = "the API refuses every campaign alike, so nothing is known"
    next_step = (
        "Read the API's words in the evidence, and ask TalkOver: for a bill, a release, an outage. "
        "Where a proxy or firewall of yours has written them, ask its people."
    )

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")
    after: Seconds = setting(5 * MINUTE, "how long it must have refused all of them")

    def evaluate(self, inputs: EnvironmentInput) -> Finding:
        """Return unhealthy once the breaker has been open for `after` with this cause."""
        status, _, now = inputs
        if status.unanswered or status.outage_at is not None:
            return unknown("the API does not answer")
        if status.refused_at is None or status.refused_with is None:
            return healthy("the API does not refuse every campaign alike")
        refused, run = status.refused_with, status.run
        ongoing = run is not None and run.reason is refused.reason
        since = run.first_at if run is not None and ongoing else status.refused_at
        evidence = {"reason": refused.reason.value, "opened_at": rfc3339(status.refused_at)}
        if refused.detail:
            evidence["detail"] = refused.detail
        summary = f"the API refuses every campaign since {rfc3339(since)}: {refused.reason.value}"
        if now - status.refused_at < self.after:
            return unknown(summary, evidence, recheck_at=status.refused_at + self.after)
        return unhealthy(summary, evidence, since=since)


class DiscoveryFailing(EnvironmentRule, alertname="TalkoverDiscoveryFailing"):
    """No listing of the campaigns was complete and believed for four times `discovery.every`."""

    name = "discovery_failing"
    meaning = "the campaigns cannot be listed, so new ones are not watched"
    next_step = (
        "Read why: a refusal is a matter of the token's rights, too few campaigns one of TalkOver; "
        "compare with the list there."
    )

    LISTINGS, AT_LEAST = 4, 10 * MINUTE

    def evaluate(self, inputs: EnvironmentInput) -> Finding:
        """Return unhealthy where the last listing was not believed, nor any for so long."""
        status, context, now = inputs
        allowed = max(self.LISTINGS * context.discovery_every, self.AT_LEAST)
        since = status.discovered_at or status.discovering_since
        last = since or now
        evidence = {"allowed": span(allowed)}
        if status.breaker_open or context.paused:
            return unknown("the API does not answer, or has asked for a pause")
        if now - last < allowed:
            summary = f"the campaigns were listed within {span(allowed)}"
            return healthy(summary, evidence, recheck_at=since and since + allowed)
        if not status.listing_doubt:  # after a pause, an outage or a start: the next one shows
            return unknown("no listing has ended yet since the API answers")
        summary = f"no listing of the campaigns for {span(now - last)}: {status.listing_doubt}"
        evidence["reason"] = status.listing_doubt
        return unhealthy(summary, evidence, since=last + allowed)


class TestsFailing(EnvironmentRule, alertname="TalkoverTestsFailing"):
    """The last connection tests failed, each at another host: it is the platform's matter."""

    __test__ = False  # no test case of pytest's

    name = "tests_failing"
    meaning = "connection tests fail at every host, so the platform cannot reach anybody"
    next_step = "Ask TalkOver whether their platform reaches the outside; imports fail as well."

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")
    for_: Seconds = setting(10 * MINUTE, "how long it must be unhealthy before it fires")

    def evaluate(self, inputs: EnvironmentInput) -> Finding:
        """Return unhealthy from the first of the failed tests on, until a probe has passed."""
        tests = inputs.status.tests
        if tests.failing_since is None:
            return healthy("connection tests do not fail everywhere")
        causes = dict.fromkeys(one.cause or "no answer" for one in tests.recent)
        hosts = ", ".join(dict.fromkeys(one.server for one in tests.recent))
        evidence = {"causes": "; ".join(causes), "hosts": hosts}
        summary = f"connection tests fail at every host since {rfc3339(tests.failing_since)}"
        return unhealthy(summary, evidence, since=tests.failing_since)


class TestsSuspended(EnvironmentRule, alertname="TalkoverTestsSuspended"):
    """No connection test is run: one has done harm, or the platform turns them away."""

    __test__ = False

    name = "tests_suspended"
    meaning = "the monitor runs no connection tests any more"
    next_step = (
        "Read why; once that is settled run `sftp-monitor tests resume`. A campaign that was "
        "switched off can be enabled again after a passed test."
    )

    severity: Severity = setting(Severity.CRITICAL, "for a campaign switched off; else warning")

    def severity_of(self, found: Finding | Alert) -> Severity:
        """Return how loud it is: as set where a campaign was switched off."""
        return self.severity if "campaign" in found.evidence else Severity.WARNING

    def evaluate(self, inputs: EnvironmentInput) -> Finding:
        """Return unhealthy while tests are suspended here."""
        suspended = inputs.status.tests.suspended
        if suspended is None or suspended.by:
            return healthy("connection tests are not suspended")
        evidence = {"reason": suspended.why}
        if suspended.campaign_id:
            evidence["campaign"] = suspended.campaign_id
        return unhealthy(f"no tests: {suspended.why}", evidence, since=suspended.since)


# Every rule of an environment by its name, in the order in which events are sent.
ENVIRONMENT_RULES: dict[str, type[EnvironmentRule]] = {
    cls.name: cls
    for cls in (
        ApiUnreachable, TokenRejected, BudgetInsufficient, ApiRefusing, DiscoveryFailing,
        TestsFailing, TestsSuspended,
    )
}  # fmt: skip

ABOUT_TESTS = frozenset({TestsFailing.name, TestsSuspended.name})
"""Those that there are only where tests are on."""


def _words(status: EnvironmentStatus, reason: str) -> dict[str, str]:
    """Return the API's own words for this reason, or those of who answers in its place."""
    said = status.error
    return {"detail": said.detail} if said and said.reason == reason and said.detail else {}


MUTE_UNREADABLE = (ApiUnreachable.name, TokenRejected.name, ApiRefusing.name)


def firing_alert(status: EnvironmentStatus, names: Iterable[str] = MUTE_UNREADABLE) -> str | None:
    """Return the first of these alerts of the environment that fires; None: none of them does."""
    firing = (name for name in names if name in status.alerts and status.alerts[name].unhealthy)
    return next(firing, None)
