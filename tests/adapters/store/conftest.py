"""A store on a real disk, opened in both ways in which it can be; and a real PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from monitor.adapters.store import Store
from monitor.config.sections import State
from support.builders import NOW
from support.postgres import Server, state_on
from support.state_files import threaded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sftp-monitor.db"


@pytest.fixture(params=[True, False], ids=["threaded", "inline"])
async def store(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Store]:
    if request.param:
        async with threaded(path) as store:
            yield store
    else:
        store = Store(path, now=NOW)
        yield store
        await store.aclose()


@pytest.fixture
def state(server: Server, database: str) -> State:
    """Return the section of a config that has its state there."""
    return state_on(server.url(database))
