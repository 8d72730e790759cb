"""What the program counts about itself (contract §5)."""

import platform
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from monitor.adapters.metrics import SelfMetrics
from monitor.core.model import EventStatus, Reason, Severity
from support.builders import NOW
from support.events import FIRING
from support.scrapes import VERSION, scrape, some_own_metrics

CALLS = {"environment": "production", "endpoint": "sftp"}


@pytest.mark.parametrize("endpoint", ["sftp", "campaigns", "test"])
def test_calls_of_every_endpoint_start_at_0_for_every_reason_of_the_closed_list(
    endpoint: str,
) -> None:
    page = scrape()
    calls = {**CALLS, "endpoint": endpoint}
    assert page.value("api_requests_total", **calls) == 0
    assert page.value("api_request_duration_seconds_count", **calls) == 0
    failures = [
        page.value("api_request_failures_total", **calls, reason=reason.value) for reason in Reason
    ]
    assert failures == [0] * len(Reason)


def test_counters_with_known_labels_start_at_0() -> None:
    page = scrape()
    assert page.value("sink_failures_total", sink="log") == 0
    assert page.value("storage_errors_total") == 0


def test_lost_lines_of_the_log_are_counted_from_0_on() -> None:
    lost = 0
    own = SelfMetrics(VERSION, lines_dropped=lambda: lost)
    for lost in (0, 3, 7):
        for openmetrics in (False, True):
            page = scrape(own=own, openmetrics=openmetrics)
            assert page.value("log_lines_dropped_total") == lost


def test_whether_the_state_can_be_written_is_asked_at_each_scrape() -> None:
    up, own = True, SelfMetrics(VERSION)
    own.show_state(lambda: up)
    assert scrape(own=own).value("state_up") == 1
    up = False
    assert scrape(own=own).value("state_up") == 0


def test_every_kind_of_event_starts_at_0() -> None:
    page = scrape()
    for severity, status in product(Severity, EventStatus):
        labels = {"severity": severity.value, "status": status.value}
        # A test or a change is an entry of the history, and no alert.
        expected = None if status is EventStatus.RECORDED else 0
        assert page.value("events_total", environment="production", **labels) == expected


def test_a_definite_answer_counts_as_a_call_and_its_duration_only() -> None:
    own = some_own_metrics()
    own.call_made("production", "sftp", 0.25, None)
    page = scrape(own=own)
    assert page.value("api_requests_total", **CALLS) == 1
    assert page.value("api_request_duration_seconds_count", **CALLS) == 1
    assert page.value("api_request_duration_seconds_sum", **CALLS) == 0.25
    assert not any(
        page.value("api_request_failures_total", **CALLS, reason=reason.value) for reason in Reason
    )


def test_a_failed_call_counts_under_its_reason_too() -> None:
    own = some_own_metrics()
    own.call_made("production", "sftp", 10.0, Reason.TIMEOUT)
    page = scrape(own=own)
    assert page.value("api_requests_total", **CALLS) == 1
    assert page.value("api_request_failures_total", **CALLS, reason="timeout") == 1


def test_calls_for_the_listing_are_counted_apart_from_polls() -> None:
    own = some_own_metrics()
    own.call_made("production", "campaigns", 0.5, Reason.HTTP_5XX)
    page = scrape(own=own)
    listings = {**CALLS, "endpoint": "campaigns"}
    assert page.value("api_requests_total", **listings) == 1
    assert page.value("api_request_failures_total", **listings, reason="http_5xx") == 1
    assert page.value("api_requests_total", **CALLS) == 0


