"""Poll, decide, remember: from the config to the store, for each environment by itself."""

from monitor.polling.environment_state import STEP
from monitor.polling.holding import Holding
from monitor.polling.manager import PollerManager
from monitor.polling.poller import AT_ONCE, Poller
from monitor.polling.settings import Api, Clock, Connect, Settings
from monitor.polling.shared import OurClock
from monitor.polling.view import Others

__all__ = [
    "AT_ONCE", "STEP", "Api", "Clock", "Connect", "Holding", "Others", "OurClock", "Poller",
    "PollerManager", "Settings",
]  # fmt: skip
