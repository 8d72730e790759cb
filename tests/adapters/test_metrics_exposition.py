"""The page as a whole: complete, nothing besides, and readable whatever the API said."""

import re
import subprocess
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.adapters.metrics import Exposition
from monitor.core.snapshot import Snapshot
from support.boards import a_rich_snapshot, a_snapshot, an_entry, an_environment
from support.builders import NOW, a_config
from support.peers import require_peer
from support.scrapes import Scrape, scrape, some_own_metrics

CONTRACT = {
    "campaign_info",
    "campaign_up",
    "campaign_last_poll_timestamp_seconds",
    "sftp_configured",
    "sftp_enabled",
    "sftp_created_timestamp_seconds",
    "sftp_last_test_success",
    "sftp_last_test_timestamp_seconds",
    "sftp_test_stale_timestamp_seconds",
    "campaign_next_calls_timestamp_seconds",
    "sftp_path_accessible",
    "alert",
    "alert_since_timestamp_seconds",
    "campaigns",
    "environment_swept_timestamp_seconds",
    "environment_last_poll_timestamp_seconds",
    "environment_owned",
    "api_up",
    "api_requests_total",
    "api_request_failures_total",
    "api_request_duration_seconds",
    "budget_requests_per_minute",
    "budget_available_requests",
    "effective_interval_seconds",
    "poll_lag_seconds",
    "connection_tests_enabled",
    "discovery_last_success_timestamp_seconds",
    "connection_tests_held_back",
    "connection_tests_total",
    "connection_test_duration_seconds",
    "events_total",
    "alert_delay_seconds",
    "sink_failures_total",
    "sink_pending_events",
    "sink_oldest_pending_timestamp_seconds",
    "storage_errors_total",
    "state_up",
    "log_lines_dropped_total",
    "event_loop_lag_seconds",
    "build_info",
    "config_last_reload_successful",
    "config_last_reload_success_timestamp_seconds",
    "config_hash",
}
"""Every metric of the contract's table, without the prefix."""

SINKS = {"log": (2, NOW - 60), "file": (0, None)}

hostile = st.text() | st.sampled_from(
    ['"', "\\", "\n", '\\"', "\r\n", "\ud800", "\x00", "\u2028", "}", '"} 1\n# EOF\n', "\x85"]
)

both_formats = pytest.mark.parametrize("openmetrics", [False, True], ids=["text", "openmetrics"])


@both_formats
def test_the_page_has_every_metric_of_the_contract_and_no_other(openmetrics: bool) -> None:
    page = scrape(a_rich_snapshot(), sinks=SINKS, openmetrics=openmetrics)
    ours = {name for name in page.names() if not name.startswith(("process_", "python_"))}
    assert ours == CONTRACT


@both_formats
def test_there_is_no_created_series(openmetrics: bool) -> None:
    page = scrape(a_rich_snapshot(), openmetrics=openmetrics)
    assert [name for name, _ in page.series if name.endswith("_created")] == []


@both_formats
def test_every_metric_says_what_it_means(openmetrics: bool) -> None:
    page = scrape(a_rich_snapshot(), sinks=SINKS, openmetrics=openmetrics)
    assert [family.name for family in page.families if not family.documentation] == []


def test_gauges_are_gauges_unless_they_end_in_total() -> None:
    page = scrape(a_rich_snapshot(), sinks=SINKS)
    ours = [family for family in page.families if family.name.startswith("sftp_monitor_")]
    types = {family.name: family.type for family in ours}
    measured = ("api_request_duration", "connection_test_duration", "alert_delay")
    for name in measured:
        assert types.pop(f"sftp_monitor_{name}_seconds") == "histogram"
    counters = {name for name, kind in types.items() if kind == "counter"}
    assert counters == {
        f"sftp_monitor_{name.removesuffix('_total')}" for name in CONTRACT if name[-6:] == "_total"
    }
    assert {types[name] for name in types.keys() - counters} == {"gauge"}


def test_the_page_is_made_of_instants_and_never_of_ages() -> None:
    # Ten minutes later, with the same knowledge, the campaigns' series are the same.
    snapshot = a_snapshot(an_environment(an_entry("c-1", (NOW, a_config()))))
    later = Snapshot(snapshot.environments, NOW + 600)
    assert campaign_series(scrape(snapshot)) == campaign_series(scrape(later))


def campaign_series(page: Scrape) -> dict[object, float]:
    return {key: value for key, value in page.series.items() if "campaign_id" in dict(key[1])}


@both_formats
@given(name=hostile, host=hostile, label=hostile, schedule=hostile, auth=hostile)
def test_fault_48_every_page_can_be_read_whatever_the_api_said(
    openmetrics: bool, name: str, host: str, label: str, schedule: str, auth: str
) -> None:
    config = a_config(host=host, import_schedule=schedule, auth_type=auth, last_test_success=False)
    entry = an_entry("c-1", (NOW, config), name=name, labels={"team": label}, exported=("team",))
    snapshot = a_snapshot(an_environment(entry))
    page = scrape(snapshot, openmetrics=openmetrics)
    assert len(page.labels("campaign_info")) == len(page.labels("alert")) == 1


def test_openmetrics_ends_with_eof_and_text_does_not() -> None:
    make = partial(Exposition(some_own_metrics()).render, a_rich_snapshot(), SINKS)
    assert make(openmetrics=True).endswith(b"# EOF\n")
    assert b"# EOF" not in make(openmetrics=False)


def test_rendering_twice_gives_the_same_page_but_for_the_process() -> None:
    snapshot, own = a_rich_snapshot("team"), Exposition(some_own_metrics())
    pages = [own.render(snapshot, SINKS, openmetrics=False).decode() for _ in range(2)]
    ours = [re.findall(r"^sftp_monitor_.*$", page, re.MULTILINE) for page in pages]
    assert ours[0] == ours[1]


@pytest.mark.e2e
def test_fault_48_promtool_finds_nothing_wrong_with_the_page() -> None:
    promtool = require_peer("promtool")
    page = Exposition(some_own_metrics()).render(a_rich_snapshot("team"), SINKS, openmetrics=False)
    found = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, check=False, timeout=60
    )
    assert (found.stdout + found.stderr, found.returncode) == (b"", 0)
