"""Who polls an environment: what replicas announce, and the rows by which they agree."""

from collections.abc import Mapping
from dataclasses import dataclass

from monitor.core.model import Instant


@dataclass(frozen=True, slots=True)
class Replica:
    """What a replica announces; `config` is the hash of its config, `config_at` when it had it."""

    id: str
    address: str
    environments: frozenset[str]
    config: str
    config_at: Instant
    started_at: Instant
    expires_at: Instant


@dataclass(frozen=True, slots=True)
class Lease:
    """The row of an environment. `holder` is empty where it is free, since `expires_at`."""

    environment: str
    holder: str
    fence: str
    expires_at: Instant
    moved_at: Instant


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at the database showed, by its clock."""

    now: Instant
    replicas: tuple[Replica, ...]
    leases: Mapping[str, Lease]
