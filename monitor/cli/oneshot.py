"""One sweep without a daemon: the pollers alone, with their state in memory."""

import asyncio
import sys
from collections.abc import Collection

import click

from monitor import __version__
from monitor.adapters import log
from monitor.adapters.metrics import SelfMetrics
from monitor.adapters.store import MEMORY, Store
from monitor.adapters.web import serializers
from monitor.cli import options
from monitor.cli.client import Checked
from monitor.clocks import SystemClock
from monitor.config import Config, narrowed
from monitor.core.corroboration import distrusted
from monitor.core.model import MINUTE
from monitor.core.snapshot import Snapshot
from monitor.core.text import span
from monitor.polling import Poller, PollerManager
from monitor.serialize import from_json, to_json


def sweep(config: Config, filters: options.Filters) -> Checked:
    """Return what one sweep of these campaigns finds; on a terminal it says how far it is."""
    # Which polls failed is in the verdict, and standard output belongs to the verdict alone.
    writer = log.LineWriter(sys.stderr.fileno())
    log.configure(writer, SystemClock().wall, level="error", output="console")
    try:
        snapshot = asyncio.run(_sweep(_narrowed(config, filters)))
    finally:
        writer.close()
        _show_progress(())
    environments = [serializers.environment(one) for one in snapshot.environments.values()]
    known = Checked(
        environments, [serializers.campaign(*each) for each in snapshot.entries()], snapshot.now
    )
    # As a daemon would say it: nothing of the API's texts reaches a terminal as it is.
    return from_json(Checked, to_json(known))


async def _sweep(config: Config) -> Snapshot:
    """Poll every campaign once: the pollers without the daemon around them, state in memory.

    An environment whose breaker opens is given up: its campaigns stay unknown. Raises SecretError.
    """
    clock, own, start = SystemClock(), SelfMetrics(__version__), asyncio.create_task
    store = Store(MEMORY, now=clock.wall())
    manager = PollerManager(store, clock, own, lambda name, work: start(work, name=name))
    polled, pollers = asyncio.Event(), manager.pollers
    try:
        await manager.take(*await manager.prepare(config))
        for poller in pollers.values():
            poller.on_poll = polled.set
        _show_progress(pollers.values())
        while not all(map(_done, pollers.values())):
            await polled.wait()
            polled.clear()
            _show_progress(pollers.values())
        return Snapshot({name: poller.snapshot() for name, poller in pollers.items()}, clock.wall())
    finally:
        await manager.aclose()
        await store.aclose()


def _done(poller: Poller) -> bool:
    status, watch = poller.state.status, poller.state
    # Probing until it closes may take for ever, and `check` is to end.
    if status.breaker_open:
        return True
    if watch.awaits_listing or not watch.settings.targets:
        return not watch.awaits_listing
    # 404s that were distrusted are asked again once any config could be read.
    again = status.readable_seen and distrusted(watch.entries)
    return status.swept_at is not None and not again


def _show_progress(pollers: Collection[Poller]) -> None:
    """Overwrite the line of the terminal: how many polls are done, and how long the rest takes.

    Without pollers there is no rest, and the line goes.
    """
    if not sys.stderr.isatty():
        return
    line = ""
    if pollers:
        known = sum(len(poller.state.settings.targets) for poller in pollers)
        left = {one: 0 if _done(one) else len(one.state.unswept) for one in pollers}
        # Environments are polled side by side, so the slowest one says how long it takes.
        seconds = max(count * MINUTE / poller.state.pace for poller, count in left.items())
        line = f"{known - sum(left.values())} of {known} campaigns read, {span(seconds)} left"
    click.echo(f"\r\033[K{line}", nl=False, err=True, color=True)


def _narrowed(config: Config, filters: options.Filters) -> Config:
    """Return the config with these campaigns alone; those it does not list may be discovered."""
    own = [
        narrowed(one, filters.fit)
        for one in config.environments
        if not filters.environments or one.name in filters.environments
    ]
    # Where the file has all that are named, nobody else needs to be discovered.
    all_known = filters.campaigns and not filters.missing(
        target for one in own for target in one.resolved.targets.values()
    )
    kept = (one for one in own if one.resolved.targets or (one.discovery.enabled and not all_known))
    return config.model_copy(update={"environments": tuple(kept)})
