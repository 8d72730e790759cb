"""Look, decide, remember: from the config to the store, for each environment by itself.

`watch` decides (no `await` in it), `poller` says when to look, `discovery` at whom, `token` reads
the secret again, `fleet` starts, changes and ends them all, `connect` knows the real API.
"""

from monitor.polling.api import Api
from monitor.polling.connect import talkover
from monitor.polling.fleet import Connect, Fleet, Prepared
from monitor.polling.poller import Poller
from monitor.polling.settings import Clock, Settings
from monitor.polling.watch import STEP

__all__ = ["STEP", "Api", "Clock", "Connect", "Fleet", "Poller", "Prepared", "Settings", "talkover"]
