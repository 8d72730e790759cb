"""The mutation testing itself: what can be changed, what a change is called, what is accepted."""

from pathlib import Path

import libcst as cst
import pytest

from torture.mutation import ROOT, Undecorate, accepted, change_of, function_of


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("monitor.core.text.x_span__mutmut_12", "core.text.span"),
        ("monitor.core.text.x__split__mutmut_1", "core.text._split"),
        ("monitor.core.budget.xǁBudgetǁ_throttle__mutmut_3", "core.budget.Budget._throttle"),
    ],
)
def test_a_mutant_is_named_by_its_function_without_a_number(name: str, function: str) -> None:
    assert function_of(name) == function


@pytest.mark.parametrize(
    ("lines", "change"),
    [
        (["-    a = 1", "+    a = 2"], "a = 1 → a = 2"),
        ([" same", "-    say(", "-        a,", "+    say("], "say( a, → say("),
        (['-    say("Ah")', '+    say("AH")'], 'case of say("Ah")'),
    ],
)
def test_a_change_is_what_went_and_what_came(lines: list[str], change: str) -> None:
    assert change_of("\n".join(["--- a", "+++ a", *lines])) == change


def test_what_was_decorated_does_the_same_without_its_decorators() -> None:
    code = """
def twice(f):
    return lambda: f() * 2

class A:
    @property
    def one(self): return 1

    @classmethod
    def name(cls): return cls.__name__

@twice
@twice
def three(): return 3
"""
    changed = cst.parse_module(code).visit(Undecorate()).code
    assert [line.strip() for line in changed.splitlines() if "@" in line] == ["@classmethod"]
    namespace: dict[str, object] = {}
    exec(changed + "\nsaid = A().one, A.name(), three()", namespace)
    assert namespace["said"] == (1, "A", 12)


def test_a_survivor_that_is_accepted_is_of_code_that_is_still_there() -> None:
    for key in accepted():
        function, _, change = key.partition(": ")
        old = change.removeprefix("case of ").partition(" → ")[0]
        assert old in joined_lines(function), key


def joined_lines(function: str) -> str:
    """Return the lines of the module that this function is in as one line."""
    parts = function.split(".")
    paths = (Path(ROOT, "monitor", *parts[:end]).with_suffix(".py") for end in range(len(parts)))
    (module,) = (path for path in paths if path.is_file())
    return " ".join(line.strip() for line in module.read_text(encoding="utf-8").splitlines())
