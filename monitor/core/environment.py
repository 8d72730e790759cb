"""What is wrong with an API: the breaker of an environment.

The breaker sees the outcome of every call. Three calls in a row that were not answered open it,
and so does a rejected token; open, it lets only probes through, and the first answer closes it.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from monitor.core.model import (
    AlertLabels,
    Finding,
    Instant,
    NoConfig,
    Observation,
    Page,
    PollError,
    Reason,
    Seconds,
)
from monitor.core.rule import BaseRule, RemindEvery, Target
from monitor.core.status import EnvironmentStatus, Run

UNANSWERED = frozenset(
    {
        Reason.TIMEOUT, Reason.CONNECT_ERROR, Reason.DNS_ERROR, Reason.TLS_ERROR, Reason.HTTP_5XX,
        Reason.REDIRECT, Reason.BAD_CONTENT_TYPE, Reason.CONNECTION_LOST, Reason.PROTOCOL_ERROR,
    }
)  # fmt: skip
"""Outcomes that are no answer of the API: nothing came, or what came is not its own."""

# These may be answered before the token is checked.
SAYS_NOTHING_OF_THE_TOKEN = UNANSWERED | {Reason.RATE_LIMITED, Reason.API_ERROR, Reason.NOT_FOUND}

CALLS_TO_OPEN = 3  # so many unanswered calls in a row open the breaker

# From so many campaigns on, the same 403 or 404 for all of them is the environment's matter; a run
# of 403 about so many different ones is enough where there are more of them.
CAMPAIGNS_TO_OPEN, RUN_TO_OPEN = 3, 10


@dataclass(frozen=True, slots=True)
class Call:
    """The outcome of one call."""

    campaign_id: str | None  # None: for a page of the listing
    observation: Observation | Page
    token_generation: int = 0  # how often the token was read
    notified: bool = True  # on-call is notified of the campaign

    @property
    def reason(self) -> Reason | None:
        """Why it gave no definite answer; None: it gave one."""
        return self.observation.reason if isinstance(self.observation, PollError) else None


@dataclass(frozen=True, slots=True)
class EnvironmentContext:
    """What a decision on an environment depends on beside its status."""

    campaigns: int
    notified: int  # of so many of the campaigns on-call is notified
    effective_interval: Seconds
    unreadable_after: Seconds
    rules: Mapping[str, "EnvironmentRule"] = field(default_factory=dict)  # the enabled ones
    labels: AlertLabels = AlertLabels()  # those of an alert that fires now
    remind_every: RemindEvery = field(default_factory=dict)


def interpret(status: EnvironmentStatus, observation: Observation, campaigns: int) -> Observation:
    """Return what an observation means in its environment."""
    # A 404 where nothing was ever readable may be a wrong base URL as well as a missing config.
    untrusted = not status.readable_seen and campaigns >= CAMPAIGNS_TO_OPEN
    if isinstance(observation, NoConfig) and observation.by_404 and untrusted:
        return PollError(Reason.NOT_FOUND, "404, and no campaign could be read so far")
    return observation


def observe(
    before: EnvironmentStatus, call: Call, context: EnvironmentContext, now: Instant
) -> EnvironmentStatus:
    """Return the breaker after one call; a page of the listing shows base URL and token right."""
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
    run = _run(status.run, call, context, now)
    status = replace(status, run=run, unanswered=0, unanswered_at=None)
    return _token(_outage(status, call, context, now), call, context, now)


def _run(run: Run | None, call: Call, context: EnvironmentContext, now: Instant) -> Run | None:
    """Return the run of the same refusal after an answer; another one about a campaign ends it."""
    reason = call.reason
    # A listing is no answer about a campaign.
    if call.campaign_id is None or reason is None:
        return run if call.campaign_id is None else None
    if run is None or run.reason is not reason:
        run = Run(reason, 0, now)
    campaigns, counts = run.campaigns, call.notified or reason is Reason.NOT_FOUND
    if counts and len(campaigns) < _campaigns_to_open(reason, context):
        campaigns |= {call.campaign_id}
    return replace(run, count=run.count + 1, campaigns=campaigns)


def _campaigns_to_open(reason: Reason, context: EnvironmentContext) -> int:
    # A wrong base URL gives 404 for all; a token may lose its rights to some campaigns alone.
    wanted = min(RUN_TO_OPEN, context.notified)
    return max(CAMPAIGNS_TO_OPEN, context.campaigns if reason is Reason.NOT_FOUND else wanted)


def _is_refused(run: Run | None, call: Call, context: EnvironmentContext) -> bool:
    """Return whether refusals are the environment's matter by now, not single campaigns'."""
    # None of none is all of them: only where no campaign is known, the listing's refusal decides.
    if call.campaign_id is None:
        return not context.campaigns
    return run is not None and len(run.campaigns) >= _campaigns_to_open(run.reason, context)


def _outage(
    status: EnvironmentStatus, call: Call, context: EnvironmentContext, now: Instant
) -> EnvironmentStatus:
    if call.reason is Reason.NOT_FOUND:
        if status.outage_at is None and _is_refused(status.run, call, context):
            return replace(status, outage_at=now, outage_reason=call.reason)
        if status.outage_reason is Reason.NOT_FOUND:
            return status
    # `data: null` comes from the very endpoint; a 404 may come from any server.
    read = call.reason is None and call.observation != NoConfig(by_404=True)
    seen = status.readable_seen or read
    return replace(status, outage_at=None, outage_reason=None, readable_seen=seen)


def _token(
    status: EnvironmentStatus, call: Call, context: EnvironmentContext, now: Instant
) -> EnvironmentStatus:
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
    proves_nothing = reason is Reason.FORBIDDEN or (context.campaigns and call.campaign_id is None)
    if proves_nothing and status.rejected_by is Reason.FORBIDDEN:
        return status
    if reason is Reason.FORBIDDEN and _is_refused(status.run, call, context):
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


class EnvironmentRule(BaseRule):
    """A rule of an environment: evaluates the breaker right after a call."""

    @abstractmethod
    def evaluate(
        self, status: EnvironmentStatus, context: EnvironmentContext, now: Instant
    ) -> Finding:
        """Return the verdict after a call."""
