"""What follows from the rules' table is made by `make generate`, and nobody edits it by hand."""

import io
import runpy
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MADE = (
    "deploy/alertmanager/alertmanager.yaml",
    "deploy/alertmanager/sftp-monitor.tmpl",
    "deploy/docker/compose.yaml",
    "deploy/docker/compose-replicas.yaml",
    "deploy/grafana/dashboards/sftp-monitor.json",
    "deploy/kubernetes/base/prometheusrule.yaml",
    "deploy/prometheus/night.rules.yaml",
    "deploy/prometheus/sftp-monitor.rules.yaml",
    "deploy/systemd/sftp-monitor.service",
    "docs/alerts.md",
    "docs/runbooks/README.md",
    "monitor/export/prometheusrule.yaml",
    "monitor/export/rules.yaml",
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder with the files that are made, and what makes them."""
    sources = (ROOT / "monitor" / "export").iterdir()
    every = (*MADE, "deploy/generate.py", *(str(one.relative_to(ROOT)) for one in sources))
    for name in every:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def generate(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run what makes them, of this folder; return its exit code and what it printed."""
    script = str(folder / "deploy" / "generate.py")
    with (
        pytest.MonkeyPatch.context() as patched,
        redirect_stdout(io.StringIO()) as out,
    ):
        patched.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(script, run_name="__main__")
    return int(ended.value.code or 0), out.getvalue()


def test_all_that_is_made_is_as_it_would_be_made() -> None:
    assert generate(ROOT, "--check") == (0, "")


@pytest.mark.parametrize("name", MADE)
def test_an_edit_by_hand_is_found_and_undone(name: str, copy: Path) -> None:
    before = (copy / name).read_text(encoding="utf-8")
    made = "budget_insufficient" if "budget_insufficient" in before else "sftp"
    (copy / name).write_text(before.replace(made, "another"), encoding="utf-8")
    code, said = generate(copy, "--check")
    assert code == 1
    assert f"\n{name}: " in f"\n{said}"
    assert generate(copy)[0] == 0
    assert generate(copy, "--check")[0] == 0
    assert (copy / name).read_text(encoding="utf-8") == before
