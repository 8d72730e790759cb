"""Look, decide, remember: from the config to the store, for each environment by itself.

`watch` decides (no `await` in it), `poller` says when to look, `token` reads the secret again,
`fleet` starts, changes and ends them all.
"""

from monitor.polling.fleet import Connect, Fleet
from monitor.polling.poller import Api, Poller
from monitor.polling.watch import Clock, Settings

__all__ = ["Api", "Clock", "Connect", "Fleet", "Poller", "Settings"]
