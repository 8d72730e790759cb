"""The state on a real disk that fails, under the real process."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.adapters.store import schema
from support.command import daemon, files_in, finished, write_config
from support.fake_platform import fake_platform
from support.peers import require_peer
from support.state_files import execute, select
from torture import disk


@pytest.mark.slow
def test_fault_39_a_failing_disk_loses_and_doubles_no_alert_and_heals_by_itself() -> None:
    require_peer("strace")
    assert [figure for figure in disk.main(["--rounds", "1"]) if not figure.kept] == []


@pytest.mark.slow
async def test_fault_40_a_corrupt_database_is_set_aside_and_the_daemon_starts_without_it(
    tmp_path: Path,
) -> None:
    corrupt = b"SQLite format 3\0" + b"\xff" * 8192
    (tmp_path / "state.db").write_bytes(corrupt)
    async with fake_platform("c-1") as platform:
        platform.set("c-1", last_test_success=False)
        async with daemon(write_config(tmp_path, platform, ["c-1"])) as monitor:
            said = await monitor.process.record(event="state_set_aside")
            await monitor.process.alert("c-1", "failed_test", "firing")
            assert await monitor.text("/-/ready") == "ready\n"
            assert await monitor.process.end(signal.SIGTERM) == 0
    (aside,) = [name for name in files_in(tmp_path) if ".corrupt-" in name]
    assert (tmp_path / aside).read_bytes() == corrupt
    assert aside in said["notice"]


def made_by_a_newer_version(path: Path) -> None:
    execute(path, "PRAGMA application_id = 0x53465450", "PRAGMA user_version = 1000")


def made_by_another_program(path: Path) -> None:
    execute(path, "CREATE TABLE theirs (x)")


def made_by_us_and_damaged(path: Path) -> None:
    schema.open_for_writing(path).close()
    execute(path, "DROP TABLE campaign")


def made_by_nobody(path: Path) -> None:
    path.write_text("environments: []\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (made_by_nobody, "this is not a database of sftp-monitor"),
        (made_by_a_newer_version, "written by a newer sftp-monitor"),
        (made_by_another_program, "this is not a database of sftp-monitor"),
    ],
)
async def test_fault_40_a_database_that_is_not_ours_to_write_ends_the_start_with_74(
    tmp_path: Path, make: Callable[[Path], None], why: str
) -> None:
    path = tmp_path / "state.db"
    make(path)
    before = path.read_bytes()
    async with fake_platform("c-1") as platform:
        ended = await finished("run", "--config.file", write_config(tmp_path, platform, ["c-1"]))
        assert platform.requests == []
    assert ended.code == 74
    assert why in ended.err
    assert "Traceback" not in ended.err
    assert path.read_bytes() == before


@pytest.mark.slow
async def test_fault_40_a_state_that_cannot_be_read_ends_the_start_with_74(tmp_path: Path) -> None:
    made_by_us_and_damaged(tmp_path / "state.db")
    async with fake_platform("c-1") as platform:
        ended = await finished("run", "--config.file", write_config(tmp_path, platform, ["c-1"]))
        assert platform.requests == []
    assert ended.code == 74
    assert "cannot be read (no such table: campaign)" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.slow
async def test_fault_40_a_database_deleted_under_the_daemon_needs_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with fake_platform("c-1") as platform:
        platform.set("c-1", last_test_success=False)
        async with daemon(write_config(tmp_path, platform, ["c-1"])) as monitor:
            await monitor.process.alert("c-1", "failed_test", "firing")
            for name in files_in(tmp_path):
                if name.startswith("state.db"):
                    (tmp_path / name).unlink()
            said = await monitor.process.record(event="state_not_written")
            assert "deleted while running; restart the daemon" in said["problem"]
            assert "deleted while running" in (await monitor.web.get("/-/ready")).text
            platform.set("c-1")
            resolved = await monitor.process.alert("c-1", "failed_test", "resolved")
            assert resolved["durable"] is False
            assert await monitor.process.end(signal.SIGTERM) == 0
        platform.set("c-1", last_test_success=False)
        async with daemon(write_config(tmp_path, platform, ["c-1"])) as monitor:
            fired = await monitor.process.alert("c-1", "failed_test", "firing")
            assert fired["epoch"] != resolved["epoch"]
            assert select(path, "SELECT status FROM event") == [("firing",)]
            assert await monitor.process.end(signal.SIGTERM) == 0
