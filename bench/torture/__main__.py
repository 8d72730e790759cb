"""Runs parts of the torture, keeps their figures, and writes the page of reliability from them.

python -m torture             all parts, one after the other: hours
python -m torture kills       one part
python -m torture kills …     one part, with its own flags: shown, but not kept for the page
python -m torture page        only the page, from the figures that are kept
"""

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torture.figures import Figure

PARTS = (
    "catalogue", "kills", "simulation", "clock", "disk", "answers", "rows", "config", "secrets",
    "web", "requests", "replicas", "nodes", "soak", "mutation",
)  # fmt: skip
"""In the order of the page."""

EVIDENCE = Path(__file__).parents[2] / "docs" / "evidence"
FIGURES = EVIDENCE / "reliability.json"
PAGE = EVIDENCE / "reliability.md"

HEAD = """# Reliability

What this monitor promises, how each promise is put to the test, and what the last full test
measured. Every figure can be had again with the command beside it; `make torture` runs them all
and writes this page. The test suite runs the same code in a short form on every change.

| promise | how it is tested | figure | date | command |
|---|---|---|---|---|
"""

TAIL = Path(__file__).with_name("wrong.md").read_text(encoding="utf-8")
"""What was wrong while every figure held; written by hand."""


def run(part: str, argv: Sequence[str]) -> bool:
    """Run one part, keep the figures of its full length; return whether every promise was kept."""
    figures: list[Figure] = importlib.import_module(f"torture.{part}").main(argv)
    # The replay of a seed, or a short try, must not take the place of what is published.
    if not argv:
        _keep(part, figures)
    for figure in figures:
        print(f"{'kept  ' if figure.kept else 'BROKEN'} {figure.promise}: {figure.figure}")
    return all(figure.kept for figure in figures)


def _keep(part: str, figures: Sequence[Figure]) -> None:
    results = _results()
    results[part] = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"make torture PART={part}",
        "figures": [asdict(figure) for figure in figures],
    }
    FIGURES.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def page(results: Mapping[str, Any]) -> str:
    """Return the page with these figures."""
    rows = [
        f"| {one['promise']} | {one['how']} | {'' if one['kept'] else '**broken:** '}"
        f"{one['figure']} | {result['date']} | `{result['command']}` |"
        for part in PARTS
        if (result := results.get(part))
        for one in result["figures"]
    ]
    return HEAD + "\n".join(rows) + "\n" + TAIL


def _results() -> dict[str, Any]:
    if not FIGURES.exists():
        return {}
    found: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return found


def main(argv: Sequence[str]) -> int:
    """Run what `argv` names; return the exit code: 1 if a promise was broken."""
    chosen, flags = (argv[:1], argv[1:]) if argv else (PARTS, ())
    kept = [run(part, flags) for part in chosen if part != "page"]
    PAGE.write_text(page(_results()), encoding="utf-8")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
