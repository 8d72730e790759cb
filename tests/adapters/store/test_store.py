"""What is saved survives a restart, whole or not at all; what is damaged costs only itself."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from monitor.adapters.store import MEMORY, Change, StorageError, Store
from monitor.core.discovery import Roster
from monitor.core.model import Alert, AlertState
from monitor.core.status import CampaignStatus, EnvironmentStatus, Memory
from support.builders import NOW, a_config, a_status
from support.state_files import an_event, events, execute, full_disk, select

REMEMBERED = a_status(
    memory=Memory(config=a_config(), seen_at=NOW),
    alerts={"failed_test": Alert(rule="failed_test", state=AlertState.FIRING, told=True, seq=2)},
    polled_at=NOW,
)
ENVIRONMENT = EnvironmentStatus(
    name="production",
    outage_at=NOW,
    alerts={"api_unreachable": Alert(rule="api_unreachable", seq=3)},
)


def campaign(campaign_id: str, environment: str = "production") -> CampaignStatus:
    return CampaignStatus(environment=environment, campaign_id=campaign_id)


async def reopened(path: Path) -> Store:
    return Store.open(path, now=NOW, threaded=False)


async def test_a_new_store_remembers_nothing(store: Store) -> None:
    loaded = store.load()
    assert (loaded.campaigns, loaded.environments, loaded.next_call_at) == ({}, {}, {})
    assert loaded.problems == ()


async def test_what_was_saved_is_loaded_after_a_restart(store: Store, path: Path) -> None:
    store.save(
        Change(
            campaigns=(REMEMBERED,),
            environments=(ENVIRONMENT,),
            events=(an_event(2),),
            next_call_at={"production": NOW + 5},
        )
    )
    await store.aclose()
    again = await reopened(path)
    loaded = again.load()
    assert loaded.campaigns == {("production", "c-1"): REMEMBERED}
    assert loaded.environments == {"production": ENVIRONMENT}
    assert loaded.next_call_at == {"production": NOW + 5}
    assert [stored.event for stored in again.history()] == [an_event(2)]
    await again.aclose()


async def test_the_same_is_loaded_in_a_thread_with_what_is_not_on_disk_yet(path: Path) -> None:
    store = Store.open(path, now=NOW)
    store.save(Change(campaigns=(REMEMBERED,)))
    await store.flush()
    with full_disk(path, "campaign"), ThreadPoolExecutor(1) as threads:
        store.save(Change(campaigns=(campaign("c-2"),)))
        await store.flush()
        loaded = await store.load_in(threads)
        assert store.failing
    assert loaded == store.load()
    assert set(loaded.campaigns) == {("production", "c-1"), ("production", "c-2")}
    await store.aclose()


async def test_nothing_is_read_of_environments_that_are_known_already(path: Path) -> None:
    store = Store.open(path, now=NOW)
    both = ("production", "staging")
    store.save(
        Change(
            campaigns=tuple(campaign("c-1", environment=name) for name in both),
            environments=tuple(EnvironmentStatus(name=name) for name in both),
            next_call_at=dict.fromkeys(both, NOW),
            rosters=dict.fromkeys(both, Roster()),
        )
    )
    await store.flush()
    execute(path, "UPDATE campaign SET status = '' WHERE environment = 'production'")
    with ThreadPoolExecutor(1) as threads:
        loaded = await store.load_in(threads, {"production"})
    assert loaded == store.load({"production"})
    assert list(loaded.campaigns) == [("staging", "c-1")]
    known = (loaded.environments, loaded.next_call_at, loaded.rosters)
    assert [list(one) for one in known] == [["staging"]] * 3
    assert loaded.problems == ()
    await store.aclose()


async def test_a_large_state_is_read_in_the_threads_that_are_given(path: Path) -> None:
    store = Store.open(path, now=NOW)
    started: list[str] = []
    with ThreadPoolExecutor(1, initializer=started.append, initargs=("a thread",)) as threads:
        await store.load_in(threads)
    assert started == ["a thread"]
    await store.aclose()


async def test_a_state_in_memory_is_loaded_where_it_is() -> None:
    store = Store.open(MEMORY, now=NOW)
    store.save(Change(campaigns=(REMEMBERED,)))
    with ThreadPoolExecutor(1) as threads:
        assert (await store.load_in(threads)).campaigns == {("production", "c-1"): REMEMBERED}
    await store.aclose()


async def test_a_file_that_cannot_be_read_in_a_thread_is_a_storage_error(path: Path) -> None:
    store = Store.open(path, now=NOW)
    execute(path, "DROP TABLE campaign")
    with ThreadPoolExecutor(1) as threads, pytest.raises(StorageError, match="cannot be read"):
        await store.load_in(threads)
    await store.aclose()


async def test_the_last_status_saved_is_the_one_that_counts(store: Store) -> None:
    for polled_at in (NOW, NOW + 1, NOW + 2):
        store.save(Change(campaigns=(a_status(polled_at=polled_at),)))
    await store.flush()
    assert store.load().campaigns["production", "c-1"].polled_at == NOW + 2


async def test_the_same_campaign_id_in_two_environments_is_two_campaigns(store: Store) -> None:
    store.save(Change(campaigns=(campaign("c-1"), campaign("c-1", "staging"))))
    await store.flush()
    assert set(store.load().campaigns) == {("production", "c-1"), ("staging", "c-1")}


async def test_a_tombstone_is_stored_like_any_other_status(store: Store) -> None:
    tombstone = a_status(alerts={"missing": Alert(rule="missing", seq=7)})
    store.save(Change(campaigns=(REMEMBERED,)))
    store.save(Change(campaigns=(tombstone,)))
    await store.flush()
    assert store.load().campaigns == {("production", "c-1"): tombstone}


async def test_two_statuses_and_their_events_are_one_transaction(store: Store, path: Path) -> None:
    with full_disk(path):
        store.save(Change(campaigns=(campaign("c-1"), campaign("c-2")), events=(an_event(),)))
        await store.flush()
        assert select(path, "SELECT * FROM campaign") == []
        assert select(path, "SELECT * FROM event") == []
    await store.flush()
    assert select(path, "SELECT campaign_id FROM campaign") == [("c-1",), ("c-2",)]
    assert select(path, "SELECT id FROM event") == [(1,)]


async def test_what_cannot_be_encoded_is_refused_whole(store: Store) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        store.save(Change(campaigns=(campaign("c-1"),), events=(an_event(summary="\ud800"),)))
    await store.flush()
    assert store.load().campaigns == {}
    assert not store.failing


async def test_a_lease_is_on_disk_when_it_is_granted(store: Store, path: Path) -> None:
    await store.lease("production", NOW + 5)
    assert select(path, "SELECT name, next_call_at FROM environment") == [("production", NOW + 5)]
    assert store.load().next_call_at == {"production": NOW + 5}
    assert store.load().environments == {}


async def test_a_lease_and_a_status_of_an_environment_do_not_touch_each_other(store: Store) -> None:
    await store.lease("production", NOW + 5)
    store.save(Change(environments=(ENVIRONMENT,)))
    await store.lease("production", NOW + 10)
    loaded = store.load()
    assert loaded.environments == {"production": ENVIRONMENT}
    assert loaded.next_call_at == {"production": NOW + 10}


async def test_a_lease_that_cannot_be_written_is_told_to_who_asked(
    store: Store, path: Path
) -> None:
    with full_disk(path, "environment"), pytest.raises(StorageError, match="full"):
        await store.lease("production", NOW + 5)
    await store.flush()


async def test_a_caller_that_waits_no_more_disturbs_nobody(store: Store) -> None:
    waiting = asyncio.ensure_future(store.lease("production", NOW + 5))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await store.flush()
    assert store.errors == 0


async def test_of_a_dropped_environment_only_the_event_counts_are_left(store: Store) -> None:
    other = campaign("c-9", "staging")
    store.save(Change(campaigns=(REMEMBERED, other), environments=(ENVIRONMENT,)))
    await store.flush()
    store.save(Change(dropped_environments=("production",)))
    await store.flush()
    loaded = store.load()
    assert loaded.campaigns == {
        ("production", "c-1"): a_status(alerts={"failed_test": Alert(rule="failed_test", seq=2)}),
        ("staging", "c-9"): other,
    }
    assert loaded.environments["production"] == EnvironmentStatus(
        name="production", alerts={"api_unreachable": Alert(rule="api_unreachable", seq=3)}
    )


async def test_nothing_is_left_of_what_never_had_an_event(store: Store, path: Path) -> None:
    store.save(
        Change(campaigns=(campaign("c-2"),), environments=(EnvironmentStatus(name="production"),))
    )
    await store.flush()
    with full_disk(path):
        store.save(Change(events=(an_event(1),), dropped_environments=("production",)))
        await store.flush()
        before = store.load()
    await store.flush()
    assert store.load() == before
    assert (before.campaigns, before.environments) == ({}, {})


async def test_the_lease_of_a_dropped_environment_stays_for_its_return(store: Store) -> None:
    await store.lease("production", NOW + 5)
    store.save(Change(dropped_environments=("production",)))
    await store.flush()
    assert store.load().next_call_at == {"production": NOW + 5}


async def test_what_is_saved_after_a_drop_stays(store: Store) -> None:
    store.save(Change(campaigns=(REMEMBERED,)))
    store.save(Change(campaigns=(campaign("c-2"),), dropped_environments=("production",)))
    store.save(Change(campaigns=(REMEMBERED,)))
    await store.flush()
    assert store.load().campaigns == {
        ("production", "c-1"): REMEMBERED,
        ("production", "c-2"): campaign("c-2"),
    }


async def test_a_drop_holds_for_what_waits_for_the_disk_too(store: Store, path: Path) -> None:
    with full_disk(path, "campaign"):
        store.save(Change(campaigns=(REMEMBERED,), environments=(ENVIRONMENT,)))
        store.save(Change(dropped_environments=("production",)))
        await store.flush()
    await store.flush()
    loaded = store.load()
    assert loaded.campaigns["production", "c-1"].polled_at is None
    assert loaded.campaigns["production", "c-1"].alerts["failed_test"].seq == 2
    assert loaded.environments["production"].outage_at is None


async def test_a_drop_is_seen_before_it_is_on_disk(store: Store, path: Path) -> None:
    store.save(Change(campaigns=(REMEMBERED,), environments=(ENVIRONMENT,)))
    await store.flush()
    with full_disk(path):
        store.save(Change(events=(an_event(3),), dropped_environments=("production",)))
        await store.flush()
        before = store.load()
    assert before.campaigns["production", "c-1"].polled_at is None
    assert before.environments["production"].outage_at is None
    await store.flush()
    assert store.load() == before


async def test_a_damaged_campaign_costs_only_itself(store: Store, path: Path) -> None:
    store.save(Change(campaigns=(REMEMBERED, campaign("c-2"))))
    await store.flush()
    execute(path, "UPDATE campaign SET status = '{' WHERE campaign_id = 'c-1'")
    loaded = store.load()
    assert loaded.problems == ("the stored status of production/c-1 cannot be read",)
    assert loaded.campaigns["production", "c-2"] == campaign("c-2")
    assert loaded.campaigns["production", "c-1"] == a_status()


async def test_a_damaged_environment_costs_only_itself(store: Store, path: Path) -> None:
    store.save(Change(environments=(ENVIRONMENT, EnvironmentStatus(name="staging"))))
    await store.lease("production", NOW + 5)
    execute(path, "UPDATE environment SET status = '[]' WHERE name = 'production'")
    loaded = store.load()
    assert loaded.problems == ("the stored status of environment production cannot be read",)
    assert loaded.environments["production"] == EnvironmentStatus(name="production")
    assert loaded.environments["staging"] == EnvironmentStatus(name="staging")
    assert loaded.next_call_at == {"production": NOW + 5}


async def test_the_status_of_one_campaign_in_the_row_of_another_is_damage(
    store: Store, path: Path
) -> None:
    store.save(Change(campaigns=(REMEMBERED,)))
    await store.flush()
    execute(path, "UPDATE campaign SET campaign_id = 'c-2'")
    assert len(store.load().problems) == 1


async def test_no_event_id_is_used_again_after_a_damaged_row(store: Store, path: Path) -> None:
    of_environment = an_event(1, campaign_id=None, rule="api_unreachable")
    store.save(Change(campaigns=(REMEMBERED,), environments=(ENVIRONMENT,)))
    store.save(Change(events=(an_event(1), an_event(10), an_event(9), of_environment)))
    await store.flush()
    execute(path, "UPDATE campaign SET status = ''", "UPDATE environment SET status = ''")
    loaded = store.load()
    assert loaded.campaigns["production", "c-1"].alerts == {
        "failed_test": Alert(rule="failed_test", seq=10)
    }
    assert loaded.environments["production"].alerts == {
        "api_unreachable": Alert(rule="api_unreachable", seq=1)
    }


@pytest.mark.parametrize("damage", ["{", ""])
async def test_a_damaged_row_of_a_dropped_environment_blocks_nothing(
    store: Store, path: Path, damage: str
) -> None:
    store.save(Change(campaigns=(REMEMBERED,), environments=(ENVIRONMENT,)))
    await store.flush()
    for table in ("campaign", "environment"):
        execute(path, f"UPDATE {table} SET status = '{damage}'")
    store.save(Change(dropped_environments=("production",)))
    await store.flush()
    assert not store.failing
    assert len(store.load().problems) == 2


async def test_after_closing_there_is_one_file_and_it_holds_everything(
    store: Store, path: Path
) -> None:
    store.save(events(1, 2, 3))
    await store.aclose()
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}
    assert select(path, "SELECT count(*) FROM event") == [(3,)]


async def test_nothing_can_be_saved_into_a_closed_store_unnoticed(path: Path) -> None:
    store = Store.open(path, now=NOW)
    await store.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        store.save(events(1))


async def test_the_hook_is_called_after_every_commit_that_held_events(store: Store) -> None:
    commits = []
    store.on_commit = lambda: commits.append(len(store.history()))
    store.save(Change(campaigns=(REMEMBERED,)))
    await store.flush()
    assert commits == []
    store.save(events(1, 2))
    await store.flush()
    assert commits == [2]


async def test_a_store_in_memory_does_all_of_it_without_a_disk(tmp_path: Path) -> None:
    store = Store.open(MEMORY, now=NOW)
    store.add_sink("log")
    store.save(Change(campaigns=(REMEMBERED,), events=(an_event(1), an_event(2))))
    await store.lease("production", NOW + 5)
    assert store.load().campaigns == {("production", "c-1"): REMEMBERED}
    assert [stored.row_id for stored in store.events_after("log", 10)] == [1, 2]
    assert [stored.row_id for stored in store.history()] == [2, 1]
    await store.aclose()


async def test_two_stores_in_memory_share_nothing() -> None:
    one, two = Store.open(MEMORY, now=NOW), Store.open(MEMORY, now=NOW)
    one.save(events(1))
    assert two.history() == []
    await one.aclose()
    await two.aclose()
