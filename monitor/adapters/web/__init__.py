"""The monitor over HTTP: status page, /metrics, health, reload and the JSON API.

Everything is a view of the board, made when asked. What it shows comes in by `WebContext`, so
that nothing here knows the daemon. `serializers` and `page` turn a board into answers and into HTML
(pure), `schemas` says what answers look like; `handlers` and `api` answer requests by `responses`;
`server`, `auth` and `security` keep hostile clients from doing harm.
"""

from monitor.adapters.web.context import HistoryUnreadableError, WebContext
from monitor.adapters.web.schemas import EventsAnswer
from monitor.adapters.web.security import Limits
from monitor.adapters.web.server import WebServer

__all__ = [
    "EventsAnswer",
    "HistoryUnreadableError",
    "Limits",
    "WebContext",
    "WebServer",
]
