"""The story of the stand-in platform; instants are seconds since the epoch, UTC.

The times leave room for the demo's monitor, which polls every 5 s and asks a platform that does not
answer every 2 s: an incident of less than 12 s might not be seen before it is over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from random import Random
from typing import Final
from uuid import UUID, uuid5

DEMO_TOKEN: Final = "token-of-the-demo"  # noqa: S105 - opens nothing but the stand-in

LOOP_SECONDS: Final = 120.0
"""How long the story is; then it begins again, with the platform as it was at first."""

_HOUR, _DAY = 3_600.0, 86_400.0

_HOSTS = {
    "retail": "sftp.northwind.example",
    "insurance": "files.harbour-mutual.example",
    "travel": "sftp.bluelagoon.example",
    "health": "transfer.riverside-clinic.example",
}


@dataclass(frozen=True, slots=True)
class Campaign:
    """A calling campaign and its SFTP import; ages are in seconds at the start of the story.

    `tested_age` is None where no connection test was ever run; such a config is switched off, for
    the platform lets nobody enable what was never tested. `passed` is what that test found.
    """

    name: str
    team: str
    tested_age: float | None
    import_schedule: str = "daily"
    auth_type: str = "password"
    status: str = "active"
    created_age: float = 200 * _DAY
    passed: bool = True

    @property
    def id(self) -> str:
        """The campaign's UUID: as random as the platform's, and the same at every start."""
        return str(UUID(int=Random(self.name).getrandbits(128), version=4))

    @property
    def host(self) -> str:
        """The SFTP server of the customer that the team calls for."""
        return _HOSTS[self.team]


RETAIL_LEADS: Final = Campaign("Retail leads", "retail", 2 * _DAY, "hourly")
MOTOR_CLAIMS: Final = Campaign("Motor claims", "insurance", 60.0, "hourly", passed=False)
# Twenty seconds short of what counts as stale by default: it grows stale before one's eyes.
CRUISE_BOOKINGS: Final = Campaign("Cruise bookings", "travel", 30 * _DAY - 20.0)
CLINIC_REMINDERS: Final = Campaign("Clinic reminders", "health", 5 * _DAY, auth_type="private_key")
VACCINATION_RECALL: Final = Campaign("Vaccination recall", "health", 41 * _DAY)

CAMPAIGNS: Final = (
    RETAIL_LEADS,
    Campaign("Loyalty win-back", "retail", 9 * _DAY),
    # Still being set up: its SFTP config is young, and not yet tested.
    Campaign("Spring catalogue", "retail", None, "manual", status="draft", created_age=3 * _HOUR),
    MOTOR_CLAIMS,
    Campaign("Household renewals", "insurance", 12 * _DAY),
    Campaign("Policy welcome calls", "insurance", 6 * _DAY, auth_type="private_key"),
    CRUISE_BOOKINGS,
    Campaign("Hotel pre-arrival calls", "travel", 20 * _HOUR, "hourly"),
    Campaign("Flight disruption follow-up", "travel", 17 * _DAY, "manual", status="paused"),
    CLINIC_REMINDERS,
    Campaign("Pharmacy refills", "health", 3 * _DAY),
    VACCINATION_RECALL,
)


class Api(Enum):
    """How the API as a whole is; anything but `NORMAL` is met before a campaign is looked at."""

    NORMAL = "normal"
    RATE_LIMITED = "rate limited"
    DOWN = "down"
    TOKEN_REVOKED = "token revoked"  # noqa: S105 - a condition, not a token


@dataclass(frozen=True, slots=True)
class Chapter:
    """One thing that happens: `at` seconds into the story, narrated in one sentence.

    The API is as `api` says until the next chapter. `tests` are run, each with whether it passes.
    """

    at: float
    text: str
    api: Api = Api.NORMAL
    tests: Mapping[Campaign, bool] = field(default_factory=dict)
    switched_off: Campaign | None = None
    deleted: Campaign | None = None


STORY: Final[tuple[Chapter, ...]] = (
    Chapter(0, "Motor claims has failed its test; that of Vaccination recall is 41 days old."),
    Chapter(
        10,
        "The password of Retail leads was rotated on the customer's server: its next test fails.",
        tests={RETAIL_LEADS: False},
    ),
    Chapter(20, "The last test of Cruise bookings turns 30 days old this very second: a warning."),
    Chapter(
        28,
        "The server of Motor claims can be reached again, and its test passes: resolved.",
        tests={MOTOR_CLAIMS: True},
    ),
    Chapter(
        36,
        "Somebody runs the connection test of Cruise bookings, and it passes: resolved, too.",
        tests={CRUISE_BOOKINGS: True},
    ),
    Chapter(
        43,
        "Retail leads is switched off: its alert is resolved as muted, for that is on purpose.",
        switched_off=RETAIL_LEADS,
    ),
    Chapter(
        50,
        "The customer's own calls have used up the rate limit: the API answers 429, wait for 5 s.",
        api=Api.RATE_LIMITED,
    ),
    # Sooner than the 5 s asked for are over, so that one 429 is all the monitor meets.
    Chapter(53, "The API has room again: the monitor sits out its 5 s, then goes on more slowly."),
    Chapter(
        60,
        "The API answers every call with 500: that is one alert about the API, and not twelve.",
        api=Api.DOWN,
    ),
    Chapter(76, "The API is back: its alert is resolved; Vaccination recall has kept its warning."),
    Chapter(
        82,
        "An administrator revokes the API token by mistake: again one alert that says what to do.",
        api=Api.TOKEN_REVOKED,
    ),
    Chapter(97, "The token is valid again: the monitor's next try is answered; polling goes on."),
    # Not before the monitor has had 5 s to poll every campaign again.
    Chapter(
        102,
        "The SFTP config of Clinic reminders is deleted: a 404 where one was before is critical.",
        deleted=CLINIC_REMINDERS,
    ),
    Chapter(
        114,
        "Everything is put right and tested: all is resolved, and soon the story begins again.",
        tests={RETAIL_LEADS: True, CLINIC_REMINDERS: True, VACCINATION_RECALL: True},
    ),
)
"""What happens, in order."""


SftpConfig = dict[str, object]
"""The `data` of `GET /campaigns/{id}/sftp`: like the real one, never with a secret."""


def state_at(now: float, started_at: float) -> tuple[Api, dict[str, SftpConfig]]:
    """Return how the API is, and the configs by campaign id; every loop begins as the first did."""
    begun = started_at + (now - started_at) // LOOP_SECONDS * LOOP_SECONDS
    api, configs = Api.NORMAL, dict[str, SftpConfig]()
    for one in CAMPAIGNS:
        configs[one.id] = _config(one, created_at=begun - one.created_age)
        if one.tested_age is not None:
            configs[one.id] |= _tested(begun - one.tested_age, passed=one.passed)
            configs[one.id]["is_enabled"] = True
    for chapter in STORY:
        at = begun + chapter.at
        if at > now:
            break
        api = chapter.api
        for campaign, passed in chapter.tests.items():
            config = configs.setdefault(campaign.id, _config(campaign, created_at=at))
            config |= _tested(at, passed=passed)
        if chapter.switched_off is not None:
            configs[chapter.switched_off.id]["is_enabled"] = False
        if chapter.deleted is not None:
            del configs[chapter.deleted.id]
    return api, configs


def _config(campaign: Campaign, created_at: float) -> SftpConfig:
    return {
        # Derived, so that a config has the same id in every loop of the story.
        "id": str(uuid5(UUID(campaign.id), "sftp")),
        "campaign_id": campaign.id,
        "host": campaign.host,
        "port": 22,
        "username": campaign.name.lower().replace(" ", "_"),
        "auth_type": campaign.auth_type,
        "import_path": "/inbox",
        "export_path": "/outbox",
        "import_schedule": campaign.import_schedule,
        "is_enabled": False,
        "last_test_at": None,
        "last_test_success": None,
        "created_at": _timestamp(created_at),
    }


def _tested(at: float, *, passed: bool) -> SftpConfig:
    """Return what a connection test changes; one that passed switches the import on."""
    enabled: SftpConfig = {"is_enabled": True} if passed else {}
    return {"last_test_at": _timestamp(at), "last_test_success": passed, **enabled}


def _timestamp(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
