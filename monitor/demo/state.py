"""What the stand-in platform remembers, and the story as far as it was played on it.

Instants are seconds since the epoch, UTC.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid5

from monitor.demo.story import CAMPAIGNS, LOOP_SECONDS, STORY, Api, Campaign, Chapter


@dataclass(slots=True)
class SftpConfig:
    """The SFTP config of one campaign, with the last connection test on record.

    `login_error` belongs to the customer's server: the next test will find it, and until then the
    API does not know of it.
    """

    campaign: Campaign
    created_at: float
    is_enabled: bool = False
    last_test_at: float | None = None
    last_test_success: bool | None = None
    login_error: str | None = None

    def run_test(self, now: float) -> None:
        """Run a connection test and record its result; the story and the API's callers do."""
        self.last_test_at, self.last_test_success = now, self.login_error is None

    def as_json(self) -> dict[str, object]:
        """The `data` of `GET /campaigns/{id}/sftp`: like the real one, never with a secret."""
        campaign = self.campaign
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
            "is_enabled": self.is_enabled,
            "last_test_at": None if self.last_test_at is None else as_timestamp(self.last_test_at),
            "last_test_success": self.last_test_success,
            "created_at": as_timestamp(self.created_at),
        }


def as_timestamp(instant: float) -> str:
    """The API's way to write an instant: ISO 8601, UTC, whole seconds, `Z`."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class State:
    """The configs by campaign id, the condition of the API, and the story that changes them.

    The story begins at `started_at`; `narrate` is called for each chapter as it is played.
    """

    def __init__(self, started_at: float, narrate: Callable[[str], None]) -> None:
        self._started_at = started_at
        self._narrate = narrate
        self._begin(loop=0.0)

    def advance_to(self, elapsed: float) -> None:
        """Play every chapter that is due `elapsed` seconds after the start.

        A chapter changes the platform as of the instant it is written for, however late it is
        played. What belongs to a loop that is over is skipped, so that a laptop that slept does not
        narrate a night's worth of incidents at once. Going back in time does nothing.
        """
        loop = elapsed // LOOP_SECONDS * LOOP_SECONDS
        if loop > self._loop:
            self._begin(loop)
        while self._played < len(STORY) and self._next_at <= elapsed:
            chapter = STORY[self._played]
            self._play(chapter, self._started_at + self._loop + chapter.at)
            self._played += 1
            self._narrate(chapter.text)

    def seconds_to_next(self, elapsed: float) -> float:
        """How long after `elapsed` the next chapter is due, in seconds; 0 if it is overdue."""
        return max(0.0, self._next_at - elapsed)

    @property
    def _next_at(self) -> float:
        in_loop = STORY[self._played].at if self._played < len(STORY) else LOOP_SECONDS
        return self._loop + in_loop

    def _begin(self, loop: float) -> None:
        """Begin the loop that is due so many seconds after the start."""
        self._loop, self._played, self.api = loop, 0, Api.NORMAL
        now = self._started_at + loop
        self.configs: dict[str, SftpConfig] = {}
        for one in CAMPAIGNS:
            config = SftpConfig(one, now - one.created_age, login_error=one.login_error)
            if one.tested_age is not None:
                config.run_test(now - one.tested_age)
                config.is_enabled = True
            self.configs[one.id] = config

    def _play(self, chapter: Chapter, now: float) -> None:
        self.api = chapter.api
        for campaign, error in chapter.tests.items():
            config = self.configs.setdefault(campaign.id, SftpConfig(campaign, created_at=now))
            config.login_error = error
            config.run_test(now)
            # Only then: the platform lets nobody enable what has not passed a test.
            config.is_enabled = config.is_enabled or error is None
        if chapter.switched_off is not None:
            self.configs[chapter.switched_off.id].is_enabled = False
        if chapter.deleted is not None:
            del self.configs[chapter.deleted.id]
