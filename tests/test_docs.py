"""What the documents say is so: rules, commands, targets, fields, metrics, links."""

import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import click
import promql_parser
import pytest

from monitor.cli import COMMANDS, app, loaded
from monitor.config import load_config
from monitor.config.model import RUNBOOKS
from monitor.core.environment import UNANSWERED
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.model import Reason
from monitor.core.rule import BaseRule
from monitor.core.rules import RULES
from monitor.serialize import Links, record_of, to_json
from support.boards import a_rich_snapshot
from support.builders import NOW
from support.documents import read_yaml
from support.events import FIRING
from support.scrapes import scrape, some_own_metrics

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
METRICS = ROOT / "docs" / "metrics.md"
RUNBOOK_INDEX = ROOT / "docs" / "runbooks" / "README.md"
RUNBOOK_PAGES = {
    page.stem: page for page in RUNBOOK_INDEX.parent.glob("*.md") if page != RUNBOOK_INDEX
}
DOCUMENTS = {
    str(page.relative_to(ROOT)): page for page in [README, *sorted((ROOT / "docs").rglob("*.md"))]
}

ALL_RULES: dict[str, type[BaseRule]] = {**RULES, **ENVIRONMENT_RULES}
SEVERITIES = {name: cls().severity.value for name, cls in ALL_RULES.items()}

