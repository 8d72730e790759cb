"""`sftp-monitor notify`: try every sink of the config file."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from monitor.adapters import log
from monitor.adapters.sinks import (
    PermanentDeliveryError,
    Sink,
    SinkContext,
    links_of,
    sinks_of,
)
from monitor.cli import options
from monitor.clocks import SystemClock
from monitor.config import Config
from monitor.core.model import MINUTE, Event, EventStatus, Instant, Seconds, Severity
from monitor.core.snapshot import Snapshot
from monitor.core.text import clean

ENDS_AFTER: Seconds = 5 * MINUTE
"""In Alertmanager a test alert ends by itself, after so long."""


@click.group()
def notify() -> None:
    """Send a test notification to every sink."""


@notify.command(epilog=options.examples("notify test", "notify test --severity critical"))
@options.config_file
@click.option(
    "--severity",
    type=click.Choice([severity.value for severity in Severity]),
    default=Severity.INFO.value,
    show_default=True,
    help="That of the event, to try where it is routed.",
)
def test(config_file: Path | None, severity: str) -> int:
    """Send a marked test event through every sink, and say of each whether it was taken.

    Exit code: 0 all of them took it, 1 one did not.
    """
    config, clock = options.load(config_file), SystemClock()
    writer = log.LineWriter(sys.stdout.fileno())
    log.configure(log.LineWriter(sys.stderr.fileno()), clock.wall, level="error", output="console")
    nothing = Snapshot({}, clock.wall())
    links, write = links_of(config), writer.write
    context = SinkContext(links, write, clock.wall, lambda: nothing, hold=ENDS_AFTER)
    event = _test_event(config, Severity(severity), clock.wall())
    return asyncio.run(_try_all(sinks_of(config, context), event))


async def _try_all(sinks: Sequence[Sink], event: Event) -> int:
    """Show of each sink whether it takes the event; returns the exit code."""
    code = 0
    for sink in sinks:
        try:
            await sink.deliver(event)
        except (OSError, PermanentDeliveryError) as error:
            click.echo(f"{sink.name}: failed: {clean(str(error), 300)}")
            code = 1
        else:
            click.echo(f"{sink.name}: ok")
    return code


def _test_event(config: Config, severity: Severity, now: Instant) -> Event:
    """Return an event of the first environment that says that it is a test.

    Its rule and its epoch are like no real ones.
    """
    environment = config.environments[0]
    return Event(
        status=EventStatus.FIRING,
        seq=int(now),
        rule="notify_test",
        severity=severity,
        environment=environment.name,
        campaign_id=None,
        labels=environment.labels,
        exported=environment.resolved.exported,
        summary="this is a test of the notifications: nothing is wrong",
        since=now,
        observed_at=now,
        decided_at=now,
        next_step="Nothing: somebody ran `sftp-monitor notify test`.",
        epoch="test",
    )
