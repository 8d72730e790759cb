"""The words that docs/glossary.md retires stay out of the code and of what users read."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

RETIRED = re.compile(
    r"\b(tell|tells|telling|tellers?|told|untold|undurable|sight|judged?|fleet|roster|upkeep|farewell"
    r"|mend|mended|boards?)\b",
    re.IGNORECASE,
)

OLD = {"decisions.md", "glossary.md", "mutants.md", "reliability.md"}
"""What was written down once and is not rewritten."""

PAGES = {
    str(page.relative_to(ROOT)): page
    for page in [ROOT / "README.md", ROOT / "config.example.yaml", *(ROOT / "docs").rglob("*.md")]
    if page.name not in OLD
}

CODE = [path for path in (ROOT / "monitor").rglob("*") if path.suffix in {".py", ".html"}]


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_page_uses_the_words_of_the_field(page: str) -> None:
    text = PAGES[page].read_text(encoding="utf-8")
    found = [
        f"{number}: {line}"
        for number, line in enumerate(text.splitlines(), 1)
        if RETIRED.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("path", sorted(CODE), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_uses_the_words_of_the_field(path: Path) -> None:
    # Names as well: of `told_at` or `_judge_by` the words are looked at one by one.
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [
        f"{number}: {line}"
        for number, line in enumerate(lines, 1)
        if RETIRED.search(re.sub(r"_+|(?<=[a-z])(?=[A-Z])", " ", line))
    ]
    assert found == []
