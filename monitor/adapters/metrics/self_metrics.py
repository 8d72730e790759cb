"""What the program counts about itself, with prometheus-client's own types."""

import platform
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import prometheus_client as prometheus
from prometheus_client import (
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from monitor.core.attempt import Attempt, Result
from monitor.core.model import Event, EventStatus, Instant, Reason, Seconds, Severity

ENDPOINTS = ("sftp", "campaigns")  # those of the API that are called; the label `endpoint`
TEST = "test"  # one more, where connection tests are on
TEST_BUCKETS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120)  # seconds; a dead server takes a minute
LAG = "How late the event loop ran its last timer."
DELAY = "From what an alert is about, its since, to the event that fires."
DELAY_BUCKETS = (5, 15, 30, 60, 120, 300, 600, 1800, 3600, 21600)  # seconds from break to alert
STATUSES = tuple(one for one in EventStatus if one is not EventStatus.RECORDED)  # of alerts
_CALL, _EVENT = ("environment", "endpoint"), ("environment", "severity", "status")


class SelfMetrics(Collector):
    """Counters, gauges and histograms about the program itself, in a registry of their own.

    `storage_failed()` counts one failed transaction, `config_refused()` notes that the old config
    stays in force, `loop_lagged(seconds)` how late a timer ran, and `show_state(up)` has each
    scrape ask `up()` whether the state can be written. Any thread may ask `lines_dropped`.
    """

    taken_over: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, version: str, *, lines_dropped: Callable[[], int] = int) -> None:
        # They would double the series, and Prometheus knows when a counter began anyway.
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = prometheus.CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        counter = partial(prometheus.Counter, namespace="sftp_monitor", registry=registry)
        gauge = partial(prometheus.Gauge, namespace="sftp_monitor", registry=registry)
        histogram = partial(prometheus.Histogram, namespace="sftp_monitor", registry=registry)
        # The client appends `_total` to the name of a counter.
        self._requests = counter("api_requests", "Calls to the TalkOver API.", _CALL)
        about = "Calls to the TalkOver API that gave no definite answer, by reason."
        self._request_failures = counter("api_request_failures", about, (*_CALL, "reason"))
        about = "How long a call to the TalkOver API took, body included."
        self._request_duration = histogram("api_request_duration_seconds", about, _CALL)
        # Not in the registry: while tests are off there is not even their heading.
        self._tests, self._test_duration = _of_tests()
        self._events = counter("events", "Alert events that were decided.", _EVENT)
        self._delays = histogram("alert_delay_seconds", DELAY, _EVENT[:1], buckets=DELAY_BUCKETS)
        self._sink_failures = counter(
            "sink_failures", "Deliveries of events to a sink that failed.", ("sink",)
        )
        about = "Transactions of the state database that failed."
        self.storage_failed = counter("storage_errors", about).inc
        about = "1 while the state can be written, else 0."
        self.show_state = gauge("state_up", about).set_function
        self.loop_lagged = gauge("event_loop_lag_seconds", LAG).set
        about, versions = "1, labelled with the versions that run.", ("version", "python_version")
        gauge("build_info", about, versions).labels(version, platform.python_version()).set(1)
        about = "1 if the last load of the config file succeeded."
        self._reload_successful = gauge("config_last_reload_successful", about)
        self.config_refused = partial(self._reload_successful.set, 0)
        about = "When the config file was last loaded with success."
        self._reload_success_at = gauge("config_last_reload_success_timestamp_seconds", about)
        self._config_hash = gauge("config_hash", "Hash of the config that is in force.")
        self._lines_dropped = lines_dropped
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield what is counted elsewhere."""
        about = "Operational log lines that were lost because standard output was not read."
        dropped = self._lines_dropped()
        yield CounterMetricFamily("sftp_monitor_log_lines_dropped", about, value=dropped)
        families = (*self._tests.collect(), *self._test_duration.collect())
        yield from (family for family in families if family.samples)

    def prepare(self, environment: str) -> None:
        """Start an environment's counters at 0, so that the first failure is an increase."""
        for endpoint in ENDPOINTS:
            self._prepare_endpoint(environment, endpoint)
        self._delays.labels(environment)
        for severity, status in product(Severity, STATUSES):
            self._events.labels(environment, severity.value, status.value)

    def _prepare_endpoint(self, environment: str, endpoint: str) -> None:
        self._requests.labels(environment, endpoint)
        self._request_duration.labels(environment, endpoint)
        for reason in Reason:
            self._request_failures.labels(environment, endpoint, reason.value)

    def show_tests(self, environment: str, *, on: bool) -> None:
        """Start an environment's counters of connection tests at 0, or remove them."""
        if not on:
            return self._forget_tests(environment)
        self._prepare_endpoint(environment, TEST)
        self._test_duration.labels(environment)
        for result in Result:
            self._tests.labels(environment, result.value)

    def _forget_tests(self, environment: str) -> None:
        for metric in (self._requests, self._request_failures, self._request_duration):
            metric.remove_by_labels({"environment": environment, "endpoint": TEST})
        for one in (self._tests, self._test_duration):
            one.remove_by_labels({"environment": environment})

    def show_replica(self, replica: str, living: Callable[[], float]) -> None:
        """Show the id of this one of several replicas, how many live, and what it has taken over.

        From here on `taken_over()` counts an environment.
        """
        gauge = partial(prometheus.Gauge, namespace="sftp_monitor", registry=self.registry)
        about = "1, labelled with the id of this replica."
        gauge("replica_info", about, ("replica",)).labels(replica).set(1)
        gauge("replicas", "Replicas that live, as the database last said.").set_function(living)
        about, of = "Environments that this replica has taken over.", self.registry
        takeovers = prometheus.Counter("takeovers", about, namespace="sftp_monitor", registry=of)
        self.taken_over = takeovers.inc

    def prepare_sink(self, sink: str) -> None:
        """Start a sink's counter at 0."""
        self._sink_failures.labels(sink)

    def forget(self, environment: str) -> None:
        """Remove the series of an environment that is no longer monitored."""
        calls = (self._requests, self._request_failures, self._request_duration)
        for metric in (*calls, self._tests, self._test_duration, self._events, self._delays):
            metric.remove_by_labels({"environment": environment})

    def call_made(
        self, environment: str, endpoint: str, seconds: Seconds, reason: Reason | None
    ) -> None:
        """Count one call that took `seconds`; `reason` is None where the answer was definite."""
        self._requests.labels(environment, endpoint).inc()
        self._request_duration.labels(environment, endpoint).observe(seconds)
        if reason is not None:
            self._request_failures.labels(environment, endpoint, reason.value).inc()

    def test_ended(self, attempt: Attempt) -> None:
        """Count one connection test that has ended."""
        self._tests.labels(attempt.environment, attempt.result.value).inc()
        took = (attempt.ended_at or attempt.at) - attempt.at
        # Our clock may have been set back meanwhile.
        self._test_duration.labels(attempt.environment).observe(max(0.0, took))

    def event_sent(self, event: Event) -> None:
        """Count one alert event; where one fires, also how long that took."""
        self._events.labels(event.environment, event.severity.value, event.status.value).inc()
        # What the first look found is older than that look, and what was muted was known before.
        new = event.status is EventStatus.FIRING and not (event.initial or event.unmuted)
        if new and event.since is not None:
            delay = max(0.0, event.decided_at - event.since)
            self._delays.labels(event.environment).observe(delay)

    def sink_failed(self, sink: str) -> None:
        """Count one delivery that failed."""
        self._sink_failures.labels(sink).inc()

    def config_loaded(self, at: Instant, digest: bytes) -> None:
        """Note that the config whose file has this SHA-256 is in force since `at`."""
        self._reload_successful.set(1)
        self._reload_success_at.set(at)
        # A float holds 48 bits exactly.
        self._config_hash.set(int.from_bytes(digest[:6]))


def _of_tests() -> tuple[Counter, Histogram]:
    """Return what counts connection tests by their results, and how long they took."""
    about, labels = "Connection tests of ours, by their result.", ("environment", "result")
    tests = Counter("connection_tests", about, labels, namespace="sftp_monitor", registry=None)
    name, about = "connection_test_duration_seconds", "How long a connection test took."
    duration = Histogram(
        name, about, labels[:1], namespace="sftp_monitor", registry=None, buckets=TEST_BUCKETS
    )
    return tests, duration
