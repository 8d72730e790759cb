"""The metrics of environments and sinks: gauges, made anew for each scrape."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from monitor.adapters.metrics.campaigns import alert_labels, exported
from monitor.adapters.metrics.lines import family, line, written
from monitor.core.board import Board, EnvironmentBoard
from monitor.core.model import Instant


class SinkState(NamedTuple):
    """What waits to be told to a sink: how many events, and since when the oldest of them."""

    name: str
    pending: int
    oldest: Instant | None


ENVIRONMENT_GAUGES: dict[str, tuple[str, Callable[[EnvironmentBoard], float | None]]] = {
    "environment_swept_timestamp_seconds": (
        "End of the last complete sweep over all campaigns.",
        lambda board: board.status.swept_at,
    ),
    "api_up": (
        "0 after a transport error, 5xx or 401; 1 after an answer.",
        lambda board: board.status.up,
    ),
    "budget_requests_per_minute": (
        "Calls a minute that may be spent on the API.",
        lambda board: board.per_minute,
    ),
    "budget_available_requests": (
        "Calls that may go out within the next minute.",
        lambda board: board.available,
    ),
    "effective_interval_seconds": (
        "The sweep time that the budget really gives.",
        lambda board: board.interval,
    ),
    "poll_lag_seconds": ("How late the most overdue poll is.", lambda board: board.lag),
    "environment_owned": ("1: this process watches the environment.", lambda _: 1.0),
}
"""Name, help and value of every gauge of an environment that is watched, labelled by it only."""


def environment_alerts(board: Board) -> dict[str, list[bytes]]:
    """Return the lines of the environments' own alerts, by the family that they are in."""
    alerts, since = [], []
    for name, environment in board.environments.items():
        for alert, _, severity in environment.active_alerts():
            own = exported(alert.fired_as or environment.labels)
            labels = {"environment": name, **alert_labels(alert, severity), **own}
            alerts.append(line("alert", written(labels), 1.0))
            key = written({"environment": name, "rule": alert.rule})
            since.append(line("alert_since_timestamp_seconds", key, alert.since))
    return {"alert": alerts, "alert_since_timestamp_seconds": since}


def environment_families(board: Board) -> Iterator[bytes]:
    """Yield every family of the environments."""
    counts = [
        line("campaigns", written({"environment": name, "health": health.value}), count)
        for name, environment in board.environments.items()
        for health, count in environment.counts().items()
    ]
    yield family("campaigns", "How many campaigns have each health.", counts)
    keys = {name: written({"environment": name}) for name in board.environments}
    for name, (about, value) in ENVIRONMENT_GAUGES.items():
        lines = [line(name, keys[each], value(board.environments[each])) for each in keys]
        yield family(name, about, lines)


def sink_families(sinks: Sequence[SinkState]) -> Iterator[bytes]:
    """Yield what waits in the sinks."""
    pending, oldest = "sink_pending_events", "sink_oldest_pending_timestamp_seconds"
    keys = {sink: written({"sink": sink.name}) for sink in sinks}
    counts = [line(pending, key, sink.pending) for sink, key in keys.items()]
    yield family(pending, "Events that wait to be delivered to a sink.", counts)
    since = [line(oldest, key, sink.oldest) for sink, key in keys.items()]
    yield family(oldest, "Since when the oldest of them waits.", since)
