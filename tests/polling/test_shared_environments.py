"""Environments that come and go while the database fails: each poller is stopped once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from monitor.adapters.store import Change, Loaded, StorageError
from monitor.core.guards import Guard
from monitor.polling.guard_book import GuardBook
from monitor.polling.shared import SharedEnvironments
from support.attempts import an_attempt
from support.virtual import START, VirtualClock, run


class Manager:
    """Pollers that run until they are stopped, as the real one's."""

    def __init__(self) -> None:
        self.pollers: dict[str, Any] = {}
        self.running: dict[str, asyncio.Task[None]] = {}
        self.guards = SimpleNamespace(adopt=None, take_over=lambda guards, attempts: None)
        self.own = SimpleNamespace(forget=lambda name: None, taken_over=lambda: None)

    async def add(self, name: str, loaded: Loaded) -> None:
        self.pollers[name] = SimpleNamespace(state=SimpleNamespace(save=None))
        self.running[name] = asyncio.create_task(self._poll())

    def stop(self, name: str) -> asyncio.Task[None] | None:
        task = self.running.pop(name, None)
        if task is not None:
            task.cancel()
        return task

    async def _poll(self) -> None:
        await asyncio.Event().wait()


class Store:
    """A store that fails, or hangs, where a test says so."""

    def __init__(self) -> None:
        self.fails, self.hangs, self.hanging = False, False, asyncio.Event()

    async def take_over(self, name: str, fence: str) -> Loaded:
        if self.fails:
            raise StorageError("postgresql://db.example", "server closed the connection")
        return Loaded()

    async def flush(self) -> None:
        if self.hangs:
            self.hanging.set()
            await asyncio.Event().wait()

    def let_go(self, name: str) -> None:
        pass


@pytest.fixture
async def world() -> AsyncIterator[tuple[SharedEnvironments, Manager, Store]]:
    manager, store = Manager(), Store()
    environments: Any = SharedEnvironments(manager, store, [])  # type: ignore[arg-type]
    await environments.take_over("e0", "first")
    yield environments, manager, store
    for task in manager.running.values():
        task.cancel()


World = tuple[SharedEnvironments, Manager, Store]


async def test_what_was_lost_and_cannot_be_loaded_again_is_suspended_all_the_same(
    world: World,
) -> None:
    environments, manager, store = world
    environments.suspend("e0")
    store.fails = True
    with pytest.raises(StorageError):
        await environments.take_over("e0", "second")
    environments.suspend("e0")  # as `holding` does; else it would hold it and poll nothing
    store.fails = False
    await environments.take_over("e0", "third")
    assert manager.running.keys() == {"e0"}


async def test_what_was_lost_and_cannot_be_loaded_again_is_handed_over(world: World) -> None:
    environments, manager, store = world
    environments.suspend("e0")
    store.fails = True
    with pytest.raises(StorageError):
        await environments.take_over("e0", "second")
    await environments.hand_over("e0")
    assert manager.pollers == manager.running == {}


async def test_a_right_that_ends_during_a_hand_over_suspends_what_is_stopped_already(
    world: World,
) -> None:
    environments, manager, store = world
    store.hangs = True
    handing = asyncio.create_task(environments.hand_over("e0"))
    await store.hanging.wait()
    handing.cancel()
    environments.suspend("e0")
    with suppress(asyncio.CancelledError):
        await handing
    await environments.take_over("e0", "second")
    assert manager.running.keys() == {"e0"}


@pytest.mark.parametrize("by", ["take_over", "adopt"])
def test_a_test_that_a_fail_over_took_back_keeps_the_next_one_its_gap_away(by: str) -> None:
    async def story() -> Guard:
        clock, saved = VirtualClock(), list[Change]()
        book = GuardBook(clock, saved.append, shared=True)
        book["user@host:22"] = Guard().begun(START).ended(an_attempt(START, "denied"))
        if by == "adopt":
            book.adopt("user@host:22", Guard())
        else:
            book.take_over({"user@host:22": Guard()}, [])
        return book["user@host:22"]

    guard = run(story())
    assert (guard.last_at, guard.failures) == (START, (START,))
