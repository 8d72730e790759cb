"""What is saved survives a restart, whole or not at all; what is damaged costs only itself."""

import asyncio
import threading as threads
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from monitor.adapters.store import MEMORY, Change, Loaded, StorageError, Store
from monitor.core.discovery import TargetSet
from monitor.core.model import ListedCampaign
from monitor.core.status import Alert, AlertState, CampaignStatus, EnvironmentStatus, LastKnown
from support.builders import NOW, a_config, a_status
from support.places import Place
from support.state_files import an_event, events, execute, full_disk, next_event, select, threaded

REMEMBERED = a_status(
    last_known=LastKnown(config=a_config(), last_read_at=NOW),
    alerts={
        "failed_test": Alert(rule="failed_test", state=AlertState.FIRING, notified=True, seq=2)
    },
    polled_at=NOW,
)
ENVIRONMENT = EnvironmentStatus(
    name="production",
    outage_at=NOW,
    alerts={"api_unreachable": Alert(rule="api_unreachable", seq=3)},
)
TARGET_SET = TargetSet(
    campaigns={"c-2": ListedCampaign("c-2", "Retail — leads", "active", "sales")},
    absent={"c-1": 2},
    distrusted=1,
    listed_at=NOW,
)


def campaign(campaign_id: str, environment: str = "production") -> CampaignStatus:
    return CampaignStatus(environment=environment, campaign_id=campaign_id)


async def loaded_after(store: Store, place: Place) -> Loaded:
    """Return what the next process finds."""
    await store.aclose()
    again = await place.open()
    loaded = await again.load()
    await again.aclose()
    return loaded


async def test_a_new_store_remembers_nothing(store: Store) -> None:
    assert await store.load() == Loaded()


async def test_what_was_saved_is_loaded_after_a_restart(store: Store, place: Place) -> None:
    store.save(
        Change(
            campaigns=(REMEMBERED,),
            environments=(ENVIRONMENT,),
            events=(an_event(2),),
            next_call_at={"production": NOW + 5},
            target_sets={"production": TARGET_SET},
        )
    )
    await store.flush()
    assert list(store.history().values()) == [an_event(2, epoch=store.epoch_of("production"))]
    assert await loaded_after(store, place) == Loaded(
        campaigns={("production", "c-1"): REMEMBERED},
        environments={"production": ENVIRONMENT},
        next_call_at={"production": NOW + 5},
        target_sets={"production": TARGET_SET},
    )


async def test_the_state_is_read_on_the_thread_of_the_executor(path: Path) -> None:
    started: list[str] = []
    with ThreadPoolExecutor(1, initializer=lambda: started.append("a thread")) as executor:
        store = Store(path, now=NOW, executor=executor)
        await store.load()
        assert started == ["a thread"]
        await store.aclose()


async def test_a_file_that_cannot_be_read_is_a_storage_error(store: Store, path: Path) -> None:
    execute(path, "DROP TABLE campaign")
    with pytest.raises(StorageError, match="cannot be read"):
        await store.load()


async def test_the_last_status_saved_is_the_one_that_counts(store: Store, place: Place) -> None:
    for polled_at in (NOW, NOW + 1, NOW + 2):
        store.save(Change(campaigns=(a_status(polled_at=polled_at),)))
    loaded = await loaded_after(store, place)
    assert loaded.campaigns["production", "c-1"].polled_at == NOW + 2


async def test_the_same_campaign_id_in_two_environments_is_two_campaigns(
    store: Store, place: Place
) -> None:
    store.save(Change(campaigns=(campaign("c-1"), campaign("c-1", "staging"))))
    loaded = await loaded_after(store, place)
    assert set(loaded.campaigns) == {("production", "c-1"), ("staging", "c-1")}


