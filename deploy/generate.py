"""Make again what follows from the rules of the monitor: `make generate`.

From each rule's class come its alert in Prometheus' rules, and its row in the tables of the
documents. What is made stands between two lines with `made by make generate`; everything else in
those files is written by hand. What `sftp-monitor export` prints, from monitor/export/, is copied
to where deploy/ has it, and Prometheus' rules to Kubernetes as an object.
With `--check` nothing is written: exit code 1, and the names of the files that are not as they
would be made.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from monitor.config.model import RUNBOOKS
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.rule import BaseRule
from monitor.core.rules import RULES
from monitor.core.text import span

ROOT = Path(__file__).parents[1]

EXPORT = Path("monitor/export")
RULES_FILE, OBJECT = EXPORT / "rules.yaml", EXPORT / "prometheusrule.yaml"
COPIES = {
    Path("deploy/prometheus/sftp-monitor.rules.yaml"): RULES_FILE,
    Path("deploy/prometheus/night.rules.yaml"): EXPORT / "night.yaml",
    Path("deploy/alertmanager/alertmanager.yaml"): EXPORT / "alertmanager.yaml",
    Path("deploy/alertmanager/sftp-monitor.tmpl"): EXPORT / "templates.tmpl",
    Path("deploy/docker/compose.yaml"): EXPORT / "compose.yaml",
    Path("deploy/docker/compose-replicas.yaml"): EXPORT / "compose-replicas.yaml",
    Path("deploy/grafana/dashboards/sftp-monitor.json"): EXPORT / "dashboard.json",
    Path("deploy/kubernetes/base/prometheusrule.yaml"): OBJECT,
    Path("deploy/systemd/sftp-monitor.service"): EXPORT / "unit.service",
}
"""What in deploy/ is the same as in monitor/export/, where it is edited."""

TABLES = (Path("docs/alerts.md"), Path("docs/runbooks/README.md"))

MARK = "made by make generate"

WHERE = {
    "campaign": """{{ $labels.environment }}/{{ with $labels.campaign_name }}{{ . }}{{ else
            }}{{ $labels.campaign_id }}{{ end }}""",
    "environment": "{{ $labels.environment }}",
}
"""How a title begins: with the campaign's name where it is known, else with its id."""

DESCRIPTIONS = {
    "campaign": """\
            Campaign {{ with $labels.campaign_name }}{{ . }} {{ end
            }}({{ $labels.environment }}/{{ $labels.campaign_id }}){{ with
            $labels.sftp_host }}, host {{ . }}{{ end }}{{ if
            gt $value 1.0 }}, since {{ $value | humanizeTimestamp }}{{ end }}.
""",
    "environment": """\
            Environment {{ $labels.environment }}{{ if
            gt $value 1.0 }}, since {{ $value | humanizeTimestamp }}{{ end }}{{ if
            match "api_unreachable|api_refusing|discovery_failing" $labels.rule }}{{ with
            printf "topk(1, sum by (reason) (increase(sftp_monitor_api_request_failures_total{environment=%q}[15m])) > 0)"
            $labels.environment | query }}; most failed calls: {{ . | first | label "reason" }}{{ end }}{{ end }}.
""",
}

DROPPED = {"campaign": '        labels: {campaign_name: ""}\n', "environment": ""}
"""The name is for the texts only: as a label it would end the alert of a campaign that is renamed."""

IMPACTS = {
    # With the time of the evaluation, which templates cannot ask for.
    "campaign": """\
          impact: &campaign_impact >-
            {{ with printf
            "last_over_time(sftp_monitor_campaign_next_calls_timestamp_seconds{environment=%q,campaign_id=%q}[1h]) - time()"
            $labels.environment $labels.campaign_id | query }}{{ $in := . | first | value
            }}{{ if gt $in 0.0 }}calls start in {{ $in | humanizeDuration }}{{ else
            }}calling now{{ end }}{{ end }}
""",
    "environment": """\
          impact: &environment_impact >-
            {{ with printf "count(sftp_monitor_campaign_next_calls_timestamp_seconds{environment=%q} <= time())"
            $labels.environment | query }}campaigns calling now: {{ . | first | value
            }}{{ else
            }}{{ with printf
            "min(sftp_monitor_campaign_next_calls_timestamp_seconds{environment=%q}) - time()"
            $labels.environment | query }}first calls start in {{ . | first | value | humanizeDuration
            }}{{ end }}{{ end }}
""",
}
"""What is at stake; empty where the metric is absent."""

