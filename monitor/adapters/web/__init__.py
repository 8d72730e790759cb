"""The monitor over HTTP: status page, /metrics, health, reload and the JSON API.

Everything is a view of the board, made when asked. `server` has the connections; `handlers` the way
from a request to its answer; `serializers` turns a board into JSON and HTML. What it shows comes in
by `Program`, so that nothing here knows the daemon.
"""

from monitor.adapters.web.api import HistoryUnreadableError, Program
from monitor.adapters.web.schemas import EventsAnswer
from monitor.adapters.web.server import Limits, WebServer

__all__ = [
    "EventsAnswer",
    "HistoryUnreadableError",
    "Limits",
    "Program",
    "WebServer",
]
