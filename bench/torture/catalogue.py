"""The catalogue of faults: every line of docs/faults.md has tests, and all of them pass."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from test_catalogue import FAULTS, TESTED
from torture.figures import Figure

TESTS = Path(__file__).parents[2] / "tests"


def main(argv: Sequence[str]) -> list[Figure]:
    """Run every test that bears the number of a fault; `argv` goes to pytest."""
    command = (
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "auto",
        "-k",
        "test_fault",
        "-q",
        *argv,
        str(TESTS),
    )
    # As in CI a program that is missing is a failure, no skip.
    done = subprocess.run(
        command, env={**os.environ, "CI": "true"}, capture_output=True, text=True, check=False
    )
    print(done.stdout, file=sys.stderr)
    result = re.sub(r" in .*", "", done.stdout.splitlines()[-1])
    covered = [fault for fault in FAULTS if TESTED[fault]]
    return [
        Figure(
            "What will go wrong is known, and what the monitor does then",
            "each line of docs/faults.md has tests that bear its number",
            f"{len(covered)} of {len(FAULTS)} lines are covered; their tests: {result}",
            kept=len(covered) == len(FAULTS) and done.returncode == 0,
        )
    ]
