"""What the stand-in platform remembers, and everything that can happen to it.

People, through the API, and the story change it by the same few methods, so a connection test of
the story is the very test that anybody may run. Instants are seconds since the epoch, UTC.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from uuid import UUID, uuid5

from monitor.demo.campaigns import CAMPAIGNS, Campaign


class ApiCondition(Enum):
    """How the API as a whole is; anything but `NORMAL` is met before a campaign is looked at."""

    NORMAL = "normal"
    RATE_LIMITED = "rate limited"
    DOWN = "down"
    TOKEN_REVOKED = "token revoked"  # noqa: S105 - a condition, not a token


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpConfig:
    """The SFTP config of one campaign, with the last connection test on record.

    `login_error` belongs to the customer's server: the next test will find it, and until then the
    API does not know of it.
    """

    campaign: Campaign
    is_enabled: bool
    created_at: float
    last_test_at: float | None = None
    last_test_success: bool | None = None
    login_error: str | None = None

    def as_json(self) -> dict[str, object]:
        """The `data` of `GET /campaigns/{id}/sftp`: like the real one, never with a secret."""
        campaign = self.campaign
        return {
            # Derived, so that a config has the same id in every loop of the story.
            "id": str(uuid5(UUID(campaign.id), "sftp")),
            "campaign_id": campaign.id,
            "host": campaign.host,
            "port": campaign.port,
            "username": campaign.username,
            "auth_type": campaign.auth_type,
            "import_path": "/inbox",
            "export_path": "/outbox",
            "import_schedule": campaign.import_schedule,
            "is_enabled": self.is_enabled,
            "last_test_at": None if self.last_test_at is None else as_timestamp(self.last_test_at),
            "last_test_success": self.last_test_success,
            "created_at": as_timestamp(self.created_at),
        }


class PlatformState:
    """The configs that exist, by campaign id, and the condition of the API."""

    def __init__(self, started_at: float) -> None:
        """Set every campaign up as it is at `started_at`, the first instant of the story."""
        self.api = ApiCondition.NORMAL
        self._configs = {campaign.id: _opening(campaign, started_at) for campaign in CAMPAIGNS}

    def config(self, campaign_id: str) -> SftpConfig | None:
        """The config of a campaign, or None: no such campaign, or one without SFTP."""
        return self._configs.get(campaign_id)

    def create(self, campaign: Campaign, now: float) -> None:
        """Set SFTP up for a campaign: never tested, hence switched off; its server accepts us."""
        self._configs[campaign.id] = SftpConfig(campaign=campaign, is_enabled=False, created_at=now)

    def delete(self, campaign: Campaign) -> None:
        """Take the SFTP config of a campaign away; the API answers 404 for it from now on."""
        del self._configs[campaign.id]

    def switch(self, campaign: Campaign, *, enabled: bool) -> None:
        """Switch the import of a campaign on or off."""
        self._replace(replace(self._configs[campaign.id], is_enabled=enabled))

    def set_login_error(self, campaign: Campaign, error: str | None) -> None:
        """Break (or, with None, mend) the customer's server; nobody notices before a test."""
        self._replace(replace(self._configs[campaign.id], login_error=error))

    def run_test(self, campaign_id: str, now: float) -> SftpConfig:
        """Run a connection test and record its result.

        Raises `KeyError` for a campaign without a config.
        """
        config = self._configs[campaign_id]
        passed = config.login_error is None
        return self._replace(replace(config, last_test_at=now, last_test_success=passed))

    def _replace(self, config: SftpConfig) -> SftpConfig:
        self._configs[config.campaign.id] = config
        return config


def as_timestamp(instant: float) -> str:
    """The API's way to write an instant: ISO 8601, UTC, whole seconds, `Z`."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _opening(campaign: Campaign, started_at: float) -> SftpConfig:
    tested = campaign.tested_age is not None
    return SftpConfig(
        campaign=campaign,
        is_enabled=tested,
        created_at=started_at - campaign.created_age,
        last_test_at=None if campaign.tested_age is None else started_at - campaign.tested_age,
        last_test_success=campaign.login_error is None if tested else None,
        login_error=campaign.login_error,
    )
