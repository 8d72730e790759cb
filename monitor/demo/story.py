"""The story of the stand-in platform: what happens in the SFTP world, and with the API.

Instants are seconds since the epoch, UTC. The times leave room for the demo's monitor: it tests
each connection every 30 s, confirms a failure 6 s later and tries again after 8 s; it polls every
5 s, and asks a platform that does not answer every 2 s. An incident of less than 12 s might not be
seen before it is over, a broken connection of less than 45 s not be found by a test.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from monitor.demo.campaigns import (
    CAMPAIGNS,
    CLINIC_REMINDERS,
    CRUISE_BOOKINGS,
    MOTOR_CLAIMS,
    RETAIL_LEADS,
    VACCINATION_RECALL,
    Campaign,
)
from monitor.demo.world import Network, Server, World

DEMO_TOKEN: Final = "token-of-the-demo"  # noqa: S105 - opens nothing but the stand-in

LOOP_SECONDS: Final = 120.0
"""How long the story is; then it begins again, with the platform as it was at first."""

TEST_TIMES_OUT_AFTER: Final = 2.0
"""Seconds; the real platform is given longer, but nobody watches a demo for that."""

_PASSWORD, _NEW_PASSWORD = "the first word", "the second word"


class Api(Enum):
    """How the API as a whole is; anything but `NORMAL` is met before a campaign is looked at."""

    NORMAL = "normal"
    RATE_LIMITED = "rate limited"
    DOWN = "down"
    TOKEN_REVOKED = "token revoked"  # noqa: S105 - a condition, not a token


class Loop:
    """One pass of the story, the `number`th from 0; `now` is the time of what happens last."""

    def __init__(self, number: int, begun: float) -> None:
        """Begin with everything as it is at first: each test that was run has passed."""
        self.number, self.begun, self.now = number, begun, begun
        self.api = Api.NORMAL
        self.world = World(connect_timeout=TEST_TIMES_OUT_AFTER)
        self._chapters = 0
        for one in CAMPAIGNS:
            self.set_up(one, begun - one.created_age)
            if one.tested_age is not None:
                self.test_and_switch_on(one, begun - one.tested_age)

    def set_up(self, campaign: Campaign, now: float) -> None:
        """Have the customer make an account, and somebody enter it on the platform."""
        host, username = campaign.host(self.number), campaign.username
        self.world.servers.setdefault(host, Server()).passwords[username] = _PASSWORD
        config = self.world.create(campaign.id, now, host, username, _PASSWORD)
        config.auth_type, config.import_schedule = campaign.auth_type, campaign.import_schedule

    def test_and_switch_on(self, campaign: Campaign, now: float) -> None:
        """Have somebody press Test and, if it passes, switch the config on."""
        self.world.test(campaign.id, now)
        self.world.switch(campaign.id, on=True)

    def server(self, campaign: Campaign) -> Server:
        """Return the customer's server where it stands at first."""
        return self.world.server(campaign.host(self.number))

    def go_on(self, now: float) -> None:
        """Let everything happen that is due by `now`."""
        for chapter in STORY[self._chapters :]:
            if self.begun + chapter.at > now:
                break
            self._chapters += 1
            self.now, self.api = self.begun + chapter.at, chapter.api
            chapter.happens(self)


def _nothing(_: Loop) -> None:
    """Let nothing happen in the world: time passes, or the API changes."""


def _firewall_closes(loop: Loop) -> None:
    loop.server(MOTOR_CLAIMS).network = Network.CLOSED


def _firewall_opens(loop: Loop) -> None:
    loop.server(MOTOR_CLAIMS).network = Network.OPEN


def _password_is_rotated(loop: Loop) -> None:
    loop.server(RETAIL_LEADS).passwords[RETAIL_LEADS.username] = _NEW_PASSWORD


def _new_password_is_entered(loop: Loop) -> None:
    loop.world.edit(RETAIL_LEADS.id, password=_NEW_PASSWORD)
    loop.world.test(RETAIL_LEADS.id, loop.now)


def _cruise_is_tested(loop: Loop) -> None:
    loop.world.test(CRUISE_BOOKINGS.id, loop.now)


def _clinic_is_deleted(loop: Loop) -> None:
    del loop.world.configs[CLINIC_REMINDERS.id]


