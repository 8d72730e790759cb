"""The files of one state: found by whatever name, locked for one daemon, and its owner's alone."""

import fcntl
import os
import stat
import struct
import sys
from contextlib import suppress
from pathlib import Path

HEADER = b"SQLite format 3\0"
"""What every SQLite database begins with."""

NOT_OURS = "this is not a database of sftp-monitor; give state.path another name"


class StorageError(Exception):
    """The state cannot be opened, written or read. `reason`, without the path, is for the web.

    `permanent`: it does not help to wait, somebody must do something.
    """

    def __init__(self, path: Path | str, reason: str, *, permanent: bool = True) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason, self.permanent = reason, permanent


class StateLocked(StorageError):  # noqa: N818 - it says what is so
    """Another daemon works on this state (exit code 75)."""

    def __init__(self, path: Path, holder: str) -> None:
        why = f"another sftp-monitor (process {holder or 'unknown'}) uses this state; stop it, or"
        super().__init__(path, f"{why} give this one a state.path of its own")


def lock(database: Path, held: int | None = None) -> int:
    """Lock a file beside the database, for one daemon per state; return its descriptor.

    It stays while another database is put in this one's place, and has the holder's number. `held`
    is what this returned before: locked anew, and closed, only where somebody removed the file.
    """
    # Never deleted: that would race with its next user. The kernel releases it when the process
    # ends, however it ends.
    path = database.with_name(f"{database.name}.lock")
    if held is not None and os.path.exists(path) and os.path.samestat(path.stat(), os.fstat(held)):
        return held
    if os.path.islink(path):
        raise StateLocked(path, "unknown, for the lock file is a symbolic link: delete it")
    file = open_file(path)
    holder = os.pread(file, 20, 0).decode("ascii", "replace").strip()
    try:
        # Not lockf: such a lock goes when the process closes any other descriptor of the file.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise StateLocked(path, holder) from error
    if not holder or holder.isdecimal():  # else it is somebody else's, and stays as it is
        os.ftruncate(file, 0)
        os.pwrite(file, b"%d\n" % os.getpid(), 0)
    if held is not None:
        os.close(held)
    return file


def hold(database: Path) -> int:
    """Lock the database itself, made where there is none, under any name; return its descriptor.

    The lock beside it is another one for a hard link or a mount, or where somebody removed it.
    """
    file = open_file(database)
    # With a log that it can only read SQLite starts, and then cannot write.
    problem = whose(database)
    # SQLite would take the shortest ones for an empty database.
    ours = os.pread(file, len(HEADER), 0) in {b"", HEADER}
    if problem or not ours:
        os.close(file)
        raise StorageError(database, f"cannot be written{problem}" if ours else NOT_OURS)
    try:
        if sys.platform == "linux":
            # Its first byte, which SQLite never locks; and of this descriptor, not of the process.
            byte = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, byte)
    except BlockingIOError as error:
        os.close(file)
        raise StateLocked(database, "") from error
    except OSError:
        pass  # a kernel without such locks (gVisor): then the one beside it must do
    return file


def open_file(path: Path) -> int:
    """Return a descriptor of the file, made where there is none. Raises StorageError."""
    try:
        # No O_TRUNC: it may be somebody else's.
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        why = f"cannot be opened ({error.strerror}); state.path must be a file in an existing "
        why += f"directory that the daemon can write to{whose(path)}"
        raise StorageError(path, why) from error
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise StorageError(path, NOT_OURS)


def whose(path: Path, mode: int = os.R_OK | os.W_OK) -> str:
    """Say whose the first file of a state is to which we have no such access; "" where none is."""
    for one in (path.parent, *family(path)):
        with suppress(OSError):
            owner, us = one.stat().st_uid, os.geteuid()
            if owner != us and not os.access(one, mode, effective_ids=True):
                who = f"{one.name} is of uid {owner}, and this process of uid {us}"
                return f"; {who}: run it as that user, or chown the state and what lies beside it"
    return ""


def family(path: Path) -> list[Path]:
    """Return a database, and what SQLite and we have beside it."""
    return [path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal", ".lock")]
