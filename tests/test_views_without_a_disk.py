"""Every view × every state of the database: what needs no disk goes on without one (faults 39, 40).

What the database is like, while the daemon runs and at its start, and what each view answers then.
"""

import asyncio
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitor.adapters.store import StorageError
from monitor.clocks import SystemClock
from monitor.config import load_config
from monitor.core.model import Event
from monitor.core.snapshot import HistoryQuery
from monitor.daemon import Daemon
from monitor.polling import Api, Settings
from support.scrapes import Scrape
from support.state_files import events, execute
from support.virtual import FakeApi, VirtualClock, config

TABLES = ("campaign", "environment", "event", "cursor", "lease", "listing")

VIEWS = (
    "/metrics",
    "/",
    "/api/v1/status",
    "/api/v1/campaigns",
    "/api/v1/campaigns/production/c-1",
    "/api/v1/alerts",
    "/api/v1/events",
    "/openapi.json",
    "/-/healthy",
    "/-/ready",
)


def works(_: Path) -> None:
    """Leave it as it is."""


def cannot_be_read(path: Path) -> None:
    execute(path, "ALTER TABLE event RENAME TO lost")


def cannot_be_written(path: Path) -> None:
    for table in TABLES:
        execute(
            path,
            f"CREATE TRIGGER full_{table} BEFORE INSERT ON {table}"
            " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
        )


def is_emptied(path: Path) -> None:
    os.truncate(path, 0)


def is_gone(path: Path) -> None:
    path.unlink()


def is_replaced(path: Path) -> None:
    path.rename(path.with_name("moved.db"))
    execute(path, "CREATE TABLE theirs (x)")


