"""`sftp-monitor` as it is, and for how long its event loop stood still at the longest.

The seconds go to the file that is the first argument, which whoever looks may set back to 0; the
other arguments are the command's. Counted from the first port that is open on: before it there is
nobody to wait. What counts is the wall clock, but no more than the CPU that the process used in
that time: so other work of the machine is not taken for its own.
"""

import asyncio
import mmap
import struct
import sys
import time
from pathlib import Path
from typing import Any

from monitor.cli import main

EVERY = 0.005
"""Seconds between two looks: a stall is what comes on top."""


class WatchedLoop(asyncio.SelectorEventLoop):
    """The loop that asyncio has on Linux, with a timer that notes how late it is run."""

    longest: mmap.mmap
    _watched = False

    async def create_server(self, *arguments: Any, **named: Any) -> Any:
        """Open a port, and begin to look."""
        server = await super().create_server(*arguments, **named)
        if not self._watched:
            self._watched = True
            self._wait()
        return server

    def _wait(self) -> None:
        self.call_later(EVERY, self._look, time.perf_counter(), time.process_time())

    def _look(self, began: float, cpu: float) -> None:
        late = min(time.perf_counter() - began - EVERY, time.process_time() - cpu)
        if late > struct.unpack("d", self.longest[:8])[0]:
            self.longest[:8] = struct.pack("d", late)
        self._wait()


class _Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return WatchedLoop()


class Stalls:
    """The file, seen by who measures."""

    def __init__(self, path: Path) -> None:
        """Make the file."""
        path.write_bytes(bytes(8))
        self._path = path

    def take(self) -> float:
        """Return the longest stall since the last look, in seconds, and begin anew."""
        with self._path.open("r+b") as file:
            (seconds,) = struct.unpack("d", file.read(8))
            file.seek(0)
            file.write(bytes(8))
        return float(seconds)


if __name__ == "__main__":
    with open(sys.argv.pop(1), "r+b") as shared:
        WatchedLoop.longest = mmap.mmap(shared.fileno(), 8)
    asyncio.set_event_loop_policy(_Policy())
    main()
