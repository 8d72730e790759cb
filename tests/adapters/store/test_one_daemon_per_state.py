"""Who uses a state is told by the file itself, not by the name that somebody gave it.

Of this kind: every way to come to the same database by another path (a symbolic link, a hard link,
a relative path, a folder with two names), together with whatever may happen to its files meanwhile
(the lock removed or replaced, the database restored by rename or in place, all of it removed).
Whoever comes second is refused; whoever was first goes on, and nobody else's file is touched.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from monitor.adapters.store import StateLocked, StorageError, Store, files, read_history
from support.builders import NOW
from support.state_files import events, execute


def lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o644)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def the_same(path: Path) -> Path:
    return path


def symlink(path: Path) -> Path:
    (other := path.with_name("symlink.db")).symlink_to(path.name)
    return other


def symlink_elsewhere(path: Path) -> Path:
    (folder := path.with_name("elsewhere")).mkdir()
    (other := folder / path.name).symlink_to(path)
    return other


def hard_link(path: Path) -> Path:
    (other := path.with_name("hard-link.db")).hardlink_to(path)
    return other


def hard_link_elsewhere(path: Path) -> Path:
    """Return what a mount of the file alone in another container looks like."""
    (folder := path.with_name("elsewhere")).mkdir()
    (other := folder / path.name).hardlink_to(path)
    return other


def relative(path: Path) -> Path:
    os.chdir(path.parent)
    return Path(path.name)


def by_way_of(path: Path) -> Path:
    (path.parent / "way").mkdir()
    return path.parent / "way" / ".." / path.name


def folder_with_two_names(path: Path) -> Path:
    (folder := path.parent / "second").symlink_to(path.parent)
    return folder / path.name


NAMES: list[Callable[[Path], Path]] = [
    the_same, symlink, symlink_elsewhere, hard_link, hard_link_elsewhere, relative, by_way_of,
    folder_with_two_names,
]  # fmt: skip


def nothing(path: Path) -> None:
    pass


def lock_removed(path: Path) -> None:
    lock_of(path).unlink()


def lock_replaced(path: Path) -> None:
    lock_of(path).unlink()
    lock_of(path).write_text("1\n")


def lock_emptied(path: Path) -> None:
    os.truncate(lock_of(path), 0)


def a_copy(path: Path) -> Path:
    copy = path.with_name("copy")
    execute(path, f"VACUUM INTO '{copy}'")
    return copy


def restored_by_rename(path: Path) -> None:
    a_copy(path).replace(path)


def restored_in_place(path: Path) -> None:
    shutil.copyfile(a_copy(path), path)


def restored_after_all_was_removed(path: Path) -> None:
    copy = a_copy(path)
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    copy.rename(path)


HAPPENINGS: list[Callable[[Path], None]] = [
    nothing, lock_removed, lock_replaced, lock_emptied, restored_by_rename, restored_in_place,
    restored_after_all_was_removed,
]  # fmt: skip
LEAVE_THE_DATABASE = HAPPENINGS[:4]


@pytest.mark.parametrize("happens", HAPPENINGS)
@pytest.mark.parametrize("name", NAMES)
async def test_fault_40_nobody_starts_on_a_state_that_is_in_use(
    path: Path,
    name: Callable[[Path], Path],
    happens: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(path.parent)
    store = Store(path, now=NOW)
    store.save(events(1))
    other = name(path)
    happens(path)
    await store.lease("production", NOW + 1) if happens in LEAVE_THE_DATABASE else store.save(
        events(2)
    )
    with pytest.raises(StateLocked, match=r"another sftp-monitor \(process (\d+|unknown)\)"):
        Store(other, now=NOW)
    if happens in LEAVE_THE_DATABASE:
        store.save(events(3))
        assert store.problem is None
    await store.aclose()


@pytest.mark.parametrize("name", NAMES)
async def test_fault_40_a_state_that_was_left_can_be_used_by_any_of_its_names(
    path: Path, name: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    store = Store(path, now=NOW)
    store.save(events(1))
    await store.aclose()
    other = name(path)
    assert len(read_history(other)) == 1
    again = Store(other, now=NOW)
    again.save(events(2))
    assert again.problem is None
    assert len(again.history()) == 2
    await again.aclose()


async def test_the_history_is_read_beside_the_daemon_by_any_of_its_symlinks(path: Path) -> None:
    """SQLite's log lies beside the file itself: without it the newest events would be missing."""
    store = Store(path, now=NOW)
    store.save(events(1))
    for name in (symlink, symlink_elsewhere, folder_with_two_names):
        assert len(read_history(name(path))) == 1, name
    await store.aclose()


async def test_fault_40_a_corrupt_one_behind_a_symlink_is_set_aside_itself(path: Path) -> None:
    other = symlink(path)
    put(path, files.HEADER + b"\xff" * 8192)
    store = Store(other, now=NOW)
    assert store.notice is not None
    assert other.is_symlink()
    assert other.resolve() == path
    assert len(list(path.parent.glob("sftp-monitor.db.corrupt-*"))) == 1
    with pytest.raises(StateLocked):
        Store(path, now=NOW)
    await store.aclose()


