"""What a config was made of: while none of it changes, a config that is read again is the same."""

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from monitor.config.document import ConfigError
from monitor.config.yaml import read_bytes


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of a config as they were when it was read, or what was in their place.

    The first is the config itself. Of those that are `written`, such as the state, only the place
    counts. Without any file nothing is known.
    """

    read: Mapping[Path, object] = field(default_factory=dict)
    written: Mapping[Path, object] = field(default_factory=dict)

    @classmethod
    def of(cls, file: Path, raw: bytes, read: Iterable[Path], written: Iterable[Path]) -> "Sources":
        """Return how these files are now, but for the config itself: that was `raw`."""
        seen = {file: _seen(file, raw), **{path: _seen(path) for path in read}}
        return cls(seen, {path: _place(path) for path in written})

    def unchanged(self) -> bool:
        """Return whether each is as it was: what is in it, and who may read or change it."""
        same = all(_seen(path) == was for path, was in self.read.items())
        return bool(self.read) and same and self.written == {p: _place(p) for p in self.written}


def _seen(path: Path, content: bytes | None = None) -> object:
    try:
        status = path.stat()
        # What is not a file is not the same twice: a FIFO would be waited for.
        if not stat.S_ISREG(status.st_mode):
            return object()
        digest = sha256(read_bytes(path) if content is None else content).digest()
        return _place(path), status.st_dev, status.st_mode, status.st_uid, digest
    except (OSError, ConfigError):
        return object()


def _place(path: Path) -> object:
    return os.path.realpath(path), path.parent.is_dir()
