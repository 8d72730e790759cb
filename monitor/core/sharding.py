"""Which shard watches which environment: one owner each, so that a token has one budget.

Rendezvous hashing: every shard has a score for an environment, and the highest owns it. A shard
more takes over only what it wins, about 1 of M + 1; all else stays where it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256


def owner(environment: str, total: int) -> int:
    """Return the ordinal of the shard, of `total`, that watches the environment of this name.

    The same on every machine and in every version: shards agree without talking to each other.
    Raises ValueError for less than one shard.
    """
    if total < 1:
        raise ValueError(f"expected one shard or more, found {total}")
    return max(range(total), key=lambda ordinal: _score(environment, ordinal))


def _score(environment: str, ordinal: int) -> bytes:
    # Not `hash`, which is salted in each process. The NUL keeps (a1, 2) apart from (a, 12).
    return sha256(f"{environment}\0{ordinal}".encode()).digest()


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `total` processes that share the environments; `ordinal` counts from 0.

    Raises ValueError for an ordinal that `total` shards do not have.
    """

    ordinal: int = 0
    total: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.ordinal < self.total:
            raise ValueError(f"there is no shard {self.ordinal} of {self.total}, counted from 0")

    def owns(self, environment: str) -> bool:
        """Say whether this shard watches the environment of this name."""
        return owner(environment, self.total) == self.ordinal

    def elsewhere(self, environments: Iterable[str]) -> frozenset[str]:
        """Return those of the environments that other shards watch."""
        return frozenset(name for name in environments if not self.owns(name))


WHOLE = Shard()
"""The only shard: it owns every environment."""
