"""The runbooks as somebody uses them who was woken: each command can be pasted as it stands."""

import re
import shlex
import subprocess
from pathlib import Path
from string import Template

import click
import pytest

from monitor.cli import app
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.rules import RULES

FOLDER = Path(__file__).parents[1] / "docs" / "runbooks"
INDEX = FOLDER / "README.md"
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in FOLDER.glob("*.md")}
del PAGES[INDEX.stem]

FIRST = "## Do this first"

each_page = pytest.mark.parametrize("page", sorted(PAGES))
each_page_of_a_rule = pytest.mark.parametrize("page", [*RULES, *ENVIRONMENT_RULES])


def blocks(text: str) -> list[str]:
    """Return the blocks of commands of a page: indented by four, in a list by more, after a gap."""
    found = re.findall(r"(?<=\n\n)((?: {4,}\S[^\n]*\n)+)", f"{text}\n")
    return [re.sub(r"(?m)^ {4,7}", "", block) for block in found]


def variables(block: str) -> dict[str, str]:
    """Return the variables that the lines of a block set."""
    words = [shlex.split(line, comments=True) for line in block.splitlines()]
    set_in = [word for line in words for word in line if re.match(r"[A-Z_]+=", line[0])]
    return dict(word.split("=", 1) for word in set_in)


def first_block(page: str) -> str:
    """Return the commands at the top of a page."""
    return blocks(PAGES[page].partition(FIRST)[2].partition("\n## ")[0])[0]


def commands(text: str) -> list[str]:
    """Return each command line of ours in the blocks and in the sentences of a page."""
    spans = re.findall(r"`(sftp-monitor [^`]+)`", re.sub(r"\n +", " ", text))
    lines = "".join(blocks(text)).replace("\\\n", " ").splitlines()
    parts = (part.strip() for line in (*spans, *lines) for part in re.split(r" \| | && |;", line))
    return [part for part in parts if part.startswith("sftp-monitor ")]


@each_page
def test_what_to_do_first_comes_first_with_commands_and_says_what_to_make_of_them(
    page: str,
) -> None:
    headings = re.findall(r"(?m)^## .+", PAGES[page])
    assert headings[0] == FIRST
    section = PAGES[page].partition(FIRST)[2].partition("\n## ")[0]
    block = first_block(page)
    assert set(variables(block)), "it begins with the variables"
    assert [line for line in block.splitlines() if not re.match(r"[A-Z_]+=", line)]
    said = section.strip().rpartition("\n\n")[2]
    assert not said.startswith("    ")
    assert 8 < len(said.split()) < 80


@each_page_of_a_rule
def test_the_first_thing_is_to_have_the_alert_explained(page: str) -> None:
    (explain,) = (line for line in commands(first_block_as_page(page)) if " explain " in line)
    assert explain.startswith('sftp-monitor explain "$ENVIRONMENT/$CAMPAIGN" --url "$MONITOR"')


def first_block_as_page(page: str) -> str:
    """Return the commands at the top of a page as a page of their own."""
    return "\n\n" + re.sub("(?m)^", "    ", first_block(page).rstrip()) + "\n"


@each_page
def test_every_variable_is_set_at_the_top_as_in_the_index_and_no_other(page: str) -> None:
    at_the_top = variables(first_block(page))
    used = set(re.findall(r"\$\{?([A-Z_]+)", "".join(blocks(PAGES[page]))))
    prose = set(re.findall(r"\$([A-Z_]+)", PAGES[page]))
    assert used | prose <= at_the_top.keys()
    assert at_the_top.keys() <= used | prose | {"ENVIRONMENT"}
    in_the_index = variables(blocks(INDEX.read_text(encoding="utf-8"))[0])
    assert at_the_top.items() <= in_the_index.items()


@each_page
def test_every_block_is_one_that_a_shell_reads(page: str) -> None:
    for block in blocks(PAGES[page]):
        done = subprocess.run(
            ["bash", "-n"], input=block, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), block


@pytest.mark.parametrize("page", [*sorted(PAGES), "README"])
def test_every_command_of_ours_is_taken_by_the_program(page: str) -> None:
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
    known = variables(blocks(INDEX.read_text(encoding="utf-8"))[0])
    for line in commands(text):
        words = shlex.split(Template(line).safe_substitute(known), comments=True)
        parsed(app, words[1:])


def parsed(command: click.Command, words: list[str]) -> None:
    """Have a command line read as the program reads it, and nothing done; raises UsageError."""
    # What is not said by its parent, a command keeps for ever: that it has no -h, too.
    parent = click.Context(command, **command.context_settings)
    while isinstance(command, click.Group):
        _, found, words = command.resolve_command(parent, words)
        assert found is not None
        command = found
    command.make_context(command.name, words, parent=parent)


@pytest.mark.parametrize(
    "line",
    [
        "explain",
        "explain production/c-1 --nowhere",
        "check --format xml",
        "tests suspend production --url http://x too much",
    ],
)
def test_a_command_line_that_the_program_would_refuse_is_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        parsed(app, line.split())
