"""What can go wrong with the state; each message is one line: where, what, what to do."""


class StateLocked(Exception):  # noqa: N818 - it says what is so
    """Another daemon works on this state (exit code 75)."""


class StateUnusable(Exception):  # noqa: N818 - it says what is so
    """The state cannot be opened: not there, not ours, or of a newer version (exit code 74)."""


class StorageError(Exception):
    """The disk did not do what it was asked to: a transaction or a read failed."""
