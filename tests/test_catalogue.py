"""The catalogue of faults: each of its lines is on the page once, and has its tests."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "faults.md"
FAULTS = range(1, 51)

NAME = re.compile(r"^(?:async )?def test_faults?_(\d+)(?:_and_(\d+))?_[a-z]", re.MULTILINE)
OF_TESTS = range(51, 62)
"""The lines about connection tests of ours; they name what holds them."""

ROW = re.compile(r"\| (\d+) \| [^|]+ \| [^|]+ \|")


def numbers_of_tests() -> Iterator[int]:
    """Yield, for each test that is named after a fault, the fault's number."""
    for file in TESTS.rglob("test_*.py"):
        for found in NAME.finditer(file.read_text(encoding="utf-8")):
            yield from (int(number) for number in found.groups() if number)


TESTED = Counter(numbers_of_tests())


def test_every_fault_has_a_test_that_bears_its_number() -> None:
    assert [f"test_fault_{fault}_…" for fault in FAULTS if not TESTED[fault]] == []


def test_no_test_bears_a_number_that_the_catalogue_does_not_have() -> None:
    assert TESTED.keys() <= set(FAULTS)


def test_the_page_has_every_fault_once_and_in_order() -> None:
    rows = (ROW.fullmatch(line) for line in PAGE.read_text(encoding="utf-8").splitlines())
    assert [int(row[1]) for row in rows if row] == list(FAULTS)


def test_every_line_about_connection_tests_names_tests_that_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(OF_TESTS)
    names = {name for _, cell in rows for name in re.findall(r"`(test_\w+)`", cell)}
    assert all("`test_" in cell for _, cell in rows)
    files = (file.read_text(encoding="utf-8") for file in TESTS.rglob("test_*.py"))
    known = {
        name for text in files for name in re.findall(r"^(?:async )?def (test_\w+)", text, re.M)
    }
    assert names - known == set()
