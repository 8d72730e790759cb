"""What the layers' linter cannot see: what the core imports, who reads a clock, and how long."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import monitor

PACKAGE = Path(monitor.__file__).parent
MODULES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}

CORE_MAY_IMPORT = frozenset(
    {
        "abc", "collections", "dataclasses", "datetime", "enum", "functools", "hashlib", "heapq",
        "math", "re", "statistics", "typing", "unicodedata", "zlib", "zoneinfo",
    }
)  # fmt: skip
"""Of the standard library: values and arithmetic; nothing that waits, logs or looks outside.

`zoneinfo` reads the rules of time zones, which are the same wherever it looks.
"""

LONGEST_MODULE, LONGEST_FUNCTION = 300, 45

CLOCKS = frozenset(
    {
        "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter",
        "time.perf_counter_ns", "time.localtime", "time.gmtime", "datetime.datetime.now",
        "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today",
    }
)  # fmt: skip


@cache
def read(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield what is imported: (the name it has here, its full dotted name)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` where the code says so; what is not made of names alone is no clock."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def clock_reads(tree: ast.Module) -> set[str]:
    """Return the clocks that a module names (called or handed on) and any `….time()` of a loop."""
    known = dict(imports(tree))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            head, _, rest = dotted(node).partition(".")
            full = ".".join(filter(None, (known.get(head, head), rest)))
            found |= {full} & CLOCKS
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            nothing_given = not node.args and not node.keywords
            if node.func.attr == "time" and nothing_given:
                found.add(ast.unparse(node.func))
    return found


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield each function with its length in lines, the docstring left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = ast.get_docstring(node, clean=False) is not None
            docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
            yield node.name, (node.end_lineno or 0) - node.lineno + 1 - docstring


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("core/")])
def test_the_core_imports_a_short_list_of_the_standard_library_and_itself(module: str) -> None:
    outside = {full for _, full in imports(read(MODULES[module]))}
    outside = {name for name in outside if not name.startswith("monitor.core")}
    assert {name.partition(".")[0] for name in outside} <= CORE_MAY_IMPORT


def test_only_one_module_and_the_demo_read_a_clock() -> None:
    others = [one for one in MODULES if one != "clocks.py" and not one.startswith("demo/")]
    found = {module: clock_reads(read(MODULES[module])) for module in others}
    assert {module: reads for module, reads in found.items() if reads} == {}


def test_a_module_is_read_in_one_sitting() -> None:
    lines = {
        module: len(path.read_text(encoding="utf-8").splitlines())
        for module, path in MODULES.items()
    }
    assert {module: count for module, count in lines.items() if count > LONGEST_MODULE} == {}


def test_a_function_fits_on_a_page() -> None:
    assert [
        (module, name, size)
        for module, path in MODULES.items()
        for name, size in functions(read(path))
        if size > LONGEST_FUNCTION
    ] == []


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "import time as t\nread = t.monotonic",
        "from time import monotonic_ns\nmonotonic_ns()",
        "from time import time as now\nnow()",
        "from datetime import datetime, UTC\ndatetime.now(UTC)",
        "import datetime as dt\ndt.datetime.utcnow()",
        "from datetime import date\ndate.today()",
        "import asyncio\nasyncio.get_running_loop().time()",
        "def f(loop):\n    return loop.time() + 1",
    ],
)
def test_a_read_of_a_clock_is_found_however_it_is_written(source: str) -> None:
    assert clock_reads(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(at, UTC)",
        "def f(clock):\n    return clock.elapsed() - clock.wall()",
        "def f(now):\n    return now()",
        "import time\ntime.strftime('%Y', moment)",
    ],
)
def test_a_clock_that_is_handed_in_is_no_read_of_a_clock(source: str) -> None:
    assert not clock_reads(ast.parse(source))
