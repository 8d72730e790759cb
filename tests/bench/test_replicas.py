"""The short form of the histories of replicas; `make torture PART=replicas` is the long one."""

import pytest

from torture.replicas import histories


@pytest.mark.slow(seconds=5)
def test_one_replica_polls_an_environment_whatever_happens() -> None:
    found = histories(3, seed=1)
    assert [figure for figure in found.figures() if not figure.kept] == []
    assert found.broken == []
