"""Shards: every environment has one owner, and one shard more moves as little as can be."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.sharding import WHOLE, Shard, owner

NAMES = [f"environment-{number}" for number in range(10_000)]

names = st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True)
totals = st.integers(min_value=1, max_value=40)
several = pytest.mark.parametrize("total", [1, 2, 3, 5, 9])


@given(name=names, total=totals)
def test_every_environment_has_exactly_one_owner(name: str, total: int) -> None:
    owners = [ordinal for ordinal in range(total) if Shard(ordinal, total).owns(name)]
    assert owners == [owner(name, total)]


@given(name=names, total=totals)
def test_one_shard_more_takes_over_and_moves_nothing_between_the_others(
    name: str, total: int
) -> None:
    assert owner(name, total + 1) in {owner(name, total), total}


@several
def test_one_shard_more_moves_its_even_part_of_the_environments(total: int) -> None:
    moved = sum(owner(name, total) != owner(name, total + 1) for name in NAMES)
    assert moved == pytest.approx(len(NAMES) / (total + 1), rel=0.1)


@several
def test_every_shard_has_its_even_part(total: int) -> None:
    counts = Counter(owner(name, total) for name in NAMES)
    assert set(counts) == set(range(total))
    assert list(counts.values()) == pytest.approx([len(NAMES) / total] * total, rel=0.1)


def test_who_owns_what_is_the_same_in_every_version() -> None:
    # While a new version is rolled out, shards of both must agree.
    known = ["production", "staging", "acme", "northwind", "a", "b"]
    assert [owner(name, 3) for name in known] == [1, 2, 2, 2, 0, 1]


def test_a_shard_knows_which_environments_are_watched_elsewhere() -> None:
    shards = [Shard(ordinal, 3) for ordinal in range(3)]
    elsewhere = [shard.elsewhere(NAMES[:60]) for shard in shards]
    assert frozenset.intersection(*elsewhere) == frozenset()
    assert all(sum(name in there for there in elsewhere) == 2 for name in NAMES[:60])


def test_the_only_shard_owns_everything() -> None:
    assert Shard(0, 1) == WHOLE
    assert WHOLE.elsewhere(NAMES) == frozenset()


@pytest.mark.parametrize(("ordinal", "total"), [(1, 1), (3, 3), (-1, 2), (0, 0), (0, -1)])
def test_a_shard_that_cannot_be_is_refused(ordinal: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"there is no shard {ordinal} of {total}"):
        Shard(ordinal, total)


@pytest.mark.parametrize("total", [0, -1])
def test_without_a_shard_nobody_owns_anything(total: int) -> None:
    with pytest.raises(ValueError, match=f"found {total}"):
        owner("production", total)
