"""The short form of the simulation: `make torture PART=simulation` has the long one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.run import MUST_VISIT
from simulation.run import run as run_seed
from torture.simulation import main

HALF_A_DAY = 0.5
ANOTHER_HASH_SEED = "2"

STORY = """
import sys
from pathlib import Path
from simulation.run import run
print(*run(1, float(sys.argv[2]), Path(sys.argv[1])).history, sep="\\n")
"""


@pytest.mark.slow(seconds=30)
@pytest.mark.parametrize("seed", [1, 2])
def test_half_a_week_of_faults_crashes_and_clock_steps_loses_doubles_and_invents_no_alert(
    seed: int,
) -> None:
    (figure,) = main(["--seed", str(seed), "--jobs", "1", "--days", "3.5"])
    assert figure.kept, figure.figure


@pytest.mark.slow(seconds=10)
def test_a_seed_is_the_same_story_in_every_process_so_that_a_violation_can_be_replayed(
    tmp_path: Path,
) -> None:
    here = run_seed(1, HALF_A_DAY, tmp_path)
    assert all(here.visited[what] for what in MUST_VISIT)
    assert list(here.history) == _story_of_another_process(tmp_path / "other")
    assert sum("told of" in line for line in here.history) > 1


def _story_of_another_process(folder: Path) -> list[str]:
    folder.mkdir()
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", STORY, str(folder), str(HALF_A_DAY)],
        env={"PYTHONHASHSEED": ANOTHER_HASH_SEED, "PYTHONPATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()
