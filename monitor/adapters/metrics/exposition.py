"""The board and the own counters as one page, in one of Prometheus' two text formats."""

from collections.abc import Callable, Iterator, Sequence
from io import BytesIO

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from monitor.adapters.metrics.board import (
    SinkState,
    environment_alerts,
    environment_families,
    sink_families,
)
from monitor.adapters.metrics.campaigns import CAMPAIGN_FAMILIES, CampaignLines
from monitor.adapters.metrics.lines import family
from monitor.adapters.metrics.own import OwnMetrics
from monitor.core.board import Board

_Encoder = tuple[Callable[[Collector], bytes], str]

_TEXT: _Encoder = choose_encoder("text/plain")
_OPENMETRICS: _Encoder = choose_encoder("application/openmetrics-text")

# The OpenMetrics encoder ends every family with it, but only the page may end so.
_EOF = b"# EOF\n"


class _Family(Collector):
    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        """Yield that one family."""
        yield self._family


class Exposition:
    """Makes the page, scrape after scrape; what has not changed since the last one is kept."""

    def __init__(self, own: OwnMetrics) -> None:
        """Show these counters beside the board."""
        self._own = own
        self._campaigns = CampaignLines()

    def render(
        self,
        board: Board,
        sinks: Sequence[SinkState],
        *,
        openmetrics: bool,
    ) -> bytes:
        """Return the whole page for one scrape: text 0.0.4, or OpenMetrics 1.0.0.

        Any thread may call it, but only one at a time.
        """
        page = BytesIO()
        # Family by family: a large board in one piece would hold the interpreter, and so the loop,
        # for far too long, and be in memory twice.
        page.writelines(self._shown(board, sinks))
        page.writelines(self._counted(_OPENMETRICS if openmetrics else _TEXT))
        if openmetrics:
            page.write(_EOF)
        return page.getvalue()

    def _shown(self, board: Board, sinks: Sequence[SinkState]) -> Iterator[bytes]:
        campaigns = self._campaigns.of(board)
        alerts = environment_alerts(board)
        for place, (name, about) in enumerate(CAMPAIGN_FAMILIES.items()):
            lines = [*alerts.get(name, ()), *(each[place] for each in campaigns)]
            yield family(name, about, lines)
        yield from environment_families(board)
        yield from sink_families(sinks)

    def _counted(self, encoder: _Encoder) -> Iterator[bytes]:
        encode, _ = encoder
        for counter in self._own.registry.collect():
            yield encode(_Family(counter)).removesuffix(_EOF)


def content_type(openmetrics: bool) -> str:
    """Return the `Content-Type` of such a page."""
    _, mime = _OPENMETRICS if openmetrics else _TEXT
    return mime