async def test_two_statuses_and_their_events_are_one_transaction(store: Store, path: Path) -> None:
    with full_disk(path):
        store.save(Change(campaigns=(campaign("c-1"), campaign("c-2")), events=(an_event(),)))
        await store.flush()
        assert select(path, "SELECT * FROM campaign") == []
        assert select(path, "SELECT * FROM event") == []
    await store.flush()
    assert select(path, "SELECT campaign_id FROM campaign") == [("c-1",), ("c-2",)]
    assert select(path, "SELECT id FROM event") == [(1,)]


async def test_what_cannot_be_encoded_is_refused_whole(store: Store, place: Place) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        store.save(Change(campaigns=(campaign("c-1"),), events=(an_event(summary="\ud800"),)))
    await store.flush()
    assert not store.problem
    assert await loaded_after(store, place) == Loaded()


# --- the budget --------------------------------------------------------------------------------


async def test_a_lease_is_on_disk_when_it_is_granted(store: Store, place: Place) -> None:
    await store.lease("production", NOW + 5)
    assert place.select("SELECT * FROM lease") == [("production", NOW + 5)]
    assert (await loaded_after(store, place)) == Loaded(next_call_at={"production": NOW + 5})


async def test_a_lease_that_cannot_be_written_is_told_to_who_asked(
    store: Store, path: Path
) -> None:
    with full_disk(path, "lease"), pytest.raises(StorageError, match="full"):
        await store.lease("production", NOW + 5)
    await store.flush()


async def test_a_caller_that_waits_no_more_disturbs_nobody(store: Store) -> None:
    waiting = asyncio.ensure_future(store.lease("production", NOW + 5))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await store.flush()
    assert store.problem is None


# --- environments that were removed ------------------------------------------------------------


async def test_after_the_start_nothing_is_read_back(store: Store, path: Path) -> None:
    store.save(Change(campaigns=(REMEMBERED,), environments=(ENVIRONMENT,)))
    await store.flush()
    await store.load()
    execute(path, "DROP TABLE campaign")
    assert await store.load() == Loaded()


async def test_what_is_left_of_a_removed_environment_is_kept_in_memory(store: Store) -> None:
    await store.load()
    tombstone = a_status(alerts={"missing": Alert(rule="missing", seq=7)})
    left = EnvironmentStatus(name="production")
    store.save(Change(campaigns=(REMEMBERED,), environments=(ENVIRONMENT,)))
    await store.lease("production", NOW + 5)
    store.save(Change(campaigns=(tombstone,), environments=(left,), removed=True))
    assert await store.load() == Loaded(
        campaigns={("production", "c-1"): tombstone},
        environments={"production": left},
        next_call_at={"production": NOW + 5},
    )


async def test_a_removed_environment_is_known_while_nothing_can_be_written(
    store: Store, path: Path
) -> None:
    await store.load()
    with full_disk(path, "campaign"):
        store.save(Change(campaigns=(REMEMBERED,), removed=True))
        await store.flush()
        assert (await store.load()).campaigns == {("production", "c-1"): REMEMBERED}
    await store.flush()


# --- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["status = '{'", "status = ''", "campaign_id = 'c-9'"])
async def test_a_damaged_campaign_costs_only_itself(
    store: Store, place: Place, damage: str
) -> None:
    store.save(Change(campaigns=(REMEMBERED, campaign("c-2"))))
    await store.flush()
    place.execute(f"UPDATE campaign SET {damage} WHERE campaign_id = 'c-1'")
    loaded = await loaded_after(store, place)
    [problem] = loaded.problems
    assert problem.startswith("the stored status of production/c-")
    assert loaded.campaigns == {("production", "c-2"): campaign("c-2")}


async def test_a_damaged_environment_costs_only_itself(store: Store, place: Place) -> None:
    environments = (ENVIRONMENT, EnvironmentStatus(name="staging"))
    store.save(Change(campaigns=(REMEMBERED,), environments=environments))
    await store.lease("production", NOW + 5)
    place.execute("UPDATE environment SET status = '[]' WHERE name = 'production'")
    loaded = await loaded_after(store, place)
    assert loaded.problems == ("the stored status of environment production cannot be read",)
    # Its campaigns are its own all the same.
    names = ("production", "staging")
    assert loaded.environments == {name: EnvironmentStatus(name=name) for name in names}
    assert loaded.next_call_at == {"production": NOW + 5}


