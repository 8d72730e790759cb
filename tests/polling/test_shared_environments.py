"""Environments of a replica that are suspended, and taken again: whatever fails in between."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monitor.adapters.store import StorageError
from monitor.polling.shared import SharedEnvironments


class Manager:
    """Polls one environment; as the real one, it stops what runs, once."""

    def __init__(self) -> None:
        self.pollers: dict[str, Any] = {"east": SimpleNamespace(state=SimpleNamespace())}
        self.guards = SimpleNamespace(adopt=lambda _key, _guard: None)
        self.own = SimpleNamespace(forget=lambda _name: None)
        self._tasks = {"east": asyncio.create_task(asyncio.Event().wait())}

    def stop(self, name: str) -> Any:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
        return task


class Away:
    """The store of a database that does not answer."""

    async def take_over(self, name: str, fence: str) -> Any:
        raise StorageError(Path("database"), "no answer")

    async def flush(self) -> None: ...

    def let_go(self, name: str) -> None: ...


@pytest.mark.parametrize("then", ["suspended", "handed over"])
async def test_what_could_not_be_taken_again_can_be_let_go_again(then: str) -> None:
    manager: Any = Manager()
    store: Any = Away()
    environments = SharedEnvironments(manager, store, ())
    environments.suspend("east")
    for _ in range(2):
        with pytest.raises(StorageError):
            await environments.take_over("east", "fence")
        if then == "suspended":
            environments.suspend("east")
        else:
            await environments.hand_over("east")
