"""`run`: what ends it, with which exit code, and in how many words."""

import gc
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.cli.run import FEW, spare_what_stays
from support.command import Finished, daemon, finished, running, write_config
from support.fake_platform import FakePlatform, fake_platform


def assert_one_line(ended: Finished, code: int) -> None:
    assert ended.code == code, ended
    assert len(ended.err.splitlines()) == 1, ended.err
    assert ended.out == ""


@pytest.mark.slow
async def test_it_starts_and_a_signal_ends_it_within_two_seconds(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            assert await monitor.process.end(signal.SIGTERM, seconds=2) == 0
    assert monitor.process.records[-1]["event"] == "stopping"
    assert monitor.process.err == []


@pytest.mark.slow
async def test_fault_42_a_call_that_hangs_does_not_keep_it(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        platform.hold("c-1")
        config = write_config(tmp_path, platform, ["c-1"], polling={"timeout": "60s"})
        async with daemon(config) as monitor:
            await platform.until(lambda: bool(platform.requests))
            assert await monitor.process.end(signal.SIGINT, seconds=5) == 0


@pytest.mark.slow
async def test_fault_40_a_second_daemon_on_the_same_state_is_refused(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        async with daemon(config) as first:
            second = await finished("run", "--config.file", config)
            assert_one_line(second, 75)
            assert str(first.process.process.pid) in second.err
            assert await first.text("/-/healthy") == "healthy\n"


@pytest.mark.slow
async def test_fault_45_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = write_config(tmp_path, FakePlatform("http://127.0.0.1:1"), ["c-1"])
        ended = await finished("run", "--config.file", config, "--web.listen-address", address)
    assert_one_line(ended, 74)
    assert f"web.listen_address: cannot listen on {address} " in ended.err
    assert "choose another port" in ended.err


@pytest.mark.slow
async def test_a_state_that_cannot_be_opened_is_told_in_one_line(tmp_path: Path) -> None:
    config = write_config(tmp_path, FakePlatform("http://127.0.0.1:1"), ["c-1"])
    nowhere = tmp_path / "no" / "such" / "folder.db"
    ended = await finished("run", "--config.file", config, "--state.path", nowhere)
    assert_one_line(ended, 74)
    assert str(nowhere) in ended.err


@pytest.mark.slow
async def test_fault_34_every_problem_of_a_bad_config_is_told_at_once(tmp_path: Path) -> None:
    platform = FakePlatform("http://example.com")
    config = write_config(tmp_path, platform, ["c-1", "c-1"], polling={"intervall": "5m"})
    ended = await finished("run", "--config.file", config)
    assert ended.code == 78
    assert ended.out == ""
    assert "Traceback" not in ended.err
    for key in ("environments[0].base_url", "campaigns[1].id", "did you mean interval?"):
        assert key in ended.err


@pytest.mark.slow
async def test_fault_36_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path, FakePlatform("http://127.0.0.1:1"), ["c-1"])
    (tmp_path / "token").chmod(stat.S_IRUSR | stat.S_IROTH)
    ended = await finished("run", "--config.file", config)
    assert_one_line(ended, 77)
    assert str(tmp_path / "token") in ended.err


@pytest.mark.slow
async def test_flags_that_mean_nothing_or_open_the_web_to_all_are_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path, FakePlatform("http://127.0.0.1:1"), ["c-1"])
    for flag, value, message in (
        ("--web.external-url", "ftp://x", "expected a URL"),
        ("--web.listen-address", ":10022", "listens beyond loopback"),
    ):
        ended = await finished("run", "--config.file", config, flag, value)
        assert_one_line(ended, 78)
        assert f"command line: {flag}: {message}" in ended.err


@pytest.mark.slow
async def test_a_state_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    config = write_config(tmp_path, FakePlatform("http://127.0.0.1:1"), ["c-1"])
    content = config.read_bytes()
    copy = config.with_name("copy.yaml")
    copy.write_bytes(content)
    for state, code in ((config, 78), (copy, 74)):
        ended = await finished("run", "--config.file", config, "--state.path", state)
        assert_one_line(ended, code)
        assert str(state) in ended.err
    assert config.read_bytes() == copy.read_bytes() == content


@pytest.mark.slow
async def test_a_second_daemon_by_another_name_of_the_state_is_refused(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        async with daemon(config) as first:
            names = [tmp_path / "symlink.db", tmp_path / "hard-link.db"]
            names[0].symlink_to("state.db")
            names[1].hardlink_to(tmp_path / "state.db")
            (tmp_path / "state.db.lock").unlink()
            for name in names:
                second = await finished("run", "--config.file", config, "--state.path", name)
                assert_one_line(second, 75)
            assert await first.text("/-/healthy") == "healthy\n"


@pytest.mark.slow
async def test_fault_45_signals_of_log_rotation_are_ignored_with_one_line(tmp_path: Path) -> None:
    """What a habit of other daemons sends (SIGUSR1 to nginx, SIGUSR2 to others) ends nothing."""
    async with fake_platform("c-1") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        async with daemon(config) as monitor:
            for number in (signal.SIGUSR1, signal.SIGUSR2):
                monitor.process.process.send_signal(number)
                line = await monitor.process.record(event="signal_ignored", signal=number.name)
                assert "SIGHUP reloads" in str(line["instead"])
            assert await monitor.text("/-/healthy") == "healthy\n"
            assert await monitor.process.end(signal.SIGTERM, seconds=2) == 0
    assert len([one for one in monitor.process.records if one["event"] == "signal_ignored"]) == 2


@pytest.mark.slow
async def test_an_environment_variable_stands_for_a_flag(tmp_path: Path) -> None:
    config = write_config(tmp_path, FakePlatform("http://127.0.0.1:1"), ["c-1"])
    environ = {
        "SFTP_MONITOR_CONFIG_FILE": str(config),
        "SFTP_MONITOR_LOG_FORMAT": "console",
        "SFTP_MONITOR_STATE_PATH": str(tmp_path / "other.db"),
    }
    async with running("run", **environ) as process:
        line = await process.line("started")
        assert not line.startswith("{")
        assert await process.end(signal.SIGTERM) == 0
    assert (tmp_path / "other.db").exists()
    assert not (tmp_path / "state.db").exists()


@pytest.fixture
def spared() -> Iterator[None]:
    """Spare what stays, for one test."""
    usual, callbacks = gc.get_threshold(), list(gc.callbacks)
    spare_what_stays()
    yield
    gc.set_threshold(*usual)
    gc.callbacks[:] = callbacks


@pytest.mark.usefixtures("spared")
def test_a_full_run_of_the_collector_looks_at_nothing_that_an_earlier_one_has_left() -> None:
    for _ in range(2):
        kept = [[number] for number in range(2 * FEW)]
        gc.collect()
        assert len(gc.get_objects(2)) < FEW
        assert len(kept) == 2 * FEW


@pytest.mark.usefixtures("spared")
def test_where_few_objects_are_left_they_may_still_be_found_to_be_garbage() -> None:
    cycle = list[object]()
    cycle.append(cycle)
    gc.collect()
    del cycle
    assert gc.collect() == 1
