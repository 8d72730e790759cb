"""What is wrong with an API: the breaker of an environment.

The breaker sees the outcome of every call. Three calls in a row that were not answered open it,
and so do a rejected token and one and the same refusal of every campaign; open, it lets only probes
through, and the first answer that is none of these closes it.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

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
    SftpConfig,
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

_OPENS_ELSEWHERE = (Reason.UNAUTHORIZED, Reason.FORBIDDEN, Reason.NOT_FOUND)

CALLS_TO_OPEN = 3  # so many unanswered calls in a row open the breaker

# From so many campaigns on the same refusal of all is the environment's matter; where there are
# more of them, a run of it about so many different ones.
CAMPAIGNS_TO_OPEN, RUN_TO_OPEN = 3, 10


@dataclass(frozen=True, slots=True)
class Call:
    """The outcome of one call."""

    campaign_id: str | None  # None: for a page of the listing
    observation: Observation | Page
    token_generation: int = 0  # how often the token was read
    notified: bool = True  # on-call is notified of the campaign
    had_config: bool = False  # until now, as far as is known
    server_date: Instant | None = None  # of the answer, by the API's clock

    @property
    def refusal(self) -> PollError | None:
        """How the API refuses: also by having no config where there was one until now.

        A release that moves a path, or a database that is put back, does that to all of them.
        """
        if isinstance(self.observation, NoConfig) and self.had_config:
            status = 404 if self.observation.by_404 else 200
            return PollError(Reason.NOT_FOUND, f"{status}, no SFTP config any more", status)
        return self.observation if isinstance(self.observation, PollError) else None

    @property
    def has_none(self) -> bool:
        """True where there is no config, as before."""
        return isinstance(self.observation, NoConfig) and not self.had_config

    @property
    def reason(self) -> Reason | None:
        """Why it gave no definite answer; None: it gave one."""
        return self.observation.reason if isinstance(self.observation, PollError) else None


@dataclass(frozen=True, slots=True)
class EnvironmentContext:
    """What a decision on an environment depends on beside its status."""

    campaigns: int = 0
    notified: int = 0  # of so many of the campaigns on-call is notified
    effective_interval: Seconds = 0.0
    unreadable_after: Seconds = 0.0
    configured: int = 0  # so many of those have had a config until now
    discovery_every: Seconds = 0.0
    paused: bool = False  # the API has asked for a pause
    rules: Mapping[str, "EnvironmentRule"] = field(default_factory=dict)  # the enabled ones
    labels: AlertLabels = AlertLabels()  # those of an alert that fires now
    targets: Iterable[Target] = field(default=(), compare=False)  # no finding depends on them
    remind_every: RemindEvery = field(default_factory=dict)


def interpret(status: EnvironmentStatus, observation: Observation, campaigns: int) -> Observation:
    """Return what an observation means in its environment."""
    # A 404 where nothing was ever readable may be a wrong base URL as well as a missing config.
    untrusted = not status.readable_seen and campaigns >= CAMPAIGNS_TO_OPEN
    if isinstance(observation, NoConfig) and observation.by_404 and untrusted:
        return PollError(Reason.NOT_FOUND, "404, and no campaign could be read so far", 404)
    return observation


# The breaker where a config that was read changes nothing of it.
AT_REST = {
    "run": None, "up": True, "readable_seen": True, "unauthorized_with": None, "unanswered": 0,
    "unanswered_at": None, "outage_at": None, "outage_reason": None, "rejected_at": None,
    "rejected_by": None, "refused_at": None, "refused_with": None,
}  # fmt: skip


def at_rest(status: EnvironmentStatus) -> bool:
    """Return whether a config that is read changes nothing of the breaker but `called_at`."""
    return all(getattr(status, name) == value for name, value in AT_REST.items())


def observe(
    before: EnvironmentStatus, call: Call, context: EnvironmentContext, now: Instant
) -> EnvironmentStatus:
    """Return the breaker after one call; a page of the listing shows base URL and token right."""
    if isinstance(call.observation, SftpConfig) and at_rest(before):
        return before if before.called_at == now else replace(before, called_at=now)
    reason, status = call.reason, replace(before, called_at=now)
    # A mistake of our own is no evidence of the API, neither way.
    if reason is Reason.INTERNAL_ERROR:
        return status
    if isinstance(call.observation, PollError):
        status = replace(status, error=call.observation)
    if reason not in UNANSWERED:
        status = replace(status, run=_run(status.run, call, context, now))
    # What a cache has kept is none, either; but where it answers for the API, that is a refusal.
    if reason is Reason.CACHED:
        return _refused(status, call, context, now)
    status = replace(status, up=reason not in UNANSWERED and reason is not Reason.UNAUTHORIZED)
    if reason in UNANSWERED:
        first = now if status.unanswered == 0 else status.unanswered_at
        status = replace(status, unanswered=status.unanswered + 1, unanswered_at=first)
        if status.unanswered < CALLS_TO_OPEN:
            return status
        return replace(status, outage_at=status.outage_at or now, outage_reason=reason)
    status = _outage(replace(status, unanswered=0, unanswered_at=None), call, context, now)
    return _refused(_token(status, call, context, now), call, context, now)


def _run(run: Run | None, call: Call, context: EnvironmentContext, now: Instant) -> Run | None:
    """Return the run of the same refusal after an answer; another one about a campaign ends it."""
    refusal = call.refusal
    # A listing is no answer about a campaign, and one that never had a config none about others.
    silent = run is not None and run.reason is Reason.NOT_FOUND and call.has_none
    if call.campaign_id is None or refusal is None:
        return run if call.campaign_id is None or silent else None
    if run is None or not _same(run, refusal):
        run = Run(refusal.reason, 0, now, status=refusal.status)
    campaigns, counts = run.campaigns, call.notified or call.reason is Reason.NOT_FOUND
    if counts and len(campaigns) < _campaigns_to_open(run.reason, context):
        campaigns |= {call.campaign_id}
    return replace(run, count=run.count + 1, campaigns=campaigns)


def _campaigns_to_open(reason: Reason, context: EnvironmentContext) -> int:
    # A wrong base URL gives 404 for all, whoever is notified; nobody has had a config then.
    if reason is Reason.NOT_FOUND and not context.configured:
        return max(CAMPAIGNS_TO_OPEN, context.campaigns)
    wanted = context.configured if reason is Reason.NOT_FOUND else context.notified
    return max(CAMPAIGNS_TO_OPEN, min(RUN_TO_OPEN, wanted))


def _is_refused(run: Run | None, call: Call, context: EnvironmentContext) -> bool:
    """Return whether refusals are the environment's matter by now, not single campaigns'."""
    # None of none is all of them: only where no campaign is known, the listing's refusal decides.
    if call.campaign_id is None:
        return not context.campaigns
    return run is not None and len(run.campaigns) >= _campaigns_to_open(run.reason, context)


def _refused(
    status: EnvironmentStatus, call: Call, context: EnvironmentContext, now: Instant
) -> EnvironmentStatus:
    """Return the breaker as one refusal of all opens it, and any other answer closes it."""
    known, refusal = status.refused_with, call.refusal
    if known is None:
        # Of the token and of the base URL it is said elsewhere what opens it.
        if refusal is None or call.reason in _OPENS_ELSEWHERE or status.breaker_open:
            return status
        opens = call.campaign_id is not None and _is_refused(status.run, call, context)
        return replace(status, refused_at=now, refused_with=refusal) if opens else status
    # Neither a page of the listing, nor a pause, nor a cache says how campaigns are answered.
    silent = call.reason in (Reason.CACHED, Reason.RATE_LIMITED)
    silent = silent or (call.has_none and known.reason is Reason.NOT_FOUND)
    same = refusal is not None and _same(known, refusal)
    if silent or same or (call.campaign_id is None and context.campaigns):
        return status
    return replace(status, refused_at=None, refused_with=None)


def _same(one: PollError | Run, other: PollError) -> bool:
    return (one.reason, one.status) == (other.reason, other.status)


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


class Evaluated(NamedTuple):
    """What the rules of an environment found; of the same inputs they find that before `until`."""

    findings: Mapping[str, Finding]
    inputs: tuple[object, ...]
    until: Instant


def inputs_of(status: EnvironmentStatus, context: EnvironmentContext) -> tuple[object, ...]:
    """Return what the findings of an environment depend on, while its breaker is at rest."""
    listed = (status.discovered_at, status.discovering_since, status.listing_doubt)
    return context, status.tests, *listed


class EnvironmentInput(NamedTuple):
    """What a rule of an environment looks at; `now` is by our clock."""

    status: EnvironmentStatus
    context: EnvironmentContext
    now: Instant


class EnvironmentRule(BaseRule):
    """A rule of an environment: evaluates the breaker right after a call.

    While that is at rest it depends on `inputs_of` alone, and on time by its `recheck_at`.
    """

    @abstractmethod
    def evaluate(self, inputs: EnvironmentInput) -> Finding:
        """Return the verdict after a call."""
