"""How soon an event is out: from the answer that shows it, and from a backlog."""

import asyncio
import json
import random
import time
from pathlib import Path
from threading import Thread

from benchmarks.polls import Server
from performance.daemon import (
    NOBODY,
    UNLIMITED,
    Daemon,
    an_event,
    started,
    store,
    tested_at,
    write_config,
)
from performance.programs import HOST
from performance.scale import Samples, Scale

WRITTEN_WITHIN = 10.0
"""Statuses without an event wait for 5 s at most, thousands at once after such a start."""


class _Breaking(Server):
    """The API, of whose answers one in twenty says from some instant on that the test failed."""

    failed_at: dict[str, float]
    begun = False

    def passed(self, campaign: str) -> bool:
        """Note when an answer first says that the last test failed."""
        if self.begun and campaign not in self.failed_at and random.random() < 0.05:
            _Breaking.failed_at[campaign] = time.perf_counter()
        return campaign not in self.failed_at


class _Count:
    value = 0


def latency(scale: Scale, folder: Path) -> Samples:
    """Seconds of the wall clock from an answer that a test failed to the line of its event."""
    _Breaking.failed_at, _Breaking.begun = {}, False
    loop, every = asyncio.new_event_loop(), max(1, scale.large // 100)
    made = loop.create_server(lambda: _Breaking(_Count, tested_at()), HOST, 0)
    server = loop.run_until_complete(made)
    serving = Thread(target=loop.run_forever)
    serving.start()
    try:
        url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
        yield from _latencies(scale, folder, url, every)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        serving.join()
        server.close()
        loop.close()


def _latencies(scale: Scale, folder: Path, url: str, every: int) -> Samples:
    store(folder / "state.db", scale.large, every=every)
    polling = {"interval": f"{every}s", "timeout": f"{min(every, 10)}s"}
    polling["unhealthy_interval"] = polling["interval"]
    config = write_config(folder, url, scale.large, environment=UNLIMITED, polling=polling)
    with started(config) as daemon:
        # What fell due during the start comes as fast as may be: not what is asked here.
        while daemon.metric("sftp_monitor_poll_lag_seconds{") > 1:
            time.sleep(1)
        time.sleep(WRITTEN_WITHIN)  # what these polls came to
        _Breaking.begun = True
        _logged(daemon, scale.events)
    for line in daemon.process.lines:
        if '"failed_test"' in line.text:
            campaign = json.loads(line.text)["campaign_id"]
            yield "event", line.at - _Breaking.failed_at.pop(campaign)


def backlog(scale: Scale, folder: Path) -> Samples:
    """Seconds from the first to the last of the events that waited, at the log and at a file."""
    for window in range(scale.repeats):
        place = folder / str(window)
        place.mkdir()
        waiting = [an_event(number) for number in range(scale.backlog)]
        store(place / "state.db", 10, 300.0, events=waiting, sinks=("log", "file"))
        file = place / "alerts.jsonl"
        config = write_config(place, NOBODY, 10, alerts={"file": {"path": str(file)}})
        with started(config) as daemon:
            yield "backlog-file", _lines_of(file, scale.backlog) - _logged(daemon, 1)[0]
            logged = _logged(daemon, scale.backlog)
            yield "backlog-log", logged[-1] - logged[0]


def _logged(daemon: Daemon, count: int) -> list[float]:
    """Return when (`time.perf_counter`) each event was logged, once there are so many."""

    def found() -> list[float]:
        at = [line.at for line in daemon.process.lines if '"failed_test"' in line.text]
        return at if len(at) >= count else []

    return daemon.process.until(found, 120)


def _lines_of(file: Path, count: int) -> float:
    """Return when (`time.perf_counter`) a file has so many lines. Raises TimeoutError."""
    deadline = time.perf_counter() + 120
    while not file.exists() or file.read_bytes().count(b"\n") < count:
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{file.name} has not {count} lines within 120 s")
        time.sleep(0.005)
    return time.perf_counter()
