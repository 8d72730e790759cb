"""`sftp-monitor events`: the alert history, from the state database or from a running daemon."""

import sys
from pathlib import Path

import click

from monitor.adapters.sinks import links_of
from monitor.adapters.sinks.log import to_text
from monitor.adapters.store import read_history
from monitor.adapters.web.api import KINDS
from monitor.adapters.web.schemas import EventsAnswer
from monitor.cli import options
from monitor.config import format_duration, parse_duration
from monitor.core.model import Seconds
from monitor.core.snapshot import HistoryQuery
from monitor.core.text import rfc3339
from monitor.daemon import SystemClock
from monitor.serialize import Links, record_of, to_json


def _seconds(_context: click.Context, _option: click.Parameter, value: str) -> Seconds:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(
    epilog=options.examples(
        "events --since 8h", "events --url 127.0.0.1:10022 --campaign 6f3c1a52 --kind test"
    )
)
@click.option(
    "--since",
    metavar="DURATION",
    callback=_seconds,
    default="24h",
    show_default=True,
    help="How far back.",
)
@click.option("--campaign", help="Only the campaign with this id.")
@click.option("--kind", type=click.Choice([*KINDS]), help="Only alerts, tests or changes.")
@options.output_format
@options.daemon_url
@options.config_file
@options.option("--state.path", "Read this state database.", type=options.PATH)
def events(
    since: Seconds,
    campaign: str | None,
    kind: str | None,
    output: str,
    url: str | None,
    config_file: Path | None,
    state_path: Path | None,
) -> None:
    """Show the history of alerts, connection tests and changed configs, newest first."""
    start = SystemClock().wall() - since
    if (url := options.url_to_ask(config_file, url)) is not None:
        # httpx would send a None as `campaign_id=`, which is a filter, too.
        given = {"since": rfc3339(start), "campaign_id": campaign, "kind": kind}
        params = {name: value for name, value in given.items() if value}
        pages = options.ask(url, "/api/v1/events", params, EventsAnswer)
        found = [event for page in pages for event in page.events]
    else:
        links = Links("")
        if config_file is not None or state_path is None:
            config = options.load(config_file)
            links, state_path = links_of(config), state_path or config.state.path
        asked = HistoryQuery(
            since=start, campaign_id=campaign, kind=KINDS.get(kind or ""), limit=sys.maxsize
        )
        found = [record_of(event, links) for event in read_history(state_path, asked).values()]
    count = f"{len(found)} events in the last {format_duration(since)}"
    lines = [f"{rfc3339(event.timestamp)} {to_text(event)}" for event in found]
    options.show(output, list(map(to_json, found)), "\n".join([*lines, count]))