def test_events_failures_and_errors_are_counted() -> None:
    own = some_own_metrics()
    own.event_sent(replace(FIRING, severity=Severity.CRITICAL))
    own.sink_failed("log")
    own.storage_failed()
    page = scrape(own=own)
    labels = {"environment": "production", "severity": "critical", "status": "firing"}
    assert page.value("events_total", **labels) == 1
    assert page.value("sink_failures_total", sink="log") == 1
    assert page.value("storage_errors_total") == 1


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({}, (1, 90.0)),
        # The platform's clock may be ahead of ours.
        ({"since": NOW + 5}, (1, 0.0)),
        ({"status": EventStatus.REMINDER}, (0, 0.0)),
        ({"status": EventStatus.RESOLVED}, (0, 0.0)),
        ({"initial": True}, (0, 0.0)),
        ({"unmuted": True}, (0, 0.0)),
        ({"since": None}, (0, 0.0)),
    ],
)
def test_from_break_to_alert_is_measured_where_one_fires_that_nobody_knew_of(
    changes: Mapping[str, Any], counted: tuple[float, float]
) -> None:
    own = some_own_metrics()
    own.event_sent(replace(FIRING, **{"since": NOW - 90, "decided_at": NOW, **changes}))
    page = scrape(own=own)
    found = [
        page.value(f"alert_delay_seconds_{part}", environment="production")
        for part in ("count", "sum")
    ]
    assert tuple(found) == counted


def test_an_environment_that_is_forgotten_leaves_no_series() -> None:
    own = some_own_metrics()
    own.prepare("staging")
    own.call_made("staging", "sftp", 1.0, Reason.TIMEOUT)
    own.event_sent(replace(FIRING, environment="staging", status=EventStatus.RESOLVED))
    own.forget("staging")
    environments = {dict(labels).get("environment") for _, labels in scrape(own=own).series}
    assert environments == {"production", None}


def test_forgetting_what_was_never_known_does_nothing() -> None:
    own = some_own_metrics()
    own.forget("staging")
    assert scrape(own=own).value("api_requests_total", **CALLS) == 0


def test_a_loaded_config_is_successful_with_its_instant_and_hash() -> None:
    own = some_own_metrics()
    own.config_loaded(NOW, b"environments: []")
    page = scrape(own=own)
    assert page.value("config_last_reload_successful") == 1
    assert page.value("config_last_reload_success_timestamp_seconds") == NOW
    assert page.value("config_hash") not in (None, 0)


def test_the_hash_depends_on_the_content_alone_and_fits_a_float() -> None:
    hashes = []
    for content in (b"a", b"b", b"a"):
        own = some_own_metrics()
        own.config_loaded(NOW, content)
        hashes.append(scrape(own=own).value("config_hash"))
    assert hashes[0] == hashes[2] != hashes[1]
    assert hashes[0] is not None
    assert hashes[0] < 2**53


def test_a_refused_config_keeps_the_instant_and_the_hash_of_the_one_in_force() -> None:
    own = some_own_metrics()
    own.config_loaded(NOW, b"good")
    before = scrape(own=own).value("config_hash")
    own.config_refused()
    page = scrape(own=own)
    assert page.value("config_last_reload_successful") == 0
    assert page.value("config_last_reload_success_timestamp_seconds") == NOW
    assert page.value("config_hash") == before


def test_the_build_says_what_runs() -> None:
    page = scrape()
    labels = {"version": VERSION, "python_version": platform.python_version()}
    assert page.value("build_info", **labels) == 1


def test_the_lag_of_the_event_loop_is_the_last_one_noted() -> None:
    own = some_own_metrics()
    own.loop_lagged(0.5)
    own.loop_lagged(0.125)
    assert scrape(own=own).value("event_loop_lag_seconds") == 0.125


def test_two_sets_of_own_metrics_do_not_share_a_registry() -> None:
    first, second = some_own_metrics(), some_own_metrics()
    first.storage_failed()
    assert scrape(own=second).value("storage_errors_total") == 0


def test_the_process_and_python_are_there_as_everywhere() -> None:
    names = {name for name, _ in scrape().series}
    assert {"process_cpu_seconds_total", "process_open_fds", "python_info"} <= names
