"""Connection tests that the daemon sends, judged by what the servers and the platform saw of them.

Written from the specification: it shares no code with the core, and looks at the state from
outside. Instants are on the monotonic clock but where they are said to be our wall clock's.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from monitor.core.model import DAY, MINUTE, Instant, Observation, Seconds, SftpConfig
from monitor.demo.world import Answer, Server, World
from simulation.clocks import Clocks
from support.state_files import select

HOST_GAP, LOGIN_GAP = 3 * MINUTE, 10 * MINUTE
LOGIN_FAILURES = 2
"""The defaults of `connection_tests`."""

TRIES_A_DAY = 3
"""Of campaigns that have moved to a login that is blocked."""

AT_ONCE: Seconds = 2.0
"""So long at most before it is sent an attempt is dated: a commit lies between."""

Login = tuple[str, str | None, str | None]
"""Host, user name and config: where a config is made anew or moved, the login is tried anew."""


@dataclass
class Logins:
    """The customers' servers, one for each campaign, and what tests of the daemon did to them."""

    clocks: Clocks
    seed: int
    fail: Callable[[str], None]
    visited: Counter[str]
    on: frozenset[str] = frozenset()  # environments whose tests are on, by the config in force
    world: World = field(default_factory=World)
    _sent: dict[tuple[str, ...], Seconds] = field(default_factory=dict)
    _attempts: dict[str, Instant] = field(default_factory=dict)
    _answered: dict[str, Observation] = field(default_factory=dict)
    _failed: Counter[Login] = field(default_factory=Counter)
    _moved: dict[Login, list[Seconds]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = Random(f"{self.seed} logins")

    def campaign(self, key: str) -> None:
        """Have a server for a campaign, whom it lets in."""
        host = f"{key}.example"
        self.world.servers[host] = Server({key: "word"})
        self.world.create(key, self.clocks.truth(), host, key, "word")

    def rotate(self, key: str, *, back: bool) -> None:
        """Let a campaign's password on its server be another one, or the one that is entered."""
        self.world.server(f"{key}.example").passwords[key] = "word" if back else "another"

    def answered(self, key: str, observation: Observation) -> None:
        """Take what the daemon was last told of a campaign."""
        before, self._answered[key] = self._answered.get(key), observation
        if not isinstance(observation, SftpConfig) or not isinstance(before, SftpConfig):
            return
        login, now = _login(observation), self.clocks.elapsed()
        # Somebody has moved it, perhaps back to where it failed: it is tried anew, not for ever.
        tries = [at for at in self._moved.get(login, ()) if now - at < DAY]
        blocked = self._failed[login] >= LOGIN_FAILURES and len(tries) < TRIES_A_DAY
        if login != _login(before) and blocked:
            del self._failed[login]
            self._moved[login] = [*tries, now]

    def sent(self, environment: str, key: str, listed: set[str], database: Path) -> None:
        """Take a test as it reaches the platform."""
        now, seen = self.clocks.elapsed(), self._answered.get(key)
        self.visited["tests"] += 1
        if environment not in self.on or key not in listed:
            self.fail(f"{key} was tested, and tests are off for it")
        if not isinstance(seen, SftpConfig) or not seen.is_enabled:
            self.fail(f"{key} was tested, and was last seen disabled, gone or unreadable")
            return
        server = (seen.host.lower(), str(seen.port))
        for known_by, gap in ((server, HOST_GAP), ((*server, seen.username or ""), LOGIN_GAP)):
            before = self._sent.get(known_by, -gap)
            if now - before < gap:
                self.fail(f"{known_by} was tested twice within {now - before:.0f} s")
            self._sent[known_by] = now
        login = _login(seen)
        if self._failed[login] >= LOGIN_FAILURES:
            self.fail(f"{login} was tried again after {self._failed[login]} failed logins")
        self._look_at_the_state(environment, key, database)

    def run(self, key: str, truth: Instant) -> Answer:
        """Log in, and count what the server counts."""
        answer, seen = self.world.test(key, truth), self._answered.get(key)
        if isinstance(seen, SftpConfig):
            if answer.passed:
                self.passed(seen)
            else:
                self._failed[_login(seen)] += 1
                self.visited["tests that failed"] += 1
        return answer

    def passed(self, config: SftpConfig) -> None:
        """Take a pass on record, whoever tested."""
        for login in [one for one in self._failed if one[:2] == _login(config)[:2]]:
            del self._failed[login]

    def stepped(self) -> None:
        """Forget when tests were sent: what of it a clock's step leaves, nobody can say."""
        self._sent = {}

    @property
    def loses_answer(self) -> bool:
        """Whether the answer to a test gets lost, by chance."""
        return self._random.random() < 0.05

    def _look_at_the_state(self, environment: str, key: str, database: Path) -> None:
        where = f"WHERE environment = '{environment}' AND campaign_id = '{key}'"
        rows = select(database, f"SELECT status FROM campaign {where}")
        tests = json.loads(rows[0][0]).get("tests", {}) if rows else {}
        attempts = [float(one["at"]) for one in tests.get("attempts", [])]
        wall = self.clocks.wall()
        if not attempts or not 0 <= wall - attempts[-1] <= AT_ONCE:
            self.fail(f"{key} was tested, and no attempt is stored: {attempts}, now {wall}")
        elif self._attempts.get(key) == attempts[-1]:
            self.fail(f"{key} was tested twice for one attempt, at {attempts[-1]}")
        else:
            self._attempts[key] = attempts[-1]


def _login(config: SftpConfig) -> Login:
    return (config.host.lower(), config.username, config.id)
