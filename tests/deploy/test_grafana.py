"""The dashboard: its queries, in the real Prometheus that scrapes a real monitor.

Grafana itself is not run: its own types read the file, and what its panels ask is asked.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.cog.runtime import panelcfg_config
from grafana_foundation_sdk.models.dashboard import Dashboard

from monitor.config.model import RUNBOOKS
from support.boards import a_rich_snapshot
from support.builders import NOW
from support.documents import read_yaml
from support.scrapes import scrape
from test_queries import answered

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
DASHBOARD: dict[str, Any] = json.loads(
    (FOLDER / "dashboards" / "sftp-monitor.json").read_text(encoding="utf-8")
)
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
NOTES: list[dict[str, Any]] = DASHBOARD["annotations"]["list"]
VARIABLES = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in PANELS
    for target in panel.get("targets", [])
}
ASKED = (
    QUERIES
    | {f"note: {note['name']}": note["expr"] for note in NOTES}
    | {
        f"variable: {name}": re.sub(
            r"label_values\((.+), \w+\)|query_result\((.+)\)", r"\1\2", query
        )
        for name, one in VARIABLES.items()
        if one["type"] == "query"
        for query in [one["query"]["query"]]
    }
)
"""Everything that Grafana asks Prometheus: for panels, notes in the graphs, and variables."""
RECORDED = {
    "sftp_monitor:alert:held": {
        *("environment", "campaign_id", "campaign_name", "rule", "severity", "sftp_host", "team")
    }
}
OF_THE_TARGET = {"instance", "job"}

each_query = pytest.mark.parametrize("name", ASKED)
each_of_a_panel = pytest.mark.parametrize("name", QUERIES)


def query(name: str) -> str:
    """Return what is asked, with everything chosen in Grafana's variables."""
    chosen = dict.fromkeys(("$environment", "$campaign", "$job", "$team"), ".*")
    chosen |= {"$__rate_interval": "1m", "$__range": "1h"}
    text: str = ASKED[name]
    for variable, value in chosen.items():
        text = text.replace(variable, value)
    assert "$" not in text
    return text


@cache
def exported() -> dict[str, set[str]]:
    """Return the labels of every metric that the monitor exports, or Prometheus records of it."""
    found = {name: set(labels) for name, labels in RECORDED.items()}
    for family in scrape(a_rich_snapshot("team"), sinks={"log": (1, NOW)}).families:
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


