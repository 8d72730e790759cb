"""Three clocks: the platform's, which is the truth, our wall clock, and the monotonic one."""

import asyncio
from dataclasses import dataclass, field

from monitor.core.model import Instant, Seconds
from support.virtual import START


@dataclass
class Clocks:
    """The clocks of the daemon (`wall`, `elapsed`) and the `truth`, steered from outside.

    `off` is how far the wall clock is ahead of the truth, `drift` how many seconds it gains in a
    second; while the machine was `asleep` both went on, but not the monotonic clock.
    """

    off: Seconds = 0.0
    asleep: Seconds = 0.0
    drift: float = 0.0
    _drifts_from: Seconds = 0.0
    # Kept, for it is asked a million times a day.
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def elapsed(self) -> Seconds:
        """Return the monotonic clock: seconds since virtual time began."""
        return self._loop.time()

    def truth(self) -> Instant:
        """Return what time it really is."""
        return START + self.asleep + self.elapsed()

    def wall(self) -> Instant:
        """Return what our wall clock says."""
        return self.truth() + self.off + self.drift * (self.elapsed() - self._drifts_from)

    def drift_by(self, rate: float) -> None:
        """Let the wall clock gain `rate` seconds a second from now on."""
        self.off = self.wall() - self.truth()
        self.drift, self._drifts_from = rate, self.elapsed()
