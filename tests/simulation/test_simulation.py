"""The short form of the simulation: `make torture PART=simulation` has the long one."""

from pathlib import Path

import pytest

from simulation.run import MUST_VISIT
from simulation.run import run as run_seed
from torture.simulation import main


def test_a_day_of_faults_crashes_and_clock_steps_loses_doubles_and_invents_no_alert(
    tmp_path: Path,
) -> None:
    visited = run_seed(1, 1, tmp_path)
    assert all(visited[what] for what in MUST_VISIT)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 21))
def test_a_week_of_faults_crashes_and_clock_steps_loses_doubles_and_invents_no_alert(
    seed: int,
) -> None:
    (figure,) = main(["--seed", str(seed), "--jobs", "1"])
    assert figure.kept, figure.figure
