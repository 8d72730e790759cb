"""One daemon per state: a lock on a file beside the database.

Locking the database itself would lock out those who only read it (`sftp-monitor events`).
"""

import fcntl
import os
from pathlib import Path

from monitor.adapters.store.schema import StateUnusable


class StateLocked(Exception):  # noqa: N818 - it says what is so
    """Another daemon works on this state (exit code 75)."""


class StateLock:
    """The lock of one database; the kernel releases it when the process ends, however it ends."""

    def __init__(self, database: Path) -> None:
        """Take the lock. Raises StateLocked (another has it) or StateUnusable (cannot be made)."""
        self.path = database.with_name(f"{database.name}.lock")
        self._file = _acquire(self.path)

    def release(self) -> None:
        """Let another daemon have it. The file stays: deleting it would race with its next user."""
        os.close(self._file)


def _acquire(path: Path) -> int:
    try:
        # No O_TRUNC: until the lock is ours the number in the file is its holder's.
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateUnusable(
            f"{path}: cannot create the lock file ({error.strerror}); "
            "state.path must be in an existing directory that the daemon can write to"
        ) from error
    try:
        # Not lockf: such a lock goes when the process closes any other descriptor of the file.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(file, 20, 0).decode("ascii", "replace").strip()
        os.close(file)
        raise StateLocked(
            f"{path}: another sftp-monitor (process {holder or 'unknown'}) uses this state; "
            "stop it, or give this one a state.path of its own"
        ) from error
    os.ftruncate(file, 0)
    os.pwrite(file, b"%d\n" % os.getpid(), 0)
    return file
