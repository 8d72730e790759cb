"""Who holds which environment, as all replicas of one PostgreSQL see it: rows, and no decision."""

import secrets
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from monitor.adapters.store.connection import NOW, Connection, Link, on_thread
from monitor.core.leases import LASTS, Lease, Replica, Seen
from monitor.core.model import HOUR, Seconds

_T = TypeVar("_T")

FORGOTTEN: Seconds = HOUR  # after its end a replica's row is deleted

_ANNOUNCE = f"""
    INSERT INTO replica (id, address, environments, config, config_at, started_at, expires_at)
    VALUES (?, ?, ?, ?, coalesce(nullif(?, 0::float8), {NOW}),
            coalesce(nullif(?, 0::float8), {NOW}), {NOW} + {LASTS})
    ON CONFLICT (id) DO UPDATE SET
        address = excluded.address, environments = excluded.environments,
        config_at = CASE WHEN replica.config = excluded.config
            THEN replica.config_at ELSE excluded.config_at END,
        config = excluded.config, expires_at = excluded.expires_at"""  # noqa: S608 - ours
# Locked in the order of names, as by all who lock several.
_MINE = """
    WITH mine AS (SELECT environment FROM ownership WHERE holder = ? ORDER BY 1 FOR UPDATE)
    UPDATE ownership SET {} FROM mine WHERE ownership.environment = mine.environment"""
_RENEW = _MINE.format(f"expires_at = {NOW} + {LASTS}")
_FREE_ALL = _MINE.format(f"holder = '', fence = '', expires_at = {NOW}")
_FREE = f"{_FREE_ALL} AND mine.environment = ANY(?)"
_TAKE = f"""
    INSERT INTO ownership (environment, holder, fence, expires_at, moved_at)
    SELECT name, ?, theirs, {NOW} + {LASTS}, {NOW}
        FROM unnest(?::text[], ?::text[]) AS wanted (name, theirs) ORDER BY name
    ON CONFLICT (environment) DO UPDATE SET
        holder = excluded.holder, fence = excluded.fence, expires_at = excluded.expires_at,
        moved_at = excluded.moved_at
        WHERE ownership.holder IN ('', excluded.holder) OR ownership.expires_at < {NOW}
    RETURNING environment, fence"""  # noqa: S608 - ours


class LeaseTable:
    """The rows, on a connection and a thread of their own: a slow write delays no renewal.

    Each method is one transaction and raises StorageError; cancelled, it may have happened.
    """

    def __init__(self, link: Link) -> None:
        self._link, self._id = link, ""
        self._executor = ThreadPoolExecutor(1, "leases")

    async def renew(self, me: Replica) -> Seen:
        """Announce me, renew all that is mine, and return what there is. Raises StorageError.

        All instants are the database's: of `me.config_at` and `me.started_at` 0 means now, and
        `me.expires_at` is not looked at. Mine is, too, what a take without an answer got.
        """

        def work(on: Connection) -> Seen:
            """Do it in one transaction."""
            what = (me.id, me.address, sorted(me.environments), me.config)
            on.execute(_ANNOUNCE, (*what, me.config_at, me.started_at))
            on.execute(_RENEW, (me.id,))
            on.execute(f"DELETE FROM replica WHERE expires_at < {NOW} - {FORGOTTEN}")  # noqa: S608
            columns = "id, address, environments, config, config_at, started_at, expires_at"
            found = on.execute(f"SELECT {NOW}, {columns} FROM replica ORDER BY id").fetchall()  # noqa: S608
            replicas = tuple(Replica(a, b, frozenset(c), *rest) for _, a, b, c, *rest in found)
            columns = "environment, holder, fence, expires_at, moved_at"
            leases = {row[0]: Lease(*row) for row in on.execute(f"SELECT {columns} FROM ownership")}  # noqa: S608
            return Seen(found[0][0], replicas, leases)  # my row is there at least

        self._id = me.id
        return await self._done(work)

    async def take(self, names: Collection[str]) -> dict[str, str]:
        """Take those that are free, expired or mine; return a new fence of each that I got.

        Only after `renew`, which says who I am.
        """
        fences = [secrets.token_hex(8) for _ in names]
        what = (self._id, list(names), fences)
        return await self._done(lambda on: dict(on.execute(_TAKE, what)))

    async def let_go(self, names: Collection[str]) -> None:
        """Free those of them that are mine."""
        await self._done(lambda on: on.execute(_FREE, (self._id, list(names))))

    async def leave(self, me: Replica) -> None:
        """Free all that is mine, and announce that I am gone."""

        def work(on: Connection) -> None:
            """Do both in one transaction."""
            on.execute(_FREE_ALL, (me.id,))
            on.execute("DELETE FROM replica WHERE id = ?", (me.id,))

        await self._done(work)

    def close(self) -> None:
        """Close the connection; a call that still waits for it ends with an error."""
        self._link.abort()
        self._executor.shutdown(wait=False)
        self._link.close()

    async def _done(self, work: Callable[[Connection], _T]) -> _T:
        return await on_thread(self._executor, self._link.abort, partial(self._link.transact, work))
