"""The example for Alertmanager, in the real tools: who is told, what mutes what, what is said."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.rules import RULES
from support.peers import require_peer

FOLDER = Path(__file__).parents[2] / "deploy" / "alertmanager"
FILE = FOLDER / "alertmanager.yaml"
CONFIG: dict[str, Any] = yaml.safe_load(FILE.read_text())
ROUTES = [CONFIG["route"], *CONFIG["route"]["routes"]]


def amtool(*arguments: str) -> str:
    """Return what amtool says; it must succeed."""
    command = [require_peer("amtool"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_alertmanager_accepts_the_example() -> None:
    assert "SUCCESS" in amtool("check-config", str(FILE))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=SftpTestFailed severity=critical rule=failed_test", "pagerduty"),
        ("alertname=SftpTestStale severity=warning rule=stale_test", "slack"),
        ("alertname=SftpTestStale severity=info rule=stale_test", "nobody"),
        ("alertname=SftpMonitorAbsent severity=critical", "pagerduty"),
        ("alertname=SftpMonitorConfigReloadFailed severity=warning", "slack"),
        ("alertname=Watchdog severity=none", "dead-mans-switch"),
        ("alertname=SomethingElse", "slack"),
    ],
)
def test_an_alert_goes_to_whom_it_concerns(labels: str, receiver: str) -> None:
    said = amtool("config", "routes", "test", f"--config.file={FILE}", *labels.split())
    assert said == receiver


def test_a_broken_host_is_one_page_and_a_second_host_another() -> None:
    assert {"environment", "rule", "sftp_host"} <= set(CONFIG["route"]["group_by"])
    assert "campaign_id" not in CONFIG["route"]["group_by"]
    assert not any("group_by" in route for route in CONFIG["route"]["routes"])


def test_critical_rings_again_after_four_hours_and_a_warning_after_a_day() -> None:
    repeats = {
        str(route["matchers"]): route["repeat_interval"]
        for route in ROUTES
        if "matchers" in route and "repeat_interval" in route
    }
    assert repeats["['severity = critical']"] == "4h"
    assert repeats["['severity = warning']"] == "24h"


def test_only_an_environments_outage_mutes_and_only_other_rules_of_that_environment() -> None:
    (outage,) = CONFIG["inhibit_rules"]
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
            "description": f"Campaign Leads (production/c-{number}), since 2027-01-15 08:00:00.",
            "next_step": "Run the connection test.",
            "runbook_url": "https://runbooks.example/failed_test.md",
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
    assert rendered("title", tmp_path, [alert(1)]) == (
        "[FIRING:1] production/c-1: the last SFTP connection test failed (sftp.example.com)"
    )


def test_the_title_of_many_says_how_many_of_what_and_where(tmp_path: Path) -> None:
    assert rendered("title", tmp_path, [alert(n) for n in range(40)]) == (
        "[FIRING:40] SftpTestFailed in production (sftp.example.com)"
    )


def test_the_text_says_which_since_when_what_next_and_where_to_read_on(tmp_path: Path) -> None:
    assert rendered("text", tmp_path, [alert(1), alert(2)]).splitlines() == [
        "• Campaign Leads (production/c-1), since 2027-01-15 08:00:00.",
        "• Campaign Leads (production/c-2), since 2027-01-15 08:00:00.",
        "",
        "*Next:* Run the connection test.",
        "<https://runbooks.example/failed_test.md|Runbook>",
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
    links = "<https://runbooks.example/failed_test.md|Runbook>" if template == "text" else ""
    assert "".join(re.findall("<[^>]*>", said)) == links
    assert "evil" not in said.replace(words, "")


def test_a_long_list_is_cut_and_says_how_many_there_are(tmp_path: Path) -> None:
    text = rendered("text", tmp_path, [alert(n) for n in range(40)])
    assert text.count("•") == 20
    assert "… 40 in all" in text


def test_what_is_over_is_said_as_such(tmp_path: Path) -> None:
    over = [alert(1, "resolved")]
    assert rendered("title", tmp_path, over).startswith("[RESOLVED] production/c-1")
    assert rendered("text", tmp_path, over).startswith("Over:\n• Campaign Leads (production/c-1)")
