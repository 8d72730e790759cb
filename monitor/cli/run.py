"""`sftp-monitor run`: the daemon in the foreground."""

import asyncio
import gc
import os
import resource
import signal
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import click
import structlog

from monitor.adapters import log
from monitor.adapters.systemd import SystemdNotifier
from monitor.cli import options
from monitor.clocks import SystemClock
from monitor.core.model import Seconds
from monitor.daemon import Daemon, TaskEndedError

# A stop that hangs for so long is cut short: a kill -9 loses nothing, so neither does that.
LEAVE_WITHIN: Seconds = 8.0
# The collector goes through so many objects in some 10 ms; 100,000 campaigns have two millions.
FEW = 20_000
# What log rotation is used to send, and would end us.
IGNORED = (signal.SIGUSR1, signal.SIGUSR2)


@click.command(
    epilog=options.examples(
        "run", "run --config.file /etc/sftp-monitor/sftp-monitor.yaml --log.format console"
    )
)
@options.config_file
@options.run_flags
def run(config_file: Path | None, **flags: Any) -> None:
    """Run the monitor until SIGTERM or SIGINT; SIGHUP reads the config file again."""
    # Until the start has ended: all that it makes stays, and the collector would look through it.
    gc.disable()
    # Once: a file that comes up later at the first of the usual places is another config.
    path = options.config_path(config_file)
    # Until the loop has them: nothing is open yet, and the config is about to be read anyway.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    for number in (signal.SIGHUP, *IGNORED):
        signal.signal(number, signal.SIG_IGN)
    load = partial(options.load, path, **flags)
    config = load()
    writer = log.LineWriter(sys.stdout.fileno())
    log.configure(writer, SystemClock().wall, level=config.log.level, output=config.log.format)
    systemd, dropped = SystemdNotifier(os.environ, os.getpid()), lambda: writer.dropped
    daemon = Daemon(load, writer.write, systemd=systemd, lines_dropped=dropped, loaded=config)
    del config  # after a reload nobody needs it
    # A socket for every environment: the soft limit of 1,024 is there for programs with select().
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with closing(writer):
        code = asyncio.run(_run(daemon))
    # Nothing is left to do, and a thread that hangs in a system call must not keep us.
    os._exit(code)


async def _run(daemon: Daemon) -> int:
    # Before the start: a signal that comes meanwhile must not kill us halfway.
    handle_signals(daemon)
    await daemon.start()
    spare_what_stays()
    code = 0
    try:
        await daemon.run()
    except TaskEndedError:
        code = 70
    asyncio.get_running_loop().call_later(LEAVE_WITHIN, os._exit, code)
    await daemon.stop()
    return code


def spare_what_stays() -> None:
    """Have each full run of the collector look at what is new alone: it holds up the loop.

    Each poll replaces what is known of its campaign, so to freeze once is not enough. What is
    frozen is freed with its last reference; so nothing large may wait for the collector.
    """

    def freeze(phase: str, run: dict[str, int]) -> None:
        """Freeze what a full run has left, where that is much."""
        if phase == "stop" and run["generation"] == 2 and len(gc.get_objects(2)) > FEW:
            gc.freeze()

    gc.freeze()
    gc.set_threshold(700, 10, 5)
    gc.callbacks.append(freeze)
    gc.enable()


def handle_signals(daemon: Daemon) -> None:
    """Have SIGTERM and SIGINT stop the daemon (twice: at once), SIGHUP reload it; ignore others."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        """Ask the daemon to stop."""
        if daemon.stop_requested.is_set():
            os._exit(0)
        daemon.stop_requested.set()
        # Here, for it may be the start that hangs.
        loop.call_later(LEAVE_WITHIN, os._exit, 0)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, daemon.reload_requested.set)
    warn = structlog.get_logger().warning
    for number in IGNORED:
        about = {"signal": number.name, "instead": "SIGHUP reloads, rotated files are noticed"}
        loop.add_signal_handler(number, partial(warn, "signal_ignored", **about))
