"""`sftp-monitor events`: the alert history, from the state database or from a running daemon."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from monitor.adapters.store import read_history
from monitor.adapters.web.schemas import EventsAnswer
from monitor.cli import options
from monitor.cli.http_client import ask_pages
from monitor.config import format_duration, parse_duration
from monitor.core.board import HistoryQuery
from monitor.core.model import Instant, Seconds
from monitor.core.text import clean, rfc3339
from monitor.daemon import SystemClock
from monitor.serialize import Links, event_json, to_json


class _Duration(click.ParamType[Seconds]):
    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Seconds:
        """Return the seconds of a duration; fails as wrong usage."""
        try:
            # click may pass what was converted before, and requires that it comes back as it is.
            return parse_duration(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option("--since", type=_Duration(), default="24h", show_default=True, help="How far back.")
@click.option("--campaign", help="Only the campaign with this id.")
@options.output_format
@options.daemon_url
@click.option(
    "--config.file",
    "config_file",
    type=click.Path(path_type=Path),
    envvar="SFTP_MONITOR_CONFIG_FILE",
    help="Read the state that this config names.",
)
@click.option(
    "--state.path",
    "state_path",
    type=click.Path(path_type=Path),
    envvar="SFTP_MONITOR_STATE_PATH",
    help="Read this state database.",
)
def events(
    since: Seconds,
    campaign: str | None,
    output: str,
    url: str | None,
    config_file: Path | None,
    state_path: Path | None,
) -> None:
    """Show the alert history, newest first."""
    from_instant = SystemClock().wall() - since
    if url is not None:
        found = _ask(url, from_instant, campaign)
    else:
        links = Links("")
        if config_file is not None:
            config = options.load(config_file)
            links = Links(config.alerts.runbook_url, config.web.external_url)
            state_path = state_path or config.state.path
        if state_path is None:
            raise click.UsageError("say where the history is: --config.file, --state.path or --url")
        stored = read_history(
            state_path, HistoryQuery(since=from_instant, campaign_id=campaign, limit=sys.maxsize)
        )
        found = [event_json(event, links) for event in stored.values()]
    if output == "json":
        click.echo(json.dumps(found, indent=2))
        return
    for event in found:
        click.echo(_line(event))
    click.echo(f"{len(found)} events in the last {format_duration(since)}")


def _ask(url: str, since: Instant, campaign: str | None) -> list[dict[str, Any]]:
    # httpx would send a None as `campaign_id=`, which is a filter, too.
    params = {"since": rfc3339(since)} | ({"campaign_id": campaign} if campaign else {})
    pages = ask_pages(url, "/api/v1/events", params, EventsAnswer)
    return [to_json(event) for page in pages for event in page.events]


def _line(event: Mapping[str, Any]) -> str:
    who = clean(str(event["campaign_name"] or event["campaign_id"] or "-"), 40)
    why = f" ({event['reason']})" if event["reason"] else ""
    return (
        f"{event['timestamp'][:19]}Z {event['status']:<9} {event['severity']:<9} "
        f"{event['rule']:<20} {event['environment']}/{who}: {clean(event['summary'], 160)}{why}"
    )
