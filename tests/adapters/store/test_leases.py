"""Who holds which environment, on a real PostgreSQL: taken once, renewed by its fence, let go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from monitor.adapters.store import StorageError, migrate_state
from monitor.adapters.store.connection import Link
from monitor.adapters.store.leases import LeaseTable
from monitor.config.sections import State
from monitor.core.leases import LASTS
from monitor.core.model import HOUR
from support.postgres import Server, replica

BOTH = ("production", "staging")


@asynccontextmanager
async def tables(state: State, *names: str) -> AsyncIterator[list[LeaseTable]]:
    """Open a table for each replica, which has announced itself."""
    migrate_state(state)
    opened = [LeaseTable(Link(state, name, migrate=False)) for name in names]
    try:
        for name, table in zip(names, opened, strict=True):
            await table.renew(replica(name, *BOTH))
        yield opened
    finally:
        for table in opened:
            table.close()


async def test_a_replica_announces_itself_by_the_databases_clock(state: State) -> None:
    async with tables(state, "one") as (one,):
        seen = await one.renew(replica("one", *BOTH))
        (me,) = seen.replicas
        assert (me.id, me.environments, me.config) == ("one", frozenset(BOTH), "hash")
        assert me.address == "one.example:10022"
        assert me.config_at == me.started_at <= seen.now
        assert me.expires_at == pytest.approx(seen.now + LASTS, abs=0.01)


async def test_the_age_of_a_config_is_kept_while_its_hash_is(state: State) -> None:
    async with tables(state, "one") as (one,):
        (first,) = (await one.renew(replica("one"))).replicas
        (same,) = (await one.renew(replica("one"))).replicas
        seen = await one.renew(replica("one", config="other"))
        assert same.config_at == first.config_at
        (other,) = seen.replicas
        assert other.config_at == pytest.approx(seen.now, abs=0.01)
        assert other.started_at == first.started_at
        later = replace(replica("one", config="third"), config_at=7.0)
        assert (await one.renew(later)).replicas[0].config_at == 7.0


async def test_what_is_free_is_taken_once(state: State) -> None:
    async with tables(state, "one", "two") as (one, two):
        got = await asyncio.gather(one.take(BOTH), two.take(BOTH))
        assert sorted(name for each in got for name in each) == sorted(BOTH)
        leases = (await two.renew(replica("two"))).leases
        assert {name: leases[name].fence for name in BOTH} == got[0] | got[1]


async def test_what_has_a_holder_is_not_taken_before_it_expires(
    server: Server, database: str, state: State
) -> None:
    async with tables(state, "one", "two") as (one, two):
        first = await one.take(["production"])
        assert await two.take(["production"]) == {}
        server.execute("UPDATE ownership SET expires_at = 0", database=database)
        second = await two.take(["production"])
        assert second.keys() == {"production"}
        assert second != first
        seen = await one.renew(replica("one"))
        assert (seen.leases["production"].holder, seen.leases["production"].fence) == (
            "two",
            second["production"],
        )
        # What it had is not its own any more, and is not freed by it.
        await one.let_go(["production"])
        await one.leave(replica("one"))
        assert (await two.renew(replica("two"))).leases["production"].holder == "two"


async def test_a_renewal_lengthens_what_is_held_and_nothing_else(
    server: Server, database: str, state: State
) -> None:
    async with tables(state, "one", "two") as (one, two):
        await one.take(["production"])
        await two.take(["staging"])
        server.execute("UPDATE ownership SET expires_at = 5", database=database)
        leases = (await one.renew(replica("one"))).leases
        assert leases["production"].expires_at > 5
        assert leases["staging"].expires_at == 5


async def test_an_expired_lease_that_nobody_took_is_renewed(
    server: Server, database: str, state: State
) -> None:
    async with tables(state, "one", "two") as (one, two):
        await one.take(["production"])
        server.execute("UPDATE ownership SET expires_at = 0", database=database)
        await one.renew(replica("one"))
        assert await two.take(["production"]) == {}


async def test_what_is_let_go_is_free_at_once(state: State) -> None:
    async with tables(state, "one", "two") as (one, two):
        await one.take(BOTH)
        await one.let_go(["production", "nothing"])
        seen = await two.renew(replica("two"))
        free = seen.leases["production"]
        assert (free.holder, free.fence) == ("", "")
        assert free.expires_at <= seen.now
        assert seen.leases["staging"].holder == "one"
        assert (await two.take(BOTH)).keys() == {"production"}


async def test_who_leaves_frees_all_and_is_gone(state: State) -> None:
    async with tables(state, "one", "two") as (one, two):
        await one.take(BOTH)
        await one.leave(replica("one"))
        seen = await two.renew(replica("two"))
        assert [each.id for each in seen.replicas] == ["two"]
        assert {each.holder for each in seen.leases.values()} == {""}


async def test_a_lease_whose_answer_was_lost_can_be_taken_by_who_has_it(
    server: Server, database: str, state: State
) -> None:
    async with tables(state, "one") as (one,):
        await one.take(["production"])
        server.execute("UPDATE ownership SET fence = 'unheard'", database=database)
        await one.renew(replica("one"))
        assert (await one.take(["production"])).keys() == {"production"}


async def test_replicas_that_ended_long_ago_are_forgotten(
    server: Server, database: str, state: State
) -> None:
    async with tables(state, "one", "two", "old") as (one, _, _):
        for name, ago in {"old": HOUR + 1, "two": HOUR - 60}.items():
            ended = f"extract(epoch FROM now()) - {ago}"
            statement = f"UPDATE replica SET expires_at = {ended} WHERE id = '{name}'"
            server.execute(statement, database=database)
        seen = await one.renew(replica("one"))
        assert [each.id for each in seen.replicas] == ["one", "two"]


async def test_two_that_renew_and_write_at_once_never_wait_for_each_other_forever(
    state: State,
) -> None:
    async with tables(state, "one", "two") as (one, two):
        names = [f"e-{n}" for n in range(20)]
        await one.take(names[::2])
        await two.take(names[1::2])
        for _ in range(5):
            await asyncio.gather(
                one.renew(replica("one")),
                two.renew(replica("two")),
                one.take(names),
                two.take(names),
            )


async def test_whoever_leaves_frees_what_a_take_whose_answer_was_lost_has_got(state: State) -> None:
    async with tables(state, "one", "two") as (one, two):
        await one.take(BOTH)
        # The same replica, which has seen no answer to it.
        forgetful = LeaseTable(Link(state, "one", migrate=False))
        try:
            await forgetful.renew(replica("one", *BOTH))
            await forgetful.leave(replica("one", *BOTH))
        finally:
            forgetful.close()
        assert (await two.take(BOTH)).keys() == set(BOTH)


async def test_without_the_database_every_call_ends_with_an_error(
    server: Server, database: str, state: State
) -> None:
    async with tables(state, "one") as (one,):
        await one.take(BOTH)
        server.execute(
            f"UPDATE pg_database SET datallowconn = false WHERE datname = '{database}'",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'",
        )
        for call in (one.renew(replica("one")), one.take(BOTH), one.let_go(BOTH)):
            with pytest.raises(StorageError):
                await call
        server.execute(f"UPDATE pg_database SET datallowconn = true WHERE datname = '{database}'")
        leases = (await one.renew(replica("one"))).leases
        assert {each.holder for each in leases.values()} == {"one"}
