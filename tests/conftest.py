"""What every test may rely on: no setting of this machine reaches the program."""

import gc
import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.postgres import Server

# A machine that is busy, or that measures coverage, is slow: that is no failure of a property.
# `make test` tries few examples, other ones each time; `make check` tries twelve times as many.
settings.register_profile("quick", deadline=None, max_examples=5)
settings.register_profile("thorough", deadline=None, max_examples=60)
# For thousands of runs: few examples, the same ones for each mutant, and not made any smaller.
settings.register_profile(
    "mutation",
    deadline=None,
    max_examples=20,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("quick")


IN_MEMORY = "/dev/shm"
ROOM = 2**30
"""Bytes; in a container there may be 64 MiB, which is too little."""
FAST_CASES = 3
"""So many cases of one test `make test` runs, where its marker does not say how many."""
SLOW_FOLDERS = ("browser", "e2e")
"""Where every test is slow: `make test` does not even import them."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep temporary files in memory, where there is room: thousands of commits wait for no disk.

    And keep what is there from the garbage collection of a mutant's run. Such a run is the fork of
    a large process: to collect there is to copy all of it.
    """
    # Once, not as a fixture: the fast tests are thousands. Whatever sets one takes it back.
    for name in [name for name in os.environ if name.startswith("SFTP_MONITOR_")]:
        del os.environ[name]
    # What is written to a full disk is otherwise not there to fail again when Python exits.
    os.environ.pop("PYTHONUNBUFFERED", None)
    # What a shell starts in the background ignores it, and so would every process of a test.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", IN_MEMORY)
    if _is_mutation(config):
        gc.freeze()


def _is_mutation(config: pytest.Config) -> bool:
    return bool(config.getoption("--hypothesis-profile", default=None) == "mutation")


def pytest_ignore_collect(collection_path: "Path", config: pytest.Config) -> bool | None:
    """Leave the folders of slow tests out where only fast ones are asked for."""
    if collection_path.name in SLOW_FOLDERS and config.getoption("markexpr") == "not slow":
        return True
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have `make test` run some cases of each test that has many, evenly spread; others are slow.

    The longest come first, so that no worker is left alone with one at the end.
    """
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for matrix in cases.values():
        marker = matrix[0].get_closest_marker("matrix")
        usual = len(matrix) if _is_mutation(config) else min(FAST_CASES, len(matrix))
        fast = marker.kwargs.get("fast", 1) if marker else usual
        kept = {len(matrix) * number // fast for number in range(fast)}
        for number, item in enumerate(matrix):
            if number not in kept:
                item.add_marker(pytest.mark.slow)
    for item in items if not _is_mutation(config) else ():
        if "server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)  # each worker starts a PostgreSQL
    left_out = tuple(f"tests/{folder}/" for folder in SLOW_FOLDERS)
    for item in items:
        if item.nodeid.startswith(left_out) and not item.get_closest_marker("slow"):
            raise pytest.UsageError(f"{item.nodeid}: `make test` leaves it out, mark it slow")
    items.sort(key=seconds, reverse=True)


def pytest_collection_finish() -> None:
    """Keep the thousands of tests themselves from the garbage collection of each of them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def seconds(item: pytest.Item) -> float:
    """Return how long a slow test takes on a free machine, as far as its marker says so."""
    marker = item.get_closest_marker("slow")
    return float(marker.kwargs.get("seconds", 0)) if marker else 0.0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured (`record_property`), so that it is in the log of CI."""
    reports = terminalreporter.getreports("passed")
    measured = [line for report in reports for line in report.user_properties]
    if measured:
        terminalreporter.section("measured")
        for name, value in measured:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def server() -> "Iterator[Server]":
    """Return a real PostgreSQL; each process of a run has one of its own."""
    from support.postgres import a_server  # noqa: PLC0415 - most tests need none of it

    with a_server() as server:
        yield server


@pytest.fixture
def database(server: "Server") -> str:
    """Return the name of an empty database."""
    return server.database()
