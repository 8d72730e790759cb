"""Two replicas on one PostgreSQL: who was overtaken writes nothing, and nobody's guard is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from monitor.adapters.store import Change, StorageError
from monitor.adapters.store.shared import SharedStore
from monitor.config.sections import State
from monitor.core.guards import Guard
from monitor.core.status import EnvironmentStatus
from support.builders import NOW, a_status
from support.postgres import Server, failing, opened, take_over
from support.state_files import SINK, an_event, events, next_event

LOGIN = "user@sftp.example:22"
FIRST, SECOND, THIRD = (Guard(last_at=NOW + at) for at in (1, 2, 3))


@asynccontextmanager
async def two(
    state: State, *names: str, sinks: tuple[str, ...] = (SINK,)
) -> AsyncIterator[tuple[SharedStore, SharedStore]]:
    """Open two stores, the first of which has the environments."""
    async with AsyncExitStack() as ends:
        one = await ends.enter_async_context(opened(state, names, sinks))
        yield one, await ends.enter_async_context(opened(state, (), sinks, "two"))


def expire(server: Server, database: str, *names: str) -> None:
    """Have the leases of environments end."""
    for name in names:
        statement = f"UPDATE ownership SET expires_at = 0 WHERE environment = '{name}'"
        server.execute(statement, database=database)


async def overtake(server: Server, database: str, by: SharedStore, *names: str) -> None:
    """Take environments whose leases have expired."""
    expire(server, database, *names)
    await take_over(by, *names)


def overtaken(store: SharedStore) -> list[str]:
    """Return a list that gets what the store has lost."""
    found: list[str] = []
    store.on_overtaken = found.append
    return found


def standing(store: SharedStore) -> list[tuple[str, Guard]]:
    """Return a list that gets the guards which others have changed."""
    found: list[tuple[str, Guard]] = []
    store.on_guard = lambda key, guard: found.append((key, guard))
    return found


async def written(store: SharedStore, *changes: Change) -> None:
    for change in changes:
        store.save(change)
    await store.flush()
    assert store.problem is None


def guard(value: Guard, key: str = LOGIN) -> Change:
    return Change(guards={key: value})


def at(environment: str, polled_at: float = NOW) -> Change:
    """Return a change of a campaign's status and of its environment's, with an event."""
    return Change(
        campaigns=(a_status(environment=environment, polled_at=polled_at),),
        environments=(EnvironmentStatus(name=environment, called_at=polled_at),),
        events=(an_event(int(polled_at - NOW) + 1, environment=environment),),
    )


# --- fences ------------------------------------------------------------------------------------


async def test_what_was_overtaken_is_left_out_and_the_rest_is_written(
    server: Server, database: str, state: State
) -> None:
    async with two(state, "production", "staging") as (one, other):
        lost = overtaken(one)
        await overtake(server, database, other, "production")
        await written(one, at("production"), at("staging"))
        assert lost == ["production"]
        query = "SELECT environment FROM campaign UNION ALL SELECT environment FROM event"
        assert server.execute(query, database=database) == [("staging",), ("staging",)]


async def test_of_what_was_overtaken_nothing_is_delivered(
    server: Server, database: str, state: State
) -> None:
    async with two(state, "production", "staging") as (one, other):
        await written(one, events(1))
        await overtake(server, database, other, "production")
        await written(one, events(2), Change(events=(an_event(3, environment="staging"),)))
        waits = next_event(one)
        assert waits is not None
        assert waits.environment == "staging"
        assert one.pending(SINK)[0] == 1


async def test_a_call_that_another_replica_may_spend_is_not_granted(
    server: Server, database: str, state: State
) -> None:
    async with two(state, "production") as (one, other):
        await overtake(server, database, other, "production")
        with pytest.raises(StorageError, match="another replica") as raised:
            await one.lease("production", NOW)
        assert not raised.value.permanent
        await other.lease("production", NOW + 7)
        assert one.problem is None


async def test_an_environment_that_nobody_gave_us_is_not_written(state: State) -> None:
    async with opened(state) as store:
        lost = overtaken(store)
        await written(store, at("production"))
        assert store.history() == {}
        assert lost == []  # it was never ours


async def test_an_environment_that_came_back_is_read_anew(
    server: Server, database: str, state: State
) -> None:
    async with two(state, "production") as (one, other):
        await written(one, at("production"))
        await overtake(server, database, other, "production")
        await written(other, at("production", NOW + 9))
        expire(server, database, "production")
        loaded = (await take_over(one, "production"))["production"]
        assert loaded.campaigns["production", "c-1"].polled_at == NOW + 9


async def test_what_was_to_be_written_before_a_takeover_is_not_written_after_it(
    server: Server, database: str, state: State
) -> None:
    async with two(state, "production") as (one, other):
        await overtake(server, database, other, "production")
        one.save(Change(campaigns=(a_status(polled_at=NOW),)))  # waits, for it is not urgent
        await written(other, at("production", NOW + 9))
        expire(server, database, "production")
        await take_over(one, "production")
        await one.flush()
        [(body,)] = server.execute("SELECT status FROM campaign", database=database)
        assert str(NOW + 9) in body


async def test_another_environment_is_neither_read_nor_waits(state: State) -> None:
    async with two(state, "production", "staging") as (one, other):
        await written(one, at("production"), at("staging"))
        assert one.leases is not None
        one.let_go("staging")
        await one.leases.let_go(["staging"])
        loaded = (await take_over(other, "staging"))["staging"]
        assert loaded.campaigns.keys() == {("staging", "c-1")}
        assert loaded.environments.keys() == {"staging"}
        assert other.pending(SINK)[0] == 1
        assert one.pending(SINK)[0] == 1


# --- cursors -----------------------------------------------------------------------------------


async def test_after_a_takeover_delivery_goes_on_where_it_was_and_the_first_is_marked(
    server: Server, database: str, state: State
) -> None:
    async with two(state, "production") as (one, other):
        await written(one, events(1, 2, 3))
        first = next_event(one)
        assert first is not None
        one.mark_delivered(SINK, first.event_id)
        await one.flush()
        await overtake(server, database, other, "production")
        marked, found = other.add_sink(SINK).keys(), []
        while (event := next_event(other)) is not None:
            found.append((event.seq, event.event_id in marked))
            other.mark_delivered(SINK, event.event_id)
        assert found == [(2, True), (3, False)]


async def test_a_cursor_that_a_successor_may_have_passed_is_not_moved_back(
    server: Server, database: str, state: State
) -> None:
    async with two(state, "production") as (one, other):
        await written(one, events(1, 2))
        await overtake(server, database, other, "production")
        for _ in range(2):
            event = next_event(other)
            assert event is not None
            other.mark_delivered(SINK, event.event_id)
        await other.flush()
        late = next_event(one)
        assert late is not None
        one.mark_delivered(SINK, late.event_id)
        await one.flush()
        query = "SELECT event_row FROM cursor WHERE environment = 'production'"
        assert server.execute(query, database=database) == [(2,)]


async def test_where_a_sink_begins_is_never_moved(
    server: Server, database: str, state: State
) -> None:
    async with opened(state, ["production"], [SINK]) as store:
        await written(store, events(1))
        event = next_event(store)
        assert event is not None
        store.mark_delivered(SINK, event.event_id)
        await store.flush()
        await written(store, events(2))
    async with opened(state, [], [SINK, "new"]) as store:
        await store.flush()
    query = "SELECT sink, event_row FROM cursor WHERE environment = '' ORDER BY sink"
    assert server.execute(query, database=database) == [(SINK, 0), ("new", 2)]


async def test_retention_waits_for_each_environments_slowest_sink(state: State) -> None:
    async with opened(state, ["production", "staging"], [SINK]) as store:
        mixed = (an_event(1), an_event(2, environment="staging"), an_event(3))
        await written(store, Change(events=mixed))
        event = next_event(store)
        assert event is not None
        store.mark_delivered(SINK, event.event_id)
        await store.prune(NOW + 1000)
        assert [one.seq for one in store.history().values()] == [3, 2]


async def test_retention_leaves_what_is_another_replicas(state: State) -> None:
    async with two(state, "production") as (one, other):
        await written(one, events(1))
        await other.prune(NOW + 1000)
        assert len(one.history()) == 1


# --- guards ------------------------------------------------------------------------------------


async def test_a_guard_that_another_replica_has_changed_is_left_out_and_reported(
    state: State,
) -> None:
    async with two(state) as (one, other):
        found = standing(one), standing(other)
        await written(one, guard(FIRST))
        await written(other, guard(SECOND))  # which never heard of it
        assert found == ([], [(LOGIN, FIRST)])
        await written(other, guard(THIRD))  # now it has
        assert (await one.load()).guards == {LOGIN: THIRD}
        await written(one, guard(SECOND))
        assert found[0] == [(LOGIN, THIRD)]


async def test_of_two_replicas_one_takes_a_login(state: State) -> None:
    async with two(state) as (one, other):
        lists = standing(one), standing(other)
        one.save(guard(FIRST))
        other.save(guard(SECOND))
        await asyncio.gather(one.flush(), other.flush())
        assert sorted(map(len, lists)) == [0, 1]


async def test_what_was_decided_on_a_stale_guard_is_left_out_too(state: State) -> None:
    async with two(state) as (one, other):
        found = standing(other)
        await written(one, guard(FIRST))
        other.save(guard(SECOND))
        flushed = asyncio.ensure_future(other.flush())
        await asyncio.sleep(0)
        other.save(guard(THIRD))  # while SECOND is being refused
        await flushed
        await other.flush()
        assert found == [(LOGIN, FIRST)]
        assert (await one.load()).guards == {LOGIN: FIRST}


async def test_a_takeover_brings_the_guards_as_they_are(
    server: Server, database: str, state: State
) -> None:
    async with two(state, "production") as (one, other):
        await written(other, guard(FIRST))
        await written(one, guard(SECOND))
        found = standing(other)
        await written(one, guard(SECOND))
        expire(server, database, "production")
        loaded = (await take_over(other, "production"))["production"]
        assert loaded.guards == {LOGIN: SECOND}
        assert found == [(LOGIN, SECOND)]
        await written(other, guard(THIRD))
        assert len(found) == 1


async def test_a_guard_that_waits_when_a_takeover_finds_another_is_reported_as_well(
    state: State,
) -> None:
    async with two(state) as (one, other):
        await written(one, guard(FIRST))
        found = standing(other)
        assert other.leases is not None
        (fence,) = (await other.leases.take(["production"])).values()
        taking = asyncio.ensure_future(other.take_over("production", fence))
        await asyncio.sleep(0)
        other.save(guard(SECOND))
        loaded = await taking
        await other.flush()
        assert loaded.guards == {LOGIN: FIRST}
        assert found == [(LOGIN, FIRST)]


async def test_a_guard_that_cannot_be_read_is_nobodys_and_written_anew(
    server: Server, database: str, state: State
) -> None:
    async with opened(state) as store:
        found = standing(store)
        await written(store, guard(FIRST))
        server.execute("UPDATE guard SET body = 'x'", database=database)
        await written(store, guard(SECOND))
        assert found == []
        assert (await store.load()).guards == {LOGIN: SECOND}


async def test_a_guard_whose_login_no_database_can_have_jams_nothing(state: State) -> None:
    async with opened(state, ["production"]) as store:
        await written(store, guard(FIRST, "us\0er@sftp.example:22"), at("production"))
        assert len(store.history()) == 1


async def test_an_attempt_is_stored_with_its_guards_or_not_at_all(
    server: Server, database: str, state: State
) -> None:
    async with opened(state, ["production"]) as store:
        with failing(server, database, "53100", "guard"):
            store.save(Change(campaigns=(a_status(),), guards={LOGIN: FIRST}))
            await store.flush()
        assert store.problem is not None
        assert server.execute("SELECT * FROM campaign", database=database) == []


# --- a fail-over that takes commits back -------------------------------------------------------


def take_back(server: Server, database: str) -> None:
    """Have the database be a standby's that had none of the events yet, nor of their numbers."""
    back = "ALTER TABLE event ALTER COLUMN id RESTART"
    server.execute("DELETE FROM event", "DELETE FROM cursor WHERE environment <> ''", back,
                   database=database)  # fmt: skip


