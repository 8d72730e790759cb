"""The short form of what replicas survive; `make torture PART=nodes` is the long one."""

from pathlib import Path

import pytest

from support.peers import require_peer
from torture.nodes import figures, survive


@pytest.mark.slow(seconds=90)
async def test_replicas_lose_and_double_nothing_over_a_kill_a_stop_a_cut_and_a_restart(
    tmp_path: Path,
) -> None:
    require_peer("postgres")
    faults = dict.fromkeys(("kills", "stops", "cuts", "restarts"), 1)
    tally = await survive(faults, jobs=1, seed=1, longest=8.0, keep=tmp_path)
    assert tally.problems == []
    assert [one for one in figures(tally) if not one.kept] == []
    # It would all be kept where nothing has happened.
    assert tally.faults == faults
    assert tally.events >= 6
    assert tally.deaths
