"""Everything that Prometheus is told: views of the board, and own counters.

`board` turns the last known truth into metrics whenever somebody asks, `own` counts what the
program itself does, `exposition` joins the two into one page. A new gauge of a campaign or an
environment is one entry in a table of `board`.
"""

from monitor.adapters.metrics.board import SinkState
from monitor.adapters.metrics.exposition import content_type, render
from monitor.adapters.metrics.own import OwnMetrics

__all__ = ["OwnMetrics", "SinkState", "content_type", "render"]
