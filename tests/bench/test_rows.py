"""The torture of the stored rows in its short form."""

import pytest

from torture.rows import main


@pytest.mark.slow(seconds=6)
def test_a_few_seconds_of_hostile_rows_break_nothing() -> None:
    for figure in main(["--minutes", "0.05"]):
        assert figure.kept, figure
