"""The board and the own counters as one page, in one of Prometheus' two text formats."""

from collections.abc import Iterator, Sequence
from io import BytesIO

from prometheus_client.exposition import choose_encoder

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

_TEXT, _OPENMETRICS = choose_encoder("text/plain"), choose_encoder("application/openmetrics-text")


class Exposition:
    """Makes the page, scrape after scrape; what has not changed since the last one is kept."""

    def __init__(self, own: OwnMetrics) -> None:
        """Show these counters beside the board."""
        self._own = own
        self._campaigns = CampaignLines()

    def render(self, board: Board, sinks: Sequence[SinkState], *, openmetrics: bool) -> bytes:
        """Return the whole page for one scrape: text 0.0.4, or OpenMetrics 1.0.0.

        Any thread may call it, but only one at a time.
        """
        page = BytesIO()
        # Family by family: a large board in one piece would hold the interpreter, and so the loop,
        # for far too long, and be in memory twice.
        page.writelines(self._shown(board, sinks))
        encode, _ = _OPENMETRICS if openmetrics else _TEXT
        # Last: the OpenMetrics encoder ends with what ends the page.
        page.write(encode(self._own.registry))
        return page.getvalue()

    def _shown(self, board: Board, sinks: Sequence[SinkState]) -> Iterator[bytes]:
        campaigns = self._campaigns.of(board)
        alerts = environment_alerts(board)
        for place, (name, about) in enumerate(CAMPAIGN_FAMILIES.items()):
            lines = [*alerts.get(name, ()), *(each[place] for each in campaigns)]
            yield family(name, about, lines)
        yield from environment_families(board)
        yield from sink_families(sinks)


def content_type(openmetrics: bool) -> str:
    """Return the `Content-Type` of such a page."""
    _, mime = _OPENMETRICS if openmetrics else _TEXT
    return mime
