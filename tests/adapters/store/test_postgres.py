"""PostgreSQL as it fails: lost answers, restarts, full disks, wrong roles, schemas of others."""

import asyncio
import os
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from monitor.adapters.store import (
    Change,
    StorageError,
    connection,
    migrate_state,
    open_state,
    shared,
)
from monitor.adapters.store.shared import SharedStore
from monitor.config import TokenSource
from monitor.config.sections import State
from monitor.core.guards import Guard
from support.builders import NOW, a_status
from support.postgres import (
    GUARDED,
    OWNER,
    Between,
    Server,
    a_server,
    failing,
    opened,
    replica,
    state_on,
)
from support.state_files import SINK, an_event, events, next_event

LOGIN = "user@sftp.example:22"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon what failed: a second in each of these tests would be a minute."""
    monkeypatch.setattr(shared, "FIRST_RETRY", 0.1)


@pytest.fixture
def between(server: Server) -> Iterator[Between]:
    with Between(server) as proxy:
        yield proxy


def behind(between: Between, server: Server, database: str) -> State:
    """Return a state that is reached through the proxy."""
    return state_on(server.url(database, host="127.0.0.1", port=between.port))


def refused(state: State) -> StorageError:
    """Return why a state cannot be opened."""
    with pytest.raises(StorageError) as raised:
        migrate_state(state)
    return raised.value


async def until_written(store: SharedStore) -> None:
    """Wait until a transaction comes through."""
    async with asyncio.timeout(30):
        await store.flush()
        while store.problem is not None:
            await asyncio.sleep(0)
            await store.flush()


def told(store: SharedStore) -> list[int]:
    """Deliver all that waits, and return the events' numbers."""
    found = []
    while (event := next_event(store)) is not None:
        found.append(event.seq)
        store.mark_delivered(SINK, event.event_id)
    return found


# --- transactions that fail --------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["request", "answer"])
async def test_a_commit_whose_answer_is_lost_is_made_again_and_counts_once(
    server: Server, database: str, between: Between, cut: str
) -> None:
    state = behind(between, server, database)
    async with opened(state, ["production"], [SINK]) as store:
        store.save(events(1))
        await store.flush()
        between.cut = cut  # type: ignore[assignment]
        store.save(Change(events=(an_event(2),), guards={LOGIN: Guard(last_at=NOW)}))
        await store.flush()
        assert store.problem is not None
        assert not store.problem.permanent
        there = len(server.execute("SELECT id FROM event", database=database))
        assert there == (2 if cut == "answer" else 1)
        # Meanwhile life goes on, with what the same rows are then.
        store.save(Change(events=(an_event(3),), guards={LOGIN: Guard(last_at=NOW + 1)}))
        guards: list[str] = []
        store.on_guard = lambda key, _: guards.append(key)
        await until_written(store)
        assert told(store) == [1, 2, 3]
        assert [one.seq for one in store.history().values()] == [3, 2, 1]
        assert guards == []
        assert (await store.load()).guards == {LOGIN: Guard(last_at=NOW + 1)}


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("code", ["53100", "53300", "57014", "25006", "40P01", "57P03"])
async def test_what_passes_by_itself_is_waited_for_and_nothing_is_lost(
    server: Server, database: str, state: State, code: str
) -> None:
    async with opened(state, ["production"], [SINK]) as store:
        with failing(server, database, code):
            store.save(events(1))
            await store.flush()
            assert store.problem is not None
            assert not store.problem.permanent
            assert next_event(store) is None
            store.save(events(2))
        await until_written(store)
        assert told(store) == [1, 2]


async def test_nothing_goes_out_before_it_is_committed(
    server: Server, database: str, state: State
) -> None:
    async with opened(state, ["production"], [SINK]) as store:
        with failing(server, database, "53100"):
            store.save(events(1))
            await store.flush()
            assert next_event(store) is None
            assert store.pending(SINK)[0] == 1


async def test_a_database_that_fails_is_not_asked_all_the_time(
    server: Server, database: str, state: State
) -> None:
    async with opened(state, ["production"]) as store:
        with failing(server, database, "53100"):
            store.save(events(1))
            await store.flush()
            why = store.problem
            for seq in range(2, 20):
                store.save(events(seq))
                await store.flush()
            assert store.problem is why
        await until_written(store)
        assert len(store.history()) == 19


@pytest.mark.slow(seconds=5)
async def test_a_restart_of_the_server_is_survived() -> None:
    with a_server() as server:
        async with opened(state_on(server.url(server.database())), ["production"], [SINK]) as store:
            store.save(events(1))
            await store.flush()
            server.stop("immediate")
            store.save(events(2))
            await store.flush()
            assert store.problem is not None
            assert not store.problem.permanent
            with pytest.raises(StorageError):
                store.history()
            server.start()
            await until_written(store)
            assert told(store) == [1, 2]


