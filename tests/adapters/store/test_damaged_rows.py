"""A row that cannot be read is named and not known, and takes no other row with it.

Of this kind: a value of another type than its column's, text that is no UTF-8, keys and bodies that
contradict each other, of every table. `tests/test_hostile_rows.py` tries whatever else there is.
"""

from pathlib import Path

import pytest

from monitor.adapters.store import Change, Loaded, Store
from monitor.core.discovery import TargetSet
from monitor.core.guards import Guard
from monitor.core.status import EnvironmentStatus
from support.builders import NOW, a_status
from support.places import OnPostgres
from support.postgres import Server
from support.state_files import SINK, deliver_all, events, execute


async def a_state(path: Path) -> None:
    """Make a state with two rows of everything; of three events two were delivered."""
    store = Store(path, now=NOW)
    store.add_sink(SINK)
    names = ("production", "staging")
    store.save(
        Change(
            campaigns=tuple(a_status(environment=name) for name in names),
            environments=tuple(EnvironmentStatus(name=name) for name in names),
            next_call_at=dict.fromkeys(names, NOW),
            target_sets=dict.fromkeys(names, TargetSet(listed_at=NOW)),
            guards={f"login {name}": Guard() for name in names},
        )
    )
    store.save(events(1, 2))
    await deliver_all(store)
    store.save(events(3))
    await store.aclose()


async def loaded(path: Path) -> tuple[Loaded, list[tuple[int, bool]]]:
    """Return what a start knows, and what is delivered then."""
    store = Store(path, now=NOW)
    store.add_sink(SINK)
    known = await store.load()
    delivered = await deliver_all(store)
    store.history()
    await store.aclose()
    return known, delivered


KEYS = {
    "campaign": "environment", "environment": "name", "listing": "environment",
    "guard": "login_or_host", "lease": "environment",
}  # fmt: skip
BODIES = {"campaign": "status", "environment": "status", "listing": "body", "guard": "body"}
PARTS = ("campaigns", "environments", "target_sets", "guards", "next_call_at")
NO_TEXT = ["x'ff00'", "CAST(x'7bff7d' AS TEXT)", "''", "'null'", "'{'", "7", "1e999"]


@pytest.mark.parametrize("value", NO_TEXT)
@pytest.mark.parametrize("table", BODIES)
async def test_fault_40_a_body_that_cannot_be_read_is_named_and_the_others_are_there(
    path: Path, table: str, value: str
) -> None:
    await a_state(path)
    where = f"{KEYS[table]} LIKE '%production'"
    execute(path, f"UPDATE {table} SET {BODIES[table]} = {value} WHERE {where}")
    known, _ = await loaded(path)
    (problem,) = known.problems
    assert "production" in problem
    assert problem.endswith("cannot be read")
    part = dict(zip(BODIES, PARTS, strict=False))[table]
    assert any("staging" in str(key) for key in getattr(known, part))


@pytest.mark.parametrize("value", ["'soon'", "x'00'", "CAST(x'ff' AS TEXT)"])
async def test_fault_40_a_lease_that_is_no_instant_is_named_and_not_known(
    path: Path, value: str
) -> None:
    await a_state(path)
    execute(path, f"UPDATE lease SET next_call_at = {value} WHERE environment = 'production'")
    known, _ = await loaded(path)
    assert known.next_call_at == {"staging": NOW}
    assert known.problems == ("the stored lease of production cannot be read",)


@pytest.mark.parametrize("value", ["'far'", "x'00'", "1.5"])
async def test_fault_40_a_cursor_that_is_no_row_loses_and_doubles_nothing(
    path: Path, value: str
) -> None:
    await a_state(path)
    execute(path, f"UPDATE cursor SET event_row = {value} WHERE environment = ''")
    known, delivered = await loaded(path)
    assert delivered == [(3, True)]
    assert known.problems == (f"the stored cursor of {SINK} cannot be read",)


@pytest.mark.parametrize("value", ["'far'", "x'00'"])
async def test_fault_40_a_cursor_of_an_environment_that_is_no_row_loses_nothing(
    path: Path, value: str
) -> None:
    await a_state(path)
    execute(path, f"UPDATE cursor SET event_row = {value} WHERE environment <> ''")
    _, delivered = await loaded(path)
    assert delivered[-1] == (3, True)


@pytest.mark.parametrize("value", ["''", "'x'", "'a-b-c'", "x'ff'", "CAST(x'ff2d' AS TEXT)", "7"])
async def test_fault_40_an_event_whose_id_is_not_its_own_is_named_and_never_sent(
    path: Path, value: str
) -> None:
    await a_state(path)
    execute(path, f"UPDATE event SET event_id = {value} WHERE id = 3")
    known, delivered = await loaded(path)
    assert delivered == []
    (problem,) = known.problems
    assert problem.startswith("the stored event ")


async def test_fault_40_an_event_with_the_id_of_another_occurrence_is_never_sent(
    path: Path,
) -> None:
    await a_state(path)
    other = "replace(event_id, '-3', '-4')"
    execute(path, f"UPDATE event SET event_id = {other} WHERE id = 3")
    known, delivered = await loaded(path)
    assert delivered == []
    assert len(known.problems) == 1


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("value", ["''", "'null'", "'{'", "repeat('x', 30000000)"])
@pytest.mark.parametrize("table", BODIES)
async def test_on_postgresql_too_a_body_that_cannot_be_read_is_named_and_the_others_are_there(
    server: Server, database: str, table: str, value: str
) -> None:
    place = OnPostgres(server, database)
    store = await place.open()
    store.save(
        Change(
            campaigns=tuple(a_status(campaign_id=one) for one in ("c-1", "c-2")),
            environments=(EnvironmentStatus(name="production"),),
            target_sets={"production": TargetSet(listed_at=NOW)},
            guards={"login c-1": Guard()},
        )
    )
    await store.aclose()
    where = "'c-1'" if table == "campaign" else "'production'"
    key = {"campaign": "campaign_id", "guard": "'production'"}.get(table, KEYS[table])
    place.execute(f"UPDATE {table} SET {BODIES[table]} = {value} WHERE {key} = {where}")
    again = await place.open()
    known = await again.load()
    assert len(known.problems) == 1
    assert ("production", "c-2") in known.campaigns
    again.save(Change(campaigns=(a_status(),), guards={"login c-1": Guard(last_at=NOW)}))
    await again.flush()
    assert again.problem is None
    await again.aclose()


@pytest.mark.parametrize("value", ["'NaN'", "'Infinity'"])
async def test_on_postgresql_a_lease_that_is_no_number_spends_no_call_too_many(
    server: Server, database: str, value: str
) -> None:
    place = OnPostgres(server, database)
    store = await place.open()
    await store.lease("production", NOW)
    await store.aclose()
    place.execute(f"UPDATE lease SET next_call_at = {value}")
    known = await (again := await place.open()).load()
    assert known.next_call_at == ({} if value == "'NaN'" else {"production": float("inf")})
    await again.aclose()
