"""The real polling code on virtual time, watching a world: what it asked for, and what that cost.

EnvironmentState, Poller, Tester and Store as the daemon has them, with an API in memory that asks
the world; nothing of them is done again here. A day of virtual time ends when all that is due in it
has happened.
"""

import asyncio
import gc
import tempfile
from collections import Counter, defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from benchmarks.nature import ZONES, Alerts, Break, Nature, fleet, happenings
from monitor.adapters.metrics import SelfMetrics
from monitor.adapters.store import MEMORY, Change, Store
from monitor.config import load_config
from monitor.core.attempt import TestAnswer, TestReport, TestSettings, server_of
from monitor.core.durations import format_duration
from monitor.core.model import (
    DAY,
    MINUTE,
    Answer,
    CallTimes,
    EventKind,
    Instant,
    ListedCampaign,
    Page,
    PageAnswer,
    PollError,
    Reason,
    Seconds,
    SftpConfig,
)
from monitor.core.status import EnvironmentStatus
from monitor.demo.world import World
from monitor.polling import Poller, Settings, poller
from monitor.polling.environment_state import EnvironmentState
from monitor.polling.guard_book import GuardBook
from monitor.polling.settings import Connection
from monitor.polling.tester import Tester
from support.virtual import START, VirtualClock, run

PLAN = 100
"""Requests a minute of the standard plan; the monitor's share, by default, is half."""

LATENCY: Seconds = 0.25
PER_PAGE = 100
IDLE_TURN: Seconds = 60.0
"""How often the loop turns though nothing is due, instead of every 5 s: of the 1.5 million idle
turns of 90 days none decides anything. It only looks for a new token then, and there is none."""

WINDOW: Seconds = 30 * MINUTE


@dataclass(frozen=True, slots=True)
class Way:
    """How broken connections come to light; `every`: of active tests, None: there are none.

    `by_hand` is how often people test each campaign, None: never.
    """

    name: str
    every: Seconds | None = None
    by_hand: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run: so many campaigns for so many days, polled every `interval` if nothing is due."""

    campaigns: int
    days: float
    interval: Seconds
    way: Way
    seed: int = 1


@dataclass(slots=True)
class Logins:
    """Tests of ours at customers' servers, by the servers' own log and by when they were sent."""

    in_a_row: int = 0  # most failed ones on a login, with no pass of anybody between
    at_a_host: int = 0  # most at a host in any 30 minutes
    over_a_guard: int = 0  # nearer to the one before than a gap allows, or one failure too many
    _failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    _sent: dict[str, Instant] = field(default_factory=dict)
    _at: dict[str, deque[Instant]] = field(default_factory=lambda: defaultdict(deque))

    def sent(self, config: SftpConfig, now: Instant) -> None:
        """Count a test of ours as it is sent, whatever comes of it."""
        host, limits = server_of(config), TestSettings()
        for name, gap in (
            (host, limits.host_gap),
            (f"{config.username}@{host}", limits.login_gap),
        ):
            self.over_a_guard += now < self._sent.get(name, 0.0) + gap
            self._sent[name] = now
        at = self._at[host]
        at.append(now)
        while at[0] <= now - WINDOW:
            at.popleft()
        self.at_a_host = max(self.at_a_host, len(at))

    def login(self, host: str, username: str, *, ours: bool, failed: bool) -> None:
        """Count a line of a server's log."""
        key = (host, username)
        if not failed:
            self._failed.pop(key, None)
        elif ours:
            self._failed[key] += 1
            self.in_a_row = max(self.in_a_row, self._failed[key])
            self.over_a_guard += self._failed[key] > TestSettings().login_failures


@dataclass(slots=True)
class Watched:
    """What a run came to."""

    run: Run
    breaks: list[Break]
    alerts: Alerts
    logins: Logins
    requests: Counter[str]  # by kind: poll, poll for a test, test, listing
    ended: Instant


