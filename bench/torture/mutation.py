"""Mutation testing: the core, the store and the decoder are changed, and the tests must notice.

A mutant is one small change of one function; it survives if all tests that run the function still
pass. Survivors are accepted in bench/mutants.toml, with a reason; one that is not listed there
breaks the promise, and is printed as a line for that list. mutmut makes and runs the mutants, in a
copy of the tree; `[tool.mutmut]` in pyproject.toml says of what, and with which tests.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import libcst as cst
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

from torture.figures import Figure

ROOT = Path(__file__).parents[2]
COPIED = ("monitor", "tests", "pyproject.toml")
ACCEPTED = ROOT / "bench" / "mutants.toml"
PAGE = ROOT / "docs" / "evidence" / "mutants.md"
PACKAGES = ("core", "adapters.store", "adapters.talkover", "http")

REQUIRED = 90.0
"""Per cent of the mutants; those that change nothing a test could see count as survivors."""

NOTICED = {"killed", "timeout", "segfault"}
"""In mutmut's words; a test that hangs for so long that pytest ends it may be a segfault."""

HEAD = """# Mutants

`make mutation` changes the core, the store and the decoder in small ways, one at a time, and runs
the tests of what was changed: a mutant that no test notices survives. It writes this page; it fails
when a survivor is missing in [bench/mutants.toml](../../bench/mutants.toml), which has the reasons,
or when fewer than 90 % are killed. `make mutation ARGS="monitor.core.budget*"` does a part of it.

mutmut changes what stands in functions, with properties and rules; it leaves alone the constants
of modules, the defaults of fields, and what stands in decorators. A mutant that never ends counts
as killed, one that changes nothing a test could see as a survivor.
"""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of one function, and whether a test noticed it."""

    function: str
    change: str
    killed: bool

    @property
    def key(self) -> str:
        """What the list of accepted survivors calls it; it has no number that moves."""
        return f"{self.function}: {self.change}"


class Undecorate(cst.CSTTransformer):
    """Writes `@d` before a function as `f = d(f)` after it: mutmut skips what is decorated."""

    def leave_FunctionDef(  # noqa: N802 - libcst finds it by its name
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef | cst.FlattenSentinel[cst.BaseStatement]:
        """Return the function without its decorators, and the assignment that stands for them."""
        value: cst.BaseExpression = updated_node.name
        for one in reversed(updated_node.decorators):
            if isinstance(one.decorator, cst.Name) and one.decorator.value == "classmethod":
                return updated_node  # that one it knows
            value = cst.Call(one.decorator, [cst.Arg(value)])
        if value is updated_node.name:
            return updated_node
        target = cst.AssignTarget(updated_node.name)
        assignment = cst.SimpleStatementLine([cst.Assign([target], value)])
        return cst.FlattenSentinel([updated_node.with_changes(decorators=()), assignment])


def make_copy(copy: Path) -> None:
    """Copy what the tests need, and make every function in it one that can be changed."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    for package in PACKAGES:
        for path in (copy / "monitor" / package.replace(".", "/")).glob("*.py"):
            module = cst.parse_module(path.read_text(encoding="utf-8"))
            path.write_text(module.visit(Undecorate()).code, encoding="utf-8")


def run_mutmut(copy: Path, *arguments: str) -> None:
    """Make the mutants in the copy and run them; RuntimeError if that does not work."""
    command = [str(Path(sys.executable).with_name("mutmut")), "run", *arguments]
    # Each mutant is a run of pytest: to look for plugins would take a third of most of them.
    plugins = "-p pytest_asyncio.plugin -p _hypothesis_pytestplugin"
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": plugins}
    with subprocess.Popen(
        command, cwd=copy, env=env, stdout=sys.stderr, start_new_session=True
    ) as mutmut:
        try:
            if mutmut.wait():
                raise RuntimeError("mutmut failed: do the tests pass without a mutant?")
        finally:
            # A test that was ended because it hung leaves the processes behind that it started.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(mutmut.pid, signal.SIGKILL)


