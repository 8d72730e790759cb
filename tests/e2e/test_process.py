"""The real process among hostile surroundings: signals at any time, nothing to be had, systemd."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from support.command import COMMAND, DEADLINE, QUICK, daemon, running, write_config
from support.fake_platform import fake_platform
from support.pipes import full_pipe
from torture.disk import injected

AT_MOST = 10.0
"""Seconds in which a stop must be over, whatever hangs."""


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


async def until_told(systemd: socket.socket, message: str) -> list[str]:
    """Return what systemd was told, up to this message."""
    loop, told = asyncio.get_running_loop(), list[str]()
    async with asyncio.timeout(DEADLINE):
        while message not in told:
            told += (await loop.sock_recv(systemd, 4096)).decode().split("\n")
    return told


@pytest.mark.slow
async def test_systemd_hears_when_it_is_ready_reloads_lives_and_stops(
    tmp_path: Path, systemd: socket.socket
) -> None:
    async with fake_platform("c-1") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
        async with daemon(config, **environ) as monitor:
            told = await until_told(systemd, "READY=1")
            assert told == ["READY=1", f"STATUS=watching 1 environments at {monitor.url}"]
            assert await until_told(systemd, "WATCHDOG=1") == ["WATCHDOG=1"]
            monitor.process.process.send_signal(signal.SIGHUP)
            told = await until_told(systemd, "READY=1")
            assert told[told.index("RELOADING=1") + 1].startswith("MONOTONIC_USEC=")
            config.write_text("nonsense: true\n")
            monitor.process.process.send_signal(signal.SIGHUP)
            await until_told(systemd, "RELOADING=1")
            assert (await until_told(systemd, "READY=1"))[-1].endswith("refused")
            await monitor.process.end(signal.SIGTERM)
            assert "WATCHDOG=1" not in (await until_told(systemd, "STOPPING=1"))[-2:]


@pytest.mark.slow
async def test_fault_42_with_api_and_output_hung_it_leaves_in_time_and_loses_nothing(
    tmp_path: Path,
) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        platform.set("c-1", last_test_success=False)
        platform.hold("c-2")
        config = write_config(tmp_path, platform, ["c-1", "c-2"], polling={"timeout": "60s"})
        with full_pipe() as nobody_reads:
            process = await asyncio.create_subprocess_exec(
                COMMAND, "run", "--config.file", config, stdout=nobody_reads
            )
            await platform.until(
                lambda: {one.campaign_id for one in platform.requests} >= {"c-1", "c-2"}
            )
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(AT_MOST):
                assert await process.wait() == 0
        async with daemon(config) as monitor:
            told = await monitor.process.alert("c-1", "failed_test", "firing")
    assert told["seq"] == 1


@pytest.mark.slow
async def test_fault_42_with_a_disk_that_takes_for_ever_it_leaves_in_time_and_loses_nothing(
    tmp_path: Path,
) -> None:
    async with fake_platform("c-1") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            pid, state = monitor.process.process.pid, tmp_path / "state.db"
            # Interrupted, SQLite tries again, for ever.
            async with injected("pwrite64", "error=EINTR", pid, state):
                platform.set("c-1", last_test_success=False)
                # Two: the answer to the first has been decided on, and is on its way to the disk.
                await platform.more(2)
                assert await monitor.process.end(signal.SIGTERM, seconds=AT_MOST) == 0
        assert monitor.process.alerts() == []
        async with daemon(config) as monitor:
            told = await monitor.process.alert("c-1", "failed_test", "firing")
    assert told["seq"] == 1


@pytest.mark.slow
async def test_fault_42_a_second_signal_makes_it_leave_at_once(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        platform.set("c-1", last_test_success=False)
        config = write_config(tmp_path, platform, ["c-1"])
        with full_pipe() as nobody_reads:
            process = await asyncio.create_subprocess_exec(
                COMMAND, "run", "--config.file", config, stdout=nobody_reads
            )
            # The second request goes out only after the answer to the first was decided on.
            await platform.until(lambda: len(platform.requests) >= 2)
            # The drain waits for three seconds.
            started = asyncio.get_running_loop().time()
            for _ in range(2):
                process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.1)
            async with asyncio.timeout(DEADLINE):
                assert await process.wait() == 0
            assert asyncio.get_running_loop().time() - started < 2.5


@pytest.mark.slow
async def test_fault_42_a_signal_at_any_moment_of_the_start_ends_it_with_0(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        for moment in range(8):
            async with running("run", "--config.file", config) as process:
                await signals_heeded(process.process.pid)
                await asyncio.sleep(0.05 * moment)
                assert await process.end(signal.SIGTERM, seconds=AT_MOST) == 0
            assert "Traceback" not in "".join(process.out + process.err)


async def signals_heeded(pid: int) -> None:
    """Return once the process has a handler for SIGTERM: `run` begins with that."""
    async with asyncio.timeout(DEADLINE):
        while not _caught(pid) >> (signal.SIGTERM - 1) & 1:  # noqa: ASYNC110 - nobody says so
            await asyncio.sleep(0.01)


def _caught(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("SigCgt:")[2].split()[0], 16)


@pytest.mark.slow
async def test_fault_35_a_hundred_hangups_are_few_reloads_and_drop_no_poll(tmp_path: Path) -> None:
    async with fake_platform("c-1", "c-2") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            write_config(tmp_path, platform, ["c-2"])
            for _ in range(100):
                monitor.process.process.send_signal(signal.SIGHUP)
                await asyncio.sleep(0)
            await platform.until(lambda: len(platform.asked_for("c-2")) >= 3)
            last = len(platform.asked_for("c-1"))
            await platform.until(lambda: len(platform.asked_for("c-2")) >= 6)
            assert len(platform.asked_for("c-1")) == last
            metrics = await monitor.text("/metrics")
            monitor.process.process.send_signal(signal.SIGHUP)
            assert await monitor.process.end(signal.SIGTERM) == 0
    reloads = [one for one in monitor.process.records if one["event"] == "reloaded"]
    assert 1 <= len(reloads) <= 100
    assert 'reason="internal_error"} 0' in metrics
    assert monitor.process.err == []


def shell(script: str) -> tuple[str, ...]:
    """Return what stands before a command that is to run after this script."""
    return ("sh", "-c", f'{script}; exec "$0" "$@"')


@pytest.mark.slow
async def test_fault_45_with_64_files_it_polls_and_answers_whoever_hangs(tmp_path: Path) -> None:
    hung = [f"hung-{n}" for n in range(60)]
    async with fake_platform("c-1", *hung) as platform:
        for one in hung:
            platform.hold(one)
        polling = QUICK | {"concurrency": 100}
        config = write_config(tmp_path, platform, ["c-1", *hung], polling=polling)
        async with daemon(config, before=shell("ulimit -n 64")) as monitor:
            with ExitStack() as held:
                for _ in range(100):
                    address = (monitor.web.base_url.host, monitor.web.base_url.port)
                    held.enter_context(closing(socket.create_connection(address)))
                assert (await monitor.web.get("/metrics")).status_code == 200
                polls = len(platform.requests)
                await platform.until(lambda: len(platform.requests) >= polls + 10)
            assert await monitor.process.end(signal.SIGTERM, seconds=AT_MOST) == 0
    assert not [line for line in monitor.process.out if "out of system resource" in line]
    assert monitor.process.err == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "environ"),
    [
        ("unset HOME", {}),
        # Nobody can write there, not even root.
        ("cd /proc", {}),
        ("unset LANG LC_ALL", {"LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        ("true", {"PYTHONOPTIMIZE": "2"}),
    ],
    ids=["no-home", "no-folder-to-write-to", "ascii", "optimised"],
)
async def test_fault_45_it_needs_little_of_its_surroundings(
    tmp_path: Path, script: str, environ: dict[str, str]
) -> None:
    async with fake_platform("c-1") as platform:
        platform.set("c-1", last_test_success=False, host="b\u00fccher.example.com")
        config = write_config(tmp_path, platform, ["c-1"])
        async with daemon(config, before=shell(script), **environ) as monitor:
            await monitor.process.alert("c-1", "failed_test", "firing")
            assert "c-1" in await monitor.text("/")
            assert await monitor.process.end(signal.SIGTERM) == 0
    assert monitor.process.err == []
