"""The environments that other replicas hold, as the database has them: read when somebody asks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, cast

from monitor.adapters.store import Loaded, StorageError
from monitor.adapters.store.store import LINGER
from monitor.core.model import Instant, Seconds
from monitor.core.snapshot import Entry, EnvironmentSnapshot, Holder
from monitor.core.status import CampaignStatus, EnvironmentStatus
from monitor.polling.manager import PollerManager
from monitor.polling.view import stored_snapshot

if TYPE_CHECKING:  # psycopg is not everywhere
    from monitor.adapters.store.shared import SharedStore

READ_EVERY: Seconds = 10.0  # at most
LATE: Seconds = READ_EVERY + LINGER  # so much later a poll is seen here than where it was made


@dataclass(eq=False)
class Others:
    """What was read of them last; for one thread, since a database may let its readers wait."""

    manager: PollerManager

    def __post_init__(self) -> None:
        self._known = dict[str, tuple[Instant, Loaded]]()

    def snapshots(
        self, holders: Mapping[str, Holder], now: Instant, *, away: bool
    ) -> dict[str, EnvironmentSnapshot]:
        """Return these environments; while the database is `away` as they were known last.

        Of what was never read every campaign is unknown.
        """
        store, found = cast("SharedStore", self.manager.store), dict[str, EnvironmentSnapshot]()
        for name, holder in holders.items():
            read_at, loaded = self._known.get(name, (-inf, Loaded()))
            if not away and abs(now - read_at) >= READ_EVERY:
                try:
                    loaded = store.read_of(name)
                except StorageError:
                    away = True  # nor would it answer for the next one
                self._known[name] = now, loaded
            found |= self._snapshot(name, holder, loaded, now)
        return found

    def _snapshot(
        self, name: str, holder: Holder, loaded: Loaded, now: Instant
    ) -> dict[str, EnvironmentSnapshot]:
        settings = self.manager.settings_with(name, loaded)
        if settings is None:
            return {}  # a reload has removed it meanwhile
        status = loaded.environments.get(name, EnvironmentStatus(name=name))
        # Which is not stored: by what is.
        up = None if status.called_at is None else not status.breaker_open
        known, interval = loaded.campaigns, settings.unthrottled.effective_interval
        entries = {
            key: Entry(
                target, known.get((name, key)) or CampaignStatus(environment=name, campaign_id=key)
            )
            for key, target in settings.targets.items()
        }
        shown = stored_snapshot(settings, replace(status, up=up), entries, interval, now)
        late = shown.stale_after + LATE
        return {name: replace(shown, stale_after=late, owned=False, holder=holder)}