def _clinic_is_made_anew(loop: Loop) -> None:
    loop.set_up(CLINIC_REMINDERS, loop.now)
    loop.test_and_switch_on(CLINIC_REMINDERS, loop.now)


def _recall_is_switched_off(loop: Loop) -> None:
    loop.world.switch(VACCINATION_RECALL.id, on=False)


def _customer_moves(loop: Loop) -> None:
    old, new = (RETAIL_LEADS.host(number) for number in (loop.number, loop.number + 1))
    loop.world.move_host(old, new)
    for config in loop.world.configs.values():
        if config.host == old:
            loop.world.edit(config.campaign_id, host=new)
    loop.test_and_switch_on(VACCINATION_RECALL, loop.now)


@dataclass(frozen=True, slots=True)
class Chapter:
    """One thing that happens: `at` seconds into the story, narrated in one sentence.

    The API is as `api` says until the next chapter.
    """

    at: float
    text: str
    happens: Callable[[Loop], None] = _nothing
    api: Api = Api.NORMAL


STORY: Final[tuple[Chapter, ...]] = (
    Chapter(
        0,
        "All connections work and are tested each half a minute, but for imports by hand: that of "
        "Vaccination recall had its last test 41 days ago.",
    ),
    Chapter(
        4,
        "A firewall closes before the server of Motor claims while nobody looks: on record nothing "
        "changes, so the monitor's own test has to find it, and a second one to confirm it.",
        _firewall_closes,
    ),
    Chapter(
        14,
        "The password of Retail leads is rotated on the customer's server: the monitor's next test "
        "fails, is tried once more, and then no more, or the account might be locked.",
        _password_is_rotated,
    ),
    Chapter(20, "The last test of Cruise bookings turns 30 days old this very second: a warning."),
    Chapter(
        30,
        "The SFTP config of Clinic reminders is deleted: a 404 where one was before is critical.",
        _clinic_is_deleted,
    ),
    Chapter(
        38,
        "Somebody runs the connection test of Cruise bookings, and it passes: resolved.",
        _cruise_is_tested,
    ),
    Chapter(
        44,
        "The config of Clinic reminders is made anew, tested and switched on: resolved, too.",
        _clinic_is_made_anew,
    ),
    Chapter(
        49,
        "Vaccination recall is switched off: its warning is resolved as muted, for that is on "
        "purpose.",
        _recall_is_switched_off,
    ),
    Chapter(
        54,
        "The firewall is open again and nobody presses Test: the monitor's next try finds out.",
        _firewall_opens,
    ),
    Chapter(
        62,
        "Somebody enters the new password of Retail leads and presses Test: it passes, its alert "
        "is resolved, and the monitor may test this login again.",
        _new_password_is_entered,
    ),
    Chapter(
        70,
        "The customer's own calls have used up the rate limit: the API answers 429, wait for 5 s.",
        api=Api.RATE_LIMITED,
    ),
    # Sooner than the 5 s asked for are over, so that one 429 is all the monitor meets.
    Chapter(73, "The API has room again: the monitor sits out its 5 s, then goes on more slowly."),
    Chapter(
        80,
        "The API answers every call with 500: that is one alert about the API, and not twelve.",
        api=Api.DOWN,
    ),
    Chapter(94, "The API is back: its alert is resolved, and nothing was lost meanwhile."),
    Chapter(
        98,
        "An administrator revokes the API token by mistake: again one alert that says what to do.",
        api=Api.TOKEN_REVOKED,
    ),
    Chapter(110, "The token is valid again: the monitor's next try is answered; polling goes on."),
    Chapter(
        114,
        "The customer of Retail leads moves to another server, whose name is entered: the monitor "
        "tests what has changed, and the story begins again.",
        _customer_moves,
    ),
)
"""What happens, in order."""


class Play:
    """The story, over and over from `started_at` on, with the tests that were run meanwhile."""

    def __init__(self, started_at: float) -> None:
        """Begin; `started_at` may be set to another time, and then it has begun there."""
        self.started_at = started_at
        self._loop = Loop(0, started_at)

    def at(self, now: float) -> Loop:
        """Return the present loop with all that is due by `now`; each begins as the first did."""
        number = int((now - self.started_at) // LOOP_SECONDS)
        begun = self.started_at + number * LOOP_SECONDS
        if begun != self._loop.begun:
            self._loop = Loop(number, begun)
        self._loop.go_on(now)
        return self._loop
