"""The monitor under measurement: its config, what it has stored, and its process."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.scrape import status
from monitor.adapters.store import Change, Store
from monitor.core.model import Event, EventStatus, Severity
from monitor.core.text import rfc3339
from performance.programs import COMMAND, HOST, Program, free_port, get, running
from performance.watched import Stalls

PATIENCE = 240.0
"""Seconds that a start may take: what takes longer is not measured, and the page says so."""


NOBODY = f"http://{HOST}:9"
"""Where no API is: for what needs none."""

UNLIMITED = {"requests_per_minute": 1_000_000}
"""A budget that is none."""


@dataclass
class Daemon:
    """A daemon that has started, and where it listens."""

    process: Program
    url: str

    def metric(self, name: str) -> float:
        """Return the sum of a metric's series; `name` may end in the beginning of its labels."""
        rows = [row for row in get(f"{self.url}/metrics").splitlines() if row.startswith(name)]
        return sum(float(row.rsplit(" ", 1)[1]) for row in rows)


def write_config(
    folder: Path, url: str, campaigns: int, environments: int = 1, **sections: Any
) -> Path:
    """Write a config file with each campaign listed, as one would by hand; return its path.

    The campaigns are shared out evenly over the environments. `environment` adds keys to each of
    them; other sections stand beside the usual ones.
    """
    more = sections.pop("environment", {})
    common = {
        "state": {"path": str(folder / "state.db")},
        "web": {"listen_address": f"{HOST}:{free_port()}"},
        **sections,
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in common.items()]
    lines.append("environments:")
    for number in range(environments):
        about = {"name": f"e-{number}", "base_url": f"{url}/api/v1", **more}
        lines.append(f"  - token: ${{TOKEN_{number}}}")
        lines += [f"    {key}: {json.dumps(value)}" for key, value in about.items()]
        lines.append("    campaigns:")
        for key in (f"e-{number}-c-{one}" for one in range(campaigns // environments)):
            lines += [
                f"      - id: {key}",
                f"        name: Campaign {key}",
                "        labels: {team: retail}",
            ]
    file = folder / "sftp-monitor.yaml"
    file.write_text("\n".join(lines) + "\n")
    return file


def store(
    path: Path,
    campaigns: int,
    every: float,
    environments: int = 1,
    events: Sequence[Event] = (),
    sinks: Sequence[str] = (),
) -> None:
    """Write a state: each campaign was read within `every` seconds; events wait for the sinks."""

    async def write() -> None:
        now = time.time()
        each = campaigns // environments
        state = Store(path, now=now)
        for sink in sinks:
            state.add_sink(sink)
        read = [
            status(f"e-{number}", f"e-{number}-c-{one}", now - every * one / each, now)
            for number in range(environments)
            for one in range(each)
        ]
        state.save(Change(campaigns=tuple(read), events=tuple(events)))
        await state.aclose()

    asyncio.run(write())


@contextmanager
def started(config: Path, *command: str | Path) -> Iterator[Daemon]:
    """Run `sftp-monitor run` (or another command in its place) on this config, until it answers."""
    with running(*(command or [COMMAND]), "run", "--config.file", config) as process:
        (line,) = process.until(
            lambda: [line.text for line in process.lines if '"started"' in line.text], PATIENCE
        )
        url = json.loads(line)["url"]
        get(f"{url}/-/healthy")
        yield Daemon(process, url)


@contextmanager
def watched(config: Path) -> Iterator[tuple[Daemon, Stalls]]:
    """Run a daemon, and note how long its loop stands still; a timer of 5 ms does that."""
    file = config.with_name("stalls")
    stalls = Stalls(file)
    with started(config, sys.executable, "-m", "performance.watched", file) as daemon:
        yield daemon, stalls


def tested_at() -> str:
    """Return when the last test was, as the API has it: an hour ago."""
    return rfc3339(time.time() - 3600)


def an_event(number: int) -> Event:
    """Return an event of a campaign, as a break of a shared server makes many at once."""
    now = time.time()
    return Event(
        status=EventStatus.FIRING,
        seq=number,
        rule="failed_test",
        severity=Severity.CRITICAL,
        environment="e-0",
        campaign_id=f"e-0-c-{number}",
        summary="last connection test failed 2 minutes ago",
        since=now - 120,
        observed_at=now,
        decided_at=now,
    )
