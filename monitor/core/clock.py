"""Whose clock is right for the platform's instants: ours, or ours plus its median difference.

Where the last differences to the API's `Date` agree one counts alone, else both must agree.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from monitor.core.model import MINUTE, Instant, Seconds, redated
from monitor.core.status import (
    OURS,
    SPANS_OF_ALERT,
    SPANS_OF_BREAKER,
    SPANS_OF_CONFIG,
    Ahead,
    CampaignStatus,
    EnvironmentStatus,
)

# Three of the last five differences must lie within 10 s of each other.
SKEWS_KEPT, AGREEING, AGREE_WITHIN = 5, 3, 10.0

# A median that moved by more than 60 s is doubted until its values of 5 minutes lie closer.
MOVED_BY, MOVED_FOR = 60.0, 5 * MINUTE

# The API's clock counts alone from 60 s of difference on, and until it is below 30 s.
CORRECT_FROM, CORRECT_UNTIL = 60.0, 30.0


def ahead(status: EnvironmentStatus, our_now: Instant) -> Ahead:
    """Return how far ahead of ours each clock is that counts: one, or ours and the API's."""
    # Where the API never said its time there is but one candidate.
    if not status.skews:
        return OURS
    difference = median(status.skews)
    if not _trusted(status, our_now):
        return (0.0, difference)
    return (difference,) if _corrected(status, our_now) else OURS


def with_server_date(
    status: EnvironmentStatus, server_date: Instant | None, our_now: Instant
) -> EnvironmentStatus:
    """Return the status with the API's `Date` of an answer that came at `our_now` taken in."""
    if server_date is None:
        return status
    return _with_skews(status, (*status.skews, server_date - our_now)[-SKEWS_KEPT:], our_now)


def clock_stepped(status: EnvironmentStatus, step: Seconds, our_now: Instant) -> EnvironmentStatus:
    """Return the status after our own wall clock jumped by `step` seconds, to `our_now`."""
    status = replace(
        redated(status, *SPANS_OF_BREAKER, "listed_at", "doubted_until", by=step),
        run=status.run and redated(status.run, "first_at", by=step),
        tests=status.tests.redated(by=step),
        alerts={
            name: redated(one, *SPANS_OF_ALERT, by=step) for name, one in status.alerts.items()
        },
        medians=tuple((at + step, was) for at, was in status.medians),
    )
    if not status.skews:
        return status
    # The API's clock goes on as it was: so for a while both count, and nothing comes of it.
    return _with_skews(status, tuple(skew - step for skew in status.skews), our_now)


def campaign_stepped(status: CampaignStatus, step: Seconds) -> CampaignStatus:
    """Return a campaign's status after our own wall clock jumped by `step` seconds."""
    # Back with it, not forward: a machine that slept has not read anything since, but an answer
    # from the future would confirm whatever is asked today.
    last_known = redated(status.last_known, "last_read_at", by=min(step, 0.0))
    return replace(
        redated(status, "polled_at", by=step),
        last_known=redated(last_known, *SPANS_OF_CONFIG, by=step),
        failures=status.failures and redated(status.failures, "first_at", by=step),
        tests=status.tests.redated(by=step),
        alerts={
            name: redated(one, *SPANS_OF_ALERT, by=step) for name, one in status.alerts.items()
        },
    )


def _with_skews(
    status: EnvironmentStatus, skews: tuple[Seconds, ...], our_now: Instant
) -> EnvironmentStatus:
    # Whether it counted just now, too: that may have come by the mere passing of time.
    before = _corrected(status, our_now)
    medians = (*status.medians, (our_now, median(skews)))
    # The first one kept was in force until the second one, within the last 5 minutes.
    medians = medians[sum(ended <= our_now - MOVED_FOR for ended, _ in medians[1:]) :]
    status = replace(status, skews=skews, medians=medians, corrected=before)
    status = replace(status, doubted_until=_doubted_until(medians))
    return replace(status, corrected=_corrected(status, our_now))


def _doubted_until(medians: Sequence[tuple[Instant, Seconds]]) -> Instant | None:
    low = high = medians[-1][1]
    for (_, was), (ended, _) in zip(medians[-2::-1], medians[:0:-1], strict=True):
        low, high = min(low, was), max(high, was)
        if high - low > MOVED_BY:
            return ended + MOVED_FOR
    return None


def _trusted(status: EnvironmentStatus, our_now: Instant) -> bool:
    skews = sorted(status.skews)
    agree = any(
        last - first <= AGREE_WITHIN
        for first, last in zip(skews, skews[AGREEING - 1 :], strict=False)
    )
    return agree and (status.doubted_until is None or our_now >= status.doubted_until)


def _corrected(status: EnvironmentStatus, our_now: Instant) -> bool:
    """Return whether the API's clock counts alone, or last did, while nobody can be trusted."""
    if not _trusted(status, our_now):
        return status.corrected
    return abs(median(status.skews)) >= (CORRECT_UNTIL if status.corrected else CORRECT_FROM)