def lost(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """Yield the places in ours that are not in theirs, or not the same."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from lost(value, theirs.get(key), f"{place}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for one, other in zip(ours, theirs, strict=True):
            yield from lost(one, other, place)
    elif ours != theirs:
        yield place


def test_grafanas_own_types_know_every_field_and_every_kind_of_panel() -> None:
    register_default_plugins()
    understood = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    # What only the data source of Prometheus reads of a note, and what only the editor shows.
    of_a_note = ("step", "titleFormat", "textFormat", "useValueForTime")
    apart = {".templating.list.definition", *(f".annotations.list.{one}" for one in of_a_note)}
    assert set(lost(DASHBOARD, understood)) == apart
    assert {one["type"] for one in PANELS if panelcfg_config(one["type"]) is None} == {"row"}


@each_query
def test_a_query_asks_for_metrics_and_labels_that_there_are(name: str) -> None:
    metrics = exported()
    found = list(selectors(promql_parser.parse(query(name))))
    assert found or "vector(" in query(name)
    for selector in found:
        assert selector.name in metrics or selector.name.startswith("process_")
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= metrics.get(selector.name, set()) | OF_THE_TARGET


@each_of_a_panel
def test_the_labels_of_a_legend_are_in_the_answer(name: str) -> None:
    title, _, ref = name.rpartition(" ")
    (panel,) = [one for one in PANELS if one["title"] == title]
    (target,) = [one for one in panel["targets"] if one["refId"] == ref]
    grouped = re.match(r"[^{]*?\bby \(([^)]+)\)", target["expr"])
    shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    every = set().union(*exported().values()) | OF_THE_TARGET
    assert shown <= (set(re.split(r", *", grouped[1])) if grouped else every)


def test_the_table_shows_since_when_with_the_name_and_the_timeline_only_whether() -> None:
    """The value of `sftp_monitor:alert:held` is since when; Grafana wants milliseconds."""
    assert query("Broken now, and since when A").endswith(") * 1000")
    assert query("What fired when A").endswith("> bool 0")


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


@each_query
def test_only_what_was_chosen_is_asked_for(name: str) -> None:
    """Held alerts have no job: they are of the chosen one by their environment."""
    for selector in selectors(promql_parser.parse(query(name))):
        asked = {matcher.name for matcher in selector.matchers.matchers}
        if not asked:  # only whether there is one
            assert selector.name == "sftp_monitor_build_info"
            continue
        assert "job" in asked or selector.name in RECORDED or name == "variable: job"
        if "environment" in exported().get(selector.name, set()):
            assert "environment" in asked or name == "variable: environment"
    if ":held{" in query(name):
        assert "sftp_monitor_environment_owned{job=" in query(name)


def test_a_note_is_not_0_when_there_is_something_to_note() -> None:
    """Grafana leaves out what is 0, and takes the value for the time where it is told to."""
    for note in NOTES:
        expression, of_time = note["expr"], note.get("useValueForTime", False)
        assert of_time == expression.endswith("* 1000")
        assert of_time or " bool " in expression or expression.startswith("(group by")


INFO = (
    'sftp_monitor_campaign_info{job="sftp-monitor",environment="production",campaign_id="%s",'
    'campaign_name="%s",sftp_host="%s",sftp_port="22",auth_type="password",import_schedule="daily"}'
)
NOTED = "{" + INFO.partition("{")[2].replace('job="sftp-monitor",', "")


def test_a_changed_config_is_noted_and_neither_a_new_campaign_nor_a_restart(tmp_path: Path) -> None:
    inputs = {
        INFO % ("moved", "Retail leads", "one.example"): "1x59 stale",
        INFO % ("moved", "Retail leads", "two.example"): "_x59 1x5",
        INFO % ("new", "Just found", "one.example"): "_x59 1x5",
        INFO % ("same", "Motor claims", "one.example"): "1x57 stale _ 1 1",
    }
    changed = {NOTED % ("moved", "Retail leads", "two.example"): 1.0}
    assert answered(tmp_path, query("note: SFTP config changed"), inputs, changed) == ""


def test_what_was_switched_on_or_off_is_noted_either_way(tmp_path: Path) -> None:
    enabled = 'sftp_monitor_sftp_enabled{job="j",environment="e",campaign_id="%s"}'
    inputs = {enabled % "on": "0x58 1x5", enabled % "off": "1x58 0x5", enabled % "same": "0x65"}
    noted = {
        f'{{environment="e",campaign_id="{one}"}}': float(one != "same")
        for one in ("on", "off", "same")
    }
    assert answered(tmp_path, query("note: Switched on or off"), inputs, noted) == ""


HELD = 'sftp_monitor:alert:held{environment="production",rule="%s",severity="critical"%s}'
OWNED = 'sftp_monitor_environment_owned{job="sftp-monitor",environment="production"}'


def test_the_table_loses_nobody_over_the_monitors_death(tmp_path: Path) -> None:
    found = {("failed_test", ',campaign_id="c-1",campaign_name="Leads"'), ("api_unreachable", "")}
    inputs = {HELD % one: "1000x60" for one in found} | {OWNED: "1x40 stale"}
    rows = {(HELD % one).removeprefix("sftp_monitor:alert:held"): 1_000_000.0 for one in found}
    assert answered(tmp_path, query("Broken now, and since when A"), inputs, rows) == ""


def test_nobody_edits_it_by_hand_and_every_value_has_a_unit() -> None:
    assert DASHBOARD["editable"] is False
    for panel in PANELS:
        known = {"reqpm", "none", "percentunit", "bytes", "s"}  # Grafana shows any other as it is
        unit = panel["type"] == "row" or panel["fieldConfig"]["defaults"]["unit"] in known
        assert unit, panel["title"]


def test_links_lead_to_the_page_the_history_the_runbooks_and_alertmanager() -> None:
    places = {link["title"]: link["url"] for link in DASHBOARD["links"]}
    assert places == {
        "The monitor's page": "${page}/",
        "What happened": "${page}/events?since=8h",
        "Runbooks": RUNBOOKS.replace("{rule}", "README"),
        "Alertmanager": "${alertmanager}/#/alerts?filter=%7Benvironment%3D~%22.%2B%22%7D",
    }
    # Where compose publishes them.
    compose = read_yaml((FOLDER.parent / "docker" / "compose.yaml").read_text())["services"]
    published = {
        port.rpartition(":")[0] for one in compose.values() for port in one.get("ports", [])
    }
    for name in ("page", "alertmanager"):
        assert VARIABLES[name]["query"].removeprefix("http://") in published


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


def sources(part: Any) -> Iterator[Any]:
    """Yield every data source that a part of the dashboard names."""
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "datasource")
    for inner in (
        part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    ):
        yield from sources(inner)


def test_whatever_asks_asks_the_chosen_prometheus() -> None:
    found = list(sources(DASHBOARD))
    assert found
    assert [one for one in found if one != {"type": "prometheus", "uid": "${datasource}"}] == []


def test_every_panel_says_what_it_shows_and_asks_the_chosen_source() -> None:
    for panel in PANELS:
        if panel["type"] != "row":
            assert panel["description"]
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


def test_in_a_table_a_rule_leads_to_its_runbook_and_a_name_to_the_page_of_its_campaign() -> None:
    page = "${page}/campaigns/${__data.fields.environment}/${__data.fields.campaign_id}"
    runbook = RUNBOOKS.replace("{rule}", "${__value.text}")
    found = {
        panel["title"]: {
            override["matcher"]["options"]: link["url"]
            for override in panel["fieldConfig"]["overrides"]
            for one in override["properties"]
            if one["id"] == "links"
            for link in one["value"]
        }
        for panel in PANELS
        if panel["type"] == "table"
    }
    assert found == {
        "Broken now, and since when": {"rule": runbook, "campaign_name": page},
        "Tests that become stale next": {"campaign_name": page},
    }


def test_the_links_of_the_alerts_lead_here_and_choose_what_they_are_about() -> None:
    rules = (FOLDER.parent / "prometheus" / "sftp-monitor.rules.yaml").read_text(encoding="utf-8")
    places = set(re.findall(r"localhost:3000/d/([\w-]+)", rules))
    chosen = set(re.findall(r"[?&]var-(\w+)=", rules))
    assert places == {DASHBOARD["uid"]}
    assert chosen <= {variable["name"] for variable in DASHBOARD["templating"]["list"]}


def test_grafana_is_provisioned_with_the_dashboard_where_compose_mounts_it() -> None:
    dashboards = read_yaml((FOLDER / "provisioning/dashboards/sftp-monitor.yaml").read_text())
    sources = read_yaml((FOLDER / "provisioning/datasources/prometheus.yaml").read_text())
    assert dashboards["apiVersion"] == sources["apiVersion"] == 1
    (provider,), (source,) = dashboards["providers"], sources["datasources"]
    services = read_yaml((FOLDER.parent / "docker" / "compose.yaml").read_text())["services"]
    targets = [mount.split(":")[1] for mount in services["grafana"]["volumes"]]
    assert provider["options"]["path"] in targets
    assert "/etc/grafana/provisioning" in targets
    assert provider["type"] == "file"
    # Or it were edited in the browser, and lost with the next release.
    assert provider["allowUiUpdates"] is False
    assert (source["access"], source["isDefault"]) == ("proxy", True)
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert "prometheus" in services
