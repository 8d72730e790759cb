"""One bad file for each mistake, with what is to be told of it at its end.

To add one, write `testdata/<mistake>.yaml`, ending in a line `# wrong: <line>: <key>: <message>`
for each problem, in the order of the file.
"""

from pathlib import Path

import pytest

from support.config_files import problems_of

TESTDATA = Path(__file__).parent / "testdata"
MISTAKES = sorted(TESTDATA.glob("*.yaml"))
MARK = "# wrong: "


def expected(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]


@pytest.mark.matrix(fast=20)
@pytest.mark.parametrize("path", MISTAKES, ids=[path.stem for path in MISTAKES])
def test_fault_34_a_mistake_is_told_with_its_place_and_what_was_expected(path: Path) -> None:
    found = [problem.replace(f"{TESTDATA}/", "") for problem in problems_of(path)]
    assert found == expected(path)


def test_fault_38_no_mistake_shows_a_token() -> None:
    assert [path.name for path in MISTAKES if "canary" in "".join(expected(path))] == []


def test_every_bad_file_says_what_is_wrong_with_it() -> None:
    assert [path.name for path in MISTAKES if not expected(path)] == []


def test_there_are_files_at_all() -> None:
    assert len(MISTAKES) > 100
