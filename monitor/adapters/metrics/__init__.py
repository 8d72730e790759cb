"""What Prometheus scrapes: `exposition` shows the board, `own` counts what we do."""

from monitor.adapters.metrics.exposition import Exposition, Pending
from monitor.adapters.metrics.own import OwnMetrics

__all__ = ["Exposition", "OwnMetrics", "Pending"]
