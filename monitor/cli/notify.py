"""`sftp-monitor notify`: try every sink of the config file."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from monitor.adapters import log
from monitor.adapters.sinks import RefusedError, Sink, Situation, sinks_of
from monitor.cli import options
from monitor.config import Config
from monitor.core.board import Board
from monitor.core.model import MINUTE, Event, EventStatus, Instant, Seconds, Severity, Told
from monitor.core.text import clean
from monitor.daemon import SystemClock

RULE = "notify_test"
"""What stands for the rule in a test event, and for the alert's name in Alertmanager."""

EPOCH = "test"
"""What stands for the epoch in the id of a test event: no real one is like it."""

ENDS_AFTER: Seconds = 5 * MINUTE
"""In Alertmanager a test alert ends by itself, after so long."""


@click.group()
def notify() -> None:
    """Send a test notification to every sink."""


@notify.command()
@options.config_file(required=True)
@click.option(
    "--severity",
    type=click.Choice([severity.value for severity in Severity]),
    default=Severity.INFO.value,
    show_default=True,
    help="That of the event, to try where it is routed.",
)
def test(config_file: Path, severity: str) -> int:
    """Send a marked test event through every sink, and say of each whether it was taken.

    Exit code: 0 all of them took it, 1 one did not.
    """
    config, clock = options.load(config_file), SystemClock()
    writer = log.LineWriter(sys.stdout.fileno())
    log.configure(log.LineWriter(sys.stderr.fileno()), clock.wall, level="error", output="console")
    nothing = Board({}, clock.wall())
    situation = Situation(clock.wall, board=lambda: nothing, hold=ENDS_AFTER)
    sinks = sinks_of(config, writer.write, situation, threaded=True)
    told = Told(_test_event(config, Severity(severity), clock.wall()), EPOCH)
    try:
        problems = asyncio.run(_try_all(sinks, told))
    finally:
        writer.close()
    for sink, problem in zip(sinks, problems, strict=True):
        click.echo(f"{sink.name}: {'ok' if problem is None else f'failed: {problem}'}")
    return int(any(problem is not None for problem in problems))


async def _try_all(sinks: Sequence[Sink], told: Told) -> list[str | None]:
    """Return for each sink why it did not take the event, None where it did."""

    async def attempt(sink: Sink) -> str | None:
        """Return why this one did not."""
        try:
            await sink.deliver(told)
        except (OSError, RefusedError) as error:
            return clean(str(error), 300)
        return None

    return await asyncio.gather(*map(attempt, sinks))


def _test_event(config: Config, severity: Severity, now: Instant) -> Event:
    """Return an event that says that it is a test, labelled like one of the first environment."""
    environment = config.environments[0]
    return Event(
        status=EventStatus.FIRING,
        seq=int(now),
        rule=RULE,
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
    )