def results(copy: Path) -> Iterator[Mutant]:
    """Yield the mutants that were run in the copy."""
    with contextlib.chdir(copy):  # where mutmut looks for its own files
        for meta in sorted(Path("mutants", "monitor").rglob("*.meta")):
            source = meta.relative_to("mutants").with_suffix("")
            exit_codes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
            for name, exit_code in exit_codes.items():
                if exit_code is not None:
                    killed = status_by_exit_code[exit_code] in NOTICED
                    change = "" if killed else change_of(get_diff_for_mutant(name, path=source))
                    yield Mutant(function_of(name), change, killed)


def function_of(name: str) -> str:
    """Return `core.text.span` for mutmut's `monitor.core.text.x_span__mutmut_1`."""
    module, _, function = name.rpartition("__mutmut_")[0].rpartition(".")
    plain = function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
    return f"{module}.{plain}".removeprefix("monitor.")


def change_of(diff: str) -> str:
    """Return the lines that went and those that came; upper and lower case are one change."""
    lines = diff.splitlines()[2:]
    old, new = (" ".join(one[1:].strip() for one in lines if one[0] == sign) for sign in "-+")
    return f"case of {old}" if old.casefold() == new.casefold() else f"{old} → {new}"


def accepted() -> dict[str, str]:
    """Return the reason for each survivor that is accepted, by its key."""
    groups = tomllib.loads(ACCEPTED.read_text(encoding="utf-8"))["survivors"]
    return {mutant: group["reason"] for group in groups for mutant in group["mutants"]}


def score(mutants: Sequence[Mutant]) -> float:
    """Return how many of the mutants were killed, in per cent."""
    return 100 * sum(mutant.killed for mutant in mutants) / len(mutants)


def page(mutants: Sequence[Mutant], reasons: Mapping[str, str], how: str) -> str:
    """Return the page with the figures of each package, and with the survivors by their reason."""
    lines = [HEAD, f"{how}\n", "| package | mutants | killed | score |", "|---|---|---|---|"]
    for package in (*PACKAGES, ""):
        some = [mutant for mutant in mutants if mutant.function.startswith(package)]
        killed = sum(mutant.killed for mutant in some)
        name = f"`monitor.{package}`" if package else "all"
        lines.append(f"| {name} | {len(some):,} | {killed:,} | {score(some):.1f} % |")
    alive = {mutant.key for mutant in mutants if not mutant.killed}
    for reason in dict.fromkeys(reasons.values()):
        lines.append(f"\n## {reason}\n")
        lines += sorted(f"- ``{key}``" for key in alive if reasons.get(key) == reason)
    return "\n".join(lines) + "\n"


def say(heading: str, keys: Iterable[str]) -> None:
    """Print keys as lines for bench/mutants.toml."""
    for i, key in enumerate(sorted(keys)):
        print(*([heading] if i == 0 else []), file=sys.stderr)
        print(f"    {json.dumps(key, ensure_ascii=False)},", file=sys.stderr)


def main(argv: Sequence[str]) -> list[Figure]:
    """Run all mutants, or those whose names match a pattern, and compare with the list."""
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("only", nargs="*", help="patterns like monitor.core.budget*")
    options = parser.parse_args(argv)
    began = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="mutation-") as name:
        make_copy(Path(name))
        run_mutmut(Path(name), f"--max-children={options.workers}", *options.only)
        mutants = list(results(Path(name)))
    reasons = accepted()
    alive = {mutant.key for mutant in mutants if not mutant.killed}
    say("These survive, and are not listed:", alive - reasons.keys())
    if not options.only:
        say("These are listed, and do not survive:", reasons.keys() - alive)
        minutes = (datetime.now(UTC) - began).total_seconds() / 60
        how = f"{began.date()}, {minutes:.0f} minutes, {options.workers} workers:"
        PAGE.write_text(page(mutants, reasons, how), encoding="utf-8")
    return [
        Figure(
            "A small change of the core, the store or the decoder does not pass the tests",
            "mutmut; every survivor has a reason in docs/evidence/mutants.md",
            f"{score(mutants):.1f} % of {len(mutants):,} mutants killed,"
            f" {len(alive - reasons.keys())} survive without a reason",
            score(mutants) >= REQUIRED and alive <= reasons.keys(),
        )
    ]
