"""The workflow of the project's host, and what the package says of itself."""

import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest

from monitor.config.model import RUNBOOKS
from support.documents import read_yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "check.yaml"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
JOBS: dict[str, Any] = read_yaml(WORKFLOW.read_text())["jobs"]
COMMANDS = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]


@pytest.mark.slow
def test_the_workflow_follows_its_schema() -> None:
    check = Path(sysconfig.get_path("scripts")) / "check-jsonschema"
    command = [str(check), "--builtin-schema", "vendor.github-workflows", str(WORKFLOW)]
    subprocess.run(command, check=True, capture_output=True)


def test_it_runs_on_every_python_that_the_package_names() -> None:
    named = re.findall(r":: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert JOBS["python"]["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_what_it_runs_is_there() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = {name for command in COMMANDS for name in re.findall(r"\bmake ([a-z-]+)", command)}
    assert made == {"test", "demo", "install"}
    assert made <= set(targets)
    files = re.findall(r"-f (\S+)|(\.ci/run)", " ".join(COMMANDS))
    assert len(files) == 3
    for name in map("".join, files):
        assert (ROOT / name).is_file()


def test_a_release_needs_all_that_is_checked_and_only_it_may_write() -> None:
    assert set(JOBS["release"]["needs"]) == JOBS.keys() - {"release"}
    assert [name for name, job in JOBS.items() if "permissions" in job] == ["release"]


def test_it_runs_for_each_change_and_each_version_and_may_only_read() -> None:
    document = read_yaml(WORKFLOW.read_text())
    # YAML 1.1 reads the key `on` as true.
    assert document[True] == {"push": {"branches": ["main"], "tags": ["v*"]}, "pull_request": None}
    assert document["permissions"] == {"contents": "read"}
    assert JOBS["release"]["permissions"] == {"contents": "write"}
    assert JOBS["release"]["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert JOBS["python"]["strategy"]["fail-fast"] is False
    assert {job["runs-on"] for job in JOBS.values()} == {"ubuntu-latest"}


def test_each_python_is_set_up_with_options_that_the_action_has() -> None:
    steps = [step for job in JOBS.values() for step in job["steps"]]
    set_up = [one["with"] for one in steps if "setup-python" in one.get("uses", "")]
    assert set_up == [
        # The newest of them may not be released yet.
        {"python-version": "${{ matrix.python }}", "allow-prereleases": True},
        *[{"python-version": PROJECT["requires-python"].removeprefix(">=")}] * 2,
    ]


def test_the_image_is_built_run_as_any_user_and_asked_for_its_health() -> None:
    build, run, up = (step["run"] for step in JOBS["image"]["steps"] if "run" in step)
    arguments = set(re.findall(r"--build-arg (\w+)=", build))
    dockerfile = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    assert arguments == {"VERSION", "REVISION"}
    assert arguments <= set(re.findall(r"^ARG (\w+)", dockerfile, re.MULTILINE))
    assert run == "docker run --rm --read-only --cap-drop ALL --user 12345:0 sftp-monitor --version"
    compose = read_yaml((ROOT / "deploy" / "docker" / "compose.yaml").read_text())
    assert "--wait" in up.split()
    assert up.split()[-1] in compose["services"]


def test_a_release_is_of_the_tag_that_is_its_version_and_has_the_wheel() -> None:
    *_, check, wheel, release = JOBS["release"]["steps"]
    assert "monitor.__version__" in check["run"]
    assert "$GITHUB_REF_NAME" in check["run"]
    assert wheel["run"].endswith("--no-deps --no-build-isolation --wheel-dir dist .")
    assert release["run"].startswith('gh release create "$GITHUB_REF_NAME" dist/*.whl --verify-tag')
    assert release["env"] == {"GH_TOKEN": "${{ github.token }}"}


def test_each_action_is_pinned_by_its_commit_with_the_version_beside_it() -> None:
    used = re.findall(r"uses: (.+)", WORKFLOW.read_text(encoding="utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    assert len(set(used)) == len({action.partition("@")[0] for action in used})


def test_what_developers_need_is_no_extra_of_the_package() -> None:
    assert PROJECT["optional-dependencies"].keys() == {"notify", "postgres"}


def test_the_package_names_its_pages() -> None:
    home = RUNBOOKS.partition("/blob/")[0]
    assert {url.startswith(home) for url in PROJECT["urls"].values()} == {True}
    for url in PROJECT["urls"].values():
        _, inside, path = url.partition("/main/")
        assert not inside or (ROOT / path).exists()
    assert (ROOT / "SECURITY.md").is_file()
