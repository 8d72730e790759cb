"""The clocks of the machine: the only module that reads them."""

import asyncio
import time

from monitor.core.model import Instant, Seconds


class SystemClock:
    """The real clocks; `elapsed` is the running event loop's, which virtual time replaces."""

    def wall(self) -> Instant:
        """Return the wall clock's instant."""
        return time.time()

    def elapsed(self) -> Seconds:
        """Return the event loop's monotonic time, in seconds."""
        return asyncio.get_running_loop().time()


class BootClock(SystemClock):
    """The real clocks; `elapsed` counts the time in which the machine was suspended, too."""

    def elapsed(self) -> Seconds:
        """Return the seconds since the machine was started."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
