"""The state on disk: what is remembered, which events there were, and which still wait for a sink.

SQLite in WAL mode. One writer commits a status together with its events; the events table is
history and outbox in one, and each sink has cursors in it: nothing is lost, and nothing doubled.
Start reading at `store.Store`; a new table or column is one more entry in `schema.MIGRATIONS`.
"""

from monitor.adapters.store.rows import Change, Loaded
from monitor.adapters.store.schema import MEMORY, StateLocked, StorageError
from monitor.adapters.store.store import Store, read_history

__all__ = ["MEMORY", "Change", "Loaded", "StateLocked", "StorageError", "Store", "read_history"]
