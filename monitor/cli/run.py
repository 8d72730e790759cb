"""`sftp-monitor run`: the daemon in the foreground."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from monitor.adapters import log
from monitor.cli import options
from monitor.config import Config
from monitor.core.sharding import Shard
from monitor.daemon import Daemon, SystemClock, TaskEndedError


@click.command()
@options.config_file
@options.run_flags
def run(config_file: Path, shard: int | None, total_shards: int, **flags: Any) -> None:
    """Run the monitor until SIGTERM or SIGINT; SIGHUP reads the config file again."""
    own = options.shard_of(shard, total_shards, os.environ)
    load = partial(options.load, config_file, **flags)
    first = load()
    writer = log.LineWriter(sys.stdout.fileno())
    log.configure(
        writer,
        SystemClock().wall,
        level=first.log.level,
        output=first.log.format,
        shard=own.ordinal,
    )
    # A socket for every environment: the soft limit of 1,024 is there for programs with select().
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    code = 70
    try:
        code = asyncio.run(_run(load, writer, own))
    finally:
        writer.close()
    # Nothing is left to do, and a thread that hangs in a system call must not keep us.
    os._exit(code)


async def _run(load: Callable[[], Config], writer: log.LineWriter, shard: Shard) -> int:
    daemon = Daemon(load, writer.write, shard=shard)
    # Before the start: a SIGTERM or SIGHUP that comes meanwhile must not kill us halfway.
    heed_signals(daemon)
    await daemon.start()
    try:
        await daemon.run()
    except TaskEndedError:
        return 70
    finally:
        await daemon.stop()
    return 0


def heed_signals(daemon: Daemon) -> None:
    """Have SIGTERM and SIGINT stop the daemon (twice: at once), and SIGHUP reload it."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        """Ask the daemon to stop; asked once more, leave at once."""
        if daemon.stop_requested.is_set():
            os._exit(0)
        daemon.stop_requested.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, daemon.reload_requested.set)
