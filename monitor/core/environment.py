"""What an answer means for an environment: one step of its clock, its breaker and its alerts.

The breaker sees the outcome of every call. Three calls in a row that were not answered open it,
and so does a rejected token; open, it lets only probes through, and the first answer closes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from monitor.core.alerts import AFTER_DEADLINE, Subject, decide, next_deadline
from monitor.core.alerts import reconcile as reconcile_alerts
from monitor.core.clock import with_server_date
from monitor.core.environment_rules import ENVIRONMENT_RULES, EnvironmentRule, Facts
from monitor.core.model import (
    AlertLabels,
    Event,
    Finding,
    Instant,
    ListingPage,
    NoConfig,
    Observation,
    PollError,
    Reason,
    Seconds,
)
from monitor.core.rule import Target
from monitor.core.status import EnvironmentStatus, Run, clamped

UNANSWERED = frozenset(
    {
        Reason.TIMEOUT, Reason.CONNECT_ERROR, Reason.DNS_ERROR, Reason.TLS_ERROR, Reason.HTTP_5XX,
        Reason.REDIRECT, Reason.BAD_CONTENT_TYPE, Reason.CONNECTION_LOST, Reason.PROTOCOL_ERROR,
    }
)  # fmt: skip
"""Outcomes that are no answer of the API: nothing came, or what came is not its own."""

# These may be answered before anybody has looked at the token.
SAYS_NOTHING_OF_THE_TOKEN = UNANSWERED | {Reason.RATE_LIMITED, Reason.API_ERROR, Reason.NOT_FOUND}

CALLS_TO_OPEN = 3  # so many unanswered calls in a row open the breaker

# From so many campaigns on, the same 403 or 404 for all of them is the environment's matter; a run
# of 403 about so many different ones is enough where there are more of them.
CAMPAIGNS_TO_OPEN, RUN_TO_OPEN = 3, 10


@dataclass(frozen=True, slots=True)
class Call:
    """The outcome of one call."""

    campaign_id: str | None  # None: for a page of the listing
    observation: Observation | ListingPage
    token_generation: int = 0  # how often the token was read
    notified: bool = True  # on-call is notified of the campaign

    @property
    def reason(self) -> Reason | None:
        """Why it gave no definite answer; None: it gave one."""
        return self.observation.reason if isinstance(self.observation, PollError) else None


def interpret(status: EnvironmentStatus, observation: Observation, campaigns: int) -> Observation:
    """Return what an observation means in its environment."""
    # A 404 where nothing was ever readable may be a wrong base URL as well as a missing config.
    untrusted = not status.readable_seen and campaigns >= CAMPAIGNS_TO_OPEN
    if isinstance(observation, NoConfig) and observation.by_404 and untrusted:
        return PollError(Reason.NOT_FOUND, "404, and no campaign could be read so far")
    return observation


def step(
    before: EnvironmentStatus,
    call: Call,
    server_date: Instant | None,
    rules: Mapping[str, EnvironmentRule],
    facts: Facts,
    now: Instant,
) -> tuple[EnvironmentStatus, Mapping[str, Finding], tuple[Event, ...]]:
    """Decide what the outcome of a call means; `server_date` is the API's, `now` our clock's."""
    status = observe(with_server_date(before, server_date, now), call, facts, now)
    findings = {name: rule.judge(status, facts, now) for name, rule in rules.items()}
    subject = _subject(before.name, facts.labels, now)
    alerts, events = decide(before.alerts, findings, rules, subject, facts.remind_every)
    return replace(status, alerts=alerts), findings, events


def observe(before: EnvironmentStatus, call: Call, facts: Facts, now: Instant) -> EnvironmentStatus:
    """Return the breaker after one call.

    A page of the listing shows that base URL and token are right. That it is refused (403, 404)
    matters only where no campaign is known.
    """
    reason = call.reason
    # A mistake of our own, or what a cache has kept, is no evidence of the API, neither way.
    if reason in (Reason.INTERNAL_ERROR, Reason.CACHED):
        return replace(before, called_at=now)
    up = reason not in UNANSWERED and reason is not Reason.UNAUTHORIZED
    status = replace(before, called_at=now, up=up)
    if reason in UNANSWERED:
        first = now if status.unanswered == 0 else status.unanswered_at
        status = replace(status, unanswered=status.unanswered + 1, unanswered_at=first)
        if status.unanswered < CALLS_TO_OPEN:
            return status
        return replace(status, outage_at=status.outage_at or now, outage_reason=reason)
    run = _run(status.run, call, facts, now)
    status = replace(status, run=run, unanswered=0, unanswered_at=None)
    return _token(_outage(status, call, facts, now), call, facts, now)


def _run(run: Run | None, call: Call, facts: Facts, now: Instant) -> Run | None:
    """Return the run of the same refusal after an answer; another one about a campaign ends it."""
    reason = call.reason
    # A listing is no answer about a campaign.
    if call.campaign_id is None or reason is None:
        return run if call.campaign_id is None else None
    if run is None or run.reason is not reason:
        run = Run(reason, 0, now)
    campaigns, counts = run.campaigns, call.notified or reason is Reason.NOT_FOUND
    if counts and len(campaigns) < _campaigns_to_open(reason, facts):
        campaigns |= {call.campaign_id}
    return replace(run, count=run.count + 1, campaigns=campaigns)


def _campaigns_to_open(reason: Reason, facts: Facts) -> int:
    # A wrong base URL gives 404 for all; a token may lose its rights to some campaigns alone.
    wanted = min(RUN_TO_OPEN, facts.notified)
    return max(CAMPAIGNS_TO_OPEN, facts.campaigns if reason is Reason.NOT_FOUND else wanted)


def _is_refused(run: Run | None, call: Call, facts: Facts) -> bool:
    """Return whether refusals are the environment's matter by now, not single campaigns'."""
    # None of none is all of them: where no campaign is known, the listing's refusal decides.
    if call.campaign_id is None:
        return not facts.campaigns
    return run is not None and len(run.campaigns) >= _campaigns_to_open(run.reason, facts)


def _outage(status: EnvironmentStatus, call: Call, facts: Facts, now: Instant) -> EnvironmentStatus:
    if call.reason is Reason.NOT_FOUND:
        if status.outage_at is None and _is_refused(status.run, call, facts):
            return replace(status, outage_at=now, outage_reason=call.reason)
        if status.outage_reason is Reason.NOT_FOUND:
            return status
    # `data: null` comes from the very endpoint; a 404 may come from any server.
    read = call.reason is None and call.observation != NoConfig(by_404=True)
    seen = status.readable_seen or read
    return replace(status, outage_at=None, outage_reason=None, readable_seen=seen)


def _token(status: EnvironmentStatus, call: Call, facts: Facts, now: Instant) -> EnvironmentStatus:
    reason = call.reason
    if reason is Reason.UNAUTHORIZED:
        first = status.unauthorized_with
        if first is None:
            return replace(status, unauthorized_with=call.token_generation)
        if call.token_generation > first and status.rejected_at is None:
            return replace(status, rejected_at=now, rejected_by=reason)
        return status
    if reason in SAYS_NOTHING_OF_THE_TOKEN:
        return status
    status = replace(status, unauthorized_with=None)
    proves_nothing = reason is Reason.FORBIDDEN or (facts.campaigns and call.campaign_id is None)
    if proves_nothing and status.rejected_by is Reason.FORBIDDEN:
        return status
    if reason is Reason.FORBIDDEN and _is_refused(status.run, call, facts):
        return replace(status, rejected_at=now, rejected_by=reason)
    return replace(status, rejected_at=None, rejected_by=None)


def of_campaigns(status: EnvironmentStatus, targets: Mapping[str, Target]) -> EnvironmentStatus:
    """Return the status of an environment that has these campaigns, and no others any more."""
    run = status.run
    if run is None:
        return status
    count = {
        key
        for key in run.campaigns & targets.keys()
        if run.reason is Reason.NOT_FOUND or targets[key].muted_status is None
    }
    return replace(status, run=replace(run, campaigns=frozenset(count)))


def reconcile(
    before: EnvironmentStatus,
    rules: Mapping[str, EnvironmentRule],
    now: Instant,
    labels: AlertLabels | None = None,
    gone: str | None = None,
) -> tuple[EnvironmentStatus, tuple[Event, ...]]:
    """Decide what a start or a changed config means; one that is `gone` has no `rules` left."""
    # A call from the future (the clock was wrong) would put off the next probe until then.
    kept = replace(before.redated(clamped(now)), swept_at=clamped(now)(before.swept_at))
    subject = _subject(before.name, labels or AlertLabels(), now)
    alerts, events = reconcile_alerts(kept.alerts, ENVIRONMENT_RULES, rules, subject, gone)
    return replace(kept, alerts=alerts), events


def next_probe(
    status: EnvironmentStatus,
    rules: Mapping[str, EnvironmentRule],
    facts: Facts,
    probe_interval: Seconds,
    token_probe_interval: Seconds,
) -> Instant:
    """Return when the open breaker lets its next probe through; a deadline may be earlier."""
    called_at = status.called_at or 0.0
    interval = token_probe_interval if status.outage_at is None else probe_interval
    # As of the last call: a deadline that has passed since then is due, not forgotten.
    findings = {name: rule.judge(status, facts, called_at) for name, rule in rules.items()}
    deadline = next_deadline(status.alerts, rules, findings, called_at)
    regular = called_at + interval
    return regular if deadline is None else min(regular, deadline + AFTER_DEADLINE)


def _subject(environment: str, labels: AlertLabels, now: Instant) -> Subject:
    return Subject(environment=environment, labels=labels, observed_at=now, decided_at=now)
