"""What the daemon does for itself, on virtual time: its watchdog, its clocks, what may break."""

import socket
from asyncio import Event
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from monitor.adapters.systemd import SystemdNotifier
from monitor.core.model import DAY, HOUR, MINUTE, Observation
from monitor.daemon import Daemon, TaskEndedError
from support.daemons import World
from support.virtual import START, config, run, virtual_seconds


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def fed(systemd: socket.socket) -> bool:
    """Return whether the watchdog was fed since this was last asked."""
    told = []
    while True:
        try:
            told.append(systemd.recv(4096))
        except BlockingIOError:
            return b"WATCHDOG=1" in told


@pytest.mark.slow
def test_fault_44_a_poll_loop_that_stands_still_is_unhealthy_and_feeds_no_watchdog(
    world: World, systemd: socket.socket
) -> None:
    environ = {"NOTIFY_SOCKET": str(world.folder / "notify"), "WATCHDOG_USEC": "30000000"}

    works_again = Event()

    async def hangs(*_: object) -> None:
        await works_again.wait()

    async def story() -> None:
        world.configure()
        async with world.daemon(systemd=SystemdNotifier(environ, 1)) as daemon:
            await virtual_seconds(MINUTE)
            assert fed(systemd)
            assert daemon.report.healthy()
            # Nothing is called before its lease is on disk, and the disk hangs.
            daemon._store.lease = hangs  # type: ignore[method-assign, assignment]
            await virtual_seconds(10 * MINUTE)
            fed(systemd)
            await virtual_seconds(MINUTE)
            assert not fed(systemd)
            assert not daemon.report.healthy()
            works_again.set()
            await virtual_seconds(10)
            assert fed(systemd)
            assert daemon.report.healthy()

    run(story())


@pytest.mark.parametrize("step", [-HOUR, 10 * MINUTE, 365 * DAY])
def test_fault_25_a_step_of_the_clock_is_logged_in_one_line(world: World, step: float) -> None:
    async def story() -> None:
        both = "".join(
            f"  - name: {name}\n    base_url: http://127.0.0.1:9/api/v1\n"
            f"    token: ${{{token}}}\n    campaigns: [{{id: c-1}}]\n"
            for name, token in (("one", "TOKEN"), ("other", "OTHER_TOKEN"))
        )
        world.write_config("environments:\n" + both)
        async with world.daemon():
            await virtual_seconds(MINUTE)
            world.clock.step(step)
            await virtual_seconds(MINUTE)

    with capture_logs() as logged:
        run(story())
    assert [one["seconds"] for one in logged if one["event"] == "clock_stepped"] == [step]


@pytest.mark.slow
def test_fault_27_a_state_from_the_future_holds_up_no_poll_and_reminds_of_nothing(
    world: World,
) -> None:
    async def story() -> None:
        world.configure()
        world.api().says["c-1"] = config("c-1", START, last_test_success=False)
        world.clock.step(20 * DAY)
        async with world.daemon():
            await virtual_seconds(10 * MINUTE)
        world.clock.step(-20 * DAY)
        calls = len(world.api().calls)
        async with world.daemon():
            await virtual_seconds(5 * MINUTE)
            assert len(world.api().calls) > calls
            await virtual_seconds(5 * HOUR)

    run(story())
    assert [event["status"] for event in world.events()] == ["firing", "reminder"]


def test_fault_43_a_poll_that_raises_is_an_internal_error_and_all_others_go_on(
    world: World,
) -> None:
    def breaks() -> Observation:
        raise ZeroDivisionError

    async def story() -> str:
        world.configure(["c-1", "c-2", "c-3", "c-4"])
        world.api().says["c-1"] = breaks
        async with world.daemon() as daemon:
            await virtual_seconds(20 * MINUTE)
            return _metrics(daemon)

    with capture_logs() as logged:
        metrics = run(story())
    polls = [key for _, key in world.api().calls]
    assert polls.count("c-2") >= 4
    name = "sftp_monitor_api_request_failures_total"
    labels = 'endpoint="sftp",environment="production",reason="internal_error"'
    assert f"{name}{{{labels}}} {polls.count('c-1')}.0" in metrics
    (broke,) = [one for one in logged if one["event"] == "poll_broke"]
    assert isinstance(broke["exc_info"], ZeroDivisionError)
    assert world.told() == [("firing", "unreadable", "c-1")]


def _metrics(daemon: Daemon) -> str:
    return daemon.report.metrics(False)().decode()


def test_fault_43_a_task_that_ends_when_it_must_not_ends_the_daemon_and_is_logged_once(
    world: World,
) -> None:
    async def story() -> None:
        world.configure()
        world.api().says["c-1"] = lambda: cast("Observation", "no observation at all")
        async with world.daemon() as daemon:
            with pytest.raises(TaskEndedError):
                await daemon.run()

    with capture_logs() as logged:
        run(story())
    (ended,) = [one for one in logged if one["event"] == "task_ended"]
    assert ended["task"] == "polling production"
    assert isinstance(ended["exc_info"], BaseException)
