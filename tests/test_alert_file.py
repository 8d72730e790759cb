"""The daemon with an alert file, on virtual time: the same events as on standard output."""

import json
from pathlib import Path

import pytest
import structlog

from support.daemons import World
from support.virtual import START, config, run, virtual_seconds

MINUTE = 60.0

WITH_FILE = "alerts: {file: {path: logs/alerts.jsonl}}\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "logs").mkdir()
    world = World(tmp_path)
    world.api().says["c-1"] = config("c-1", START, last_test_success=False)
    return world


def _in(file: Path) -> list[int]:
    return [json.loads(line)["seq"] for line in file.read_bytes().splitlines()]


def test_the_file_has_the_very_lines_of_the_log(world: World) -> None:
    async def story() -> None:
        world.configure(more=WITH_FILE)
        async with world.daemon():
            await virtual_seconds(MINUTE)
            world.api().says["c-1"] = config("c-1", START)
            await virtual_seconds(5 * MINUTE)

    run(story())
    assert len(world.lines) == 2
    assert (world.folder / "logs" / "alerts.jsonl").read_bytes() == b"".join(world.lines)


def test_fault_41_while_the_file_cannot_be_written_its_events_wait_and_the_log_goes_on(
    world: World,
) -> None:
    logs, aside = world.folder / "logs", world.folder / "aside"

    async def story() -> None:
        world.configure(more=WITH_FILE)
        async with world.daemon() as daemon:
            logs.rename(aside)
            await virtual_seconds(10 * MINUTE)
            assert world.told() == [("firing", "failed_test", "c-1")]
            metrics = daemon.report.metrics(False)().decode()
            assert 'sftp_monitor_sink_pending_events{sink="file"} 1.0' in metrics
            assert 'sftp_monitor_sink_pending_events{sink="log"} 0.0' in metrics
            aside.rename(logs)
            await virtual_seconds(2 * MINUTE)

    run(story())
    assert _in(logs / "alerts.jsonl") == [1]


def test_another_path_takes_a_restart_and_then_begins_with_what_is_new(world: World) -> None:
    new = WITH_FILE.replace("alerts.jsonl", "new.jsonl")

    async def story() -> None:
        world.configure(more=WITH_FILE)
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            world.configure(more=new)
            await daemon.reload()
            await virtual_seconds(MINUTE)
        async with world.daemon():
            world.api().says["c-1"] = config("c-1", START)
            await virtual_seconds(5 * MINUTE)

    with structlog.testing.capture_logs() as logs:
        run(story())
    assert [line["changed"] for line in logs if line["event"] == "restart_needed"] == [
        "alerts.file"
    ]
    assert _in(world.folder / "logs" / "alerts.jsonl") == [1]
    assert _in(world.folder / "logs" / "new.jsonl") == [2]
