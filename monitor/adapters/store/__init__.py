"""The state: what is remembered, which events there were, and which still wait for a sink.

SQLite in WAL mode, or PostgreSQL for several replicas. A status is committed together with its
events; their table is history and outbox in one, and each sink has cursors in it. Start reading at
`store.Store`. What imports psycopg is loaded where PostgreSQL is used.
"""

from monitor.adapters.store.files import StateLocked, StorageError
from monitor.adapters.store.opening import (
    migrate_state,
    open_state,
    read_history,
    read_replicas,
    read_state,
)
from monitor.adapters.store.rows import Change, Loaded
from monitor.adapters.store.schema import MEMORY
from monitor.adapters.store.store import Store

__all__ = [
    "MEMORY", "Change", "Loaded", "StateLocked", "StorageError", "Store", "migrate_state",
    "open_state", "read_history", "read_replicas", "read_state",
]  # fmt: skip