async def test_a_server_that_hangs_is_cut_off(
    server: Server, database: str, between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WITHIN", 0.5)
    async with opened(behind(between, server, database), ["production"], [SINK]) as store:
        between.held.set()
        store.save(events(1))
        await store.flush()
        assert store.problem is not None
        between.held.clear()
        await until_written(store)
        assert told(store) == [1]


async def test_what_is_taken_over_does_not_wait_for_the_next_try(
    server: Server, database: str, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "FIRST_RETRY", 600.0)
    async with opened(state, ["production"], [SINK]) as store:
        server.stop("immediate")
        store.save(events(1))
        await store.flush()
        server.start()
        assert store.leases is not None
        with suppress(StorageError):  # by the connection of before
            await store.leases.take([])
        fences = await store.leases.take(["production"])
        await store.take_over("production", fences["production"])
        assert store.problem is None


async def test_leases_come_back_though_nobody_waited_for_a_server_that_hung(
    server: Server, database: str, between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WITHIN", 1.0)
    async with opened(behind(between, server, database), ["production"]) as store:
        assert store.leases is not None
        between.held.set()
        patience, answered = 0.4, False  # as of who renews: less than what a transaction may take
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await store.leases.renew(replica("one", "production"))
        between.held.clear()
        for _ in range(10):
            with suppress(StorageError, TimeoutError):
                async with asyncio.timeout(patience):
                    await store.leases.renew(replica("one", "production"))
                    answered = True
                    break
        assert answered


@pytest.mark.slow(seconds=6)
async def test_a_row_that_somebody_has_locked_is_waited_for_five_seconds(
    server: Server, database: str, state: State
) -> None:
    async with opened(state, ["production"]) as store:
        with Locked(server, database):
            store.save(events(1))
            await store.flush()
            assert store.problem is not None
            assert "lock timeout" in store.problem.reason
        await until_written(store)


class Locked:
    """Somebody else's transaction that has locked the rows of ownership."""

    def __init__(self, server: Server, database: str) -> None:
        self._own = psycopg.connect(server.url(database))

    def __enter__(self) -> None:
        self._own.execute("SELECT * FROM ownership FOR UPDATE")

    def __exit__(self, *_: object) -> None:
        self._own.close()


async def test_a_batch_is_written_in_a_few_round_trips(state: State) -> None:
    async with opened(state, ["production"]) as store:
        statuses = tuple(a_status(campaign_id=f"c-{n}") for n in range(1000))
        store.save(Change(campaigns=statuses))
        await store.flush()
        assert len((await store.load()).campaigns) == 1000


# --- who may connect ---------------------------------------------------------------------------


async def test_a_password_is_read_at_each_connect(
    server: Server, database: str, tmp_path: Path
) -> None:
    def rotate(password: str) -> None:
        server.execute(f"ALTER ROLE {GUARDED} PASSWORD '{password}'")

    server.execute(f"GRANT {OWNER} TO {GUARDED}", f"ALTER DATABASE {database} OWNER TO {GUARDED}")
    file = tmp_path / "password"
    file.write_text("first\n")
    file.chmod(0o600)
    rotate("first")
    state = state_on(server.url(database, GUARDED), password_file=TokenSource(file))
    async with opened(state, ["production"], [SINK]) as store:
        rotate("second")
        drop = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = "
        server.execute(f"{drop}'{GUARDED}'")
        store.save(events(1))
        await store.flush()  # the connection is gone
        assert store.problem is not None
        await asyncio.sleep(connection_retry())
        await store.flush()
        assert store.problem is not None
        assert "password authentication failed" in store.problem.reason
        assert "first" not in str(store.problem)
        file.write_text("second\n")
        await until_written(store)
        assert told(store) == [1]


def connection_retry() -> float:
    """Return in how many seconds what failed is tried again."""
    return shared.FIRST_RETRY + 0.1


def test_a_password_file_that_others_can_read_is_refused(
    server: Server, database: str, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    file.chmod(0o644)
    why = refused(state_on(server.url(database, GUARDED), password_file=TokenSource(file)))
    assert why.permanent
    assert "chmod" in why.reason


def test_what_libpq_would_read_by_itself_is_ignored(
    server: Server, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "PGHOST": "nowhere.example", "PGHOSTADDR": "192.0.2.1", "PGPORT": "1",
        "PGUSER": "nobody", "PGDATABASE": "none", "PGPASSWORD": "wrong",
        "PGSERVICE": "none", "PGSERVICEFILE": str(tmp_path / "none"), "PGOPTIONS": "-c nonsense=1",
        "PGSSLMODE": "verify-full", "PGTZ": "nowhere", "PGCLIENTENCODING": "latin1",
        "PGTARGETSESSIONATTRS": "standby", "PGCONNECT_TIMEOUT": "nonsense", "HOME": str(tmp_path),
        "PGAPPNAME": "other",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    password = tmp_path / ".pgpass"
    password.write_text(f"*:*:*:{GUARDED}:right\n")
    password.chmod(0o600)
    migrate_state(state_on(server.url(database)))
    assert [name for name in os.environ if name.startswith("PG")] == []
    server.execute(f"ALTER ROLE {GUARDED} PASSWORD 'right'")
    assert "no password" in refused(state_on(server.url(database, GUARDED))).reason


async def test_our_connections_have_names(server: Server, database: str, state: State) -> None:
    async with opened(state, ["production"]):
        query = "SELECT application_name FROM pg_stat_activity WHERE datname = "
        names = [name for (name,) in server.execute(f"{query}'{database}'")]
    assert len(names) == 2
    assert all(name.startswith("sftp-monitor/") for name in names)


@pytest.mark.parametrize("what", ["role", "database"])
def test_a_role_or_a_database_that_is_not_there_is_for_somebody_to_see_to(
    server: Server, database: str, what: str
) -> None:
    given = (database, "who") if what == "role" else ("nothing", OWNER)
    why = refused(state_on(server.url(*given)))
    assert why.permanent
    assert f'{what} "{given[1] if what == "role" else given[0]}" does not exist' in why.reason


def test_a_role_without_rights_is_for_somebody_to_see_to(server: Server, database: str) -> None:
    migrate_state(state_on(server.url(database)))
    server.execute("DROP ROLE IF EXISTS stranger", "CREATE ROLE stranger LOGIN")
    why = refused(state_on(server.url(database, "stranger")))
    assert why.permanent
    assert "permission denied" in why.reason


def test_a_server_that_is_not_there_is_waited_for(server: Server, tmp_path: Path) -> None:
    nowhere = str(tmp_path).replace("/", "%2F")
    why = refused(state_on(f"postgresql://{OWNER}@{nowhere}/nothing"))
    assert not why.permanent
    assert why.reason.startswith("cannot be reached or used")


def test_a_server_that_takes_no_writes_is_waited_for(server: Server, database: str) -> None:
    server.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    plain = server.url(database)
    for url in (plain, f"{plain}?target_session_attrs=read-write"):
        why = refused(state_on(url))
        assert not why.permanent
        assert "read-only" in why.reason


async def test_a_state_that_is_opened_before_its_server_takes_writes_is_made_once_it_does(
    server: Server, database: str
) -> None:
    server.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    thread = ThreadPoolExecutor(1)
    store = open_state(state_on(server.url(database)), NOW, thread, _as_a_task)
    assert isinstance(store, SharedStore)
    try:
        store.add_sink(SINK)
        await store.flush()
        assert store.problem is not None
        assert store.key == ""
        server.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
        await until_written(store)
        assert store.key
    finally:
        await store.aclose()


def _as_a_task(_name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.ensure_future(work)


def test_a_database_in_another_encoding_is_refused(server: Server) -> None:
    server.execute("DROP DATABASE IF EXISTS ascii")
    template = "TEMPLATE template0 ENCODING SQL_ASCII LC_COLLATE 'C' LC_CTYPE 'C'"
    server.execute(f"CREATE DATABASE ascii {template} OWNER {OWNER}")
    why = refused(state_on(server.url("ascii")))
    assert why.permanent
    assert "in UTF8, found" in why.reason


# --- the schema --------------------------------------------------------------------------------


def test_a_schema_that_may_not_be_made_names_the_command(state: State) -> None:
    quiet = state.model_copy(update={"migrate": False})
    with pytest.raises(StorageError, match="sftp-monitor state migrate") as raised:
        open_state(quiet, NOW, None, _as_a_task)
    assert raised.value.permanent
    migrate_state(state)
    migrate_state(state)


def test_two_that_migrate_at_once_make_one_schema(
    server: Server, database: str, state: State
) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate_state, [state] * 4))
    query = "SELECT version, may_write FROM sftp_monitor_schema"
    version = (connection.VERSION, connection.MAY_WRITE)
    assert server.execute(query, database=database) == [version]


def test_tables_of_somebody_else_are_left_alone(
    server: Server, database: str, state: State
) -> None:
    server.execute("CREATE TABLE event (id INT)", database=database)
    why = refused(state)
    assert why.permanent
    assert "not ours" in why.reason


async def test_a_newer_schema_that_we_may_write_is_written(
    server: Server, database: str, state: State
) -> None:
    migrate_state(state)
    server.execute("UPDATE sftp_monitor_schema SET version = version + 1", database=database)
    async with opened(state, ["production"]) as store:
        store.save(events(1))
        await store.flush()
        assert store.problem is None


async def test_who_is_too_old_for_the_schema_writes_nothing_any_more(
    server: Server, database: str, state: State
) -> None:
    async with opened(state, ["production"]) as store:
        server.execute("UPDATE sftp_monitor_schema SET may_write = 1000", database=database)
        store.save(events(1))
        await store.flush()
        assert store.problem is not None
        assert store.problem.permanent
        assert "upgrade" in store.problem.reason
        assert refused(state).permanent
        assert server.execute("SELECT * FROM event", database=database) == []
