"""Statuses and leases that were saved but are not known to be on disk.

A reload reads the state back, perhaps while the disk is full: what it gets must not be older than
what was decided, or the same event ids would be given out again.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from monitor.adapters.store import codec
from monitor.adapters.store.batch import Batch
from monitor.adapters.store.reading import Loaded

_K = TypeVar("_K")
_V = TypeVar("_V")


class Unwritten:
    """What lies between `save` and COMMIT, as the loop knows it."""

    def __init__(self) -> None:
        """Start with everything on disk."""
        self._saved = Batch()

    def submitted(self, batch: Batch) -> None:
        """Note what was handed to the writer."""
        for name in batch.dropped:
            self._saved.drop(name)
        self._saved.campaigns.update(batch.campaigns)
        self._saved.environments.update(batch.environments)
        self._saved.next_call_at.update(batch.next_call_at)
        self._saved.rosters.update(batch.rosters)

    def written(self, batch: Batch) -> None:
        """Note what was committed; what was saved anew since then stays."""
        self._saved.dropped -= batch.dropped
        _forget(self._saved.campaigns, batch.campaigns)
        _forget(self._saved.environments, batch.environments)
        _forget(self._saved.next_call_at, batch.next_call_at)
        _forget(self._saved.rosters, batch.rosters)

    def over(self, loaded: Loaded) -> Loaded:
        """Return what is on disk, overlaid with what is not yet."""
        saved = self._saved
        campaigns, environments = dict(loaded.campaigns), dict(loaded.environments)
        for key in [key for key in campaigns if key[0] in saved.dropped]:
            campaign = codec.forget_campaign(campaigns.pop(key))
            if campaign.alerts:
                campaigns[key] = campaign
        for name in saved.dropped & environments.keys():
            environment = codec.forget_environment(environments.pop(name))
            if environment.alerts:
                environments[name] = environment
        for key, body in saved.campaigns.items():
            campaigns[key] = codec.decode_campaign(body)
        for name, body in saved.environments.items():
            environments[name] = codec.decode_environment(body)
        rosters = {k: known for k, known in loaded.rosters.items() if k not in saved.dropped}
        for name, body in saved.rosters.items():
            rosters[name] = codec.decode_roster(body)
        return replace(
            loaded,
            campaigns=campaigns,
            environments=environments,
            next_call_at=loaded.next_call_at | saved.next_call_at,
            rosters=rosters,
        )


def _forget(waiting: dict[_K, _V], written: Mapping[_K, _V]) -> None:
    for key, value in written.items():
        if waiting.get(key) == value:
            del waiting[key]
