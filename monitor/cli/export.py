"""`sftp-monitor export`: what `deploy/` has, from the installed package, with your links in it."""

import json
import re
from collections.abc import Sequence
from importlib.resources import files

import click

from monitor.config.model import RUNBOOKS

SHIPPED = {
    path.name.partition(".")[0]: path for path in files("monitor").joinpath("export").iterdir()
}
"""What can be exported, by name; `make generate` copies it to deploy/."""

DASHBOARD = "http://localhost:3000/d/sftp-monitor"
PAGE, ALERTMANAGER = "http://127.0.0.1:10022", "http://127.0.0.1:9093"
"""Where the dashboard's links lead unless it is said."""

_NEVER = "absent(last_over_time(sftp_monitor_build_info"


def _url(_: click.Context, option: click.Parameter, url: str) -> str:
    # It goes into files with quotes, and into those without.
    if not re.fullmatch(r"https?://[^\s\"'\\<>]+", url):
        raise click.BadParameter("expected an http(s) URL without blanks and quotes")
    if option.name == "runbook_url" and "{rule}" not in url:
        raise click.BadParameter("expected {rule} in it, such as https://wiki.example/{rule}")
    return url.rstrip("/") if option.name in {"page_url", "alertmanager_url"} else url


@click.command()
@click.argument("what", type=click.Choice(sorted(SHIPPED)))
@click.option("--runbook-url", default=RUNBOOKS, callback=_url, help="Runbooks; {rule} is a page.")
@click.option("--dashboard-url", default=DASHBOARD, callback=_url, help="The dashboard.")
@click.option("--page-url", default=PAGE, callback=_url, help="The monitor, for the dashboard.")
@click.option("--alertmanager-url", default=ALERTMANAGER, callback=_url, help="Alertmanager.")
@click.option("--job", help="The job that rules miss when it is gone, or the dashboard shows.")
@click.option("--label", "labels", multiple=True, help="NAME=VALUE, on the prometheusrule.")
def export(
    what: str,
    runbook_url: str,
    dashboard_url: str,
    job: str | None,
    labels: Sequence[str],
    **places: str,
) -> None:
    """Print what is shipped for Prometheus, Alertmanager, Grafana, systemd and Docker.

    Links must not lead to the monitor itself, which may be what is down.
    """
    text = SHIPPED[what].read_text(encoding="utf-8")
    if labels and (what != "prometheusrule" or not all("=" in label for label in labels)):
        raise click.UsageError("--label: expected NAME=VALUE, and prometheusrule")
    if job and not (what == "dashboard" or _NEVER in text):
        raise click.UsageError("--job: expected rules, prometheusrule or dashboard")
    before, after = map(re.escape, RUNBOOKS.split("{rule}"))
    page = rf"{before}(\w+|\$\{{__value\.text\}}){after}"
    text = re.sub(page, lambda found: runbook_url.replace("{rule}", found[1]), text)
    text = text.replace(f"{DASHBOARD}?", dashboard_url + ("&" if "?" in dashboard_url else "?"))
    text = text.replace(DASHBOARD, dashboard_url)
    if job:
        text = text.replace(_NEVER, f"{_NEVER}{{job={json.dumps(job)}}}")
    if what == "dashboard":
        text = _of_this_installation(text, job, **places)
    if labels:
        marked = json.dumps(dict(label.split("=", 1) for label in labels))
        text = text.replace(
            "  name: sftp-monitor\n", f"  name: sftp-monitor\n  labels: {marked}\n", 1
        )
    click.echo(text, nl=False)


def _of_this_installation(
    dashboard: str, job: str | None, *, page_url: str, alertmanager_url: str
) -> str:
    """Return the dashboard with what its variables are at first."""
    document = json.loads(dashboard)
    variables = {one["name"]: one for one in document["templating"]["list"]}
    for name, url in {"page": page_url, "alertmanager": alertmanager_url}.items():
        chosen = {"selected": True, "text": url, "value": url}
        variables[name] |= {"query": url, "current": chosen, "options": [chosen]}
    if job:
        variables["job"]["current"] = {"selected": True, "text": [job], "value": [job]}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
