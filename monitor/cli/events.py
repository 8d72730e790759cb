"""`sftp-monitor events`: the alert history, from the state database or from a running daemon."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice, takewhile
from pathlib import Path

import click

from monitor.adapters.sinks import links_of
from monitor.adapters.sinks.log import to_text
from monitor.adapters.store import StorageError, read_history
from monitor.adapters.web.history import ALL_RULES, KINDS, EventsAnswer, counted, query_of
from monitor.adapters.web.serializers import LIMIT
from monitor.cli import options
from monitor.cli.client import Monitor
from monitor.clocks import SystemClock
from monitor.config import format_duration, parse_duration
from monitor.config.sections import State
from monitor.core.model import Seconds
from monitor.core.snapshot import Snapshot
from monitor.core.text import rfc3339
from monitor.serialize import EventRecord, Links, record_of, to_json

LOOK_AGAIN: Seconds = 2.0  # how often what is followed is asked for new events

_Pages = Callable[[], Iterable[EventsAnswer]]
_ABOUT_LIMIT = "At most so many, the latest."


def _seconds(_context: click.Context, _option: click.Parameter, value: str) -> Seconds:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(
    epilog=options.examples(
        "events --since 8h", "events --url 127.0.0.1:10022 --campaign 'Retail leads' --kind test"
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
@click.option("--environment", help="Only of this environment.")
@click.option(
    "--campaign", "campaign_id", help="Only of this one: ENV/ID or ID; with --url its name, too."
)
@click.option("--rule", metavar="RULE", type=click.Choice(ALL_RULES), help="Only of this rule.")
@click.option("--kind", type=click.Choice([*KINDS]), help="Only alerts, tests or changes.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help=_ABOUT_LIMIT)
@click.option("--follow", is_flag=True, help="Show new ones as they come, until Ctrl-C.")
@options.output_format
@options.daemon_url
@options.config_file
@options.option("--state.path", "Read this state database.", type=options.PATH)
def events(
    since: Seconds,
    limit: int,
    follow: bool,
    output: str,
    url: str | None,
    config_file: Path | None,
    state_path: Path | None,
    **filters: str | None,
) -> None:
    """Show the history of alerts, connection tests and changed configs, newest first.

    With --follow the oldest comes first, and in JSON each is a line of its own.
    """
    asked = {name: value for name, value in filters.items() if value}
    asked["since"] = rfc3339(SystemClock().wall() - since)
    if (url := options.url_to_ask(config_file, url)) is not None:
        asked["limit"] = str(min(limit, LIMIT))
        pages: _Pages = partial(Monitor(url).ask, "/api/v1/events", EventsAnswer, **asked)
    else:
        pages = partial(_pages_of, *_state(config_file, state_path), asked)
    newest = next(rest := iter(pages()))
    found, total = list(islice(_events([newest], rest), limit)), sum(newest.counts.values())
    said = f"{total} events in the last {format_duration(since)}: {counted(newest.counts)}"
    if len(found) < total:
        said = f"the latest {len(found)} of {said} (--limit, --since for others)"
    if follow or (output == "json" and len(found) < total):
        click.echo(said, err=True)
    if not follow:
        options.show(output, list(map(to_json, found)), "\n".join([*map(_text, found), said]))
        return
    with suppress(KeyboardInterrupt):
        _follow(pages, found, (lambda one: json.dumps(to_json(one))) if output == "json" else _text)


def _state(config_file: Path | None, path: Path | None) -> tuple[State | Path, Links]:
    """Return where the history is, and where its events point to; raises UsageError."""
    if path is not None and config_file is None:
        return path, Links("")
    config = options.load(config_file)
    return path or config.state, links_of(config)


def _pages_of(
    state: State | Path, links: Links, asked: Mapping[str, str]
) -> Iterator[EventsAnswer]:
    """Yield what a state database has, in one page; raises StorageError."""
    query = query_of(Snapshot({}, 0.0), {**asked, "limit": sys.maxsize})
    found = read_history(state, query).values()
    counts = Counter(event.status.value for event in found)
    events = [record_of(event, links) for event in found]
    yield EventsAnswer(events=events, counts=counts, next=None)


def _events(*pages: Iterable[EventsAnswer]) -> Iterator[EventRecord]:
    return (event for page in chain(*pages) for event in page.events)


def _follow(
    pages: _Pages, found: Sequence[EventRecord], shown: Callable[[EventRecord], str]
) -> None:
    """Show events as they come, oldest first, whatever becomes of who is asked for them."""
    seen, lost = set[str](), False
    while True:
        for event in reversed(found):
            click.echo(shown(event))
        seen.update(event.event_id for event in found)
        asyncio.run(asyncio.sleep(LOOK_AGAIN))
        try:
            # A new one is above all that were there: no clock and no row number is compared.
            found = list(takewhile(lambda event: event.event_id not in seen, _events(pages())))
        except (StorageError, OSError) as error:
            if not lost:
                click.echo(f"error: {error}; asking again every {LOOK_AGAIN:g} s", err=True)
            found, lost = [], True
        else:
            if lost:
                click.echo("the history can be read again", err=True)
            lost = False


def _text(event: EventRecord) -> str:
    return f"{rfc3339(event.timestamp)} {to_text(event)}"
