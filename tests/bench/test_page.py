"""The page of figures: it says what was measured, of every part, and hides nothing."""

import json

import pytest

from torture.__main__ import FIGURES, PAGE, PARTS, main, page

RESULTS = json.loads(FIGURES.read_text(encoding="utf-8"))


def test_the_page_says_what_was_measured_and_nothing_else() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(RESULTS)


def test_every_part_was_measured() -> None:
    assert RESULTS.keys() == set(PARTS)


def test_a_promise_that_was_broken_says_so_in_its_row() -> None:
    figure = {"promise": "p", "how": "h", "figure": "3 lost", "kept": False}
    result = {"date": "2026-11-23", "command": "make torture PART=kills", "figures": [figure]}
    assert "| p | h | **broken:** 3 lost |" in page({"kills": result})


@pytest.mark.slow
def test_a_run_with_flags_of_its_own_is_shown_and_not_published(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = FIGURES.read_bytes()
    assert main(["simulation", "--seed", "1", "--days", "0.5"]) == 0
    assert "1 seeds × 0.5 virtual days: 0 violations" in capsys.readouterr().out
    assert FIGURES.read_bytes() == before
