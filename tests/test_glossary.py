"""The words that docs/glossary.md retires stay out of what users read."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

RETIRED = re.compile(
    r"\b(tell|tells|telling|tellers?|told|untold|undurable|fleet|roster|farewell|mend|mended)\b",
    re.IGNORECASE,
)

OLD = {"decisions.md", "glossary.md", "mutants.md", "reliability.md", "architecture.md"}
"""What quotes the code as it is named today, or was written down once and is not rewritten."""

PAGES = {
    str(page.relative_to(ROOT)): page
    for page in [ROOT / "README.md", ROOT / "config.example.yaml", *(ROOT / "docs").rglob("*.md")]
    if page.name not in OLD
}


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_page_uses_the_words_of_the_field(page: str) -> None:
    text = PAGES[page].read_text(encoding="utf-8")
    found = [
        f"{number}: {line}"
        for number, line in enumerate(text.splitlines(), 1)
        if RETIRED.search(line)
    ]
    assert found == []
