"""The short form of the histories of replicas; `make torture PART=replicas` is the long one."""

import pytest

from monitor.core import leases
from monitor.polling import holding
from support.replicas import run
from torture.replicas import Found, History, histories


@pytest.mark.slow(seconds=5)
def test_one_replica_polls_an_environment_whatever_happens() -> None:
    found = histories(3, seed=1)
    assert [figure for figure in found.figures() if not figure.kept] == []
    assert found.broken == []


def found_in(seed: int) -> Found:
    """Return what came of one history, which is known to need what the test has broken."""
    found = Found()
    run(History(seed, found).run())
    return found


@pytest.mark.slow(seconds=2)
def test_two_act_at_once_where_a_right_lasts_as_long_as_its_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert found_in(20).broken == []
    monkeypatch.setattr(holding, "LASTS", leases.LASTS + leases.MARGIN)
    assert found_in(20).twice != []


@pytest.mark.slow(seconds=2)
def test_environments_move_too_often_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "MOVE_AT_MOST", 0.0)
    assert found_in(0).moved != []
