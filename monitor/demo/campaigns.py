"""The dozen campaigns of the stand-in platform, as they are when the story begins.

A new campaign is one entry in `CAMPAIGNS`; it has a name of its own only if the story speaks of it.
"""

from dataclasses import dataclass
from typing import Final

DEMO_TOKEN: Final = "token-of-the-demo"  # noqa: S105 - opens nothing but the stand-in

_MINUTE: Final = 60.0
_HOUR: Final = 3_600.0
_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A calling campaign and its SFTP import; ages are in seconds at the start of the story.

    `status`, `campaign_type`, `auth_type` and `import_schedule` take the API's own words.
    `tested_age` is None where no connection test was ever run; such a config is switched off,
    because the platform lets nobody enable what was never tested. `login_error` is what a
    connection test would meet on the customer's server, None when it would pass.
    """

    id: str
    name: str
    description: str
    team: str
    host: str
    username: str
    port: int = 22
    auth_type: str = "password"
    import_schedule: str = "daily"
    status: str = "active"
    campaign_type: str = "sales"
    created_age: float = 200 * _DAY
    tested_age: float | None
    login_error: str | None = None

    @property
    def labels(self) -> dict[str, str]:
        """The labels that a monitor's config would give to this campaign."""
        return {"team": self.team}


RETAIL_LEADS: Final = Campaign(
    id="21255da8-e12f-445b-aad2-49eb5b4e9473",
    name="Retail leads",
    description="Calls back who asked for an offer in a shop",
    team="retail",
    host="sftp.northwind.example",
    username="retail_leads",
    import_schedule="hourly",
    tested_age=2 * _DAY,
)
MOTOR_CLAIMS: Final = Campaign(
    id="96a97161-732e-4908-9520-b72459bb20ab",
    name="Motor claims",
    description="Asks for what is missing in a claim",
    team="insurance",
    host="files.harbour-mutual.example",
    username="claims_export",
    import_schedule="hourly",
    campaign_type="follow_up",
    tested_age=1 * _MINUTE,
    login_error="Connection timed out",
)
CRUISE_BOOKINGS: Final = Campaign(
    id="3e12c015-b608-426f-a5a2-33f88bf09218",
    name="Cruise bookings",
    description="Offers next summer's cabins to last summer's guests",
    team="travel",
    host="sftp.bluelagoon.example",
    username="bookings",
    # Twenty seconds short of what counts as stale by default: it grows stale as one watches.
    tested_age=30 * _DAY - 20.0,
)
CLINIC_REMINDERS: Final = Campaign(
    id="03f58c01-2205-4855-a065-1c58a1b6c59f",
    name="Clinic reminders",
    description="Reminds patients of tomorrow's appointment",
    team="health",
    host="transfer.riverside-clinic.example",
    username="appointments",
    auth_type="private_key",
    campaign_type="reminder",
    tested_age=5 * _DAY,
)
VACCINATION_RECALL: Final = Campaign(
    id="b549496e-a09c-4df1-ad57-c920b5402f6c",
    name="Vaccination recall",
    description="Invites to the booster that is due",
    team="health",
    host="transfer.riverside-clinic.example",
    username="recall",
    auth_type="private_key",
    campaign_type="reminder",
    tested_age=41 * _DAY,
)

CAMPAIGNS: Final[tuple[Campaign, ...]] = (
    RETAIL_LEADS,
    Campaign(
        id="337de977-b68e-4e09-9790-5de0190f4fed",
        name="Loyalty win-back",
        description="Calls members who have not bought for half a year",
        team="retail",
        host="sftp.northwind.example",
        username="loyalty",
        tested_age=9 * _DAY,
    ),
    Campaign(
        id="479d72b4-ca67-45c6-ba96-b093b3e921b7",
        name="Spring catalogue",
        description="Still being set up: its SFTP config is three hours old and not yet tested",
        team="retail",
        host="sftp.northwind.example",
        username="spring_catalogue",
        import_schedule="manual",
        status="draft",
        created_age=3 * _HOUR,
        tested_age=None,
    ),
    MOTOR_CLAIMS,
    Campaign(
        id="8e9350e0-9d76-4d65-b9c6-d880e5ed37b2",
        name="Household renewals",
        description="Renews policies that end within a month",
        team="insurance",
        host="files.harbour-mutual.example",
        username="renewals_export",
        tested_age=12 * _DAY,
    ),
    Campaign(
        id="61b5d941-9cb5-4d1f-bc78-5507c3f3cf92",
        name="Policy welcome calls",
        description="Greets new customers, and checks their data",
        team="insurance",
        host="files.harbour-mutual.example",
        port=2222,
        username="welcome",
        auth_type="private_key",
        campaign_type="follow_up",
        tested_age=6 * _DAY,
    ),
    CRUISE_BOOKINGS,
    Campaign(
        id="f404ed9b-f30c-4e4f-81ef-fdb04a6a4234",
        name="Hotel pre-arrival calls",
        description="Asks guests about the time they arrive",
        team="travel",
        host="drop.grand-meridian.example",
        username="arrivals",
        import_schedule="hourly",
        campaign_type="reminder",
        tested_age=20 * _HOUR,
    ),
    Campaign(
        id="9d976a17-6205-4260-9432-dc1ef5e80661",
        name="Flight disruption follow-up",
        description="Explains the refund after a cancelled flight",
        team="travel",
        host="sftp.aerolinea.example",
        port=2022,
        username="disruptions",
        import_schedule="manual",
        status="paused",
        campaign_type="custom",
        tested_age=17 * _DAY,
    ),
    CLINIC_REMINDERS,
    Campaign(
        id="96cc34a6-931c-48b3-a382-3271f21d2b09",
        name="Pharmacy refills",
        description="Asks whether a standing prescription is to be filled again",
        team="health",
        host="sftp.greencross.example",
        username="refills",
        campaign_type="reminder",
        tested_age=3 * _DAY,
    ),
    VACCINATION_RECALL,
)
