"""The monitor over HTTP: views of the snapshot; nothing here knows the daemon."""

from monitor.adapters.web.api import HistoryUnreadableError, Program
from monitor.adapters.web.auth import key_beside, key_path
from monitor.adapters.web.history import EventsAnswer
from monitor.adapters.web.server import Limits, WebServer

__all__ = [
    "EventsAnswer",
    "HistoryUnreadableError",
    "Limits",
    "Program",
    "WebServer",
    "key_beside",
    "key_path",
]
