"""One sweep over everything, for `sftp-monitor check`: the pollers without the daemon around them.

Where campaigns are discovered it lists them first. It keeps its state in memory, tells nobody, and
spends no more than the budget.
"""

import asyncio
from collections.abc import Callable, Mapping

from monitor import __version__
from monitor.adapters.metrics import OwnMetrics
from monitor.adapters.store import MEMORY, Store
from monitor.config import Config
from monitor.core.board import Board
from monitor.core.model import Reason
from monitor.polling import Clock, Connect, Fleet, Poller

Progress = Callable[[int, Mapping[str, int]], None]
"""Is told how many calls were made, and how many campaigns each environment is known to have."""


async def sweep(config: Config, clock: Clock, connect: Connect, progress: Progress) -> Board:
    """Poll every campaign once and return what was seen.

    An environment whose breaker opens is given up: its campaigns stay unknown. Raises SecretError.
    """
    store = Store(MEMORY, now=clock.wall())
    own, start = OwnMetrics(__version__), asyncio.create_task
    fleet = Fleet(store, clock, own, connect, lambda name, work: start(work, name=name))
    polled, polls = asyncio.Event(), 0
    try:
        await fleet.take(await fleet.prepare(config, await store.load()))
        for poller in fleet.pollers.values():
            poller.on_poll = polled.set
        while not all(_done(poller) for poller in fleet.pollers.values()):
            await polled.wait()
            polled.clear()
            polls += 1
            counts = {
                name: len(poller.watch.settings.targets) for name, poller in fleet.pollers.items()
            }
            progress(polls, counts)
        boards = {name: poller.board() for name, poller in fleet.pollers.items()}
        return Board(boards, clock.wall())
    finally:
        await fleet.aclose()
        await store.aclose()


def _done(poller: Poller) -> bool:
    status, watch = poller.watch.status, poller.watch
    # Probing until it closes may take for ever, and `check` is to end.
    if status.breaker_open:
        return True
    if watch.awaits_listing or not watch.settings.targets:
        return not watch.awaits_listing
    # 404s that were distrusted are asked again once any config could be read.
    again = status.readable_seen and any(
        known.error is not None and known.error.reason is Reason.NOT_FOUND
        for known in poller.watch.campaigns.values()
    )
    return status.swept_at is not None and not again
