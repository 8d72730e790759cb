"""Look, decide, remember: from the config to the store, for each environment by itself.

`watch` decides (no `await` in it), `poller` says when to look, `discovery` at whom, `settings`
under which config and token, `fleet` starts, changes and ends them all, `api` knows the real API.
"""

from monitor.polling.api import Api, Connect, talkover
from monitor.polling.fleet import Fleet, Prepared
from monitor.polling.poller import Poller
from monitor.polling.settings import Clock, Settings
from monitor.polling.watch import STEP

__all__ = ["STEP", "Api", "Clock", "Connect", "Fleet", "Poller", "Prepared", "Settings", "talkover"]
