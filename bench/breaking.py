"""Break the shipped files of deploy/, a line at a time: does a check turn red?

    PYTHONPATH=bench:tests python -m breaking                     # three lines of each file
    PYTHONPATH=bench:tests python -m breaking --seed 8 --lines 5 kubernetes/

One line is left out, put after the next one, or one word or number of it is another, so that the
file means something else. Then what follows from the file is made anew (`make generate`), and the
tests that concern it run, in a copy; the fast ones first. Left alone are comments, and lines that
are made. Prints each line that all tests missed, and the share noticed; exit code 1 below REQUIRED.
What is known to be missed is in docs/evidence/deployment.md.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
REQUIRED = 90.0
"""Per cent of the broken lines."""

PATIENCE = 900
"""Seconds for the tests of one file; a break that hangs is noticed."""

CHECKS = {
    "monitor/export/alertmanager.yaml": "deploy/test_alertmanager.py e2e/test_pages_read_well.py",
    "monitor/export/templates.tmpl": "deploy/test_alertmanager.py e2e/test_pages_read_well.py",
    "monitor/export/*compose*.yaml": "deploy/test_docker.py deploy/test_grafana.py",
    "monitor/export/dashboard.json": "deploy/test_grafana.py e2e/test_dashboard.py",
    "monitor/export/night.yaml": "deploy/test_prometheus.py",
    "monitor/export/rules.yaml": "deploy/test_prometheus.py",
    "monitor/export/unit.service": "deploy/test_systemd.py",
    "deploy/docker/Dockerfile": "deploy/test_docker.py deploy/test_kubernetes.py",
    "deploy/docker/*.yaml": "deploy/test_docker.py",
    "deploy/grafana/provisioning/*/*.yaml": "deploy/test_grafana.py",
    "deploy/kubernetes/single-sign-on/*": "deploy/test_single_sign_on.py deploy/test_kubernetes.py",
    "deploy/kubernetes/*/*.yaml": "deploy/test_kubernetes.py",
    "deploy/prometheus/prometheus.yaml": "deploy/test_prometheus.py",
}
"""The files that are written by hand → the tests that concern them, by the first that fits."""

MADE = "made by make generate"


@dataclass(frozen=True, slots=True)
class Break:
    """What was done to a line, and the text of the file since."""

    line: int
    what: str
    text: str


def files() -> Iterator[tuple[Path, str]]:
    """Yield the files that are written by hand, with the tests that concern them."""
    copies = re.findall(r'Path\("(deploy/[^"]+)"\):', (ROOT / "deploy/generate.py").read_text())
    seen = {ROOT / one for one in copies}
    for pattern, tests in CHECKS.items():
        for file in sorted(set(ROOT.glob(pattern)) - seen):
            seen.add(file)
            yield file.relative_to(ROOT), tests


def breakable(text: str) -> list[int]:
    """Return the lines (from 0) that say something, and are not made."""
    lines, made, found = text.splitlines(), False, []
    for number, line in enumerate(lines):
        if MADE in line:
            made = line.rstrip().rpartition(":")[2].strip().startswith("begin")
        if not made and re.search(r"\w", line) and not re.match(r"\s*(#|//|\{\{-? */\*)", line):
            found.append(number)
    return found


def meant(text: str) -> Any:
    """Return what a file says, or its lines where it is no YAML: not every change is one."""
    try:
        return list(yaml.safe_load_all(text))
    except yaml.YAMLError:
        return text.splitlines()


def broken(text: str, chance: random.Random) -> Break:
    """Return the text with one line broken, so that it means something else."""
    while meant((one := _broken(text, chance)).text) == meant(text):
        pass
    return one


def _broken(text: str, chance: random.Random) -> Break:
    lines = text.splitlines(keepends=True)
    number = chance.choice(breakable(text))
    line = lines[number]
    without_comment = re.sub(r"\s#\s.*", "", line)
    words = list(re.finditer(r"\d+|[A-Za-z]\w+", without_comment))
    kind = chance.choice(["left out", "after the next", "another word", "another word"])
    if kind == "after the next" and number + 1 < len(lines) and lines[number + 1] != line:
        lines[number : number + 2] = lines[number + 1], line
    elif kind == "another word" and words:
        word = chance.choice(words)
        other = str(int(word[0]) + 1) if word[0].isdigit() else word[0][1:] + word[0][0]
        lines[number] = line[: word.start()] + other + line[word.end() :]
        kind = f"{word[0]} is {other}"
    else:
        kind, lines[number] = "left out", ""
    return Break(number + 1, f"{kind}: {line.strip()}", "".join(lines))


def red(copy: Path, tests: str, marked: str) -> bool:
    """Return whether one of these tests fails in this copy, of those with this mark."""
    run = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist", "-m", marked]
    paths = [f"tests/{one}" for one in tests.split()]
    try:
        code = _run(copy, [*run, *paths])
    except subprocess.TimeoutExpired:
        return True
    return code not in (0, 5)  # 5: no test has the mark


def _run(copy: Path, command: Sequence[str]) -> int:
    environ = {**os.environ, "PYTHONPATH": str(copy), "CI": "true"}
    done = subprocess.run(
        command, cwd=copy, env=environ, capture_output=True, timeout=PATIENCE, check=False
    )
    return done.returncode


@dataclass
class Copy:
    """A copy of the tree, in which files are broken."""

    path: Path
    marks: Sequence[str]
    """Of the tests that are asked, in this order."""

    green: set[tuple[str, str]] = field(default_factory=set)

    def notices(self, file: Path, tests: str, text: str) -> bool:
        """Return whether a test fails, or nothing can be made anew, with this text in the file."""
        whole = (ROOT / file).read_text(encoding="utf-8")
        return any(self._turns_red(file, tests, mark, text, whole) for mark in self.marks)

    def _turns_red(self, file: Path, tests: str, mark: str, text: str, whole: str) -> bool:
        # What is red with nothing broken would notice everything.
        if (tests, mark) not in self.green and self._red(file, whole, tests, mark):
            raise SystemExit(f"{tests} ({mark}): red with nothing broken")
        self.green.add((tests, mark))
        found = self._red(file, text, tests, mark)
        (self.path / file).write_text(whole, encoding="utf-8")
        return found

    def _red(self, file: Path, text: str, tests: str, mark: str) -> bool:
        (self.path / file).write_text(text, encoding="utf-8")
        made = _run(self.path, [sys.executable, "deploy/generate.py"])
        return made != 0 or red(self.path, tests, mark)


def main(argv: Sequence[str]) -> int:
    """Take the options, break line after line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lines", type=int, default=3, help="of each file")
    parser.add_argument("--fast", action="store_true", help="ask only the fast tests")
    parser.add_argument("part", nargs="*", default=[""], help="of the path of a file")
    options = parser.parse_args(argv)
    count = missed = 0
    with tempfile.TemporaryDirectory() as name:
        tree = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
        every = tree.stdout.decode().strip("\0").split("\0")
        subprocess.run(["cp", "--parents", "-t", name, *every], cwd=ROOT, check=True)
        copy = Copy(Path(name), ("not slow",) if options.fast else ("not slow", "slow"))
        for file, tests in files():
            chance, text = random.Random(f"{options.seed} {file}"), (ROOT / file).read_text()
            if not any(part in str(file) for part in options.part):
                continue
            for _ in range(options.lines):
                one = broken(text, chance)
                count += 1
                if not copy.notices(file, tests, one.text):
                    missed += 1
                    print(f"missed  {file}:{one.line} {one.what}", flush=True)
            print(f"{count - missed} of {count} after {file}", flush=True)
    share = 100 * (count - missed) / count
    print(f"{count - missed} of {count} noticed: {share:.0f} %")
    return int(share < REQUIRED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
