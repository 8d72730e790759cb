"""A platform with campaigns, servers and people, and the monitor's tests of it in virtual time.

The platform is plain code that knows nothing of the core. The monitor is driven as a poller drives
it: what is stored before a test is sent, what its answer and the next poll mean.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from math import floor
from typing import Any, NamedTuple

from monitor.core.attempt import TestAnswer, TestReport, TestSettings, Trigger
from monitor.core.connection_tests import Plan, Tested, plan, probe
from monitor.core.guards import EnvironmentTests, Guard, Guards
from monitor.core.model import MINUTE, CallTimes, Instant, PollError, Reason, Seconds, SftpConfig
from monitor.core.outcomes import Step, begin, end, recorded, switched_off
from monitor.core.rule import Target
from monitor.core.status import CampaignStatus

POLL_EVERY = 5 * MINUTE
ZONES = ("Europe/Berlin", "America/New_York", "", "Pacific/Auckland", "../../etc/passwd")


@dataclass
class Campaign:
    """A campaign as it is on the platform; `secret`: which password of its login is entered."""

    key: str
    environment: str
    zone: str
    config: SftpConfig
    secret: int = 0
    muted: bool = False
    folder_lost: bool = False
    spoilt: bool = False  # the next test is a blip

    @property
    def login(self) -> tuple[str, int, str]:
        """What its server knows it by."""
        return self.config.host, self.config.port or 22, self.config.username or ""


class Try(NamedTuple):
    """A test that reached the platform: who ran it, what came of it, and what was known of it."""

    at: Instant
    until: Instant
    campaign: Campaign
    login: tuple[str, int, str]
    ours: bool
    passed: bool = False
    denied: bool = False  # the server counts it as a failed login, or who knows
    folder_lost: bool = False
    trigger: str = ""
    answered: bool = True  # the monitor has had an answer that says so
    died: bool = False  # the monitor has, before any answer
    refusal: int = 0  # it was turned away with that status: no test was run
    moved_at: Instant = 0.0  # when id, host, port, username or auth type were last edited

    @property
    def server(self) -> tuple[str, int]:
        """Its host and port."""
        return self.login[0], self.login[1]


@dataclass
class World:
    """The platform and the customers' servers; `ahead`: of our clock is the platform's."""

    campaigns: dict[str, Campaign]
    now: Instant
    ahead: Seconds = 0.0
    passwords: dict[tuple[str, int, str], int] = field(default_factory=dict)
    down_until: dict[str, Instant] = field(default_factory=dict)  # servers
    lost_until: dict[str, Instant] = field(default_factory=dict)  # environments: no way out
    lost_how: str = "Connection timed out"
    next_answers: dict[str, list[str]] = field(default_factory=dict)  # of an environment
    switches_off: bool = False  # a config whose test fails
    tries: list[Try] = field(default_factory=list)
    moved: dict[str, Instant] = field(default_factory=dict)
    switched_off: list[tuple[Instant, str]] = field(default_factory=list)
    resumed: list[Instant] = field(default_factory=list)

    def test(self, key: str, *, ours: bool, trigger: str = "") -> tuple[TestAnswer, Seconds]:
        """Run a connection test; return its answer, and how long it takes."""
        campaign, how = self.campaigns[key], ""
        was = replace(campaign)
        if ours and self.next_answers.get(campaign.environment):
            how = self.next_answers[campaign.environment].pop()
        if how.isdigit() and how < "500":
            self._note(was, trigger, until=self.now + 1, ours=ours, refusal=int(how))
            return TestAnswer(PollError(Reason.HTTP_4XX), status=int(how)), 1.0
        cause, takes = self._what_fails(campaign)
        passed, denied = not cause, cause in {"Authentication failed", "Something is wrong"}
        tested_at = floor(self.now + takes + self.ahead)
        lost = self.lost_how == "502" and self.now < self.lost_until.get(campaign.environment, 0.0)
        if not lost:
            enabled = campaign.config.is_enabled and (passed or not self.switches_off)
            if enabled is not campaign.config.is_enabled:
                self.switched_off.append((self.now + takes, key))
            campaign.config = replace(
                campaign.config,
                last_test_at=float(tested_at),
                last_test_success=passed,
                is_enabled=enabled,
            )
        answered = not how and not lost
        self._note(
            was,
            trigger,
            until=self.now + takes,
            ours=ours,
            passed=passed and not lost,
            denied=denied,
            answered=answered,
        )
        if how == "far":
            return TestAnswer(TestReport(passed, tested_at + 9e6, cause), status=200), takes
        if not answered:
            status = int(how) if how.isdigit() else 502 * lost
            return TestAnswer(PollError(Reason.HTTP_5XX), status=status), 60.0
        reached = None if not passed else not campaign.folder_lost
        return TestAnswer(TestReport(passed, tested_at, cause, reached, reached), status=200), takes

    def _what_fails(self, campaign: Campaign) -> tuple[str, Seconds]:
        spoilt, campaign.spoilt = campaign.spoilt, False
        if self.now < self.lost_until.get(campaign.environment, 0.0):
            return self.lost_how, 30.0
        if spoilt or self.now < self.down_until.get(campaign.config.host, 0.0):
            return "Connection timed out", 30.0
        if campaign.secret != self.passwords.get(campaign.login, 0):
            return "Authentication failed", 3.0
        return "", 2.0

    def _note(self, was: Campaign, trigger: str, **fields: Any) -> None:
        one = Try(
            at=self.now,
            campaign=was,
            login=was.login,
            folder_lost=was.folder_lost,
            trigger=trigger,
            moved_at=self.moved.get(was.key, 0.0),
            **fields,
        )
        self.tries.append(one)


@dataclass
class Monitor:
    """What a poller does for tests of ours. All that it knows is stored, but what is under way."""

    world: World
    per_minute: float
    settings: TestSettings
    statuses: dict[str, CampaignStatus] = field(default_factory=dict)
    guards: dict[str, Guard] = field(default_factory=dict)
    environments: dict[str, EnvironmentTests] = field(default_factory=dict)
    under_way: dict[str, Step] = field(default_factory=dict)  # of each environment
    plans: dict[str, Plan | None] = field(default_factory=dict)
    basis: dict[str, object] = field(default_factory=dict)  # of each plan
    dies: str = ""  # at the next test: when it is "stored", or "sent"

    def tested(self, key: str) -> Tested:
        """Return what a campaign's tests depend on."""
        campaign, ahead = self.world.campaigns[key], self.world.ahead
        target = Target(
            environment=campaign.environment,
            campaign_id=key,
            muted_status="paused" if campaign.muted else None,
            tests=self.settings,
            calls=CallTimes(zone=campaign.zone),
        )
        ahead = ahead if abs(ahead) >= 60 else 0.0
        return Tested(self.statuses[key], target, self.world.now, ahead)

    def guards_of(self, key: str) -> Guards:
        """Return all that may hold a campaign's test back."""
        config = self.statuses[key].last_known.config
        assert config is not None
        environment = self.environments[self.world.campaigns[key].environment]
        suspended = (one.suspended for one in self.environments.values())
        return Guards(
            login=self.guards.get(self._login(config), Guard()),
            host=self.guards.get(self._host(config), Guard()),
            environment=environment,
            suspended=next((one for one in suspended if one and one.lasts(self.world.now)), None),
        )

    def keep(self, key: str, guards: Guards, config: SftpConfig | None = None) -> None:
        """Store guards; they are those of a config, or of the one that is known."""
        config = config or self.statuses[key].last_known.config
        assert config is not None
        self.guards[self._login(config)] = guards.login
        self.guards[self._host(config)] = guards.host
        self.environments[self.world.campaigns[key].environment] = guards.environment

    def poll(self, key: str) -> None:
        """Take a definite answer in."""
        seen, now = self.world.campaigns[key].config, self.world.now
        before = self.statuses[key]
        self.statuses[key] = before.after(seen, now)
        tests, guards = recorded(self.tested(key), self.guards_of(key))
        tests, suspension = switched_off(replace(before, tests=tests), seen, now)
        self.statuses[key] = replace(self.statuses[key], tests=tests)
        if suspension is not None:
            environment = replace(guards.environment, suspended=suspension)
            guards = replace(guards, environment=environment)
        self.keep(key, guards)

    def start(self) -> None:
        """Switch tests on, and look at each campaign for the first time."""
        for key, one in self.world.campaigns.items():
            on = EnvironmentTests(on_since=self.world.now)
            self.environments.setdefault(one.environment, on)
            self.statuses[key] = CampaignStatus(environment=one.environment, campaign_id=key)
            self.poll(key)

    def poll_all(self) -> None:
        """Poll each campaign that is not being tested."""
        for key, one in self.world.campaigns.items():
            if one.environment not in self.under_way:
                self.poll(key)

    def replan(self) -> None:
        """Plan the next test of each campaign for which something has changed."""
        for key, status in self.statuses.items():
            guards, muted = self.guards_of(key), self.world.campaigns[key].muted
            environment = guards.environment
            since = (environment.failing_since, environment.back_at, environment.on_since)
            known = status.last_known
            seen = (known.config, known.missing_since, known.changed_at, known.moved_at)
            held = (guards.login, guards.host, since, guards.suspended)
            basis = (seen, status.tests, held, muted)
            last = self.plans.get(key)
            over = last is not None and last.at is not None and last.at <= self.world.now
            if over or self.basis.get(key) != basis:
                self.basis[key] = basis
                self.plans[key] = plan(self.tested(key), guards)

    def next_test(self) -> tuple[Instant, str, Trigger] | None:
        """Return when the next test is to go out, of which campaign, and why."""
        found: list[tuple[Instant, str, Trigger]] = []
        for name, environment in self.environments.items():
            keys = [key for key in self.statuses if self.world.campaigns[key].environment == name]
            if name in self.under_way:
                continue
            found += [
                (one.at, key, one.trigger)
                for key in keys
                if (one := self.plans[key]) is not None and one.at is not None
            ]
            pairs = ((self.tested(key), self.guards_of(key)) for key in keys)
            if (probed := probe(pairs, environment)) is not None:
                found.append((*probed, Trigger.PROBE))
        return min(found, default=None)

    def send(self, key: str, trigger: Trigger, later: Callable[[Instant, Any], None]) -> None:
        """Run a test right after a poll, if it still may go out."""
        self.poll(key)
        tested, guards, now = self.tested(key), self.guards_of(key), self.world.now
        if trigger is Trigger.PROBE:
            found = probe([(tested, guards)], guards.environment)
            may = found is not None and found[0] <= now
        else:
            now_due = plan(tested, guards)
            may = bool(now_due and now_due.at is not None and now_due.at <= now)
            may = may and now_due is not None and now_due.hold is None
            trigger = now_due.trigger if now_due else trigger
        if not may:
            return
        begun = begin(tested, guards, trigger, self.per_minute)
        self.statuses[key] = replace(tested.status, tests=begun.tests)
        self.keep(key, begun.guards)
        if self.dies == "stored":
            self.die()
            return
        answer, takes = self.world.test(key, ours=True, trigger=trigger.value)
        if self.dies == "sent":
            self.world.tries[-1] = self.world.tries[-1]._replace(died=True, answered=False)
            self.die()
            return
        self.under_way[self.world.campaigns[key].environment] = begun
        config = tested.config
        later(now + takes, lambda: self.finish(key, config, begun, answer))

    def finish(self, key: str, config: SftpConfig | None, begun: Step, answer: TestAnswer) -> None:
        """Take an answer in, unless we died meanwhile, and poll the campaign again."""
        name = self.world.campaigns[key].environment
        if self.under_way.get(name) is not begun:
            return
        del self.under_way[name]
        tested = self.tested(key)
        assert config is not None
        environment, login, host = self.environments[name], self._login(config), self._host(config)
        guards = Guards(login=self.guards[login], host=self.guards[host], environment=environment)
        now_begun = replace(begun, tests=tested.status.tests, guards=guards)
        ended = end(now_begun, answer, self.world.now, tested.ahead)
        self.statuses[key] = replace(tested.status, tests=ended.tests)
        self.keep(key, ended.guards, config)
        self.poll(key)

    def die(self) -> None:
        """Kill -9 and start again: what is stored is all that is left."""
        self.dies = ""
        for one in self.world.tries:
            if one.ours and one.until > self.world.now and not one.died:
                position = self.world.tries.index(one)
                self.world.tries[position] = one._replace(died=True, answered=False)
        self.under_way.clear()
        self.guards = {key: guard.restored() for key, guard in self.guards.items()}

    @staticmethod
    def _login(config: SftpConfig) -> str:
        return f"{config.username}@{config.host}:{config.port}"

    @staticmethod
    def _host(config: SftpConfig) -> str:
        return f"{config.host}:{config.port}"


class Clock:
    """Virtual time: what is to happen, in order."""

    def __init__(self) -> None:
        self._numbers = count()
        self._queue: list[tuple[Instant, int, Callable[[], None]]] = []

    @property
    def next_at(self) -> Instant:
        """When something happens next."""
        return self._queue[0][0] if self._queue else float("inf")

    def later(self, at: Instant, what: Callable[[], None]) -> None:
        """Have it happen then."""
        heappush(self._queue, (at, next(self._numbers), what))

    def pop(self) -> Callable[[], None]:
        """Return what is next."""
        return heappop(self._queue)[2]


def run(
    world: World, monitor: Monitor, events: list[tuple[Instant, Callable[[], None]]], until: Instant
) -> None:
    """Let time pass: what happens on the platform, and each test when it is due."""
    clock = Clock()
    for at, what in events:
        clock.later(at, what)
    for at in {(at // POLL_EVERY + 1) * POLL_EVERY for at, _ in events}:
        clock.later(at, monitor.poll_all)
    monitor.start()
    while True:
        monitor.replan()
        due = monitor.next_test()
        test_at = max(due[0], world.now) if due else float("inf")
        world.now = max(world.now, min(clock.next_at, test_at))
        if world.now > until:
            return
        if due is None or clock.next_at <= test_at:
            clock.pop()()
            continue
        before = len(world.tries)
        monitor.send(*due[1:], clock.later)
        if len(world.tries) == before:
            world.now += 1.0  # it may not yet, or we died
