"""What really happens at customers' SFTP servers, and what people do about it: drawn from a seed.

Passwords rotate, hosts move, firewalls close, services stop, folders vanish, the platform loses its
way out (`monitor/demo/world.py` says what a test finds of each). On-call reacts to alerts and does
not look otherwise: a critical one has its break fixed, a `stale_test` has the button pressed. Who
"tests by hand" presses it regularly. All instants are seconds since the epoch, spans seconds.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from monitor.core.model import DAY, HOUR, MINUTE, Event, EventStatus, Instant, Seconds, Severity
from monitor.demo.world import Answer, Network, Server, SftpConfig, World

BETWEEN_BREAKS: Seconds = 60 * DAY
"""Of one campaign, on average: several times as many breaks as a calm installation has."""

BETWEEN_LOSSES, LOSS = 30 * DAY, (20 * MINUTE, 2 * HOUR)
"""How often, on average, and for how long the platform itself reaches nobody."""

TO_FIX, TO_PRESS = 4 * HOUR, 8 * HOUR
"""What on-call takes on average, from a critical alert to the end of a break; from `stale_test` to
a test by hand."""

AGAIN, TRIES = 5 * MINUTE, 5
"""A test by hand that is to show that all is well is repeated so soon, and so often, if it fails.
"""

BLIPS = 0.005
"""The share of tests that are spoilt on their way."""

ZONES = ("America/New_York", "America/Chicago", "America/Los_Angeles", "Europe/London", "")


class Kind(StrEnum):
    """What breaks."""

    PASSWORD = "password rotated"
    FIREWALL = "firewall closed"
    SERVICE = "service stopped"
    HOST = "host moved"
    FOLDER = "folder vanished"
    PLATFORM = "platform without a way out"


SHARES = {
    Kind.PASSWORD: 0.4,
    Kind.FIREWALL: 0.2,
    Kind.HOST: 0.15,
    Kind.FOLDER: 0.15,
    Kind.SERVICE: 0.1,
}


@dataclass(slots=True, eq=False)
class Break:
    """Something that does not work any more for `campaigns`, until it is fixed."""

    kind: Kind
    begins: Instant
    campaigns: frozenset[str]
    noticed: Instant | None = None  # the first critical alert about it
    named: bool = False  # that alert named the cause
    ends: Instant | None = None
    awaited: bool = False  # somebody is at it


@dataclass(frozen=True, slots=True)
class Happening:
    """What chance brings, whoever watches: a break of that kind, of what belongs to a campaign."""

    at: Instant
    kind: Kind
    campaign: str
    lasts: Seconds  # of the platform's own


@dataclass(slots=True)
class Alerts:
    """What on-call was sent, counted."""

    critical: int = 0
    of_blips: int = 0  # critical ones of a campaign, its last test being one that was spoilt
    of_the_platform: int = 0  # of a campaign, while nothing was wrong with it but the way out
    stale: int = 0
    platform: int = 0  # tests_failing
    platform_wrongly: int = 0  # the same, while the platform had its way out
    suspended: int = 0


def fleet(campaigns: int, seed: int, start: Instant, blips: float = BLIPS) -> World:
    """Return a world of so many campaigns: a busy host, a shared login, else 1 to 4 at a host."""
    random = Random(f"{seed} fleet of {campaigns}")
    world = World(random=Random(f"{seed} blips"), blips=blips)
    sizes = [max(2, campaigns // 25), max(2, campaigns // 50)]
    while sum(sizes) < campaigns:
        sizes.append(min(random.randint(1, 4), campaigns - sum(sizes)))
    number = 0
    for place, size in enumerate(sizes):
        host = f"sftp{place}.example"
        server = world.servers[host] = Server()
        for _ in range(size):
            # The second host has one login for all.
            user = "everybody" if place == 1 else f"user-{number}"
            server.passwords.setdefault(user, "word 0")
            config = world.create(f"c-{number:05d}", start - 200 * DAY, host, user, "word 0")
            config.last_test_at = float(int(start - random.uniform(0, 29) * DAY))
            config.last_test_success = config.is_enabled = True
            number += 1
    return world


def happenings(world: World, days: float, seed: int, start: Instant) -> list[Happening]:
    """Return what chance brings within so many days, in order."""
    random, keys = Random(f"{seed} happenings of {len(world.configs)}"), list(world.configs)
    by_host, by_login = defaultdict(list), defaultdict(list)
    for key, config in world.configs.items():
        by_host[config.host].append(key)
        by_login[config.host, config.username].append(key)
    hosts, logins = list(by_host.values()), list(by_login.values())
    found, at = [], start
    while (at := at + random.expovariate(len(keys) / BETWEEN_BREAKS)) < start + days * DAY:
        (kind,) = random.choices(list(SHARES), list(SHARES.values()))
        if kind is Kind.FOLDER:
            key = random.choice(keys)
        else:
            key = random.choice(logins if kind is Kind.PASSWORD else hosts)[0]
        found.append(Happening(at, kind, key, 0.0))
    at = start
    while (at := at + random.expovariate(1 / BETWEEN_LOSSES)) < start + days * DAY:
        found.append(Happening(at, Kind.PLATFORM, "", random.uniform(*LOSS)))
    return sorted(found, key=lambda one: one.at)


@dataclass(eq=False)
class Nature:
    """Lets a world go its way on the loop's clock; `take` are the events that on-call is sent.

    `by_hand` is how often people test each campaign, None: never; `retried`: the monitor tests by
    itself, so that nobody presses the button where its next test will show that all is well.
    """

    world: World
    clock: Callable[[], Instant]
    seed: int
    by_hand: Seconds | None = None
    retried: bool = False
    breaks: list[Break] = field(default_factory=list)
    alerts: Alerts = field(default_factory=Alerts)
    spoilt: set[str] = field(default_factory=set)  # whose last test was, there being no trouble
    on_login: Callable[[str, bool, bool], None] = lambda key, ours, failed: None

    def __post_init__(self) -> None:
        self._random = Random(f"{self.seed} people")
        self._open: set[Break] = set()
        self._made, self._moved_to = 0, dict[str, str]()

    def begin(self, days: float, happened: list[Happening]) -> None:
        """Put all that chance brings on the loop's clock."""
        now = self.clock()
        for one in happened:
            self._after(one.at - now, self._break, one)
        if self.by_hand is not None:
            for key in self.world.configs:
                at = self._random.uniform(0, self.by_hand)
                while at < days * DAY:
                    self._after(at, self.test, key, False)
                    at += self.by_hand * self._random.uniform(0.9, 1.1)

    def _after(self, wait: Seconds, do: Callable[..., object], *args: object) -> None:
        asyncio.get_running_loop().call_later(wait, do, *args)

    # -- tests -----------------------------------------------------------------------------

    def test(self, key: str, ours: bool) -> Answer:
        """Run a connection test, by the monitor (`ours`) or by hand; return its answer."""
        world, config = self.world, self.world.configs[key]
        trouble, before = world.trouble(key), _logins(world, key)
        answer = world.test(key, self.clock())
        (self.spoilt.add if answer.error and not trouble else self.spoilt.discard)(key)
        if _logins(world, key) > before:
            self.on_login(key, ours, world.server(config.host).log[-1].failed)
        return answer

    def _press(self, key: str, tries: int = TRIES) -> None:
        """Test by hand what should be well."""
        if not self.test(key, False).passed and tries > 1 and not self.world.trouble(key):
            self._after(AGAIN, self._press, key, tries - 1)

    # -- breaks ----------------------------------------------------------------------------

    def _break(self, what: Happening) -> None:
        world = self.world
        if what.kind is Kind.PLATFORM:
            if world.has_way_out:
                world.has_way_out = False
                self._after(what.lasts, self._find_a_way_out, self._begun(what.kind, world.configs))
            return
        config = world.configs[what.campaign]
        keys = {key for key, one in world.configs.items() if one.host == config.host}
        if what.kind is Kind.PASSWORD:
            keys = {key for key in keys if world.configs[key].username == config.username}
        if what.kind is Kind.FOLDER:
            keys = {what.campaign}
        # One break at a time: whose alert it is would be a matter of taste.
        if not any(one.campaigns & keys for one in self._open if one.kind is not Kind.PLATFORM):
            self._do(what.kind, config)
            self._begun(what.kind, keys)

    def _begun(self, kind: Kind, keys: Iterable[str]) -> Break:
        one = Break(kind, self.clock(), frozenset(keys))
        self.breaks.append(one)
        self._open.add(one)
        return one

    def _do(self, kind: Kind, config: SftpConfig) -> None:
        server = self.world.server(config.host)
        self._made += 1
        match kind:
            case Kind.PASSWORD:
                server.passwords[config.username] = f"word {self._made}"
            case Kind.FIREWALL:
                server.network = Network.CLOSED
            case Kind.SERVICE:
                server.network = Network.REFUSING
            case Kind.HOST:
                new = f"moved{self._made}.{config.host.split('.', 1)[1]}"
                left = self._random.choice([None, Network.CLOSED])
                self.world.move_host(config.host, new, left)
                self._moved_to[config.host] = new
            case Kind.FOLDER:
                server.removed.add((config.username, config.import_path or ""))

    def _find_a_way_out(self, loss: Break) -> None:
        self.world.has_way_out, loss.ends = True, self.clock()
        self._open.discard(loss)
        if not self.retried:
            for key in self._failed(loss.campaigns):
                self._after(self._random.expovariate(1 / TO_FIX), self._press, key)

    def _failed(self, keys: frozenset[str]) -> list[str]:
        return sorted(key for key in keys if not self.world.configs[key].last_test_success)

    def _fix(self, one: Break) -> None:
        world, config = self.world, self.world.configs[min(one.campaigns)]
        host, pressed = config.host, list[str]()
        match one.kind:
            case Kind.PASSWORD:
                # Nobody can see in a GET that it was entered: who enters it presses the button.
                word = world.server(host).passwords[config.username]
                for key in one.campaigns:
                    world.edit(key, password=word)
                pressed = self._failed(one.campaigns) or [min(one.campaigns)]
            case Kind.FIREWALL | Kind.SERVICE:
                world.server(host).network = Network.OPEN
            case Kind.HOST:
                new = self._moved_to.pop(host)
                for key in one.campaigns:
                    world.edit(key, host=new)
            case Kind.FOLDER:
                server = world.server(host)
                server.removed.discard((config.username, config.import_path or ""))
        one.ends = self.clock()
        self._open.discard(one)
        if not self.retried:
            pressed = self._failed(one.campaigns)
        for key in pressed:
            self._press(key)

    # -- on-call ---------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Be on-call: take an event that is sent."""
        if event.status not in {EventStatus.FIRING, EventStatus.UPDATED} or event.muted_by:
            return
        if event.rule == "stale_test" and event.campaign_id:
            self.alerts.stale += 1
            wait = self._random.expovariate(1 / TO_PRESS)
            self._after(wait, self.test, event.campaign_id, False)
        if event.severity is not Severity.CRITICAL:
            return
        if event.rule == "tests_suspended":
            self.alerts.suspended += 1
        elif event.rule == "tests_failing":
            self.alerts.platform += 1
            losses = [one for one in self._open if one.kind is Kind.PLATFORM]
            self.alerts.platform_wrongly += not losses
            for loss in losses:
                self._noticed(loss, event)
        elif event.campaign_id is not None:
            self._of_a_campaign(event, event.campaign_id)

    def _of_a_campaign(self, event: Event, key: str) -> None:
        self.alerts.critical += 1
        mine = [one for one in self._open if key in one.campaigns]
        own = [one for one in mine if one.kind is not Kind.PLATFORM]
        self.alerts.of_the_platform += bool(mine and not own)
        self.alerts.of_blips += key in self.spoilt
        for one in own:
            self._noticed(one, event)
            if not one.awaited:
                one.awaited = True
                wait = min(max(self._random.expovariate(1 / TO_FIX), 10 * MINUTE), DAY)
                self._after(wait, self._fix, one)
        if not mine and not self.retried:
            # Nothing was wrong: whoever looks into it presses the button.
            self._after(self._random.expovariate(1 / TO_FIX), self._press, key)

    def _noticed(self, one: Break, event: Event) -> None:
        if one.noticed is None:
            one.noticed = self.clock()
            key = event.campaign_id or min(one.campaigns)
            said = " ".join(event.evidence.values())
            one.named = bool(trouble := self.world.trouble(key)) and _names(said, trouble)


def _names(said: str, trouble: str) -> bool:
    """Whether evidence names what is wrong: in the platform's words, or the path."""
    path = trouble.partition("directory: ")[2]
    return trouble in said or bool(path and path in said)


def _logins(world: World, key: str) -> int:
    server = world.servers.get(world.configs[key].host)
    return 0 if server is None else len(server.log)
