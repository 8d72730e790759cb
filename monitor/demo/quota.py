"""The platform's own rate limit: so many calls in a window of a minute, as Laravel counts them."""

import math
from typing import Final

_WINDOW_SECONDS: Final = 60.0


class Quota:
    """Counts calls in a window that opens with its first call and lasts a minute.

    Instants are seconds since the epoch, UTC; `per_minute` is how many calls a window admits.
    """

    def __init__(self, per_minute: int) -> None:
        """Start with a whole minute's calls left."""
        self.per_minute = per_minute
        self.remaining = per_minute
        self._window_ends_at = -math.inf

    def admit(self, now: float) -> bool:
        """Count one call; False if this minute's calls are used up."""
        if now >= self._window_ends_at:
            self._window_ends_at = now + _WINDOW_SECONDS
            self.remaining = self.per_minute
        if self.remaining == 0:
            return False
        self.remaining -= 1
        return True

    def seconds_to_reset(self, now: float) -> int:
        """Whole seconds after which a call is admitted again, at least 1."""
        return max(1, math.ceil(self._window_ends_at - now))
