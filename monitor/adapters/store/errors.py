"""What can go wrong with the state; each message is one line: where, what, what to do."""

from pathlib import Path


class StateLocked(Exception):  # noqa: N818 - it says what is so
    """Another daemon works on this state (exit code 75)."""


class StateUnusable(Exception):  # noqa: N818 - it says what is so
    """The state cannot be opened: not there, not ours, or of a newer version (exit code 74)."""


class StorageError(Exception):
    """The disk did not do what it was asked to: a transaction or a read failed.

    `reason` is the message without the path: what may be shown to whoever reaches the port.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason
