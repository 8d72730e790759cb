"""Which labels an operator may use."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.config.formats import LABELS_LIMIT, RESERVED_LABELS, label_name, too_long
from support.config_files import an_environment, problems_in
from support.documents import read_yaml_all

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
NAME = "[a-zA-Z_][a-zA-Z0-9_]*"
ADDED_BY_PROMETHEUS = {"alertname", "alertstate", "instance", "job", "le", "quantile"}
"""What no file of ours has to mention: Prometheus puts it on targets, alerts and buckets."""


@pytest.mark.parametrize("name", ["team", "Team", "_team", "cost_centre", "t2"])
def test_a_name_that_prometheus_takes_is_fine(name: str) -> None:
    assert label_name(name) == name


@pytest.mark.parametrize("name", ["", "__team", "2t", "a-b", "a b", "a.b", "ü", "team\n"])
def test_a_name_that_prometheus_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits and _"):
        label_name(name)


@pytest.mark.matrix(fast=6)
@pytest.mark.parametrize("name", sorted(RESERVED_LABELS))
def test_a_name_that_the_monitor_uses_itself_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="set this one themselves"):
        label_name(name)


def test_labels_fit_into_an_alert_up_to_its_limit() -> None:
    frame = len(json.dumps({"a": ""}))
    assert too_long({"a": "x" * (LABELS_LIMIT - frame)}) is None
    assert too_long({"a": "x" * (LABELS_LIMIT - frame + 1)}) == (
        "expected labels of at most 1,024 bytes of JSON, found 1,025"
    )


def test_what_is_escaped_in_an_alert_counts_as_it_is_escaped() -> None:
    assert too_long({"a": "ü" * 200}) is not None


# --- where a reserved name comes from


def values(document: Any, *keys: str) -> Iterator[Any]:
    """Yield what stands under any of these keys, at any depth."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in keys:
                yield value
            yield from values(value, *keys)
    elif isinstance(document, list):
        for item in document:
            yield from values(item, *keys)


def words(found: Iterator[Any]) -> set[str]:
    """Return all that is listed or mapped under some keys."""
    return {word for value in found for word in ([value] if isinstance(value, str) else value)}


def documents(*patterns: str) -> list[Any]:
    """Return the YAML documents of the files of deploy/ that match."""
    paths = [path for pattern in patterns for path in sorted(DEPLOY.glob(pattern))]
    assert paths
    return [document for path in paths for document in read_yaml_all(path.read_text())]


def of_our_metrics() -> set[str]:
    """docs/metrics.md has the labels of every metric; tests/test_docs.py holds it to the page."""
    rows = re.findall(r"^\| `sftp_monitor\w+` \|[^|]+\|([^|]*)\|", _text("docs/metrics.md"), re.M)
    assert len(rows) > 30
    return {name for row in rows for name in re.findall(f"`({NAME})`", row)}


def of_our_rules() -> set[str]:
    """Which labels the rules look at, drop, or put on."""
    rules = documents("prometheus/*.rules.yaml", "kubernetes/base/prometheusrule.yaml")
    found = words(values(rules, "labels"))
    for expression in words(values(rules, "expr")):
        for names in re.findall(r"\b(?:without|by|on|ignoring)\s*\(([^()]*)\)", expression):
            found |= set(re.findall(NAME, names))
        for selector in re.findall(r"\{([^}]*)\}", expression):
            found |= set(re.findall(rf"({NAME})\s*[!=]", selector))
    for annotations in values(rules, "annotations"):
        found |= set(re.findall(rf"\$labels\.({NAME})", " ".join(annotations.values())))
    # Prometheus' own name for a label of ours that it has renamed.
    return {name.removeprefix("exported_") for name in found}


def of_alertmanager() -> set[str]:
    """What it groups by, routes by, inhibits by, and shows."""
    config = documents("alertmanager/*.yaml")
    matchers = words(values(config, "matchers", "source_matchers", "target_matchers"))
    named = {re.findall(NAME, matcher)[0] for matcher in matchers}
    text = "".join(path.read_text() for path in sorted(DEPLOY.glob("alertmanager/*")))
    # `team` is an example of a label of the operator's own.
    return (named | words(values(config, "group_by", "equal")) | _shown(text)) - {"team"}


def _shown(text: str) -> set[str]:
    return set(re.findall(rf"Labels\.({NAME})", text)) - {"Remove", "SortedPairs"}


def of_scraping() -> set[str]:
    """What a scrape puts on every series."""
    configs = documents(
        "prometheus/prometheus.yaml", "docker/prometheus.yaml", "kubernetes/base/*.yaml"
    )
    found = words(values(configs, "target_label", "targetLabel"))
    for external in values(configs, "external_labels", "externalLabels"):
        found |= set(external)
    for job in values(configs, "static_configs"):
        found |= {name for one in job for name in one.get("labels", {})}
    return found | words(values(configs, "targetLabels", "podTargetLabels"))


def _text(path: str) -> str:
    return (ROOT / path).read_text()


SOURCES: dict[str, Callable[[], set[str]]] = {
    "our metrics": of_our_metrics,
    "our rules": of_our_rules,
    "Alertmanager": of_alertmanager,
    "scraping": of_scraping,
    "Prometheus": lambda: ADDED_BY_PROMETHEUS,
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_label_that_someone_else_uses_is_reserved(source: str) -> None:
    assert SOURCES[source]() - RESERVED_LABELS == set()


@pytest.mark.parametrize(
    ("source", "some"),
    [
        ("our metrics", {"environment", "campaign_id", "sftp_host", "endpoint"}),
        ("our rules", {"instance", "pod", "namespace", "alertstate", "severity", "sink"}),
        ("Alertmanager", {"alertname", "rule", "severity", "environment"}),
    ],
)
def test_the_sources_are_read(source: str, some: set[str]) -> None:
    assert some <= SOURCES[source]()


# --- where it is refused


SETTINGS = {
    "environments[0].labels.{}": "labels: {{ {}: x }}",
    "environments[0].campaigns[0].labels.{}": "campaigns: [{{id: c-1, labels: {{ {}: x }} }}]",
    "environments[0].overrides[0].labels.{}": (
        "overrides: [{{match: {{name: a}}, labels: {{ {}: x }} }}]"
    ),
}


@pytest.mark.parametrize("name", ["job", "alertname", "exported_job", "namespace", "severity"])
@pytest.mark.parametrize("place", SETTINGS)
def test_a_reserved_name_is_refused_wherever_labels_are_set(
    tmp_path: Path, place: str, name: str
) -> None:
    line = SETTINGS[place].format(name)
    text = an_environment(line)
    if place.startswith("environments[0].campaigns"):
        text = text.replace("    campaigns: [{id: c-1}]\n", "")
    (problem,) = problems_in(tmp_path, text)
    assert f" {place.format(name)}: expected another label name" in problem
    assert f"own_{name.removeprefix('exported_')}:" in problem


@pytest.mark.parametrize("name", ["job", "exported_job", "pod"])
def test_a_reserved_name_is_no_label_of_the_metrics(tmp_path: Path, name: str) -> None:
    text = an_environment() + f"metrics: {{campaign_labels: [team, {name}]}}\n"
    (problem,) = problems_in(tmp_path, text)
    assert " metrics.campaign_labels[1]: expected another label name" in problem
