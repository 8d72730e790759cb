"""Who is there in the demo: campaigns of four teams, and the customers that they call for."""

from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Final
from uuid import UUID

_HOUR, _DAY = 3_600.0, 86_400.0

HOST_NAMES: Final = 31
"""The customer that moves has so many names, one loop of the story after the other.

More than half an hour's loops: a monitor counts failed logins at a host for an hour.
"""

_HOSTS = {
    "northwind": "sftp{}.northwind.example",
    "harbour": "files.harbour-mutual.example",
    "crown": "sftp.crown-life.example",
    "lagoon": "sftp.bluelagoon.example",
    "clinic": "transfer.riverside-clinic.example",
}

# By team: time zone, days (1 is Monday), and when calls may be placed.
_CALLS = {
    "retail": ("America/New_York", [1, 2, 3, 4, 5], "09:00:00", "17:00:00"),
    "insurance": ("Europe/London", [1, 2, 3, 4, 5, 6, 7], "08:00:00", "20:00:00"),
    "travel": ("Pacific/Auckland", [1, 2, 3, 4, 5, 6], "10:00:00", "18:30:00"),
    "health": ("America/Chicago", [2, 4], "08:30:00", "16:00:00"),
}


@dataclass(frozen=True, slots=True)
class Campaign:
    """A calling campaign and its SFTP import; ages are in seconds at the start of the story.

    `tested_age` is None where no connection test was ever run; such a config is switched off, for
    the platform lets nobody enable what was never tested.
    """

    name: str
    team: str
    customer: str
    tested_age: float | None
    import_schedule: str = "daily"
    auth_type: str = "password"
    status: str = "active"
    created_age: float = 200 * _DAY

    @property
    def id(self) -> str:
        """The campaign's UUID: as random as the platform's, and the same at every start."""
        return str(UUID(int=Random(self.name).getrandbits(128), version=4))

    @property
    def username(self) -> str:
        """The user whom the platform logs in as at the customer's server."""
        return self.name.lower().replace(" ", "_")

    def host(self, loop: int) -> str:
        """Return the name of the customer's server as a loop of the story, from 0, begins."""
        return _HOSTS[self.customer].format(loop % HOST_NAMES + 1)

    def as_json(self, begun: float) -> dict[str, object]:
        """Return its entry in `GET /campaigns`; `begun` is when the story began."""
        timezone, days, earliest, latest = _CALLS[self.team]
        start = datetime.fromtimestamp(begun - self.created_age, UTC)
        return {
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "campaign_type": "sales",
            "timezone": timezone,
            "start_date": start.strftime("%Y-%m-%d"),
            "end_date": None,
            "days_of_week": days,
            "earliest_call_time": earliest,
            "latest_call_time": latest,
        }


RETAIL_LEADS: Final = Campaign("Retail leads", "retail", "northwind", 8.0, "hourly")
MOTOR_CLAIMS: Final = Campaign("Motor claims", "insurance", "harbour", 12.0, "hourly")
# Imported by hand, so the demo's monitor does not test it, and 20 s short of what counts as stale.
CRUISE_BOOKINGS: Final = Campaign("Cruise bookings", "travel", "lagoon", 30 * _DAY - 20.0, "manual")
CLINIC_REMINDERS: Final = Campaign(
    "Clinic reminders", "health", "clinic", 21.0, auth_type="private_key"
)
VACCINATION_RECALL: Final = Campaign("Vaccination recall", "health", "clinic", 41 * _DAY, "manual")
LOYALTY_WIN_BACK: Final = Campaign("Loyalty win-back", "retail", "northwind", 17.0)

CAMPAIGNS: Final = (
    RETAIL_LEADS,
    LOYALTY_WIN_BACK,
    # Still being set up: its SFTP config is young, and not yet tested.
    Campaign(
        "Spring catalogue",
        "retail",
        "northwind",
        None,
        "manual",
        status="draft",
        created_age=3 * _HOUR,
    ),
    MOTOR_CLAIMS,
    Campaign("Household renewals", "insurance", "crown", 4.0),
    Campaign("Policy welcome calls", "insurance", "crown", 26.0, auth_type="private_key"),
    CRUISE_BOOKINGS,
    Campaign("Hotel pre-arrival calls", "travel", "lagoon", 19.0, "hourly"),
    Campaign(
        "Flight disruption follow-up", "travel", "lagoon", 17 * _DAY, "manual", status="paused"
    ),
    CLINIC_REMINDERS,
    Campaign("Pharmacy refills", "health", "clinic", 28.0),
    VACCINATION_RECALL,
)
