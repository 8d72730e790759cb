"""An Alertmanager that is told directly, with the labels of the shipped Prometheus rules.

It is told levels, not edges: what fires now, at each event and again every minute, as Prometheus
does. What is over is said once more every minute for a quarter of an hour, in case it has
restarted meanwhile.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from monitor.adapters.sinks.http import post
from monitor.adapters.sinks.levels import annotations_of, labels_of, told_event, told_events
from monitor.adapters.sinks.sink import RefusedError
from monitor.core.board import Board
from monitor.core.model import HOUR, MINUTE, Event, EventStatus, Instant, Seconds
from monitor.core.text import clean, rfc3339
from monitor.serialize import Links

HOLD: Seconds = HOUR
"""What fires lasts so long without being told again: over our death, as the shipped rules do."""

TELL_ENDS_FOR: Seconds = 15 * MINUTE
"""So long what is over is told again."""

BATCH = 256
"""Alerts in one request."""

log = structlog.get_logger()

Identity = tuple[tuple[str, str], ...]
"""Which alert it is to Alertmanager: its labels, by name."""

Level = Mapping[str, Any]
"""An alert as the API takes it: an end in the past is its end."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What there is to tell, by now."""

    now: Callable[[], Instant]
    board: Callable[[], Board]
    hold: Seconds = HOLD


class AlertmanagerSink:
    """Keeps one Alertmanager up to date; each of a cluster has a sink of its own."""

    def __init__(self, number: int, url: str, links: Links, situation: Situation) -> None:
        """Tell the Alertmanager at `url`; `number` counts them from 1."""
        self.name = f"alertmanager-{number}"
        self._url = f"{url}/api/v2/alerts"
        self._links = links
        self._situation = situation
        self._over: dict[Identity, tuple[Instant, Level]] = {}
        self._refused: set[Identity] = set()
        # What was read from the board must be told before anything newer.
        self._turn = asyncio.Lock()

    async def deliver(self, event: Event) -> None:
        """Tell how the event's alert stands by now. Raises OSError or RefusedError."""
        async with self._turn:
            refused = await self._post(self._levels(event))
        if refused:
            raise RefusedError(refused)

    async def has(self, event_id: str, before: str | None) -> bool | None:
        """Return False: to tell a level twice changes nothing."""
        return False

    async def repeat(self) -> None:
        """Tell again all that fires, and what is over since a while. Raises OSError."""
        async with self._turn:
            levels = []
            for environment in self._situation.board().environments.values():
                levels += [self._fires(event) for event in told_events(environment)]
                # Ten thousand campaigns in one go would hold up the polls.
                await asyncio.sleep(0)
            oldest = self._situation.now() - TELL_ENDS_FOR
            self._over = {key: over for key, over in self._over.items() if over[0] > oldest}
            levels += [level for _, level in self._over.values()]
            for start in range(0, len(levels), BATCH):
                await self._post(levels[start : start + BATCH])

    def _levels(self, event: Event) -> list[Level]:
        """Return how an event's alert stands: by the board, or before that is filled the event."""
        environment = self._situation.board().environments.get(event.environment)
        if environment is None:
            now = None if event.status is EventStatus.RESOLVED else event
        else:
            now = told_event(environment, event.campaign_id, event.rule)
        # Only the event knows as what it was told before: under another severity, or long ago.
        before = replace(event, severity=event.previous_severity or event.severity)
        if now is None:
            return [self._ends(before)]
        if labels_of(before) == labels_of(now):
            return [self._fires(now)]
        return [self._ends(before), self._fires(now)]

    def _fires(self, event: Event) -> Level:
        level = self._level(event, self._situation.now() + self._situation.hold)
        self._over.pop(_identity(level), None)
        return level

    def _ends(self, event: Event) -> Level:
        now = self._situation.now()
        level = self._level(event, now)
        self._over[_identity(level)] = now, level
        return level

    def _level(self, event: Event, ends_at: Instant) -> Level:
        # Not since when it is true: for an alert that began before its group_wait, Alertmanager
        # waits for no others, and forty campaigns of one host would be forty lines, one by one.
        return {
            "labels": labels_of(event),
            "annotations": annotations_of(event, self._links),
            # The API refuses one that ends before it starts.
            "startsAt": rfc3339(min(event.decided_at, ends_at), milliseconds=True),
            "endsAt": rfc3339(ends_at, milliseconds=True),
        }

    async def _post(self, levels: Sequence[Level]) -> str | None:
        """Tell these; where one of them is refused the others are told. Returns why it was."""
        body = json.dumps(levels).encode()
        status, text = await post(self._url, body, {})
        if 200 <= status < 300:
            return None
        why = f"{self._url} answered {status}: {clean(text, 200)}"
        if status != 400:
            raise OSError(why)
        if len(levels) > 1:
            half = len(levels) // 2
            refused = [await self._post(levels[:half]), await self._post(levels[half:])]
            return refused[0] or refused[1]
        identity = _identity(levels[0])
        if identity not in self._refused:
            self._refused.add(identity)
            log.error("alert_refused", sink=self.name, problem=why, labels=str(levels[0]["labels"]))
        return why


def _identity(level: Level) -> Identity:
    return tuple(sorted(level["labels"].items()))
