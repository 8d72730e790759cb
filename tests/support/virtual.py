"""Virtual time: an event loop whose clock jumps to the next timer, a wall clock to steer, an API.

Nothing waits in real time; a test says how long to run, and everything due until then happens.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from monitor.core.model import Answer, Instant, Observation, SftpConfig

T = TypeVar("T")

START: Instant = 1_800_000_000.0
"""2027-01-15T08:00:00Z: when virtual time begins."""


class _Selector(selectors.DefaultSelector):
    """Looks for I/O without waiting, and moves the clock instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everything waits, and nothing will ever happen")
        if not ready and timeout is not None:
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on virtual time and return what it returns."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


@dataclass
class VirtualClock:
    """Both clocks of a virtual loop; the wall clock can be set apart by `step`."""

    start: Instant = START
    offset: float = 0.0

    def wall(self) -> Instant:
        return self.start + self.offset + self.elapsed()

    def elapsed(self) -> float:
        return asyncio.get_running_loop().time()

    def step(self, seconds: float) -> None:
        self.offset += seconds


def config(campaign_id: str, now: Instant, **changes: Any) -> SftpConfig:
    """Return a healthy config of that campaign, tested an hour ago, with changes."""
    values: dict[str, Any] = {
        "id": f"config-of-{campaign_id}",
        "campaign_id": campaign_id,
        "host": "sftp.example.com",
        "is_enabled": True,
        "port": 22,
        "auth_type": "password",
        "import_schedule": "daily",
        "last_test_at": now - 3600,
        "last_test_success": True,
        "created_at": now - 90 * 86400,
    }
    return SftpConfig(**(values | changes))


@dataclass
class FakeApi:
    """A TalkOver API in memory: answers what `says` has for a campaign, and keeps the calls.

    `says` maps a campaign to its observation, or to a function that gives it; `latency` is how
    long a call takes, `server_clock` what it puts into `Date` (None: no such header).
    """

    clock: VirtualClock
    says: dict[str, Observation | Callable[[], Observation]] = field(default_factory=dict)
    latency: float = 0.05
    server_clock: Callable[[], Instant] | None = None
    calls: list[tuple[Instant, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    pause: float | None = None
    closed: bool = False
    hang: asyncio.Event | None = None

    async def fetch_sftp(self, campaign_id: str) -> Answer:
        self.calls.append((self.clock.elapsed(), campaign_id))
        await asyncio.sleep(self.latency)
        if self.hang is not None:
            await self.hang.wait()
        said = self.says.get(campaign_id)
        if said is None:
            said = config(campaign_id, START)
        observation = said() if callable(said) else said
        date = None if self.server_clock is None else self.server_clock()
        return Answer(observation, server_date=date, pause=self.pause)

    def set_token(self, token: str) -> None:
        self.tokens.append(token)

    async def aclose(self) -> None:
        self.closed = True
