"""One daemon per state, whatever becomes of the first one."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.adapters.store import StateLocked, StorageError, Store, files
from support.builders import NOW

HOLD = """
import sys
from pathlib import Path
from monitor.adapters.store import files

files.lock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_second_lock_is_refused_and_names_the_process_that_has_it(path: Path) -> None:
    held = files.lock(path)
    with pytest.raises(StateLocked, match=r"sftp-monitor\.db\.lock: another .* \(process \d+\)"):
        files.lock(path)
    os.close(held)


def test_a_released_lock_can_be_taken_again(path: Path) -> None:
    os.close(files.lock(path))
    os.close(files.lock(path))


@pytest.mark.slow
def test_the_lock_of_another_process_is_respected_until_it_dies(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(StateLocked, match=f"process {holder.pid}"):
            Store(path, now=NOW)
        holder.kill()
    os.close(files.lock(path))


async def test_fault_40_a_second_store_is_refused_and_disturbs_nothing(path: Path) -> None:
    store = Store(path, now=NOW)
    with pytest.raises(StateLocked):
        Store(path, now=NOW)
    await store.lease("production", NOW + 5)
    assert not store.problem
    await store.aclose()


def test_a_lock_whose_file_someone_wrote_over_is_respected_all_the_same(path: Path) -> None:
    held = files.lock(path)
    beside = path.with_name(f"{path.name}.lock")
    for content in (b"\xff\xfe", b""):
        beside.write_bytes(content)
        with pytest.raises(StateLocked) as refused:
            files.lock(path)
    assert str(refused.value) == (
        f"{beside}: another sftp-monitor (process unknown) uses this state; "
        "stop it, or give this one a state.path of its own"
    )
    os.close(held)


def test_the_lock_file_is_for_the_owner_only(path: Path) -> None:
    held = files.lock(path)
    assert stat.S_IMODE(path.with_name(f"{path.name}.lock").stat().st_mode) == 0o600
    os.close(held)


def test_a_missing_directory_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError,
        match=r"No such file or directory.*existing directory that the daemon can write to$",
    ):
        files.lock(tmp_path / "missing" / "sftp-monitor.db")
