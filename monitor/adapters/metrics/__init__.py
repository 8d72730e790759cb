"""Everything that Prometheus is told: views of the board, and own counters.

`campaigns` and `board` turn the last known truth into `lines` whenever somebody asks, `own` counts
what the program itself does, `exposition` joins them into one page. A new gauge of a campaign or an
environment is one entry in a table.
"""

from monitor.adapters.metrics.board import SinkState
from monitor.adapters.metrics.exposition import Exposition, content_type
from monitor.adapters.metrics.own import OwnMetrics

__all__ = ["Exposition", "OwnMetrics", "SinkState", "content_type"]