@dataclass(eq=False)
class WorldApi:
    """The API of an environment, answered by a world."""

    nature: Nature
    clock: VirtualClock
    requests: Counter[str] = field(default_factory=Counter)
    logins: Logins = field(default_factory=Logins)

    def __post_init__(self) -> None:
        self._just_tested = set[str]()
        self.nature.on_login = self._login

    def config(self, key: str) -> SftpConfig:
        """Return a campaign's config as a poll sees it now."""
        known = self.nature.world.configs[key]
        return SftpConfig(
            id=known.id,
            campaign_id=key,
            host=known.host,
            port=known.port,
            username=known.username,
            auth_type=known.auth_type,
            import_path=known.import_path,
            export_path=known.export_path,
            import_schedule=known.import_schedule,
            is_enabled=known.is_enabled,
            last_test_at=known.last_test_at,
            last_test_success=known.last_test_success,
            created_at=known.created_at,
        )

    async def fetch_sftp(self, campaign_id: str) -> Answer:
        """Answer a poll."""
        self.requests["poll for a test" if campaign_id in self._just_tested else "poll"] += 1
        self._just_tested.discard(campaign_id)
        await asyncio.sleep(LATENCY)
        return Answer(self.config(campaign_id), server_date=self.clock.wall())

    async def fetch_campaigns(self, page: int) -> PageAnswer:
        """Answer with a page of the listing."""
        self.requests["listing"] += 1
        await asyncio.sleep(LATENCY)
        keys = list(self.nature.world.configs)
        first = (page - 1) * PER_PAGE
        found = tuple(
            ListedCampaign(key, key, "active", "sales", CallTimes(zone=ZONES[int(key[2:]) % 5]))
            for key in keys[first : first + PER_PAGE]
        )
        return PageAnswer(Page(found, page, first + PER_PAGE >= len(keys), len(keys)))

    async def run_test(self, campaign_id: str, within: Seconds) -> TestAnswer:
        """Have the world test, and answer as the platform does."""
        # It goes out right after a poll of the campaign, which was made for it.
        self.requests.update({"test": 1, "poll for a test": 1, "poll": -1})
        self._just_tested.add(campaign_id)
        world: World = self.nature.world
        self.logins.sent(self.config(campaign_id), self.clock.wall())
        takes = world.takes(campaign_id)
        await asyncio.sleep(min(takes, within))
        if takes > within:
            return TestAnswer(PollError(Reason.TIMEOUT))
        said = self.nature.test(campaign_id, True)
        report = TestReport(
            said.passed,
            said.at,
            said.error,
            None if said.error else said.import_path is not False,
            None if said.error else said.export_path is not False,
        )
        return TestAnswer(report, server_date=self.clock.wall(), status=200)

    def set_token(self, token: str) -> None:
        """Take a token: any is good."""

    async def aclose(self) -> None:
        """Have nothing to close."""

    def _login(self, key: str, ours: bool, failed: bool) -> None:
        config = self.nature.world.configs[key]
        self.logins.login(config.host, config.username, ours=ours, failed=failed)


def watch(one: Run) -> Watched:
    """Run the real polling code over a world of its own, and return what came of it."""
    before = structlog.get_config()
    structlog.configure(processors=[_drop])
    turn, poller.TURN = poller.TURN, IDLE_TURN
    gc.freeze()  # what is there by now stays: it need not be looked through again and again
    try:
        return run(_watch(one))
    finally:
        poller.TURN = turn
        gc.unfreeze()
        structlog.configure(**before)


def _drop(*_: object) -> str:
    raise structlog.DropEvent


async def _watch(one: Run) -> Watched:
    clock, way = VirtualClock(), one.way
    world = fleet(one.campaigns, one.seed, START)
    nature = Nature(world, clock.wall, one.seed, way.by_hand, retried=way.every is not None)
    api, store = WorldApi(nature, clock), Store(MEMORY, now=START)

    def save(change: Change) -> None:
        for event in change.events:
            if event.kind is EventKind.ALERT:
                nature.take(event)
        store.save(change)

    state = EnvironmentState(
        _settings(one), clock, save, EnvironmentStatus(name="production"), campaigns={}
    )
    book = GuardBook(clock, store.save)
    book.environments["production"] = state
    connection = Connection(state.settings, lambda *_: api)
    own = SelfMetrics("benchmark")
    own.prepare("production")
    watching = Poller(state, connection, store, own, START, Tester(state, book), share=8)
    await watching.take(state.settings)
    nature.begin(one.days, happenings(world, one.days, one.seed, START))
    polling = asyncio.create_task(watching.run())
    # It polls for ever: if it ends, that is an error, and is raised here.
    await asyncio.wait([polling], timeout=one.days * DAY)
    if not polling.done():
        polling.cancel()
    with suppress(asyncio.CancelledError):
        await polling
    ended = clock.wall()
    return Watched(one, nature.breaks, nature.alerts, api.logins, api.requests, ended)


def _settings(one: Run) -> Settings:
    every = one.way.every
    tests = f"{{enabled: true, every: {format_duration(every)}}}" if every else "{}"
    # In the product's proportion, but for what none of it is shorter than: a minute.
    unhealthy = max(MINUTE, one.interval / 72)
    text = f"""
environments:
  - name: production
    token: ${{TOKEN}}
    requests_per_minute: {PLAN}
    discovery: {{enabled: true, every: {format_duration(max(one.interval, 900.0))}}}
polling:
  interval: {format_duration(one.interval)}
  unhealthy_interval: {format_duration(unhealthy)}
connection_tests: {tests}
"""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "monitor.yaml"
        file.write_text(text)
        config = load_config(file, {"TOKEN": "talq_benchmark"})
    return Settings(config.environments[0], config.polling, config.alerts)
