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
_MINE = """WITH mine AS (
    SELECT environment FROM ownership JOIN unnest(?::text[], ?::text[]) AS held (name, ours)
        ON environment = name AND fence = ours
    ORDER BY environment FOR UPDATE OF ownership)"""
_RENEW = f"""{_MINE} UPDATE ownership SET expires_at = {NOW} + {LASTS}
    FROM mine WHERE ownership.environment = mine.environment RETURNING mine.environment"""  # noqa: S608 - ours
_FREE = f"""{_MINE} UPDATE ownership SET holder = '', fence = '', expires_at = {NOW}
    FROM mine WHERE ownership.environment = mine.environment"""  # noqa: S608 - ours
_LEAVE = f"""WITH mine AS (
    SELECT environment FROM ownership WHERE holder = ? ORDER BY environment FOR UPDATE)
    UPDATE ownership SET holder = '', fence = '', expires_at = {NOW}
    FROM mine WHERE ownership.environment = mine.environment"""  # noqa: S608 - ours
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
        self._link = link
        self._executor = ThreadPoolExecutor(1, "leases")
        self._fences: dict[str, str] = {}
        self._id = ""

    async def renew(self, me: Replica) -> Seen:
        """Announce me, renew all that I hold, and return what there is. Raises StorageError.

        All instants are the database's: of `me.config_at` and `me.started_at` 0 means now, and
        `me.expires_at` is not looked at. What I took and does not have my fence is mine no more.
        """

        def work(on: Connection) -> tuple[set[str], Seen]:
            """Do it in one transaction."""
            what = (me.id, me.address, sorted(me.environments), me.config)
            on.execute(_ANNOUNCE, (*what, me.config_at, me.started_at))
            still = {name for (name,) in on.execute(_RENEW, self._mine(self._fences))}
            on.execute(f"DELETE FROM replica WHERE expires_at < {NOW} - {FORGOTTEN}")  # noqa: S608
            columns = "id, address, environments, config, config_at, started_at, expires_at"
            found = on.execute(f"SELECT {columns} FROM replica ORDER BY id")  # noqa: S608
            replicas = tuple(Replica(a, b, frozenset(c), *rest) for a, b, c, *rest in found)
            columns = "environment, holder, fence, expires_at, moved_at"
            leases = {row[0]: Lease(*row) for row in on.execute(f"SELECT {columns} FROM ownership")}  # noqa: S608
            return still, Seen(on.now, replicas, leases)

        self._id = me.id
        still, seen = await self._done(work)
        self._fences = {name: fence for name, fence in self._fences.items() if name in still}
        return seen

    async def take(self, names: Collection[str]) -> dict[str, str]:
        """Take those that are free, expired or mine; return a new fence of each that I got.

        Only after `renew`, which says who I am. Mine without my fence is what a lost answer left.
        """
        wanted = {name: secrets.token_hex(8) for name in names}

        def work(on: Connection) -> dict[str, str]:
            """Take them in one statement."""
            return dict(on.execute(_TAKE, (self._id, list(wanted), list(wanted.values()))))

        got = await self._done(work)
        self._fences |= got
        return got

    async def let_go(self, names: Collection[str]) -> None:
        """Free those of them that are mine."""
        mine = {name: self._fences[name] for name in names if name in self._fences}
        await self._done(lambda on: on.execute(_FREE, self._mine(mine)))
        self._fences = {name: fence for name, fence in self._fences.items() if name not in mine}

    async def leave(self, me: Replica) -> None:
        """Free all that is mine, by a take without an answer too, and announce that I am gone."""

        def work(on: Connection) -> None:
            """Do both in one transaction."""
            on.execute(_LEAVE, (me.id,))
            on.execute("DELETE FROM replica WHERE id = ?", (me.id,))

        await self._done(work)
        self._fences = {}

    def close(self) -> None:
        """Close the connection; a call that still waits for it ends with an error."""
        self._link.abort()
        self._executor.shutdown(wait=False)
        self._link.close()

    def _mine(self, fences: dict[str, str]) -> tuple[list[str], list[str]]:
        return list(fences), list(fences.values())

    async def _done(self, work: Callable[[Connection], _T]) -> _T:
        return await on_thread(self._executor, self._link.abort, partial(self._link.transact, work))