def is_overwritten(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"garbage!" * (size // 8))


def is_damaged(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))


def is_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


Break = Callable[[Path], None]

# In the order of VIEWS; `history` of the one campaign is null where there is 503 for /events.
WHILE_RUNNING: Mapping[Break, tuple[str, str]] = {
    works: ("200 200 200 200 200 200 200 200 200 200", ""),
    cannot_be_read: ("200 200 200 200 200 200 503 200 200 503", "no such table: event"),
    cannot_be_written: (
        "200 200 200 200 200 200 200 200 200 503",
        "cannot be written (database or disk is full)",
    ),
    is_emptied: ("200 200 200 200 200 200 503 200 200 503", "emptied or overwritten"),
    is_gone: ("200 200 200 200 200 200 503 200 200 503", "deleted while running"),
    is_replaced: ("200 200 200 200 200 200 503 200 200 503", "replaced by another file"),
    is_overwritten: ("200 200 200 200 200 200 503 200 200 503", "emptied or overwritten"),
    is_damaged: ("200 200 200 200 200 200 503 200 200 503", "damaged while running"),
}

# The start is refused with these words, or all is as on a sound database after it.
AT_START: Mapping[Break, str] = {
    works: "",
    cannot_be_read: "no such table: event",
    cannot_be_written: "",
    is_emptied: "",
    is_gone: "",
    is_replaced: "not a database of sftp-monitor",
    is_overwritten: "not a database of sftp-monitor",
    is_damaged: "",
    is_a_directory: "cannot be opened",
}

NOT_READY_AFTER = {cannot_be_written}


class Monitor:
    """The real daemon, with its threads and its port, on an API in memory."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.db"
        self._file = folder / "monitor.yaml"
        self._file.write_text(
            "environments:\n  - name: production\n    base_url: http://127.0.0.1:9/api/v1\n"
            "    token: ${TOKEN}\n    campaigns: [{id: c-1}]\n"
            f"state: {{path: {self.path}}}\nweb: {{listen_address: 127.0.0.1:0}}\n"
        )
        clock = SystemClock()
        self.api = FakeApi(VirtualClock())
        failed = config("c-1", clock.wall(), last_test_success=False)
        self.api.says["c-1"] = failed
        self.polled = asyncio.Event()
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def write(self, line: bytes) -> None:
        """Be standard output that works: once an alert is out, it was committed."""
        self.events.put_nowait(json.loads(line))
        self.polled.set()

    def connect(self, settings: Settings, token: str) -> Api:
        return self.api

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[tuple[Daemon, httpx.AsyncClient]]:
        daemon = Daemon(
            lambda: load_config(self._file, {"TOKEN": "talq_test"}),
            self.write,
            connect=self.connect,
            lines_dropped=lambda: 12,
        )
        await daemon.start()
        for poller in daemon._manager.pollers.values():
            poller.called = True  # or it would not be ready before the next poll is due
        try:
            async with httpx.AsyncClient(base_url=daemon.url, trust_env=False) as client:
                yield daemon, client
        finally:
            await daemon.stop()

    async def after_a_restart(self) -> "Monitor":
        """Return the next process on these files, which has none of this one's locks."""
        folder = self.path.parent / "again"
        folder.mkdir()
        for path in self.path.parent.glob("state.db*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, folder)
        return Monitor(folder)

    async def fires(self) -> None:
        """Run once, so that there is a state with a firing alert in it, in the file itself."""
        async with self.daemon():
            await self.polled.wait()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state in which an alert fires, all of it in the one file."""
    monitor = Monitor(tmp_path_factory.mktemp("state"))
    asyncio.run(monitor.fires())
    return monitor.path


@pytest.fixture
def monitor(tmp_path: Path, state: Path) -> Monitor:
    shutil.copy(state, tmp_path)
    return Monitor(tmp_path)


async def written(daemon: Daemon) -> None:
    """Have something written, or not."""
    with suppress(StorageError):
        await daemon._store.lease("production", 0.0)


async def answers(client: httpx.AsyncClient) -> dict[str, httpx.Response]:
    return {view: await client.get(view) for view in VIEWS}


def scraped(answer: httpx.Response) -> Scrape:
    return Scrape(text_string_to_metric_families(answer.text))


def codes(answers: Mapping[str, httpx.Response]) -> str:
    return " ".join(str(answer.status_code) for answer in answers.values())


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("happens", WHILE_RUNNING, ids=lambda one: one.__name__)
async def test_while_running_every_view_answers_as_written(
    monitor: Monitor, happens: Break
) -> None:
    expected, why = WHILE_RUNNING[happens]
    async with monitor.daemon() as (daemon, client):
        happens(monitor.path)
        # A reader may be the first to see it, and it must not be the only one.
        await client.get("/api/v1/events")
        await written(daemon)
        found = await answers(client)
        # An alert goes out all the same.
        daemon._store.save(events(7))
        event = await monitor.events.get()
    assert codes(found) == expected
    assert (event["seq"], event["durable"]) == (7, not why)
    metrics = scraped(found["/metrics"])
    assert metrics.value("state_up") == (not why)
    assert bool(metrics.value("storage_errors_total")) == bool(why)
    assert metrics.value("sink_pending_events", sink="log") == 0
    # What is known goes on to be shown, from memory.
    assert 'sftp_monitor_alert{alertstate="firing"' in found["/metrics"].text
    assert found["/api/v1/alerts"].json()["alerts"][0]["rule"] == "failed_test"
    history = found["/api/v1/campaigns/production/c-1"].json()["history"]
    assert (history is None) == (found["/api/v1/events"].status_code == 503)
    status = found["/api/v1/status"].json()
    for said in (found["/-/ready"].text, json.dumps(status), found["/"].text):
        assert why in said
    assert str(monitor.path) not in found["/-/ready"].text


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("happened", AT_START, ids=lambda one: one.__name__)
async def test_at_the_start_every_view_answers_as_written(
    monitor: Monitor, happened: Break
) -> None:
    happened(monitor.path)
    why = AT_START[happened]
    if why:
        before = None if monitor.path.is_dir() else monitor.path.read_bytes()
        with pytest.raises(StorageError, match=why):
            async with monitor.daemon():
                pass
        assert before is None or monitor.path.read_bytes() == before
        return
    monitor.polled.clear()
    async with monitor.daemon() as (daemon, client):
        if happened not in {works, cannot_be_written}:
            # Without its state it fires anew.
            await monitor.polled.wait()
        await written(daemon)
        found = await answers(client)
    ready = "503" if happened in NOT_READY_AFTER else "200"
    assert codes(found) == f"200 200 200 200 200 200 200 200 200 {ready}"
    assert scraped(found["/metrics"]).value("state_up") == (ready == "200")


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("happens", [is_emptied, is_gone, is_damaged], ids=lambda one: one.__name__)
async def test_fault_40_a_restart_repairs_it(monitor: Monitor, happens: Break) -> None:
    async with monitor.daemon() as (daemon, client):
        happens(monitor.path)
        await client.get("/api/v1/events")
        await written(daemon)
        assert (await client.get("/-/ready")).status_code == 503
    again = await monitor.after_a_restart()
    async with again.daemon() as (daemon, client):
        await again.polled.wait()
        await daemon._store.flush()
        assert (await client.get("/-/ready")).text == "ready\n"
        assert len((await client.get("/api/v1/events")).json()["events"]) == 1


async def test_fault_40_another_file_in_its_place_is_left_as_it_is(monitor: Monitor) -> None:
    async with monitor.daemon() as (daemon, _):
        theirs = monitor.path.with_name("theirs.db")
        execute(theirs, "PRAGMA journal_mode = wal", "CREATE TABLE theirs (x)")
        monitor.path.unlink()
        shutil.copy(theirs, monitor.path)
        log = monitor.path.with_name("state.db-wal")
        log.unlink(missing_ok=True)
        log.write_bytes(b"the log of another database")
        await daemon._store.flush()
    assert monitor.path.read_bytes() == theirs.read_bytes()
    assert log.read_bytes() == b"the log of another database"


async def test_the_history_is_read_in_a_thread_while_the_loop_turns(monitor: Monitor) -> None:
    loop, threads = asyncio.get_running_loop(), list[str]()
    async with monitor.daemon() as (daemon, client):
        read = daemon._store.history

        def history(wanted: HistoryQuery | None = None) -> dict[int, Event]:
            """Read once the loop has turned meanwhile, which it could not if this held it up."""
            threads.append(threading.current_thread().name)
            turned = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop)
            turned.result(timeout=10)
            return read(wanted)

        daemon._store.history = history  # type: ignore[method-assign]
        for view in ("/api/v1/events", "/api/v1/campaigns/production/c-1"):
            assert (await client.get(view)).status_code == 200
    assert len(threads) >= 2
    assert threading.main_thread().name not in threads


async def test_lost_log_lines_are_shown(monitor: Monitor) -> None:
    async with monitor.daemon() as (_, client):
        metrics = scraped(await client.get("/metrics"))
    assert metrics.value("log_lines_dropped_total") == 12
