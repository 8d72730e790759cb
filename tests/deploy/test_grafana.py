"""The dashboard: its queries, in the real Prometheus that scrapes a real monitor.

Grafana itself is not run: what its panels ask is what can be wrong without anybody noticing.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from monitor.config.model import RUNBOOKS
from support.boards import a_rich_snapshot
from support.builders import NOW
from support.scrapes import scrape

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
DASHBOARD: dict[str, Any] = json.loads(
    (FOLDER / "dashboards" / "sftp-monitor.json").read_text(encoding="utf-8")
)
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in PANELS
    for target in panel.get("targets", [])
}
RECORDED = {
    "sftp_monitor:alert:held": {"environment", "campaign_id", "rule", "severity", "sftp_host"}
}
OF_THE_TARGET = {"instance", "job"}

each_query = pytest.mark.parametrize("name", QUERIES)


def query(name: str) -> str:
    """Return a panel's query, with everything chosen in Grafana's variables."""
    chosen = {"$environment": ".*", "$campaign": ".*", "$job": ".*", "$__rate_interval": "1m"}
    text: str = QUERIES[name]
    for variable, value in chosen.items():
        text = text.replace(variable, value)
    assert "$" not in text
    return text


@cache
def exported() -> dict[str, set[str]]:
    """Return the labels of every metric that the monitor exports, or Prometheus records of it."""
    found = {name: set(labels) for name, labels in RECORDED.items()}
    for family in scrape(a_rich_snapshot(), sinks={"log": (1, NOW)}).families:
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def selectors(node: Any) -> Iterator[Any]:
    """Yield every selector of a parsed query."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for part in ("lhs", "rhs", "expr", "vector_selector"):
        if hasattr(node, part):
            yield from selectors(getattr(node, part))
    for argument in getattr(node, "args", []):
        yield from selectors(argument)


@each_query
def test_a_query_asks_for_metrics_and_labels_that_there_are(name: str) -> None:
    metrics = exported()
    found = list(selectors(promql_parser.parse(query(name))))
    assert found or "vector(" in query(name)
    for selector in found:
        assert selector.name in metrics or selector.name.startswith("process_")
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= metrics.get(selector.name, set()) | OF_THE_TARGET


@each_query
def test_the_labels_of_a_legend_are_in_the_answer(name: str) -> None:
    title, _, ref = name.rpartition(" ")
    (panel,) = [one for one in PANELS if one["title"] == title]
    (target,) = [one for one in panel["targets"] if one["refId"] == ref]
    grouped = re.search(r"\bby \(([^)]+)\)", target["expr"])
    shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    every = set().union(*exported().values()) | OF_THE_TARGET
    assert shown <= (set(re.split(r", *", grouped[1])) if grouped else every)


def test_the_table_shows_since_when_with_the_name_and_the_timeline_only_whether() -> None:
    """The value of `sftp_monitor:alert:held` is since when; Grafana wants milliseconds."""
    assert query("Broken now, and since when A").endswith(") * 1000")
    assert query("What was told when A").endswith("> bool 0")


def test_campaigns_are_chosen_by_their_names() -> None:
    """Of a series as Grafana writes it, in Prometheus' order, which is the alphabet's."""
    (campaign,) = [one for one in DASHBOARD["templating"]["list"] if one["name"] == "campaign"]
    pattern = campaign["regex"].strip("/").replace("(?<", "(?P<")
    labels = sorted(
        {"campaign_id": "c-1", "campaign_name": "Retail leads", "sftp_host": "x"}.items()
    )
    shown = ",".join(f'{name}="{value}"' for name, value in labels)
    found = re.search(pattern, f"sftp_monitor_campaign_info{{{shown}}} 1 1800000000000")
    assert found is not None
    assert found.groupdict() == {"value": "c-1", "text": "Retail leads"}


def test_every_note_in_the_graphs_is_a_query_of_ours() -> None:
    for note in DASHBOARD["annotations"]["list"]:
        for selector in selectors(promql_parser.parse(note["expr"].replace("$job", ".*"))):
            assert selector.name in exported() or selector.name.startswith("process_")


def test_nobody_edits_it_by_hand_and_every_graph_has_a_unit() -> None:
    assert DASHBOARD["editable"] is False
    graphs = [one for one in PANELS if one["type"] == "timeseries"]
    assert all(one["fieldConfig"]["defaults"]["unit"] for one in graphs)


def test_no_two_panels_overlap_or_share_a_number() -> None:
    cells = [
        (x, y)
        for panel in PANELS
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_every_panel_says_what_it_shows_and_asks_the_chosen_source() -> None:
    for panel in PANELS:
        if panel["type"] != "row":
            assert panel["description"]
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


def test_a_rule_in_the_table_leads_to_its_runbook() -> None:
    (table,) = [panel for panel in PANELS if panel["title"] == "Broken now, and since when"]
    (link,) = [
        value
        for override in table["fieldConfig"]["overrides"]
        for one in override["properties"]
        if one["id"] == "links"
        for value in one["value"]
    ]
    assert link["url"] == RUNBOOKS.replace("{rule}", "${__value.text}")


def test_the_links_of_the_alerts_lead_here_and_choose_what_they_are_about() -> None:
    rules = (FOLDER.parent / "prometheus" / "sftp-monitor.rules.yaml").read_text(encoding="utf-8")
    places = set(re.findall(r"localhost:3000/d/([\w-]+)", rules))
    chosen = set(re.findall(r"[?&]var-(\w+)=", rules))
    assert places == {DASHBOARD["uid"]}
    assert chosen <= {variable["name"] for variable in DASHBOARD["templating"]["list"]}


def test_grafana_is_provisioned_with_the_dashboard_where_compose_mounts_it() -> None:
    dashboards = yaml.safe_load((FOLDER / "provisioning/dashboards/sftp-monitor.yaml").read_text())
    sources = yaml.safe_load((FOLDER / "provisioning/datasources/prometheus.yaml").read_text())
    assert dashboards["apiVersion"] == sources["apiVersion"] == 1
    (provider,), (source,) = dashboards["providers"], sources["datasources"]
    services = yaml.safe_load((FOLDER.parent / "docker" / "compose.yaml").read_text())["services"]
    targets = [mount.split(":")[1] for mount in services["grafana"]["volumes"]]
    assert provider["options"]["path"] in targets
    assert "/etc/grafana/provisioning" in targets
    assert provider["type"] == "file"
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert "prometheus" in services
