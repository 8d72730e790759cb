"""The breaker of one environment: it sees the outcome of every call.

Three calls in a row that were not answered open it, and so does a rejected token; open, it lets
only probes through, and the first answer closes it. `environment_rules` tells on-call.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from monitor.core.model import (
    Instant,
    ListingPage,
    NoConfig,
    Observation,
    PollError,
    Reason,
)
from monitor.core.status import EnvironmentStatus

UNANSWERED = frozenset(
    {
        Reason.TIMEOUT, Reason.CONNECT_ERROR, Reason.DNS_ERROR, Reason.TLS_ERROR, Reason.HTTP_5XX,
        Reason.REDIRECT, Reason.BAD_CONTENT_TYPE, Reason.CONNECTION_LOST, Reason.PROTOCOL_ERROR,
    }
)  # fmt: skip
"""Outcomes that are no answer of the API: nothing came, or what came is not its own."""

# These may be answered before anybody has looked at the token.
SAYS_NOTHING_OF_THE_TOKEN = UNANSWERED | {Reason.RATE_LIMITED, Reason.API_ERROR, Reason.NOT_FOUND}

CALLS_TO_OPEN = 3
"""So many unanswered calls in a row open the breaker."""

CAMPAIGNS_TO_OPEN = 3
"""From so many campaigns on, the same 403 or 404 for all of them is the environment's matter."""


@dataclass(frozen=True, slots=True)
class Call:
    """The outcome of one call; without `campaign_id`: for a page of the listing.

    `token_generation` counts how often the token was read.
    """

    campaign_id: str | None
    observation: Observation | ListingPage
    token_generation: int = 0

    @property
    def campaigns(self) -> frozenset[str]:
        """The campaigns that it was about: one or none."""
        return frozenset() if self.campaign_id is None else frozenset({self.campaign_id})


def interpret(status: EnvironmentStatus, observation: Observation, campaigns: int) -> Observation:
    """Return what an observation means in its environment.

    A 404 where nothing was ever readable may be a wrong base URL as well as a missing config:
    with 3 campaigns or more it is no definite answer until one of them could be read.
    """
    untrusted = not status.readable_seen and campaigns >= CAMPAIGNS_TO_OPEN
    if isinstance(observation, NoConfig) and observation.by_404 and untrusted:
        return PollError(Reason.NOT_FOUND, "404, and no campaign could be read so far")
    return observation


def observe(
    before: EnvironmentStatus, call: Call, campaigns: int, now: Instant
) -> EnvironmentStatus:
    """Return the breaker after one call, of an environment with so many campaigns.

    A page of the listing shows that base URL and token are right. That it is refused (403, 404)
    matters only where no campaign is known: otherwise their own answers tell.
    """
    reason = call.observation.reason if isinstance(call.observation, PollError) else None
    # A mistake of our own, or what a cache has kept, is no evidence of the API, neither way.
    if reason in (Reason.INTERNAL_ERROR, Reason.CACHED):
        return replace(before, called_at=now)
    up = reason not in UNANSWERED and reason is not Reason.UNAUTHORIZED
    status = replace(before, called_at=now, up=up)
    if reason in UNANSWERED:
        return _unanswered(status, reason, now)
    status = _answered(status, call, reason, campaigns, now)
    status = _token(status, call, reason, campaigns, now)
    return _forbidden(status, call, reason, campaigns, now)


def _unanswered(
    status: EnvironmentStatus, reason: Reason | None, now: Instant
) -> EnvironmentStatus:
    first = now if status.unanswered == 0 else status.unanswered_at
    status = replace(status, unanswered=status.unanswered + 1, unanswered_at=first)
    if status.unanswered < CALLS_TO_OPEN:
        return status
    opened = now if status.outage_at is None else status.outage_at
    return replace(status, outage_at=opened, outage_reason=reason)


def _answered(
    status: EnvironmentStatus, call: Call, reason: Reason | None, campaigns: int, now: Instant
) -> EnvironmentStatus:
    status = replace(status, unanswered=0, unanswered_at=None)
    closed = replace(status, outage_at=None, outage_reason=None)
    if _was_read(call.observation):
        return replace(closed, readable_seen=True, not_found=frozenset())
    if reason is not Reason.NOT_FOUND:
        return closed
    status = replace(status, not_found=status.not_found | call.campaigns)
    # None of none is all of them: where no campaign is known, a listing's 404 opens it.
    if len(status.not_found) >= campaigns and status.outage_at is None:
        return replace(status, outage_at=now, outage_reason=reason)
    if status.outage_reason is Reason.NOT_FOUND:
        return status
    return replace(closed, not_found=status.not_found)


def _was_read(observation: Observation | ListingPage) -> bool:
    if isinstance(observation, NoConfig):
        # `data: null` comes from the very endpoint; a 404 may come from any server.
        return not observation.by_404
    return not isinstance(observation, PollError)


def _token(
    status: EnvironmentStatus, call: Call, reason: Reason | None, campaigns: int, now: Instant
) -> EnvironmentStatus:
    if reason is Reason.UNAUTHORIZED:
        first = status.unauthorized_with
        if first is None:
            return replace(status, unauthorized_with=call.token_generation)
        # Calls under way when the token was replaced are refused, too: a second 401 counts only
        # if it is to a token that was read since.
        if call.token_generation > first and status.rejected_at is None:
            return replace(status, rejected_at=now, rejected_by=reason)
        return status
    if reason in SAYS_NOTHING_OF_THE_TOKEN:
        return status
    status = replace(status, unauthorized_with=None)
    proves_nothing = reason is Reason.FORBIDDEN or (campaigns and call.campaign_id is None)
    if proves_nothing and status.rejected_by is Reason.FORBIDDEN:
        return status
    return replace(status, rejected_at=None, rejected_by=None)


def _forbidden(
    status: EnvironmentStatus, call: Call, reason: Reason | None, campaigns: int, now: Instant
) -> EnvironmentStatus:
    if reason is not Reason.FORBIDDEN:
        return replace(status, forbidden=status.forbidden - call.campaigns)
    status = replace(status, forbidden=status.forbidden | call.campaigns)
    if 0 < campaigns < CAMPAIGNS_TO_OPEN or len(status.forbidden) < campaigns:
        return status
    if status.rejected_at is not None:
        return status
    return replace(status, rejected_at=now, rejected_by=reason)


def of_campaigns(status: EnvironmentStatus, campaigns: Iterable[str]) -> EnvironmentStatus:
    """Return the status of an environment that has these campaigns, and no others any more."""
    ids = frozenset(campaigns)
    return replace(status, not_found=status.not_found & ids, forbidden=status.forbidden & ids)