DASHBOARDS = {
    "campaign": "http://localhost:3000/d/sftp-monitor?var-environment={{ $labels.environment }}"
    "&var-campaign={{ $labels.campaign_id }}",
    "environment": "http://localhost:3000/d/sftp-monitor?var-environment={{ $labels.environment }}",
}

OF_ALL_RULES = {"enabled", "severity", "keep_firing_for"}
"""Settings that every rule has; a table would only repeat them."""

OBJECT_HEAD = """\
# Alerting rules for the Prometheus Operator: rules.yaml as its object, made by make generate.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: sftp-monitor
spec:
"""


def generated() -> dict[Path, str]:
    """Return what each file that is made, wholly or in part, has to say, by its path."""
    made = {RULES_FILE: _between(_read(RULES_FILE), "".join(_alerts()))}
    made[OBJECT] = OBJECT_HEAD + _indented(made[RULES_FILE])
    made |= {path: made.get(source) or _read(source) for path, source in COPIES.items()}
    for page in TABLES:
        links = "" if page.parent.name == "runbooks" else "runbooks/"
        made[page] = _between(_read(page), "".join(_rows(links)))
    return made


def _read(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _written(path: Path) -> str | None:
    return _read(path) if (ROOT / path).is_file() else None


def _between(text: str, made: str) -> str:
    pattern = rf"(^[^\n]*{MARK}: begin[^\n]*\n).*?(^[^\n]*{MARK}: end[^\n]*$)"
    found = re.sub(pattern, lambda m: m[1] + made + m[2], text, flags=re.DOTALL | re.MULTILINE)
    if f"{MARK}: begin" not in text:
        raise SystemExit(f"there is no line with '{MARK}: begin'")
    return found


def _indented(rules: str) -> str:
    # Without the head, which speaks of the file for Prometheus itself.
    groups = rules[rules.index("groups:\n") :]
    return "".join(f"  {line}" if line.strip() else line for line in groups.splitlines(True))


def _alerts() -> Iterator[str]:
    for about, table in (("campaign", RULES), ("environment", ENVIRONMENT_RULES)):
        # What all of a table share is written out once, and referred to by its YAML anchor.
        description = f"&of_{about} >-\n{DESCRIPTIONS[about]}"
        dashboard, impact = f"&{about}_dashboard {DASHBOARDS[about]}\n", IMPACTS[about]
        for name, rule in table.items():
            yield f"""\
      - alert: {rule.alertname}
        expr: sftp_monitor:alert:held{{rule="{name}"}}
{DROPPED[about]}\
        annotations:
          summary: >-
            {WHERE[about]}: {rule.meaning}
          problem: "{rule.meaning}"
          description: {description}\
{impact}\
          next_step: >-
            {rule.next_step}
          runbook_url: {RUNBOOKS.replace("{rule}", name)}
          dashboard_url: {dashboard}"""
            description, dashboard = f"*of_{about}\n", f"*{about}_dashboard\n"
            impact = f"          impact: *{about}_impact\n" if impact else ""


def _rows(links: str) -> Iterator[str]:
    yield "| rule | about | severity | unhealthy when | settings (default) |\n|---|---|---|---|---|\n"
    for about, table in (("campaign", RULES), ("environment", ENVIRONMENT_RULES)):
        for name, cls in table.items():
            rule = cls()
            settings = ", ".join(_settings(rule))
            yield (
                f"| [`{name}`]({links}{name}.md) | {about} | {rule.severity} "
                f"| {rule.meaning} | {settings} |\n"
            )


def _settings(rule: BaseRule) -> Iterator[str]:
    for one in fields(rule):
        value = getattr(rule, one.name)
        if one.name in OF_ALL_RULES or (one.name == "for_" and not value):
            continue
        shown = span(value) if isinstance(value, float) else str(value or "none")
        yield f"`{one.name.rstrip('_')}` {shown}"


def main() -> int:
    """Write what is made, or with `--check` print what is stale; return the exit code."""
    stale = {path: text for path, text in generated().items() if _written(path) != text}
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path}: not as `make generate` makes it")
        return 1 if stale else 0
    for path, text in stale.items():
        (ROOT / path).write_text(text, encoding="utf-8")
        print(f"{path}: made anew")
    return 0


if __name__ == "__main__":
    sys.exit(main())
