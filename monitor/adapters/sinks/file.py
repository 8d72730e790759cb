"""A file of alert events as JSON lines, in which each of them is once.

It is opened anew for each line, so it may be rotated by rename or by copytruncate at any time; its
end is read before each, so a line that broke off (full disk, kill -9) is completed.
"""

import asyncio
import glob
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TypeVar

from monitor.adapters.sinks import Sink, SinkContext
from monitor.config.model import AlertFile
from monitor.core.model import Event
from monitor.serialize import LINE_LIMIT, Links, event_line

TAIL = 1024 * 1024
"""Bytes at the end of a file that are searched for an event: 256 lines at least."""

ROTATED = 3
"""So many of the newest files that were rotated away are searched, too."""

_T = TypeVar("_T")


def sinks_of(file: AlertFile, context: SinkContext) -> list[Sink]:
    """Return the sink for `alerts.file`, if there is one; each event is on disk when delivered.

    The file is made where it is missing, but not its directory.
    """
    if file.path is None:
        return []
    # Its own: a disk that hangs must hold up neither the loop nor the loop's DNS lookups.
    run = partial(_run, ThreadPoolExecutor(1, "file-sink") if context.threaded else None)
    path, links = file.path, context.links
    return [
        Sink(
            "file",
            deliver=lambda event: run(partial(_append, path, links, event)),
            has=lambda event_id, before: run(partial(_find, path, event_id, before)),
        )
    ]


async def _run(thread: ThreadPoolExecutor | None, work: Callable[[], _T]) -> _T:
    if thread is None:
        return work()
    return await asyncio.get_running_loop().run_in_executor(thread, work)


def _append(path: Path, links: Links, event: Event) -> None:
    line = event_line(event, links)
    with open(path, "a+b", buffering=0, opener=partial(os.open, mode=0o640)) as file:
        end = _end(file, LINE_LIMIT)
        torn = end.rpartition(b"\n")[2]
        rest = line[len(torn) :] if line.startswith(torn) else b"\n" + line
        # Else it is written, and then the fsync failed.
        while rest and not end.endswith(line):
            rest = rest[file.write(rest) :]
        os.fsync(file)


def _find(path: Path, event_id: str, before: str | None) -> bool | None:
    """Return whether an event is in the file, or in one that was rotated away (`<name>.1`, …).

    False only where half of it is at the file's end, or `before`, which it would follow, is in it;
    else it may have gone with what was truncated or compressed.
    """
    # With its quotes: the id that ends in -1 is the beginning of the one that ends in -12.
    wanted, lines, torn = f'"{event_id}"'.encode(), b"", b""
    with suppress(FileNotFoundError):
        lines, torn = _whole_and_torn(path)
    if wanted in lines:
        return True
    if wanted in torn or (before is not None and f'"{before}"'.encode() in lines):
        return False
    rotated = dict[Path, int]()
    # A copy that only root may read, or one that is deleted just now, is no answer.
    for one in path.parent.glob(f"{glob.escape(path.name)}?*"):
        with suppress(OSError):
            rotated[one] = one.stat().st_mtime_ns
    for one in sorted(rotated, key=rotated.__getitem__, reverse=True)[:ROTATED]:
        with suppress(OSError):
            if wanted in _whole_and_torn(one)[0]:
                return True
    return None


def _whole_and_torn(path: Path) -> tuple[bytes, bytes]:
    """Return the end of a file: its whole lines, and the one that broke off."""
    with path.open("rb", buffering=0) as file:
        lines, _, torn = _end(file, TAIL).rpartition(b"\n")
    return lines, torn


def _end(file: FileIO, size: int) -> bytes:
    return os.pread(file.fileno(), size, max(0, os.fstat(file.fileno()).st_size - size))
