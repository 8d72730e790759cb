"""The story that the stand-in platform plays: two minutes of incidents, and again from the start.

To add an incident, write what it does to the platform as a function and give it a chapter in
`STORY`. The times leave room for the demo's monitor, which polls every 5 s and asks a platform that
does not answer every 2 s: an incident of less than 12 s might not be seen before it is over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from monitor.demo.campaigns import (
    CLINIC_REMINDERS,
    CRUISE_BOOKINGS,
    MOTOR_CLAIMS,
    RETAIL_LEADS,
    VACCINATION_RECALL,
)
from monitor.demo.state import ApiCondition, PlatformState

LOOP_SECONDS: Final = 120.0
"""How long the story is; then it begins again, with the platform as it was at first."""

Effect = Callable[[PlatformState, float], None]
"""What a chapter does to the platform at an instant (seconds since the epoch, UTC)."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One thing that happens: `at` seconds into the story, told to people in one sentence."""

    at: float
    text: str
    apply: Effect


class Story:
    """The story as far as it has been told, and the platform's state that comes of it."""

    def __init__(self, started_at: float, narrate: Callable[[str], None]) -> None:
        """Open the story at `started_at` (epoch seconds, UTC), with nothing told yet."""
        self._started_at = started_at
        self._narrate = narrate
        self._loop = 0
        self._told = 0
        self.state = PlatformState(started_at)

    def advance_to(self, elapsed: float) -> None:
        """Play every chapter that is due `elapsed` seconds after the start.

        A chapter changes the platform as of the instant it is written for, however late it is
        played. What belongs to a loop that is over is skipped, so that a laptop that slept does not
        tell a night's worth of incidents at once. Going back in time does nothing.
        """
        loop = int(elapsed // LOOP_SECONDS)
        if loop > self._loop:
            self._loop = loop
            self._told = 0
            self.state = PlatformState(self._loop_started_at)
        while self._told < len(STORY) and self._next_at <= elapsed:
            chapter = STORY[self._told]
            chapter.apply(self.state, self._loop_started_at + chapter.at)
            self._told += 1
            self._narrate(chapter.text)

    def seconds_to_next(self, elapsed: float) -> float:
        """How long after `elapsed` the next chapter is due, in seconds; 0 if it is overdue."""
        return max(0.0, self._next_at - elapsed)

    @property
    def _loop_started_at(self) -> float:
        return self._started_at + self._loop * LOOP_SECONDS

    @property
    def _next_at(self) -> float:
        in_loop = STORY[self._told].at if self._told < len(STORY) else LOOP_SECONDS
        return self._loop * LOOP_SECONDS + in_loop


def _nothing(_state: PlatformState, _now: float) -> None:
    """The platform stays as it is: time alone brings what the chapter tells."""


def _rotate_password(state: PlatformState, now: float) -> None:
    state.set_login_error(RETAIL_LEADS, "Authentication failed")
    state.run_test(RETAIL_LEADS.id, now)


def _mend_motor_claims(state: PlatformState, now: float) -> None:
    state.set_login_error(MOTOR_CLAIMS, None)
    state.run_test(MOTOR_CLAIMS.id, now)


def _test_cruise_bookings(state: PlatformState, now: float) -> None:
    state.run_test(CRUISE_BOOKINGS.id, now)


def _switch_retail_leads_off(state: PlatformState, _now: float) -> None:
    state.switch(RETAIL_LEADS, enabled=False)


def _limit_rate(state: PlatformState, _now: float) -> None:
    state.api = ApiCondition.RATE_LIMITED


def _break_api_down(state: PlatformState, _now: float) -> None:
    state.api = ApiCondition.DOWN


def _revoke_token(state: PlatformState, _now: float) -> None:
    state.api = ApiCondition.TOKEN_REVOKED


def _restore_api(state: PlatformState, _now: float) -> None:
    state.api = ApiCondition.NORMAL


def _delete_clinic_reminders(state: PlatformState, _now: float) -> None:
    state.delete(CLINIC_REMINDERS)


def _put_everything_right(state: PlatformState, now: float) -> None:
    state.set_login_error(RETAIL_LEADS, None)
    state.create(CLINIC_REMINDERS, now)
    for campaign in (RETAIL_LEADS, CLINIC_REMINDERS, VACCINATION_RECALL):
        # In this order, because the platform lets nobody enable what has not passed a test.
        state.run_test(campaign.id, now)
        state.switch(campaign, enabled=True)


STORY: Final[tuple[Chapter, ...]] = (
    Chapter(
        0,
        "You watch twelve campaigns, and ten of them are fine: but the connection test of Motor "
        "claims has just failed, and that of Vaccination recall is 41 days old, 30 are allowed.",
        _nothing,
    ),
    Chapter(
        10,
        "The password of Retail leads was rotated on the customer's server: its next connection "
        "test fails, and without an alert nobody would know why no leads come in.",
        _rotate_password,
    ),
    Chapter(
        20,
        "Nobody touched Cruise bookings, but at this very second its last connection test turns 30 "
        "days old: the monitor knew when that would be, asks once more, and warns.",
        _nothing,
    ),
    Chapter(
        28,
        "The server of Motor claims can be reached again, and its new connection test passes: the "
        "critical alert is resolved.",
        _mend_motor_claims,
    ),
    Chapter(
        36,
        "Somebody runs the connection test of Cruise bookings, it passes, and so the warning about "
        "its age is resolved too.",
        _test_cruise_bookings,
    ),
    Chapter(
        43,
        "Retail leads is switched off until the new password is known: its alert is resolved as "
        "muted, because what is off on purpose should keep nobody's page open.",
        _switch_retail_leads_off,
    ),
    Chapter(
        50,
        "The customer's own calls have used up the plan's rate limit: the API answers 429 and asks "
        "for 5 seconds, and the monitor waits that long, with no alert.",
        _limit_rate,
    ),
    # Sooner than the 5 s asked for are over, so that one 429 is all the monitor meets.
    Chapter(
        53,
        "The API has room for us again: the monitor sits out its 5 seconds and then goes on more "
        "slowly than the plan would allow.",
        _restore_api,
    ),
    Chapter(
        60,
        "The API breaks down and answers every call with 500: that is one alert about the API, and "
        "not twelve about campaigns that may well be fine.",
        _break_api_down,
    ),
    Chapter(
        76,
        "The API is back: the first answer resolves the alert about the outage, and Vaccination "
        "recall has kept its warning all the while.",
        _restore_api,
    ),
    Chapter(
        82,
        "An administrator revokes the API token by mistake: every call is answered with 401, and "
        "again it is one alert that says what to do.",
        _revoke_token,
    ),
    Chapter(
        97,
        "The token is valid again: the monitor's next try is answered, and polling goes on.",
        _restore_api,
    ),
    # Not before the monitor has had 5 s to poll every campaign again.
    Chapter(
        102,
        "Somebody deletes the SFTP config of Clinic reminders: the API answers 404, and for a "
        "config that was there before this is critical.",
        _delete_clinic_reminders,
    ),
    Chapter(
        114,
        "Everything is put right and tested, so every alert is resolved; in a few seconds the "
        "story begins again.",
        _put_everything_right,
    ),
)
"""What happens, in order; the state at any time follows from it and the start alone."""
