"""What the program counts about itself, with prometheus-client's own types."""

import platform
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from monitor.core.model import EventStatus, Instant, Reason, Seconds, Severity
from monitor.core.sharding import WHOLE, Shard

ENDPOINTS = ("sftp", "campaigns")
"""The endpoints of the API that are called; the label `endpoint`."""

_HASH_BYTES = 6
"""Of the config's hash so much is exported: a float holds 48 bits exactly."""


class _LinesDropped(Collector):
    def __init__(self, total: Callable[[], int]) -> None:
        self._total = total

    def collect(self) -> Iterator[Metric]:
        """Yield the counter as it is now."""
        about = "Operational log lines that were lost because standard output was not read."
        yield CounterMetricFamily("sftp_monitor_log_lines_dropped", about, value=self._total())


class OwnMetrics:
    """Counters, gauges and histograms about the program itself, in a registry of their own.

    The methods are safe to call while another thread renders.
    """

    def __init__(
        self, version: str, shard: Shard = WHOLE, *, lines_dropped: Callable[[], int] = int
    ) -> None:
        """Start everything without labels at 0; `version` is the program's.

        `lines_dropped` returns how many log lines were lost so far; any thread may call it.
        """
        # They would double the series, and Prometheus knows when a counter began anyway.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._make_calls()
        self._make_tellings()
        self._make_self(version, shard)
        self.registry.register(_LinesDropped(lines_dropped))

    def _make_calls(self) -> None:
        # The client appends `_total` to the name of a counter.
        self._requests = Counter(
            "sftp_monitor_api_requests",
            "Calls to the TalkOver API.",
            ["environment", "endpoint"],
            registry=self.registry,
        )
        self._request_failures = Counter(
            "sftp_monitor_api_request_failures",
            "Calls to the TalkOver API that gave no definite answer, by reason.",
            ["environment", "endpoint", "reason"],
            registry=self.registry,
        )
        self._request_duration = Histogram(
            "sftp_monitor_api_request_duration_seconds",
            "How long a call to the TalkOver API took, body included.",
            ["environment", "endpoint"],
            registry=self.registry,
        )

    def _make_tellings(self) -> None:
        self._events = Counter(
            "sftp_monitor_events",
            "Alert events that were decided.",
            ["environment", "severity", "status"],
            registry=self.registry,
        )
        self._sink_failures = Counter(
            "sftp_monitor_sink_failures",
            "Deliveries of events to a sink that failed.",
            ["sink"],
            registry=self.registry,
        )
        self._storage_errors = Counter(
            "sftp_monitor_storage_errors",
            "Transactions of the state database that failed.",
            registry=self.registry,
        )
        self._state_up = self._gauge("state_up", "1 while the state can be written, else 0.")

    def _make_self(self, version: str, shard: Shard) -> None:
        self._loop_lag = self._gauge(
            "event_loop_lag_seconds", "How late the event loop ran its last timer."
        )
        build = Gauge(
            "sftp_monitor_build_info",
            "1, labelled with the versions that run.",
            ["version", "python_version"],
            registry=self.registry,
        )
        build.labels(version, platform.python_version()).set(1)
        self._reload_successful = self._gauge(
            "config_last_reload_successful", "1 if the last load of the config file succeeded."
        )
        self._reload_success_at = self._gauge(
            "config_last_reload_success_timestamp_seconds",
            "When the config file was last loaded with success.",
        )
        self._config_hash = self._gauge("config_hash", "Hash of the config that is in force.")
        self._gauge("shard_ordinal", "Which shard this is, from 0.").set(shard.ordinal)
        self._gauge("total_shards", "How many shards share the environments.").set(shard.total)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"sftp_monitor_{name}", about, registry=self.registry)

    def prepare(self, environment: str) -> None:
        """Start an environment's counters at 0, so that the first failure is an increase."""
        for endpoint in ENDPOINTS:
            self._requests.labels(environment, endpoint)
            self._request_duration.labels(environment, endpoint)
        for endpoint, reason in product(ENDPOINTS, Reason):
            self._request_failures.labels(environment, endpoint, reason.value)
        for severity, status in product(Severity, EventStatus):
            self._events.labels(environment, severity.value, status.value)

    def prepare_sink(self, sink: str) -> None:
        """Start a sink's counter at 0."""
        self._sink_failures.labels(sink)

    def forget(self, environment: str) -> None:
        """Remove the series of an environment that is no longer watched."""
        for metric in (
            self._requests,
            self._request_failures,
            self._request_duration,
            self._events,
        ):
            metric.remove_by_labels({"environment": environment})

    def call_made(
        self, environment: str, endpoint: str, seconds: Seconds, reason: Reason | None
    ) -> None:
        """Count one call that took `seconds`; `reason` is None where the answer was definite."""
        self._requests.labels(environment, endpoint).inc()
        self._request_duration.labels(environment, endpoint).observe(seconds)
        if reason is not None:
            self._request_failures.labels(environment, endpoint, reason.value).inc()

    def event_told(self, environment: str, severity: Severity, status: EventStatus) -> None:
        """Count one alert event."""
        self._events.labels(environment, severity.value, status.value).inc()

    def sink_failed(self, sink: str) -> None:
        """Count one delivery that failed."""
        self._sink_failures.labels(sink).inc()

    def storage_failed(self) -> None:
        """Count one failed transaction of the state database."""
        self._storage_errors.inc()

    def show_state(self, up: Callable[[], bool]) -> None:
        """Show at each scrape what `up` returns: whether the state can be written."""
        self._state_up.set_function(up)

    def loop_lagged(self, seconds: Seconds) -> None:
        """Note how late the event loop ran a timer, in seconds."""
        self._loop_lag.set(seconds)

    def config_loaded(self, at: Instant, content: bytes) -> None:
        """Note that the config with this content is in force since `at`."""
        self._reload_successful.set(1)
        self._reload_success_at.set(at)
        self._config_hash.set(int.from_bytes(sha256(content).digest()[:_HASH_BYTES]))

    def config_refused(self) -> None:
        """Note that the config file has problems, and the old config stays in force."""
        self._reload_successful.set(0)
