"""Whose clock is right for the platform's instants: ours, or ours plus its median difference.

Where the last differences to the API's `Date` agree one counts alone, else both must agree.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from monitor.core.instants import redated
from monitor.core.model import MINUTE, Instant, Seconds
from monitor.core.status import OURS, Ahead, CampaignStatus, EnvironmentStatus, Median

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


def after_call(
    status: EnvironmentStatus, server_date: Instant | None, our_now: Instant
) -> EnvironmentStatus:
    """Return the status after a call that ended at `our_now`: its instant, and the API's `Date`."""
    if server_date is None:
        return replace(status, called_at=our_now)
    skews = (*status.skews, server_date - our_now)[-SKEWS_KEPT:]
    return _with_skews(status, skews, our_now, called_at=our_now)


def clock_stepped(status: EnvironmentStatus, step: Seconds, our_now: Instant) -> EnvironmentStatus:
    """Return the status after our own wall clock jumped by `step` seconds, to `our_now`."""
    status = redated(status, by=step)
    if not status.skews:
        return status
    # The API's clock goes on as it was: so for a while both count, and nothing comes of it.
    skews = tuple(skew - step for skew in status.skews)
    return _with_skews(status, skews, our_now, called_at=status.called_at)


def campaign_stepped(status: CampaignStatus, step: Seconds) -> CampaignStatus:
    """Return a campaign's status after our own wall clock jumped by `step` seconds."""
    # Back with it, not forward: a machine that slept has not read anything since, but an answer
    # from the future would confirm whatever is asked today.
    after, read_at = redated(status, by=step), status.last_known.last_read_at
    if step < 0:
        return after
    return replace(after, last_known=replace(after.last_known, last_read_at=read_at))


def _with_skews(
    status: EnvironmentStatus,
    skews: tuple[Seconds, ...],
    our_now: Instant,
    called_at: Instant | None,
) -> EnvironmentStatus:
    # Whether it counted just now, too: that may have come by the mere passing of time.
    before, was = _corrected(status, our_now), status.medians
    if status.skews:
        was = (*was, Median(our_now, median(status.skews)))
    medians, doubted_until = _spread(was, median(skews), our_now)
    after = replace(
        status,
        skews=skews,
        medians=medians,
        corrected=before,
        doubted_until=doubted_until,
        called_at=called_at,
    )
    corrected = _corrected(after, our_now)
    return after if corrected is before else replace(after, corrected=corrected)


def _spread(
    ended: Sequence[Median], last: Seconds, our_now: Instant
) -> tuple[tuple[Median, ...], Instant | None]:
    """Return what is to be kept of the medians before the `last`, and until when that is doubted.

    One between later ones is not kept: it will end to count before they do.
    """
    low = high = last
    kept, doubted_until = list[Median](), None
    for at, was in reversed(ended):
        if at > our_now - MOVED_FOR and not low <= was <= high:
            low, high = (was, high) if was < low else (low, was)
            kept.append(Median(at, was))
            if doubted_until is None and high - low > MOVED_BY:
                doubted_until = at + MOVED_FOR
    return tuple(reversed(kept)), doubted_until


def _trusted(status: EnvironmentStatus, our_now: Instant) -> bool:
    skews = sorted(status.skews)
    pairs = zip(skews, skews[AGREEING - 1 :], strict=False)
    agree = any(last - first <= AGREE_WITHIN for first, last in pairs)
    return agree and (status.doubted_until is None or our_now >= status.doubted_until)


def _corrected(status: EnvironmentStatus, our_now: Instant) -> bool:
    """Return whether the API's clock counts alone, or last did, while nobody can be trusted."""
    if not _trusted(status, our_now):
        return status.corrected
    return abs(median(status.skews)) >= (CORRECT_UNTIL if status.corrected else CORRECT_FROM)
