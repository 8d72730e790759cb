"""Scraping in tests: a page of metrics, read by prometheus-client's own parsers."""

from collections.abc import Iterable, Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from monitor.adapters.metrics import Exposition, Pending, SelfMetrics
from monitor.core.snapshot import Snapshot
from support.boards import a_snapshot

VERSION = "1.2.3"

Labels = Mapping[str, str]
Series = tuple[str, frozenset[tuple[str, str]]]


class Scrape:
    """One page of metrics, parsed; names without the prefix `sftp_monitor_`."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = list(families)
        samples = [sample for family in self.families for sample in family.samples]
        self.series = {(each.name, frozenset(each.labels.items())): each.value for each in samples}
        assert len(self.series) == len(samples), "a series is there twice"

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of exactly this series; None where it is absent."""
        return self.series.get((f"sftp_monitor_{name}", frozenset(labels.items())))

    def labels(self, name: str) -> list[dict[str, str]]:
        """Return the labels of every series of this name."""
        return [dict(labels) for found, labels in self.series if found == f"sftp_monitor_{name}"]

    def names(self) -> set[str]:
        """Return the name of every sample, without the suffixes of histograms."""
        names = {name.removeprefix("sftp_monitor_") for name, _ in self.series}
        return {name for name in names if not name.endswith(("_bucket", "_count", "_sum"))} | {
            name.removesuffix("_bucket") for name in names if name.endswith("_bucket")
        }


def some_own_metrics() -> SelfMetrics:
    """Return own metrics with one environment, in which connection tests are on, and one sink."""
    own = SelfMetrics(VERSION)
    own.prepare("production")
    own.show_tests("production", on=True)
    own.prepare_sink("log")
    return own


def scrape(
    snapshot: Snapshot | None = None,
    *,
    own: SelfMetrics | None = None,
    sinks: Mapping[str, Pending] | None = None,
    openmetrics: bool = False,
) -> Scrape:
    """Return what Prometheus reads of this board."""
    render = Exposition(own or some_own_metrics()).render
    page = render(snapshot or a_snapshot(), sinks or {}, openmetrics=openmetrics).decode()
    if openmetrics:
        return Scrape(read_openmetrics(page))  # type: ignore[no-untyped-call]
    return Scrape(read_text(page))
