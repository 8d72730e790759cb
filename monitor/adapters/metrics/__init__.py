"""What Prometheus scrapes: `exposition` shows the snapshot, `self_metrics` counts what we do."""

from monitor.adapters.metrics.exposition import Exposition, Pending
from monitor.adapters.metrics.self_metrics import SelfMetrics

__all__ = ["Exposition", "Pending", "SelfMetrics"]
