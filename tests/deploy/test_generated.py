"""What follows from the rules' table is made by `make generate`, and nobody edits it by hand."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MADE = (
    "deploy/generate.py",
    "deploy/kubernetes/prometheusrule.yaml",
    "deploy/prometheus/sftp-monitor.rules.yaml",
    "docs/alerts.md",
    "docs/runbooks/README.md",
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder with the files that are made, and what makes them."""
    for name in MADE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def generate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "deploy" / "generate.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_all_that_is_made_is_as_it_would_be_made(copy: Path) -> None:
    done = generate(copy, "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", [name for name in MADE if not name.endswith(".py")])
def test_an_edit_by_hand_is_found_and_undone(name: str, copy: Path) -> None:
    before = (copy / name).read_text(encoding="utf-8")
    (copy / name).write_text(
        before.replace("budget_insufficient", "budget_ample"), encoding="utf-8"
    )
    done = generate(copy, "--check")
    assert done.returncode == 1
    assert done.stdout.startswith(f"{name}: ") or f"\n{name}: " in done.stdout
    assert generate(copy).returncode == 0
    assert generate(copy, "--check").returncode == 0
    assert (copy / name).read_text(encoding="utf-8") == before
