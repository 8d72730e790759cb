"""Virtual time: an event loop whose clock jumps to the next timer, a wall clock to steer, an API.

Nothing waits in real time; a test says how long to run, and everything due until then happens.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from monitor import daemon
from monitor.core.attempt import TestAnswer, TestReport
from monitor.core.model import (
    Answer,
    Instant,
    ListedCampaign,
    Observation,
    Page,
    PageAnswer,
    PollError,
    RateHint,
    Reason,
    SftpConfig,
)

T = TypeVar("T")

TICK = 5.0
"""Seconds between two ticks of a daemon: it then feeds the watchdog, and looks at the clocks."""

START: Instant = 1_800_000_000.0
"""2027-01-15T08:00:00Z: when virtual time begins."""


class _Selector(selectors.DefaultSelector):
    """Looks for I/O without waiting, and moves the clock instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return []  # something is due at once: I/O is looked for when nothing is
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everything waits, and nothing will ever happen")
        if not ready and timeout is not None:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


async def virtual_seconds(seconds: float) -> None:
    """Let so many seconds of virtual time go by, with all that happens in them."""
    await asyncio.sleep(seconds)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on virtual time and return what it returns.

    A daemon ticks more seldom in it: else its ticks would be most of what a quiet day costs.
    """
    ticks, daemon.TICK = daemon.TICK, TICK
    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(main)
    finally:
        daemon.TICK = ticks


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


def listed(
    campaign_id: str, *, name: str = "", status: str = "active", kind: str = ""
) -> ListedCampaign:
    """Return a campaign as the platform lists it."""
    return ListedCampaign(campaign_id, name or f"Campaign {campaign_id}", status, kind)


@dataclass
class FakeApi:
    """A TalkOver API in memory: answers what `says` has for a campaign, and keeps the calls.

    `says` maps a campaign to its observation, or to a function that gives it; `latency` is how
    long a call takes, `server_clock` what it puts into `Date` (None: no such header). `listing`
    has the campaigns that it lists, `per_page` at a time, or why it does not; a page of the listing
    is the call "*".
    """

    clock: VirtualClock
    says: dict[str, Observation | Callable[[], Observation]] = field(default_factory=dict)
    latency: float = 0.05
    server_clock: Callable[[], Instant] | None = None
    calls: list[tuple[Instant, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    pause: float | None = None
    refuse: float | None = None
    rate: RateHint | None = None
    closed: bool = False
    hang: asyncio.Event | None = None
    listing: list[ListedCampaign] | PollError = field(default_factory=list)
    per_page: int = 100
    tests: Callable[[str], TestAnswer] | None = None

    async def run_test(self, campaign_id: str, within: float) -> TestAnswer:
        self.calls.append((self.clock.elapsed(), f"test {campaign_id}"))
        await virtual_seconds(self.latency)
        if self.tests is None:
            return TestAnswer(TestReport(True, self.clock.wall()), status=200)
        return self.tests(campaign_id)

    def lists(self, *campaign_ids: str, status: str = "active") -> None:
        """List these campaigns, and no others."""
        self.listing = [listed(one, status=status) for one in campaign_ids]

    async def fetch_campaigns(self, page: int) -> PageAnswer:
        self.calls.append((self.clock.elapsed(), "*"))
        await virtual_seconds(self.latency)
        if isinstance(self.listing, PollError):
            return PageAnswer(self.listing)
        first, total = (page - 1) * self.per_page, len(self.listing)
        found = tuple(self.listing[first : first + self.per_page])
        last = first + self.per_page >= total
        return PageAnswer(Page(found, page, last, total))

    async def fetch_sftp(self, campaign_id: str) -> Answer:
        self.calls.append((self.clock.elapsed(), campaign_id))
        await virtual_seconds(self.latency)
        if self.hang is not None:
            await self.hang.wait()
        said = self.says.get(campaign_id)
        if said is None:
            said = config(campaign_id, START)
        observation = said() if callable(said) else said
        date = None if self.server_clock is None else self.server_clock()
        if self.refuse is not None:
            return Answer(PollError(Reason.RATE_LIMITED), pause=self.refuse)
        return Answer(observation, server_date=date, pause=self.pause, rate=self.rate)

    def set_token(self, token: str) -> None:
        self.tokens.append(token)

    async def aclose(self) -> None:
        self.closed = True
