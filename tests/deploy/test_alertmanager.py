"""The example for Alertmanager, in the real tools: who is told, what mutes what, what is said."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.rules import RULES
from support.documents import read_yaml
from support.peers import require_peer

FOLDER = Path(__file__).parents[2] / "deploy" / "alertmanager"
FILE = FOLDER / "alertmanager.yaml"
CONFIG: dict[str, Any] = read_yaml(FILE.read_text())


def routes(route: Mapping[str, Any] = CONFIG["route"]) -> Iterator[dict[str, Any]]:
    """Yield every route, each with what it has from those around it."""
    yield dict(route)
    inherited = {key: value for key, value in route.items() if key not in ("matchers", "routes")}
    for inner in route.get("routes", []):
        yield from routes({**inherited, **inner})


def route_of(*matchers: str) -> dict[str, Any]:
    """Return the route with these matchers."""
    (found,) = [one for one in routes() if one.get("matchers") == list(matchers)]
    return found


def amtool(*arguments: str) -> str:
    """Return what amtool says; it must succeed."""
    command = [require_peer("amtool"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_alertmanager_accepts_the_example() -> None:
    assert "SUCCESS" in amtool("check-config", str(FILE))


def test_what_a_receiver_fills_in_is_there() -> None:
    """amtool takes any text; what a template lacks shows when it pages."""
    templates = (FOLDER / "sftp-monitor.tmpl").read_text(encoding="utf-8")
    rules = read_yaml((FOLDER.parent / "prometheus" / "sftp-monitor.rules.yaml").read_text())
    alerts = [one for group in rules["groups"] for one in group["rules"] if "alert" in one]
    annotations = {name for one in alerts for name in one["annotations"]}
    labels = {
        "alertname",
        "environment",
        "campaign_id",
        "rule",
        "severity",
        "sftp_host",
        "job",
        "namespace",
    }
    defined = set(re.findall(r'define "([^"]+)"', templates))
    text = FILE.read_text(encoding="utf-8") + templates
    assert set(re.findall(r"Annotations\.(\w+)", text)) <= annotations
    assert set(re.findall(r"Labels\.(\w+)", text)) - {"SortedPairs", "Remove"} <= labels
    assert set(re.findall(r'template "([^"]+)"', text)) == defined
    of_a_group = {"Alerts", "CommonAnnotations", "CommonLabels", "ExternalURL"}
    of_an_alert = {"Annotations", "Labels", "Status", "Name", "Value"}
    fields = set(re.findall(r"(?<![\w.)])\.([A-Z]\w+)", text))
    assert fields <= of_a_group | of_an_alert


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=SftpTestFailed severity=critical rule=failed_test", "pagerduty"),
        ("alertname=SftpTestStale severity=warning rule=stale_test", "slack"),
        ("alertname=SftpTestStale severity=info rule=stale_test", "nobody"),
        ("alertname=SftpMonitorAbsent severity=critical", "pagerduty"),
        ("alertname=SftpMonitorConfigReloadFailed severity=warning", "slack"),
        ("alertname=SftpMonitorWatchdog severity=none job=sftp-monitor", "dead-mans-switch"),
        ("alertname=Watchdog severity=none", "slack"),
        ("alertname=SftpCampaignCanWait severity=none campaign_id=c-1", "nobody"),
        (
            "alertname=SftpTestFailed severity=critical campaign_id=c-1 team=retail",
            "pagerduty-retail",
        ),
        ("alertname=TalkoverApiUnreachable severity=critical team=retail", "pagerduty"),
        ("alertname=SomethingElse", "slack"),
    ],
)
def test_an_alert_goes_to_whom_it_concerns(labels: str, receiver: str) -> None:
    said = amtool("config", "routes", "test", f"--config.file={FILE}", *labels.split())
    assert said == receiver


def test_a_broken_host_is_one_page_a_second_host_another_and_an_outage_is_one() -> None:
    assert route_of("severity = critical")["group_by"] == ["alertname", "environment", "sftp_host"]
    assert route_of('campaign_id = ""')["group_by"] == ["alertname"]


def test_warnings_are_one_message_for_each_rule_whatever_the_host() -> None:
    assert CONFIG["route"]["group_by"] == ["alertname"]


def test_critical_rings_again_after_four_hours_and_a_warning_after_a_day() -> None:
    assert CONFIG["route"]["repeat_interval"] == "24h"
    rings = {one["repeat_interval"] for one in routes() if one["receiver"].startswith("pagerduty")}
    assert rings == {"4h"}


def test_the_dead_mans_switch_is_called_at_each_interval_and_not_at_every_other() -> None:
    switch = route_of("alertname = SftpMonitorWatchdog")
    interval, repeat = switch["group_interval"], switch["repeat_interval"]
    assert (interval, repeat) == ("1m", "50s")
    assert switch["group_by"] == ["job", "namespace"]


def test_an_environments_outage_mutes_only_other_rules_of_that_environment() -> None:
    outage, _, _ = CONFIG["inhibit_rules"]
    (source,), (target,) = outage["source_matchers"], outage["target_matchers"]
    assert source == 'rule =~ "api_unreachable|token_rejected|api_refusing"'
    # No outage explains that a campaign was switched off after a test.
    assert target == 'rule !~ "api_unreachable|token_rejected|api_refusing|tests_suspended|"'
    assert outage["equal"] == ["environment"]
    assert {
        "api_unreachable",
        "token_rejected",
        "api_refusing",
        "tests_suspended",
    } < ENVIRONMENT_RULES.keys()


def test_the_replicas_database_mutes_what_follows_from_it_in_that_installation_alone() -> None:
    _, database, _ = CONFIG["inhibit_rules"]
    assert database["source_matchers"] == ["alertname = SftpMonitorStateUnavailable"]
    (target,) = database["target_matchers"]
    muted = re.fullmatch(r'alertname =~ "SftpMonitor\((.*)\)"', target)
    assert muted is not None
    shipped = (FOLDER.parent / "prometheus" / "sftp-monitor.rules.yaml").read_text()
    names = muted[1].split("|")
    assert {"EnvironmentUnowned", "EvidenceOld", "StorageErrors"} < {*names}
    assert all(f"- alert: SftpMonitor{name}\n" in shipped for name in names)
    assert database["equal"] == ["job", "namespace"]


def test_what_can_wait_mutes_critical_alerts_of_that_campaign_alone() -> None:
    _, _, night = CONFIG["inhibit_rules"]
    assert night["source_matchers"] == ["alertname = SftpCampaignCanWait"]
    assert night["target_matchers"] == ["severity = critical", 'campaign_id != ""']
    assert night["equal"] == ["environment", "campaign_id"]


def test_a_campaigns_maintenance_is_a_time_interval_that_there_is() -> None:
    (window,) = CONFIG["time_intervals"]
    (route,) = [
        one
        for one in CONFIG["route"]["routes"][2]["routes"]
        if "campaign_id" in str(one) and "mute_time_intervals" in one
    ]
    assert route["mute_time_intervals"] == [window["name"]]
    (span,) = window["time_intervals"]
    assert span.keys() == {"weekdays", "times", "location"}
    said = amtool(
        *("config", "routes", "test", f"--config.file={FILE}", "severity=critical"),
        *("environment=production", "campaign_id=6f3c1a52-0c39-4d4e-9d52-0d6d4e0a8a11"),
    )
    assert said == "pagerduty"


def test_a_page_has_what_on_call_needs_beside_its_title() -> None:
    (pager,) = [one for one in CONFIG["receivers"] if one["name"] == "pagerduty"]
    (sent,) = pager["pagerduty_configs"]
    details = {"firing", "recovered", "next_step", "runbook", "silence"}
    assert sent["details"].keys() == details
    assert {"severity", "description", "class", "component", "group", "client_url"} <= sent.keys()


def test_every_template_that_is_used_exists() -> None:
    pattern = r'{{-? (define|template) "([^"]+)"'
    texts = [file.read_text(encoding="utf-8") for file in (FILE, FOLDER / "sftp-monitor.tmpl")]
    named = {kind: set[str]() for kind in ("define", "template")}
    for kind, name in re.findall(pattern, "".join(texts)):
        named[kind].add(name)
    assert named["template"] == named["define"]


def test_no_secret_is_in_the_file() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert "routing_key:" not in text
    assert "api_url:" not in text


# --- what is said ---------------------------------------------------------------------------------


def alert(number: int, status: str = "firing", rule: str = "failed_test") -> dict[str, Any]:
    """Return an alert of campaign `number`, as templates see it."""
    return {
        "status": status,
        "labels": {
            "alertname": "SftpTestFailed",
            "environment": "production",
            "campaign_id": f"c-{number}",
            "rule": rule,
            "severity": RULES[rule]().severity.value,
            "sftp_host": "sftp.example.com",
        },
        "annotations": {
            "summary": f"production/c-{number}: the last SFTP connection test failed",
            "problem": RULES[rule].meaning,
            "description": f"Campaign Leads (production/c-{number}), since 2027-01-15 08:00:00.",
            "next_step": "Run the connection test.",
            "runbook_url": "https://runbooks.example/failed_test.md",
            "dashboard_url": f"https://grafana.example/d/x?var-environment=production&var-campaign=c-{number}",
        },
        "startsAt": "2027-01-15T08:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
    }


def rendered(template: str, folder: Path, alerts: Sequence[Mapping[str, Any]]) -> str:
    """Return what a template says of a notification with these alerts."""
    common = [{(k, v) for k, v in one["labels"].items()} for one in alerts]
    annotations = [{(k, v) for k, v in one["annotations"].items()} for one in alerts]
    data = {
        "receiver": "slack",
        "status": "firing" if any(one["status"] == "firing" for one in alerts) else "resolved",
        "alerts": alerts,
        "groupLabels": {"environment": "production"},
        "commonLabels": dict(set.intersection(*common)),
        "commonAnnotations": dict(set.intersection(*annotations)),
        "externalURL": "http://127.0.0.1:9093",
    }
    file = folder / "data.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    text = f'{{{{ template "sftp_monitor.{template}" . }}}}'
    glob = f"--template.glob={FOLDER}/*.tmpl"
    arguments = (glob, f"--template.data={file}", f"--template.text={text}")
    return amtool("template", "render", *arguments)


def test_the_title_of_one_alert_is_its_summary(tmp_path: Path) -> None:
    one = "production/c-1: the last SFTP connection test failed (sftp.example.com)"
    assert rendered("title", tmp_path, [alert(1)]) == one
    assert rendered("title", tmp_path, [alert(1), alert(2, "resolved")]) == one
    assert rendered("title", tmp_path, [alert(1, "resolved")]) == f"[RESOLVED] {one}"


def test_the_title_of_many_says_how_many_of_what_and_where(tmp_path: Path) -> None:
    forty, six = [alert(n) for n in range(40)], [alert(n, "resolved") for n in range(6)]
    failed = "campaigns: the last connection test failed (sftp.example.com)"
    assert rendered("title", tmp_path, forty) == f"40 {failed}"
    assert rendered("title", tmp_path, forty + six) == f"40 {failed}"
    assert rendered("title", tmp_path, six) == f"[RESOLVED] 6 {failed}"
    forty[0]["labels"]["sftp_host"] = "other.example"
    assert rendered("title", tmp_path, forty) == "40 campaigns: the last connection test failed"


def test_the_title_of_environments_and_of_the_monitor_itself(tmp_path: Path) -> None:
    several = [alert(n) for n in range(3)]
    for one in several:
        del one["labels"]["campaign_id"], one["labels"]["sftp_host"]
        one["annotations"]["problem"] = "the API does not answer"
    assert rendered("title", tmp_path, several) == "3 environments: the API does not answer"
    for one in several:
        del one["labels"]["rule"], one["annotations"]["problem"]
        one["labels"]["alertname"] = "SftpMonitorAbsent"
    assert rendered("title", tmp_path, several) == "3 alerts: SftpMonitorAbsent"


RUNBOOK = "<https://runbooks.example/failed_test.md|Runbook>"
BOARD = "https://grafana.example/d/x?var-environment=production"
SILENCE = (
    "http://127.0.0.1:9093/#/silences/new?filter=%7B"
    "alertname%3D%22SftpTestFailed%22%2C{campaign}environment%3D%22production%22%2C"
    "rule%3D%22failed_test%22%2Cseverity%3D%22critical%22%2C"
    "sftp_host%3D%22sftp.example.com%22%7D"
)


def test_the_text_says_which_since_when_what_next_and_where_to_read_on(tmp_path: Path) -> None:
    assert rendered("text", tmp_path, [alert(1), alert(2)]).splitlines() == [
        "• Campaign Leads (production/c-1), since 2027-01-15 08:00:00.",
        "• Campaign Leads (production/c-2), since 2027-01-15 08:00:00.",
        "",
        "*Next:* Run the connection test.",
        f"{RUNBOOK} · <{BOARD}|Dashboard> · <{SILENCE.format(campaign='')}|Silence>",
    ]


def test_the_links_of_one_campaign_lead_to_it(tmp_path: Path) -> None:
    campaign = "campaign_id%3D%22c-1%22%2C"
    links = rendered("text", tmp_path, [alert(1)]).splitlines()[-1]
    board, silence = f"{BOARD}&var-campaign=c-1", SILENCE.format(campaign=campaign)
    assert links == f"{RUNBOOK} · <{board}|Dashboard> · <{silence}|Silence>"


def test_the_dashboard_of_alerts_of_several_environments_chooses_none(tmp_path: Path) -> None:
    both = [alert(1), alert(2)]
    both[1]["labels"]["environment"] = "staging"
    assert f"<{BOARD.partition('?')[0]}|Dashboard>" in rendered("text", tmp_path, both)


def test_who_recovered_is_named_beside_who_has_not(tmp_path: Path) -> None:
    assert rendered("text", tmp_path, [alert(1), alert(2, "resolved")]).splitlines()[:3] == [
        "• Campaign Leads (production/c-1), since 2027-01-15 08:00:00.",
        "Recovered:",
        "• Campaign Leads (production/c-2), since 2027-01-15 08:00:00.",
    ]


def test_what_is_at_stake_stands_with_its_campaign_while_it_fires(tmp_path: Path) -> None:
    one = alert(1)
    one["annotations"]["impact"] = "calls start in 4h 0m 0s"
    firing, over = rendered("text", tmp_path, [one]), {**one, "status": "resolved"}
    assert firing.startswith(
        "• Campaign Leads (production/c-1), since 2027-01-15 08:00:00. calls start in 4h 0m 0s.\n"
    )
    assert "calls start" not in rendered("text", tmp_path, [over])


def test_whom_it_concerns_stands_with_the_campaign_by_the_labels_of_ones_own(
    tmp_path: Path,
) -> None:
    one = alert(1)
    one["labels"] |= {"team": "<!channel>", "tier": "1"}
    assert rendered("text", tmp_path, [one]).startswith(
        "• Campaign Leads (production/c-1), since 2027-01-15 08:00:00. (team=(!channel), tier=1)\n"
    )


@pytest.mark.parametrize("template", ["title", "text"])
def test_fault_21_what_others_have_named_is_neither_a_mention_nor_a_link(
    tmp_path: Path, template: str
) -> None:
    """Of the kind: whatever of an alert is not ours goes into a text that Slack reads as markup."""
    hostile = "<!channel> <https://evil.example|Runbook>"
    words = "(!channel) (https: //evil.example|Runbook)"
    one = alert(1)
    one["labels"]["sftp_host"] = hostile
    one["annotations"] |= dict.fromkeys(("summary", "description", "impact"), hostile)
    said = rendered(template, tmp_path, [one])
    assert said.count(words) == 2
    links = re.findall("<([^>|]*)[^>]*>", said)
    assert len(links) == (3 if template == "text" else 0)
    for link in links:
        assert re.fullmatch(r"(https://(runbooks|grafana)|http://127\.0\.0\.1:9093/#)[!-~]*", link)
    assert "evil.example" not in re.sub("<[^>]*>", "", said).replace(words, "")


def test_a_long_list_is_cut_and_says_how_many_there_are(tmp_path: Path) -> None:
    text = rendered("text", tmp_path, [alert(n) for n in range(40)])
    assert text.count("•") == 20
    assert "… 40 in all" in text


def test_what_is_over_is_said_as_such(tmp_path: Path) -> None:
    over = [alert(1, "resolved")]
    said = rendered("text", tmp_path, over)
    assert said.startswith("Recovered:\n• Campaign Leads (production/c-1)")
    assert "Next" not in said