PROMETHEUS_RULES = ROOT / "deploy" / "prometheus" / "sftp-monitor.rules.yaml"
PROMETHEUS_ALERTS: list[dict[str, Any]] = [
    rule
    for group in read_yaml(PROMETHEUS_RULES.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
]


def runbook_of(alert: Mapping[str, Any]) -> str:
    """Return the name of the page that an alert of Prometheus points to."""
    return Path(alert["annotations"]["runbook_url"]).stem


META = {
    runbook_of(alert): alert for alert in PROMETHEUS_ALERTS if runbook_of(alert) not in ALL_RULES
}
"""The alerts about the monitor itself, by the name of their page."""

WITHOUT_AN_ALERT = {"is_it_scraped", "lost_node"}
"""Pages that another page leads to, when its alert has come or before there can be one."""

HEADINGS = ["Do this first", "Meaning", "Impact", "Diagnosis", "Mitigation", "False positives"]
LONGEST_RUNBOOK = 72

LEFT_OUT = "…"
"""In an example: there is more of it."""

each_document = pytest.mark.parametrize("document", DOCUMENTS)
each_runbook = pytest.mark.parametrize("rule", sorted(RUNBOOK_PAGES))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def tables(text: str) -> Iterator[dict[str, str]]:
    """Yield each row of each table in the text: the heading of a column → its cell."""
    heads: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            heads = []
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not heads:
            heads = cells
        elif set(line) - set("|-"):
            assert len(cells) == len(heads), line
            yield dict(zip(heads, cells, strict=True))


def code(text: str) -> list[str]:
    """Return what is code in the text: each line of a block, and what is between backticks."""
    blocks = re.findall(r"^ {4,}\S[^\n]*$|^```\w*\n.*?^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    prose = "\n".join(line for line in text.splitlines() if line.strip() not in lines)
    return [*lines, *re.findall(r"`([^`\n]+)`", prose)]


def words(cell: str) -> set[str]:
    """Return what stands between backticks in a cell."""
    return set(re.findall(r"`([^`]+)`", cell))


def column(page: Path, key: str, value: str) -> dict[str, str]:
    """Return a table's column by another one, whose name in backticks may be a link."""
    rows = [row for row in tables(text_of(page)) if {key, value} <= row.keys()]
    named = [(words(row[key]), row[value]) for row in rows]
    assert all(len(names) == 1 for names, _ in named)
    return {names.pop(): cell for names, cell in named}


# --- the runbooks ------------------------------------------------------------------------------


def test_every_alert_has_a_runbook_and_every_runbook_an_alert_or_a_page_that_leads_there() -> None:
    with_an_alert = RUNBOOK_PAGES.keys() - WITHOUT_AN_ALERT
    assert with_an_alert == ALL_RULES.keys() | META.keys()
    assert {runbook_of(alert) for alert in PROMETHEUS_ALERTS} == with_an_alert
    assert len(PROMETHEUS_ALERTS) == len(with_an_alert)
    for name in WITHOUT_AN_ALERT:
        assert f"({name}.md)" in text_of(RUNBOOK_PAGES["monitor_absent"])


def test_an_alert_of_prometheus_points_where_the_events_of_its_rule_point() -> None:
    for alert in PROMETHEUS_ALERTS:
        link = alert["annotations"]["runbook_url"]
        assert link == RUNBOOKS.replace("{rule}", runbook_of(alert))


def test_an_alert_points_to_the_runbook_of_its_rule() -> None:
    folder = RUNBOOK_INDEX.parent.relative_to(ROOT)
    assert RUNBOOKS.endswith(f"/{folder}/{{rule}}.md")


def test_the_index_has_every_rule_with_its_default_severity_and_a_link() -> None:
    assert column(RUNBOOK_INDEX, "rule", "severity") == SEVERITIES
    assert {f"{name}.md" for name in RUNBOOK_PAGES} <= set(links(text_of(RUNBOOK_INDEX)))


def test_the_index_has_every_alert_about_the_monitor_itself() -> None:
    severities = {name: alert["labels"]["severity"] for name, alert in META.items()}
    alerts = {name: f"`{alert['alert']}`" for name, alert in META.items()}
    assert column(RUNBOOK_INDEX, "page", "severity") == severities
    assert column(RUNBOOK_INDEX, "page", "alert") == alerts


def test_the_index_says_which_rules_are_about_an_environment() -> None:
    about = {name: "environment" if name in ENVIRONMENT_RULES else "campaign" for name in ALL_RULES}
    assert column(RUNBOOK_INDEX, "rule", "about") == about


@each_runbook
def test_a_runbook_has_the_five_parts_in_order(rule: str) -> None:
    assert re.findall(r"^## (.+)$", text_of(RUNBOOK_PAGES[rule]), re.MULTILINE) == HEADINGS


@each_runbook
def test_a_runbook_names_its_rule_and_the_severity_first(rule: str) -> None:
    title, _, subtitle = text_of(RUNBOOK_PAGES[rule]).splitlines()[:3]
    assert title == f"# {rule}"
    if rule in ALL_RULES:
        assert f"· {SEVERITIES[rule]} by default ·" in subtitle
    else:
        own = "An alert about the monitor itself" if rule in META else "No alert of its own, "
        assert subtitle.startswith(own)
        severity = META[rule]["labels"]["severity"] if rule in META else "critical|none"
        assert re.search(f" · ({severity}) · ", subtitle)


@each_runbook
def test_a_runbook_is_short_enough_to_be_read_at_night(rule: str) -> None:
    assert len(text_of(RUNBOOK_PAGES[rule]).splitlines()) <= LONGEST_RUNBOOK


@each_runbook
def test_a_runbook_says_how_to_look(rule: str) -> None:
    lines = code(text_of(RUNBOOK_PAGES[rule]).partition("## Mitigation")[0])
    asked = [line for line in lines if re.match("curl|promtool|sftp-monitor", line)]
    of_the_monitor = r'"\$MONITOR/api/v1/|sftp-monitor explain' if rule in ALL_RULES else ""
    assert any(re.search(of_the_monitor, line) for line in asked)


def test_the_runbook_of_unreadable_explains_every_reason_and_no_other() -> None:
    rows = [row["reason"] for row in tables(text_of(RUNBOOK_PAGES["unreadable"]))]
    explained = [reason for cell in rows for reason in words(cell)]
    assert sorted(explained) == sorted(Reason)


def test_the_runbook_of_api_unreachable_explains_every_reason_that_opens_the_breaker() -> None:
    assert words(text_of(RUNBOOK_PAGES["api_unreachable"])) >= {*UNANSWERED, Reason.NOT_FOUND}


# --- the README --------------------------------------------------------------------------------


def test_the_readme_has_every_command() -> None:
    commands = column(README, "command", "does")
    assert {command.split()[1] for command in commands} == COMMANDS.keys()


def test_the_config_of_the_quick_start_is_one(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```", text_of(README), re.MULTILINE | re.DOTALL)
    (tmp_path / "sftp-monitor.yaml").write_text(example, encoding="utf-8")
    config = load_config(tmp_path / "sftp-monitor.yaml", {"TALKOVER_TOKEN": "talq_example"})
    assert config.environments[0].discovery.enabled


def test_every_make_target_in_the_readme_exists() -> None:
    targets = re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE)
    named = [line.split()[1] for line in code(text_of(README)) if line.startswith("make ")]
    assert set(named) >= {"demo", "test", "check"}
    assert set(named) <= set(targets)


def test_make_help_names_what_a_newcomer_needs() -> None:
    said = subprocess.run(
        ["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert set(re.findall(r"^ +make ([a-z-]+)", said, re.MULTILINE)) >= {"demo", "test", "check"}


def test_the_example_of_an_alert_has_fields_of_an_alert_only() -> None:
    (example,) = re.findall(r"^```json\n(.*?)^```", text_of(README), re.MULTILINE | re.DOTALL)
    shown = json.loads(example)
    event = replace(FIRING, epoch="e90c4", impact="calling now until 17:00")
    said = to_json(record_of(event, Links("https://runbooks.example/{rule}")))
    assert shown.keys() - {LEFT_OUT} <= said.keys()
    assert {name: type(value) for name, value in shown.items() if name != LEFT_OUT} == {
        name: type(said[name]) for name in shown if name != LEFT_OUT
    }


def test_the_example_of_an_alert_is_of_a_rule_as_it_is() -> None:
    (example,) = re.findall(r"^```json\n(.*?)^```", text_of(README), re.MULTILINE | re.DOTALL)
    shown = json.loads(example)
    assert shown["level"] == SEVERITIES[shown["rule"]]
    assert ALL_RULES[shown["rule"]].next_step.startswith(shown["next_step"].removesuffix(LEFT_OUT))


def test_the_changelog_has_a_place_for_what_is_not_released_yet() -> None:
    assert "\n## [Unreleased]\n" in text_of(ROOT / "CHANGELOG.md")


# --- the metrics -------------------------------------------------------------------------------


@cache
def rendered() -> dict[str, tuple[str, set[str]]]:
    """Return type and labels of each metric of ours that a page with everything on it has."""
    found = {}
    own = some_own_metrics()
    own.show_replica("6e837340", lambda: 2)
    for family in scrape(a_rich_snapshot(), own=own, sinks={"log": (1, NOW)}).families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels}
        found[name] = (family.type, labels - {"le"})
    return {name: what for name, what in found.items() if name.startswith("sftp_monitor_")}


def test_every_metric_is_documented_with_its_type_and_labels_and_no_other_is() -> None:
    rows = [row for row in tables(text_of(METRICS)) if "metric" in row]
    documented = [(row["metric"].strip("`"), (row["type"], words(row["labels"]))) for row in rows]
    assert dict(documented) == rendered()
    assert len(documented) == len(rendered())


def test_every_metric_says_what_it_means_and_when_it_is_absent() -> None:
    assert all(row["meaning"] and row["absent"] for row in tables(text_of(METRICS)))


@each_document
def test_a_query_that_is_shown_is_one(document: str) -> None:
    for line in code(text_of(DOCUMENTS[document])):
        if line.startswith("promtool query instant"):
            promql_parser.parse(shlex.split(line)[-1].replace('"$ENVIRONMENT"', '"production"'))


@each_document
def test_a_metric_that_is_named_anywhere_exists(document: str) -> None:
    named = re.findall(r"\bsftp_monitor_[a-z0-9_]*[a-z0-9]\b", text_of(DOCUMENTS[document]))
    histograms = [name for name, (kind, _) in rendered().items() if kind == "histogram"]
    parts = {f"{name}_{part}" for name in histograms for part in ("sum", "count", "bucket")}
    assert set(named) <= rendered().keys() | parts


# --- commands and links, wherever they are -----------------------------------------------------


def links(text: str) -> list[str]:
    """Return where the links of the text point to."""
    defined = re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    return [*re.findall(r"\]\(([^)\s]+)\)", text), *defined]


def headings(page: Path) -> set[str]:
    """Return the anchors of a page: what its headings are called in a link."""
    found = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in found}


def without_an_end(line: str) -> list[str]:
    """Return the words of a command line, up to another command, a comment or the end."""
    command = re.split(r" (?:&&|\||>|#|\\$)", line.replace("\\|", "|"))[0]
    return shlex.split(command)


def test_no_link_of_the_readme_is_relative_for_the_package_index_shows_it_too() -> None:
    text = text_of(README)
    assert [link for link in links(text) if not re.match("https://|#", link)] == []
    # What is named by a path in brackets, or in a second pair of them, is defined below.
    named = {
        *re.findall(r"\]\[([^\]]+)\]", text),
        *re.findall(r"\[([\w/.-]+[/.][\w/.-]*)\](?!:)", text),
    }
    assert named == set(re.findall(r"^\[([^\]]+)\]: ", text, re.MULTILINE))


@each_document
def test_a_link_into_this_repository_by_its_url_points_to_a_file_that_exists(document: str) -> None:
    home = PROJECT["urls"]["Homepage"]
    raw = home.replace("github.com", "raw.githubusercontent.com")
    for link in links(text_of(DOCUMENTS[document])):
        if link.startswith((home, raw)) and link not in PROJECT["urls"].values():
            place = re.fullmatch(rf"(?:{home}/(?:blob|(tree))|{raw})/main/([^#?]+)(?:#(.+))?", link)
            assert place, link
            folder, path, anchor = place.groups()
            assert (ROOT / path).is_dir() if folder else (ROOT / path).is_file(), link
            assert not anchor or anchor in headings(ROOT / path), link


@each_document
def test_a_relative_link_points_to_a_file_that_exists(document: str) -> None:
    page = DOCUMENTS[document]
    relative = [link for link in links(text_of(page)) if not re.match(r"[a-z]+:|#", link)]
    paths = [page.parent / link.partition("#")[0] for link in relative]
    assert [str(path) for path in paths if not path.exists()] == []


@each_document
def test_a_link_to_a_section_points_to_a_heading_that_exists(document: str) -> None:
    page = DOCUMENTS[document]
    for link in links(text_of(page)):
        name, _, anchor = link.partition("#")
        if anchor and not re.match(r"[a-z]+:", link):
            assert anchor in headings(page.parent / name if name else page), link


@each_document
def test_a_command_that_is_shown_exists_with_its_options(document: str) -> None:
    for line in code(text_of(DOCUMENTS[document])):
        name, _, rest = line.partition("sftp-monitor ")
        if rest and name in {"", ".venv/bin/"}:
            assert unknown_words(rest) == [], line


def unknown_words(line: str) -> list[str]:
    """Return the first subcommand, or the options, that the program does not have."""
    command: click.Command = app
    unknown: list[str] = []
    for word in without_an_end(line):
        if isinstance(command, click.Group):
            alternatives = word.split("|")
            known = COMMANDS if command is app else command.commands
            missing = [one for one in alternatives if one not in known]
            if missing:
                return missing
            name = alternatives[0]
            command = loaded(name) if command is app else command.commands[name]
        elif word.startswith("-"):
            flags = {flag for one in command.params for flag in one.opts}
            unknown += {word} - {"--help", *flags}
    return unknown


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("check --url URL --campaign ID | jq", []),
        ("config check|show|schema", []),
        ("config check FILE && make coffee", []),
        ("config chek FILE", ["chek"]),
        ("explane ID", ["explane"]),
        ("events --last 24h", ["--last"]),
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str, unknown: list[str]) -> None:
    assert unknown_words(line) == unknown
