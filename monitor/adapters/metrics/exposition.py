"""The board and the own counters as one page, in one of Prometheus' two text formats."""

from collections.abc import Iterator, Sequence
from itertools import chain

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from monitor.adapters.metrics.board import BoardCollector, SinkState
from monitor.adapters.metrics.own import OwnMetrics
from monitor.core.board import Board

_TEXT = choose_encoder("text/plain")
_OPENMETRICS = choose_encoder("application/openmetrics-text")


# The OpenMetrics encoder ends every family with it, but only the page may end so.
_EOF = b"# EOF\n"


class _Family(Collector):
    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        """Yield that one family."""
        yield self._family


def render(
    board: Board,
    own: OwnMetrics,
    sinks: Sequence[SinkState],
    campaign_labels: Sequence[str],
    *,
    openmetrics: bool,
) -> bytes:
    """Return the whole page for one scrape: text 0.0.4, or OpenMetrics 1.0.0.

    `campaign_labels` are the config's labels that go on `sftp_monitor_alert` and
    `sftp_monitor_campaign_info`. Reads only what it is given, so any thread may call it.
    """
    encode, _ = _OPENMETRICS if openmetrics else _TEXT
    families = chain(
        BoardCollector(board, sinks, campaign_labels).collect(), own.registry.collect()
    )
    # Family by family: to encode all of a large board in one piece would hold the interpreter,
    # and so the loop, for far too long. Joining bytes lets go of it.
    pieces = [encode(_Family(family)).removesuffix(_EOF) for family in families]
    return b"".join([*pieces, _EOF]) if openmetrics else b"".join(pieces)


def content_type(openmetrics: bool) -> str:
    """Return the `Content-Type` of such a page."""
    _, mime = _OPENMETRICS if openmetrics else _TEXT
    return mime