@pytest.mark.parametrize("told_before", [False, True])
async def test_an_event_after_a_fail_over_waits_for_whoever_takes_over(
    state: State, server: Server, database: str, *, told_before: bool
) -> None:
    async with two(state, "e0") as (one, other):
        await written(one, at("e0", NOW), at("e0", NOW + 1))
        take_back(server, database)
        if told_before:
            await tell_all(one)
            await written(one, at("e0", NOW + 2))
        else:
            await written(one, at("e0", NOW + 2))
            await tell(one, 2)
        await overtake(server, database, other, "e0")
        assert [event.seq for event in other.undelivered(SINK, 9)] == [3]


async def test_an_event_of_a_successor_after_a_fail_over_waits_for_the_next_one(
    state: State, server: Server, database: str
) -> None:
    async with two(state, "e0") as (one, other), opened(state, (), (SINK,), "three") as third:
        await written(one, at("e0", NOW), at("e0", NOW + 1))
        take_back(server, database)
        await tell_all(one)
        await overtake(server, database, other, "e0")
        await written(other, at("e0", NOW + 2))
        await overtake(server, database, third, "e0")
        assert [event.seq for event in third.undelivered(SINK, 9)] == [3]


async def tell(store: SharedStore, number: int) -> None:
    for event in store.undelivered(SINK, number):
        store.mark_delivered(SINK, event.event_id)
    await store.flush()


async def tell_all(store: SharedStore) -> None:
    await tell(store, 9)
