"""What one shard does not watch, the others do."""

from monitor.core.sharding import Shard

ENVIRONMENTS = frozenset(f"environment-{number}" for number in range(20))


def test_an_environment_is_either_owned_or_elsewhere() -> None:
    for ordinal in range(3):
        shard = Shard(ordinal, 3)
        owned = {name for name in ENVIRONMENTS if shard.owns(name)}
        assert owned
        assert shard.elsewhere(ENVIRONMENTS) == ENVIRONMENTS - owned
