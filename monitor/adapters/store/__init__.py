"""The state on disk: what is remembered, what was told, and what is still to be told.

SQLite in WAL mode. One writer commits a status together with its events; the events table is
history and outbox in one, and each sink has a cursor in it: nothing is lost, and nothing
doubled. Start reading at `store.Store`; a new table or column is one more entry in
`schema.MIGRATIONS`.
"""

from monitor.adapters.store.batch import Change
from monitor.adapters.store.errors import StateLocked, StateUnusable, StorageError
from monitor.adapters.store.history import read_history
from monitor.adapters.store.reading import Loaded, StoredEvent
from monitor.adapters.store.schema import MEMORY
from monitor.adapters.store.store import Store

__all__ = [
    "MEMORY",
    "Change",
    "Loaded",
    "StateLocked",
    "StateUnusable",
    "StorageError",
    "Store",
    "StoredEvent",
    "read_history",
]
