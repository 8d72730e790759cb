"""`sftp-monitor export`: the files of deploy/ from the installed package, with other links."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from monitor.cli.export import DASHBOARD, SHIPPED
from support.command import called
from support.documents import read_yaml
from support.peers import require_peer

DEPLOY = Path(__file__).parents[2] / "deploy"
PLACES = {
    "rules": "prometheus/sftp-monitor.rules.yaml",
    "night": "prometheus/night.rules.yaml",
    "prometheusrule": "kubernetes/base/prometheusrule.yaml",
    "alertmanager": "alertmanager/alertmanager.yaml",
    "templates": "alertmanager/sftp-monitor.tmpl",
    "dashboard": "grafana/dashboards/sftp-monitor.json",
    "unit": "systemd/sftp-monitor.service",
    "compose": "docker/compose.yaml",
    "compose-replicas": "docker/compose-replicas.yaml",
}
RUNBOOKS, BOARD = "https://wiki.example/sftp/{rule}", "https://grafana.example/d/x?orgId=2"
OURS = ("--runbook-url", RUNBOOKS, "--dashboard-url", BOARD)

each = pytest.mark.parametrize("what", PLACES)


async def exported(what: str, *options: str) -> str:
    done = await called("export", what, *options)
    assert (done.code, done.err) == (0, "")
    return f"{done.out}\n"


@each
async def test_what_is_exported_is_what_deploy_has(what: str) -> None:
    assert await exported(what) == (DEPLOY / PLACES[what]).read_text(encoding="utf-8")
    assert PLACES.keys() == SHIPPED.keys()


@each
async def test_every_link_can_lead_elsewhere(what: str) -> None:
    text = await exported(what, *OURS)
    assert DASHBOARD not in text
    assert "/docs/runbooks/" not in text
    if what in ("rules", "prometheusrule"):
        assert text.count("https://wiki.example/sftp/failed_test\n") == 1
        links = f"{BOARD}&var-environment={{{{ $labels.environment }}}}"
        assert links in text


def alerts(rules: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["alert"]: one for group in rules["groups"] for one in group["rules"][1:]}


async def test_a_job_that_must_be_there_is_missed_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(await exported("rules", *OURS, "--job", 'sftp "eu"'), encoding="utf-8")
    command = [require_peer("promtool"), "check", "rules", str(file)]
    await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
    absent = [one for one in file.read_text().splitlines() if "or absent(" in one]
    assert absent == [
        '          or absent(last_over_time(sftp_monitor_build_info{job="sftp \\"eu\\""}[1d]))'
    ]


async def test_the_object_of_the_operator_has_the_labels_that_it_selects_by() -> None:
    rules = read_yaml(await exported("rules"))
    plain = read_yaml(await exported("prometheusrule"))
    assert plain["spec"] == rules
    labelled = read_yaml(
        await exported("prometheusrule", "--label", "release=kps", "--label", "a.b/c=x=y")
    )
    assert labelled["metadata"].pop("labels") == {"release": "kps", "a.b/c": "x=y"}
    assert labelled == plain


async def test_the_dashboard_stays_json_with_the_runbooks_of_its_table_and_links() -> None:
    board = json.loads(await exported("dashboard", *OURS))
    assert "https://wiki.example/sftp/${__value.text}" in json.dumps(board)
    assert "https://wiki.example/sftp/README" in [link["url"] for link in board["links"]]


async def test_a_slash_at_the_end_of_the_runbooks_stays() -> None:
    text = await exported("rules", "--runbook-url", "https://wiki.example/{rule}/")
    assert "https://wiki.example/failed_test/\n" in text


async def test_the_dashboard_is_of_the_job_and_leads_to_the_page_and_alertmanager_as_said() -> None:
    plain = json.loads(await exported("dashboard"))
    urls = ("--alertmanager-url", "https://am.example/x", "--page-url", "https://sftp.example/")
    board = json.loads(await exported("dashboard", "--job", 'sftp "eu"', *urls))
    first = {one["name"]: one["current"] for one in board["templating"]["list"]}
    assert first["job"]["value"] == ['sftp "eu"']
    # Without the slash that the links put after it.
    assert first["page"]["value"] == "https://sftp.example"
    assert first["alertmanager"]["value"] == "https://am.example/x"
    for one, before in zip(board["templating"]["list"], plain["templating"]["list"], strict=True):
        if one["type"] == "textbox":
            assert one["query"] == one["current"]["value"] == one["options"][0]["value"]
        for of_either in (one, before):
            for key in ("current", "query", "options"):
                of_either.pop(key, None)
    assert board == plain


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("unit", "--label", "a=b"), "--label: expected NAME=VALUE, and prometheusrule"),
        (("prometheusrule", "--label", "a"), "--label: expected NAME=VALUE"),
        (("compose", "--job", "x"), "--job: expected rules, prometheusrule or dashboard"),
        (("dashboard", "--page-url", "sftp.example"), "expected an http(s) URL"),
        (("dashboard", "--alertmanager-url", "ftp://am.example"), "expected an http(s) URL"),
        (("rules", "--runbook-url", "https://wiki.example/"), "expected {rule} in it"),
        (("rules", "--runbook-url", "wiki/{rule}"), "expected an http(s) URL"),
        (("dashboard", "--dashboard-url", 'https://a"b'), "expected an http(s) URL"),
        (("coffee",), "'coffee' is not one of"),
    ],
)
async def test_what_makes_no_sense_is_wrong_usage(arguments: tuple[str, ...], said: str) -> None:
    done = await called("export", *arguments)
    assert done.code == 64
    assert said in done.err