def test_a_lock_file_that_is_a_symlink_is_refused_and_its_target_left_alone(path: Path) -> None:
    theirs = path.with_name("theirs")
    theirs.write_text("123\n")
    for target in (theirs, path.with_name("nowhere"), lock_of(path)):
        lock_of(path).symlink_to(target)
        with pytest.raises(StateLocked, match=r"is a symbolic link.*delete it"):
            Store(path, now=NOW)
        lock_of(path).unlink()
    assert theirs.read_text() == "123\n"
    assert not path.with_name("nowhere").exists()


@pytest.mark.parametrize("content", ["environments: []\n", "\0\0\0\0", "12 monkeys" * 10])
async def test_what_has_the_name_of_the_lock_file_is_never_written_over(
    path: Path, content: str
) -> None:
    lock_of(path).write_text(content)
    store = Store(path, now=NOW)
    with pytest.raises(StateLocked):
        Store(path, now=NOW)
    await store.aclose()
    assert lock_of(path).read_text() == content


@pytest.mark.parametrize("suffix", ["", ".lock"])
@pytest.mark.parametrize("what", ["pipe", "directory", "device"])
def test_fault_40_what_is_no_regular_file_is_refused_at_once(
    path: Path, suffix: str, what: str
) -> None:
    """A pipe would block for ever, a device take all that is written."""
    at = path.with_name(path.name + suffix)
    if what == "pipe":
        os.mkfifo(at)
    elif what == "directory":
        at.mkdir()
    else:
        path = Path("/dev/null") if not suffix else path
        at.symlink_to("/dev/null")
    with pytest.raises(StorageError):
        Store(at if not suffix else path, now=NOW)
    assert at.is_fifo() or at.is_dir() or at.is_symlink()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_state_that_others_could_read_is_its_owners_alone_once_it_is_open(
    path: Path,
) -> None:
    """A backup that was put back has the mode of whoever made it, and SQLite's log its mode."""
    store = Store(path, now=NOW)
    await store.aclose()
    for file in (path, lock_of(path)):
        file.chmod(0o644)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).touch(0o644)
    store = Store(path, now=NOW)
    store.save(events(1))
    found = {file.name: mode_of(file) for file in path.parent.iterdir()}
    assert len(found) == 4
    assert set(found.values()) == {0o600}, found
    await store.aclose()


@pytest.mark.parametrize("content", [b"environments: []\n", b"\x7fELF", b"PK\x03\x04" * 99])
async def test_fault_40_a_file_that_is_refused_keeps_its_mode_and_its_name(
    path: Path, content: bytes
) -> None:
    put(path, content)
    with pytest.raises(StorageError, match="not a database of sftp-monitor"):
        Store(path, now=NOW)
    assert content_of(path) == content
    assert mode_of(path) == 0o644


OWNER, US = 12345, 54321


@pytest.fixture
def shared(path: Path) -> Iterator[Path]:
    """Return the path of a state in a folder that every user can reach."""
    with TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder) / path.name


@contextmanager
def another_user() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.seteuid(US)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("suffix", ["", ".lock", "-wal", "-shm"])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
async def test_a_state_of_another_user_is_told_with_whose_it_is(
    path: Path, shared: Path, suffix: str, mode: int
) -> None:
    """A restored volume, a pod with another uid, a command that was run once as root."""
    store = Store(path, now=NOW)
    store.save(events(1))
    for file in path.parent.iterdir():  # as a crash leaves them
        os.chown(shutil.copy(file, shared.parent), US, -1)
    await store.aclose()
    theirs = shared.with_name(shared.name + suffix)
    os.chown(theirs, OWNER, -1)
    theirs.chmod(mode)
    with another_user(), pytest.raises(StorageError) as refused:
        Store(shared, now=NOW)
    said = f"{theirs.name} is of uid {OWNER}, and this process of uid {US}: run it as that user"
    assert said in str(refused.value)


async def test_a_folder_of_another_user_is_told_with_whose_it_is(shared: Path) -> None:
    shared.parent.chmod(0o755)
    with another_user(), pytest.raises(StorageError, match=rf"{shared.parent.name} is of uid 0, "):
        Store(shared, now=NOW)


async def test_a_history_of_another_user_is_told_with_whose_it_is(shared: Path) -> None:
    await Store(shared, now=NOW).aclose()
    shared.parent.chmod(0o755)
    with another_user(), pytest.raises(StorageError, match=rf"{shared.name} is of uid 0, "):
        read_history(shared)


async def test_a_state_of_another_user_that_our_group_may_write_is_used(shared: Path) -> None:
    """What fsGroup makes of a volume."""
    await Store(shared, now=NOW).aclose()
    for file in shared.parent.iterdir():
        file.chmod(0o666)
    with another_user():
        store = Store(shared, now=NOW)
        store.save(events(1))
        problem = store.problem
        await store.aclose()
    assert problem is None
