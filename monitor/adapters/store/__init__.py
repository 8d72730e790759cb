"""The state on disk: what is remembered, which events there were, and which still wait for a sink.

SQLite in WAL mode. One writer commits a status together with its events; the events table is
history and outbox in one, and each sink has cursors in it: nothing is lost, and nothing doubled.
Start reading at `store.Store`; a new table or column is one more entry in `schema.MIGRATIONS`.
"""

from monitor.adapters.store.database import StorageError, read_history
from monitor.adapters.store.lock import StateLocked
from monitor.adapters.store.rows import Change, Filter, Loaded
from monitor.adapters.store.schema import MEMORY, StateUnusable
from monitor.adapters.store.store import Store

__all__ = [
    "MEMORY",
    "Change",
    "Filter",
    "Loaded",
    "StateLocked",
    "StateUnusable",
    "StorageError",
    "Store",
    "read_history",
]
