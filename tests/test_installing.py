"""Whatever way of installing is written down, nothing comes from outside that no hash pins.

Of this kind: what is installed, what it is built with (pip fetches the build backend by itself),
extras, and what a person does as root. Each line with pip in a page, the Makefile or the Dockerfile
is one of a few that are safe, and each lock has hashes for all that it names.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "Makefile", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [
    *sorted((ROOT / "deploy" / "docker").iterdir()),
    *sorted((ROOT / "monitor").rglob("*.py")),
]
LOCKS = {path.name: path for path in sorted(ROOT.glob("requirements*.lock"))}

PINNED = re.compile(r"install --require-hashes --no-deps( -r (requirements[\w-]*\.lock))+$")
OURS = re.compile(
    r"(install|wheel) --no-deps( --no-build-isolation( -e)?( --wheel-dir dist)? \.| dist/\*\.whl)$"
)


def commands(text: str) -> list[str]:
    """Return what pip is called with, each command on one line."""
    joined = re.sub(r"\\\n\s*", "", text)
    joined = joined.replace("$(PIP)", "pip install")
    found = re.findall(r"\bpip (?:-[\w-]+ )*((?:install|wheel|download)\b[^`&|;#\n\"]*)", joined)
    # The Makefile's variable is a command without its end.
    return [one.strip() for one in found if one.strip() != "install"]


def pinned(name: str) -> dict[str, str]:
    """Return the version of each requirement of a lock."""
    return dict(re.findall(r"^([\w.-]+)==([^ ;]+)", LOCKS[name].read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_installed_is_pinned_by_its_hash(page: Path) -> None:
    for command in commands(page.read_text(encoding="utf-8")):
        assert PINNED.match(command) or OURS.match(command), f"{page.name}: pip {command}"
        assert set(re.findall(r"-r (\S+)", command)) <= LOCKS.keys(), command


def test_the_pages_say_how_to_install_it() -> None:
    for page in ("README.md", "docs/operating.md"):
        said = commands((ROOT / page).read_text(encoding="utf-8"))
        assert "install --no-deps --no-build-isolation ." in said
        assert any("-r requirements-build.lock" in one for one in said)


@pytest.mark.parametrize("name", LOCKS)
def test_each_requirement_of_a_lock_has_its_hashes_and_no_other_source(name: str) -> None:
    text = LOCKS[name].read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())
    for entry in entries:
        assert re.match(r"[\w.-]+==\S+", entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]
    assert "://" not in text


def test_what_is_in_several_locks_is_the_same_in_all_of_them() -> None:
    versions: dict[str, set[str]] = {}
    for name in LOCKS:
        for requirement, version in pinned(name).items():
            versions.setdefault(requirement, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_the_lock_of_replicas_has_all_of_the_program_and_a_driver_that_needs_no_compiler() -> None:
    assert pinned("requirements-postgres.lock").items() >= pinned("requirements.lock").items()
    assert {"psycopg", "psycopg-binary"} <= pinned("requirements-postgres.lock").keys()


def test_the_lock_of_the_extra_has_all_of_the_program_and_apprise() -> None:
    assert pinned("requirements-notify.lock").items() >= pinned("requirements.lock").items()
    assert "apprise" in pinned("requirements-notify.lock")