async def test_a_damaged_roster_costs_only_itself(store: Store, place: Place) -> None:
    store.save(Change(target_sets={"production": TARGET_SET, "staging": TARGET_SET}))
    await store.flush()
    place.execute("UPDATE listing SET body = '{}x' WHERE environment = 'production'")
    loaded = await loaded_after(store, place)
    assert loaded.problems == ("the stored listing of environment production cannot be read",)
    assert loaded.target_sets == {"staging": TARGET_SET}


# --- when it is written ------------------------------------------------------------------------


async def test_a_status_without_an_event_waits_for_the_next_lease_or_event(path: Path) -> None:
    async with threaded(path) as store:
        store.save(Change(campaigns=(REMEMBERED,)))
        # A turn of the loop is all that an urgent write would need to begin.
        await asyncio.sleep(0)
        assert store._next.writes != {}
        await store.lease("production", NOW + 5)
        assert select(path, "SELECT campaign_id FROM campaign") == [("c-1",)]
        store.save(Change(campaigns=(campaign("c-2"),)))
        store.save(events(1))
        await asyncio.sleep(0)
        await store.flush()
        assert select(path, "SELECT campaign_id FROM campaign") == [("c-1",), ("c-2",)]


async def test_what_waits_is_written_when_the_store_is_closed(path: Path) -> None:
    async with threaded(path) as store:
        store.save(Change(campaigns=(REMEMBERED,)))
    assert select(path, "SELECT campaign_id FROM campaign") == [("c-1",)]


async def test_the_writing_is_a_task_that_is_watched_over(path: Path) -> None:
    started: list[str] = []

    def keep_running(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        started.append(name)
        return asyncio.create_task(work)

    with ThreadPoolExecutor(1) as executor:
        store = Store(path, now=NOW, executor=executor, keep_running=keep_running)
        await store.aclose()
    assert started == ["storing"]


async def test_hooks_are_called_on_the_loops_thread(path: Path) -> None:
    called: list[str] = []
    async with threaded(path) as store:
        store.add_sink("log", lambda: called.append(threads.current_thread().name))
        store.on_error = lambda _: called.append(threads.current_thread().name)
        store.save(events(1))
        await store.flush()
        with full_disk(path):
            store.save(events(2))
            await store.flush()
        await store.flush()
    assert set(called) == {threads.main_thread().name}
    assert len(called) >= 3


async def test_the_hook_is_called_after_every_commit_that_held_events(store: Store) -> None:
    commits = []
    store.add_sink("log", lambda: commits.append(len(store.history())))
    store.save(Change(campaigns=(REMEMBERED,)))
    await store.flush()
    assert commits == []
    store.save(events(1, 2))
    await store.flush()
    assert commits == [2]


async def test_after_closing_there_is_one_file_and_it_holds_everything(
    store: Store, path: Path
) -> None:
    store.save(events(1, 2, 3))
    await store.aclose()
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}
    assert select(path, "SELECT count(*) FROM event") == [(3,)]


async def test_nothing_can_be_saved_into_a_closed_store_unnoticed(store: Store) -> None:
    await store.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        store.save(events(1))


async def test_a_store_in_memory_does_all_of_it_without_a_disk() -> None:
    store = Store(MEMORY, now=NOW)
    store.add_sink("log")
    await store.load()
    store.save(Change(campaigns=(REMEMBERED,), events=(an_event(1), an_event(2))))
    await store.lease("production", NOW + 5)
    told = next_event(store, "log")
    assert told is not None
    assert (told.seq, told.durable) == (1, True)
    assert list(store.history()) == [2, 1]
    await store.aclose()


async def test_two_stores_in_memory_share_nothing() -> None:
    one, two = Store(MEMORY, now=NOW), Store(MEMORY, now=NOW)
    one.save(events(1))
    assert two.history() == {}
    await one.aclose()
    await two.aclose()
