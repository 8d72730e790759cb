"""A store on a real disk, opened in both ways in which it can be; and a real PostgreSQL."""

import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from monitor.adapters.store import Store
from monitor.config.sections import State
from support.places import OnDisk, OnPostgres, Place
from support.postgres import Server, state_on
from support.state_files import threaded

NAME = "sftp-monitor.db"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / NAME


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have what holds on both databases tried on both: all that says nothing of a path."""
    if "kind" in metafunc.fixturenames:
        of_files = "path" in inspect.signature(metafunc.function).parameters
        kinds = ["threaded", "inline", "postgres"][: 2 if of_files else 3]
        metafunc.parametrize("kind", kinds)


@pytest.fixture
def place(kind: str, request: pytest.FixtureRequest) -> Place:
    """Return where the store keeps its state."""
    if kind == "postgres":
        return OnPostgres(request.getfixturevalue("server"), request.getfixturevalue("database"))
    return OnDisk(request.getfixturevalue("path"))


@pytest.fixture
async def store(kind: str, place: Place, tmp_path: Path) -> AsyncIterator[Store]:
    if kind == "threaded":
        async with threaded(tmp_path / NAME) as store:
            yield store
    else:
        store = await place.open()
        yield store
        await store.aclose()


@pytest.fixture
def state(server: Server, database: str) -> State:
    """Return the section of a config that has its state there."""
    return state_on(server.url(database))
