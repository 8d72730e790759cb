"""A file of alert events as JSON lines, in which each of them is once.

It is opened anew each time, so it may be rotated by rename or by copytruncate at any time; its end
is read before, so lines that broke off (full disk, kill -9) go on where they did.
"""

import asyncio
import glob
import os
from collections.abc import Callable, Iterator, Sequence
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
            deliver=lambda *events: run(partial(_append, path, links, events)),
            at_once=True,
            has=lambda event_ids, before: run(partial(_find, path, event_ids, before)),
        )
    ]


async def _run(thread: ThreadPoolExecutor | None, work: Callable[[], _T]) -> _T:
    if thread is None:
        return work()
    return await asyncio.get_running_loop().run_in_executor(thread, work)


def _append(path: Path, links: Links, events: Sequence[Event]) -> None:
    lines = [event_line(event, links) for event in events]
    with open(path, "a+b", buffering=0, opener=partial(os.open, mode=0o640)) as file:
        whole, torn = _whole_and_torn(file, 2 * LINE_LIMIT)
        # Rotated away meanwhile, it may have the first of these.
        whole = whole or next(_rotated(path), b"")
        last = whole.rpartition(b"\n")[2] + b"\n"
        # Else they are written, and then the disk was full, or the fsync failed.
        rest = b"".join(lines[lines.index(last) + 1 :] if last in lines else lines)
        rest = rest[len(torn) :] if rest.startswith(torn) else b"\n" + rest
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file)


def _find(path: Path, event_ids: Sequence[str], before: str | None) -> int | None:
    """Return how many of these events are in the file, or in those rotated away (`<name>.1`, …).

    0 only where half of the first is at the file's end, or `before`, which it would follow, is in
    the file; else they may have gone with what was truncated or compressed.
    """
    # With its quotes: the id that ends in -1 is the beginning of the one that ends in -12.
    wanted, lines, torn = [f'"{one}"'.encode() for one in event_ids], b"", b""
    with suppress(FileNotFoundError), path.open("rb", buffering=0) as file:
        lines, torn = _whole_and_torn(file)
    # They were written in their order: with the last one that is there are all before it.
    found, half = _last_in(lines, wanted), _last_in(torn, wanted)
    if found or half:
        return found or half - 1
    if before is not None and f'"{before}"'.encode() in lines:
        return 0
    return next(filter(None, (_last_in(one, wanted) for one in _rotated(path))), None)


def _last_in(lines: bytes, wanted: Sequence[bytes]) -> int:
    """Return the number, from 1, of the last one that is in these lines; 0: none is."""
    return next((n for n in range(len(wanted), 0, -1) if wanted[n - 1] in lines), 0)


def _rotated(path: Path) -> Iterator[bytes]:
    """Yield the whole lines at the ends of the files that were rotated away, the newest first."""
    rotated = dict[Path, int]()
    # A copy that only root may read, or one that is deleted just now, is no answer.
    for one in path.parent.glob(f"{glob.escape(path.name)}?*"):
        with suppress(OSError):
            rotated[one] = one.stat().st_mtime_ns
    for one in sorted(rotated, key=rotated.__getitem__, reverse=True)[:ROTATED]:
        with suppress(OSError), one.open("rb", buffering=0) as file:
            yield _whole_and_torn(file)[0]


def _whole_and_torn(file: FileIO, size: int = TAIL) -> tuple[bytes, bytes]:
    """Return the end of a file: its whole lines, without the last newline, and what broke off."""
    start = max(0, os.fstat(file.fileno()).st_size - size)
    lines, _, torn = os.pread(file.fileno(), size, start).rpartition(b"\n")
    return lines, torn
