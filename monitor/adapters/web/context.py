"""What the web server needs from the program around it: callables, and nothing else."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from monitor.adapters.web.schemas import EventsAnswer
from monitor.core.board import Board, HistoryQuery
from monitor.core.model import Instant


class HistoryUnreadableError(Exception):
    """The database does not give the history; the message says why, without a path."""


@dataclass(frozen=True, kw_only=True)
class WebContext:
    """All that the web server asks of the program; each callable is called on the loop.

    But for `events`, which reads the disk: it is called in a thread, and may raise
    HistoryUnreadableError. `metrics(openmetrics)` takes what a scrape needs, and returns what
    renders it: that is called in a thread. `healthy` is false when the poll loop has stood still,
    `ready` says why the program is not ready (None: it is), `loaded` whether the state is. `reload`
    returns the problems of the config file (none: it is in force). `external_url` is where users
    reach us.
    """

    board: Callable[[], Board]
    metrics: Callable[[bool], Callable[[], bytes]]
    metrics_content_type: Callable[[bool], str]
    healthy: Callable[[], bool]
    ready: Callable[[], str | None]
    loaded: Callable[[], bool]
    reload: Callable[[], Awaitable[Sequence[str]]]
    events: Callable[[HistoryQuery], EventsAnswer]
    version: str
    started_at: Instant
    external_url: str | None = None
