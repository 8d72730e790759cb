"""What listings came to is remembered: over a restart, on a full disk, from version 1 on."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.adapters.store import Change, Store, codec, schema
from monitor.core.discovery import Roster
from monitor.core.model import Listed
from support.builders import NOW, a_status
from support.state_files import events, execute, full_disk, select

ROSTER = Roster(
    campaigns={
        "c-2": Listed("c-2", "Retail — leads", "active", "sales"),
        "c-1": Listed("c-1", "", "paused", ""),
    },
    absent={"c-1": 2},
    distrusted=1,
    listed_at=NOW,
)
PRODUCTION = Change(rosters={"production": ROSTER})

texts = st.text(st.characters(codec="utf-8"))
rosters = st.builds(
    Roster,
    campaigns=st.dictionaries(texts, st.builds(Listed, texts, texts, texts, texts), max_size=3),
    absent=st.dictionaries(texts, st.integers(1, 3), max_size=3),
    distrusted=st.integers(0, 2),
    listed_at=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)


@given(rosters)
def test_a_roster_survives_to_the_last_bit_and_in_its_order(roster: Roster) -> None:
    again = codec.decode_roster(codec.encode_roster(roster))
    assert again == roster
    assert list(again.campaigns) == list(roster.campaigns)


async def test_a_roster_is_there_after_a_restart(store: Store, path: Path) -> None:
    store.save(Change(rosters={"production": Roster()}))
    store.save(PRODUCTION)
    assert store.load().rosters == {"production": ROSTER}
    await store.aclose()
    again = Store.open(path, now=NOW, threaded=False)
    assert again.load().rosters == {"production": ROSTER}
    await again.aclose()


async def test_a_roster_is_seen_while_the_disk_is_full(store: Store, path: Path) -> None:
    store.save(PRODUCTION)
    await store.flush()
    later = Change(rosters={"production": Roster(listed_at=NOW + 1)})
    with full_disk(path, "listing"):
        store.save(later)
        await store.flush()
        assert store.load().rosters == later.rosters
    await store.flush()
    assert store.load().rosters == later.rosters


async def test_of_a_dropped_environment_no_roster_is_left(store: Store, path: Path) -> None:
    store.save(Change(rosters={"production": ROSTER, "staging": ROSTER}))
    store.save(Change(dropped_environments=("production",)))
    assert list(store.load().rosters) == ["staging"]
    await store.flush()
    assert select(path, "SELECT environment FROM listing") == [("staging",)]


async def test_a_drop_holds_for_a_roster_that_waits_for_the_disk(store: Store, path: Path) -> None:
    with full_disk(path, "listing"):
        store.save(PRODUCTION)
        store.save(Change(dropped_environments=("production",)))
        await store.flush()
    await store.flush()
    assert store.load().rosters == {}


async def test_a_roster_that_cannot_be_read_costs_only_itself(store: Store, path: Path) -> None:
    store.save(Change(rosters={"production": ROSTER, "staging": ROSTER}))
    await store.flush()
    execute(path, "UPDATE listing SET body = '{}x' WHERE environment = 'production'")
    loaded = store.load()
    assert loaded.rosters == {"staging": ROSTER}
    assert loaded.problems == ("the stored listing of environment production cannot be read",)


@pytest.fixture
def of_version_1(path: Path) -> Path:
    """Return a database as the first version made it, with a campaign and an event in it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        for statement in schema.MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO meta VALUES ('epoch', '0badcafe')")
        body = codec.encode_campaign(a_status(polled_at=NOW))
        connection.execute("INSERT INTO campaign VALUES ('production', 'c-1', ?)", (body,))
        row = codec.event_row(events(1).events[0], "0badcafe")
        connection.execute(
            "INSERT INTO event (event_id, decided_at, environment, campaign_id, rule, status,"
            " severity, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
    return path


async def test_a_database_of_the_first_version_is_taken_over_with_all_that_is_in_it(
    of_version_1: Path,
) -> None:
    store = Store.open(of_version_1, now=NOW, threaded=False)
    loaded = store.load()
    assert loaded.campaigns == {("production", "c-1"): a_status(polled_at=NOW)}
    assert [stored.event.seq for stored in store.history()] == [1]
    assert loaded.rosters == {}
    store.save(PRODUCTION)
    assert store.load().rosters == {"production": ROSTER}
    await store.aclose()
    assert select(of_version_1, "PRAGMA user_version") == [(len(schema.MIGRATIONS),)]
