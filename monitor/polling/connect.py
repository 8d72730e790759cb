"""What connects an environment to the real API."""

from monitor import __version__
from monitor.adapters.metrics import OwnMetrics
from monitor.adapters.talkover import Talkover
from monitor.core.model import Reason, Seconds
from monitor.polling.api import Api
from monitor.polling.fleet import Connect
from monitor.polling.settings import Clock, Settings


def talkover(clock: Clock, own: OwnMetrics | None = None) -> Connect:
    """Return what connects to the real API; each call is counted in `own`."""

    def connect(settings: Settings, token: str) -> Api:
        """Return the client of one environment."""
        environment = settings.environment

        def observe(endpoint: str, seconds: Seconds, reason: Reason | None) -> None:
            """Count a call by its outcome; `reason` is None for an answer."""
            if own is not None:
                own.call_made(environment.name, endpoint, seconds, reason)

        return Talkover(
            base_url=environment.base_url,
            token=token,
            timeout=settings.polling.timeout,
            concurrency=settings.polling.concurrency,
            now=clock.wall,
            monotonic=clock.elapsed,
            observe=observe,
            user_agent=f"sftp-config-monitor/{__version__}",
            ca_file=environment.ca_file,
        )

    return connect
