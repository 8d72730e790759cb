"""The monitor over HTTP: status page, /metrics, health, reload and the JSON API.

Everything is a view of the board, made when asked. What it shows comes in by `WebContext`, so
that nothing here knows the daemon. `views` and `page` turn a board into answers and into HTML
(pure); `handlers` answer requests; `guard`, `gate` and `door` keep hostile clients from doing harm.
"""

from monitor.adapters.web.context import (
    HistoryPage,
    HistoryQuery,
    HistoryUnreadableError,
    WebContext,
)
from monitor.adapters.web.guard import Limits
from monitor.adapters.web.server import WebServer

__all__ = [
    "HistoryPage",
    "HistoryQuery",
    "HistoryUnreadableError",
    "Limits",
    "WebContext",
    "WebServer",
]
