"""Poll, decide, remember: from the config to the store, for each environment by itself.

`watch` decides (no `await` in it), `poller` says when to poll, `discovery` whom, `settings` under
which config and token; `fleet` starts, changes and ends them all.
"""

from monitor.polling.fleet import Fleet
from monitor.polling.poller import Poller
from monitor.polling.settings import Api, Clock, Connect, Settings
from monitor.polling.watch import STEP

__all__ = ["STEP", "Api", "Clock", "Connect", "Fleet", "Poller", "Settings"]
