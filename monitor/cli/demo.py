"""`sftp-monitor demo`: a stand-in API with a story of incidents, and the monitor on it."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import yaml

from monitor.adapters import log
from monitor.cli import options
from monitor.cli.run import handle_signals
from monitor.clocks import SystemClock
from monitor.core.text import clean
from monitor.daemon import Daemon
from monitor.demo.campaigns import CAMPAIGNS
from monitor.demo.platform import REQUESTS_PER_MINUTE, Platform
from monitor.demo.story import DEMO_TOKEN

TOKEN_VARIABLE = "SFTP_MONITOR_DEMO_TOKEN"  # noqa: S105 - the name of a variable

HINT = """\
A stand-in TalkOver API plays two minutes of incidents, over and over; the monitor polls it and
runs connection tests of its own.
  status page  {url}/
  metrics      {url}/metrics
  alerts       {url}/api/v1/alerts
Lines with >>> say what happens at the customer's; all others are what the monitor makes of it.
Ctrl-C ends it.
"""

CONNECTION_TESTS = {
    "enabled": True,
    "every": "30s",
    "between": "",
    "after_change": "2s",
    "confirm_after": "6s",
    "retry_after": "8s",
    "retry_max": "8s",
    "timeout": "5s",
    "login_gap": "2s",
    "host_gap": "1s",
}
"""The times that the story leaves room for; of a real customer's server nobody may ask so often."""


@click.command(epilog=options.examples("demo", "demo --port 0"))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=10022,
    show_default=True,
    help="Where the monitor listens; 0 takes a free port.",
)
def demo(port: int) -> None:
    """Show the monitor at work: no account, no config, nothing kept."""
    writer = log.LineWriter(sys.stdout.fileno())
    log.configure(writer, SystemClock().wall, level="warning", output="console")
    with closing(writer), TemporaryDirectory(prefix="sftp-monitor-demo-") as folder:
        asyncio.run(_demo(Path(folder), port, writer))


async def _demo(folder: Path, port: int, writer: log.LineWriter) -> None:
    def narrate(text: str) -> None:
        """Print a line of the story."""
        # Through the log's writer, so that no line ends up within another.
        writer.put(f"\n>>> {clean(text, 300)}\n".encode())

    platform = Platform(DEMO_TOKEN, SystemClock().wall)
    async with AsyncExitStack() as ends:
        ends.push_async_callback(platform.stop)
        file = _write_config(folder, await platform.start(), port)
        daemon = Daemon(partial(options.load, file), writer.write)
        handle_signals(daemon)
        await daemon.start()
        ends.push_async_callback(daemon.stop)
        writer.put(HINT.format(url=daemon.url).encode())
        ends.callback(asyncio.create_task(platform.narrate(narrate)).cancel)
        await daemon.run()


def _write_config(folder: Path, base_url: str, port: int) -> Path:
    """Write the demo's config file: real thresholds, short intervals. Returns its path."""
    # The config takes no literal token, not even one that opens nothing.
    os.environ[TOKEN_VARIABLE] = DEMO_TOKEN
    environment = {
        "name": "demo",
        "base_url": base_url,
        "token": f"${{{TOKEN_VARIABLE}}}",
        "requests_per_minute": REQUESTS_PER_MINUTE,
        "campaigns": [
            {"id": one.id, "name": one.name, "labels": {"team": one.team}} for one in CAMPAIGNS
        ],
        # What is at stake is in the listing alone: when a campaign calls.
        "discovery": {"enabled": True},
    }
    soon = ("unhealthy_interval", "timeout", "probe_interval", "token_probe_interval")
    config = {
        "environments": [environment],
        "polling": {"interval": "5s", **dict.fromkeys(soon, "2s")},
        "connection_tests": CONNECTION_TESTS,
        "rules": {"api_unreachable": {"after": "5s"}, "token_rejected": {"for": "3s"}},
        "metrics": {"campaign_labels": ["team"]},
        "web": {"listen_address": f"127.0.0.1:{port}"},
        "state": {"path": str(folder / "state.db")},
        "log": {"level": "warning", "format": "console"},
    }
    file = folder / "demo.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return file
