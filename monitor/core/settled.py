"""A poll that saw what the one before it saw: it moves instants, and nothing is decided anew.

What is found of a config depends on time by the `recheck_at` of findings alone, while no alert is
active; so it holds until the first of them, as long as nothing else has changed.
"""

from collections.abc import Mapping
from dataclasses import replace

from monitor.core.model import Finding, Instant, Observation, SftpConfig
from monitor.core.rule import Testing
from monitor.core.snapshot import Entry, Settled
from monitor.core.status import OURS, Ahead


def until(findings: Mapping[str, Finding] | None) -> Instant:
    """Return when one of these findings may be another by itself; infinity: never."""
    # One that breaks may work the next time.
    if any(one.error is not None for one in (findings or {}).values()):
        return 0.0
    rechecks = [one.recheck_at for one in (findings or {}).values() if one.recheck_at is not None]
    return min(rechecks, default=float("inf"))


def settle(after: Entry, seen: Observation, testing: Testing, clocks: Ahead) -> Entry:
    """Return what came of a decision, with what it has settled, if nothing of it goes on moving."""
    status = after.status
    if not isinstance(seen, SftpConfig) or status.error is not None or clocks != OURS:
        return after
    moves = any(alert.active or alert.notified for alert in status.alerts.values())
    # So many more answers are counted.
    moves = moves or status.tests.suspect > 0
    ends_at = 0.0 if moves else until(after.findings)
    return replace(after, settled=Settled(ends_at, testing)) if ends_at else after


def unchanged(
    entry: Entry, seen: Observation, testing: Testing, clocks: Ahead, now: Instant
) -> Entry | None:
    """Return what a poll at `now` leaves that saw what is settled; None: it is to be decided on."""
    settled, status, last_known = entry.settled, entry.status, entry.status.last_known
    if settled is None or clocks != OURS or seen != last_known.config:
        return None
    if not (status.polled_at or 0.0) <= now < settled.until or testing != settled.testing:
        return None
    last_known = replace(last_known, last_read_at=now)
    return replace(entry, status=replace(status, last_known=last_known, polled_at=now))
