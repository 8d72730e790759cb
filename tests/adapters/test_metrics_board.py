"""What Prometheus sees of campaigns and environments (contract §5)."""

from dataclasses import replace

import pytest

from monitor.core.model import DAY, HOUR, MINUTE, AlertLabels, NoConfig, PollError, Reason, Severity
from monitor.core.status import EnvironmentStatus
from support.boards import a_rich_snapshot, a_snapshot, after_calls, an_entry, an_environment
from support.builders import NOW, a_config, an_untested_config
from support.scrapes import Scrape, scrape

KEY = {"environment": "production", "campaign_id": "c-1"}

GAUGES_OF_A_CONFIG = (
    "sftp_enabled",
    "sftp_created_timestamp_seconds",
    "sftp_last_test_success",
    "sftp_last_test_timestamp_seconds",
    "sftp_test_stale_timestamp_seconds",
)


def scrape_of(*history: object, **target: object) -> Scrape:
    """Return the scrape of one campaign `c-1` after these observations, a minute apart."""
    polls = [(NOW - (len(history) - i) * MINUTE, seen) for i, seen in enumerate(history)]
    return scrape(a_snapshot(an_environment(an_entry("c-1", *polls, **target))))  # type: ignore[arg-type]


def info_of(page: Scrape) -> dict[str, str]:
    """Return the labels of the one campaign's `campaign_info`."""
    (labels,) = page.labels("campaign_info")
    return labels


# --- campaign_info -----------------------------------------------------------------------------


def test_a_campaign_never_polled_is_known_with_its_config_fields_empty() -> None:
    page = scrape_of(name="Retail leads")
    assert info_of(page) == {
        **KEY,
        "campaign_name": "Retail leads",
        "sftp_host": "",
        "sftp_port": "",
        "auth_type": "",
        "import_schedule": "",
    }


def test_a_campaign_that_was_seen_tells_where_it_imports_from() -> None:
    page = scrape_of(a_config(host="sftp.example", port=2222, auth_type="key"))
    info = info_of(page)
    assert (info["sftp_host"], info["sftp_port"]) == ("sftp.example", "2222")
    assert (info["auth_type"], info["import_schedule"]) == ("key", "daily")


def test_optional_fields_that_the_platform_leaves_out_are_empty() -> None:
    info = info_of(scrape_of(a_config(port=None, auth_type=None, import_schedule=None)))
    assert (info["sftp_port"], info["auth_type"], info["import_schedule"]) == ("", "", "")


def test_fault_48_a_renamed_host_leaves_no_old_series() -> None:
    page = scrape_of(a_config(host="old.example"), a_config(host="new.example"))
    assert info_of(page)["sftp_host"] == "new.example"


def test_a_deleted_config_leaves_its_last_host_in_campaign_info() -> None:
    page = scrape_of(a_config(host="sftp.example"), NoConfig())
    assert info_of(page)["sftp_host"] == "sftp.example"


def test_values_are_cut_to_128_characters() -> None:
    info = info_of(scrape_of(a_config(host="h" * 1_000_000), name="n" * 129))
    assert len(info["sftp_host"]) == len(info["campaign_name"]) == 128


def test_values_are_sanitised() -> None:
    info = info_of(scrape_of(a_config(host="a\x00b\x1bc\ud800d\u202ee\nf\u2028g")))
    assert info["sftp_host"] == "a b c d e f g"


def test_the_series_of_a_campaign_disappear_with_it() -> None:
    page = scrape(a_snapshot(an_environment()))
    assert not any("campaign_id" in dict(labels) for _, labels in page.series)


# --- what the last poll said -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "up"),
    [(a_config(), 1), (NoConfig(by_404=True), 1), (PollError(Reason.TIMEOUT), 0)],
    ids=["a config", "404", "no answer"],
)
def test_a_campaign_is_up_when_the_last_poll_was_definite(seen: object, up: float) -> None:
    assert scrape_of(a_config(), seen).value("campaign_up", **KEY) == up


def test_a_campaign_never_polled_is_neither_up_nor_down() -> None:
    page = scrape_of()
    assert page.value("campaign_up", **KEY) is None
    assert page.value("campaign_last_poll_timestamp_seconds", **KEY) is None
    assert page.value("sftp_configured", **KEY) is None


def test_the_last_poll_is_the_last_definite_one() -> None:
    page = scrape_of(a_config(), PollError(Reason.TIMEOUT))
    assert page.value("campaign_last_poll_timestamp_seconds", **KEY) == NOW - 2 * MINUTE


def test_the_gauges_of_a_config_say_what_the_platform_has() -> None:
    page = scrape_of(a_config())
    assert page.value("sftp_configured", **KEY) == 1
    assert page.value("sftp_enabled", **KEY) == 1
    assert page.value("sftp_created_timestamp_seconds", **KEY) == NOW - 10 * DAY
    assert page.value("sftp_last_test_success", **KEY) == 1
    assert page.value("sftp_last_test_timestamp_seconds", **KEY) == NOW - DAY


def test_a_switched_off_config_with_a_failed_test_says_so() -> None:
    page = scrape_of(a_config(is_enabled=False, last_test_success=False))
    assert page.value("sftp_enabled", **KEY) == 0
    assert page.value("sftp_last_test_success", **KEY) == 0


def test_what_was_never_tested_has_no_test_on_the_page() -> None:
    page = scrape_of(an_untested_config(created_at=None))
    assert page.value("sftp_configured", **KEY) == 1
    absent = set(GAUGES_OF_A_CONFIG) - {"sftp_enabled"}
    assert {name for name in absent if page.value(name, **KEY) is not None} == set()


@pytest.mark.parametrize("name", GAUGES_OF_A_CONFIG)
def test_a_config_that_is_gone_has_no_gauges_of_its_own(name: str) -> None:
    page = scrape_of(a_config(), NoConfig())
    assert page.value("sftp_configured", **KEY) == 0
    assert page.value(name, **KEY) is None


@pytest.mark.parametrize("name", [*GAUGES_OF_A_CONFIG, "sftp_configured"])
def test_a_campaign_that_cannot_be_read_keeps_its_last_values(name: str) -> None:
    before = scrape_of(a_config()).value(name, **KEY)
    assert scrape_of(a_config(), PollError(Reason.TIMEOUT)).value(name, **KEY) == before


# --- when the test will be stale ---------------------------------------------------------------


def test_a_test_will_be_stale_at_its_age_limit() -> None:
    page = scrape_of(a_config(), rules={"stale_test": {"max_age": 3 * DAY}})
    assert page.value("sftp_test_stale_timestamp_seconds", **KEY) == NOW + 2 * DAY


def test_the_age_limit_may_depend_on_the_schedule() -> None:
    page = scrape_of(a_config(), rules={"stale_test": {"max_age_by_schedule": {"daily": HOUR}}})
    assert page.value("sftp_test_stale_timestamp_seconds", **KEY) == NOW - DAY + HOUR


def test_no_test_will_be_stale_where_the_rule_is_switched_off() -> None:
    page = scrape_of(a_config(), rules={"stale_test": {"enabled": False}})
    assert page.value("sftp_test_stale_timestamp_seconds", **KEY) is None


def test_of_half_a_record_of_a_test_nothing_is_foretold() -> None:
    page = scrape_of(a_config(last_test_success=None))
    assert page.value("sftp_test_stale_timestamp_seconds", **KEY) is None


# --- alerts ------------------------------------------------------------------------------------


def test_a_healthy_campaign_has_no_alert_series() -> None:
    page = scrape_of(a_config())
    assert page.labels("alert") == page.labels("alert_since_timestamp_seconds") == []


def test_a_told_alert_is_firing_with_the_severity_that_was_told() -> None:
    page = scrape_of(a_config(last_test_success=False))
    assert page.labels("alert") == [
        {
            **KEY,
            "rule": "failed_test",
            "severity": "critical",
            "sftp_host": "sftp.example",
            "alertstate": "firing",
        }
    ]


def test_the_severity_is_the_rules_where_nothing_was_told() -> None:
    settings = {"failed_test": {"for_": HOUR, "severity": Severity.INFO}}
    (labels,) = scrape_of(a_config(last_test_success=False), rules=settings).labels("alert")
    assert (labels["alertstate"], labels["severity"]) == ("pending", "info")


def test_the_told_severity_stays_until_the_change_is_told() -> None:
    entry = an_entry("c-1", (NOW, a_config(last_test_success=False)))
    changed = an_entry("c-1", rules={"failed_test": {"severity": Severity.WARNING}}).target
    page = scrape(a_snapshot(an_environment(replace(entry, target=changed))))
    (labels,) = page.labels("alert")
    assert labels["severity"] == "critical"


def test_a_muted_alert_is_shown_as_muted() -> None:
    page = scrape_of(a_config(is_enabled=False, last_test_success=False))
    states = {labels["rule"]: labels["alertstate"] for labels in page.labels("alert")}
    assert states["failed_test"] == "muted"


def test_an_alert_says_since_when_it_is_true() -> None:
    page = scrape_of(a_config(last_test_success=False))
    since = page.value("alert_since_timestamp_seconds", **KEY, rule="failed_test")
    assert since == NOW - DAY


def test_unknown_holds_an_alert() -> None:
    page = scrape_of(a_config(last_test_success=False), PollError(Reason.TIMEOUT))
    (labels,) = page.labels("alert")
    assert labels["alertstate"] == "firing"


def test_an_alert_of_a_rule_that_was_switched_off_is_left_out() -> None:
    entry = an_entry("c-1", (NOW, a_config(last_test_success=False)))
    off = an_entry("c-1", rules={"failed_test": {"enabled": False}}).target
    page = scrape(a_snapshot(an_environment(replace(entry, target=off))))
    assert page.labels("alert") == page.labels("alert_since_timestamp_seconds") == []


def test_an_alert_of_the_environment_has_neither_campaign_nor_host() -> None:
    status = after_calls("production", Reason.TIMEOUT, NOW - 900, NOW - 890, NOW - 880, NOW)
    page = scrape(a_snapshot(an_environment(status=status)))
    assert page.labels("alert") == [
        {
            "environment": "production",
            "rule": "api_unreachable",
            "severity": "critical",
            "alertstate": "firing",
        }
    ]
    key = {"environment": "production", "rule": "api_unreachable"}
    assert page.value("alert_since_timestamp_seconds", **key) == NOW - 900


def test_campaign_labels_are_put_on_info_and_alerts() -> None:
    target = {"labels": {"team": "retail"}, "exported": ("team", "tier")}
    page = scrape_of(a_config(last_test_success=False), **target)
    for name in ("campaign_info", "alert"):
        (labels,) = page.labels(name)
        assert labels["team"] == "retail"
        # Prometheus reads an empty label as none: which is what the campaign has.
        assert labels["tier"] == ""


def test_labels_that_are_not_asked_for_stay_away() -> None:
    page = scrape_of(a_config(), labels={"team": "retail"})
    assert "team" not in info_of(page)


def test_campaign_labels_of_the_environment_are_on_its_own_alerts() -> None:
    own = AlertLabels(labels={"team": "platform"}, exported=("team",))
    calls = (NOW - 900, NOW - 890, NOW - 880, NOW)
    status = after_calls("production", Reason.TIMEOUT, *calls, labels=own)
    (labels,) = scrape(a_snapshot(an_environment(status=status))).labels("alert")
    assert labels["team"] == "platform"


# --- environments ------------------------------------------------------------------------------


def test_all_four_counts_are_there_even_without_a_campaign() -> None:
    page = scrape(a_snapshot(an_environment()))
    counts = {labels["health"] for labels in page.labels("campaigns")}
    assert counts == {"critical", "unknown", "warning", "healthy"}
    assert page.value("campaigns", environment="production", health="healthy") == 0


def test_campaigns_are_counted_by_health() -> None:
    page = scrape(a_rich_snapshot())
    counts = {
        health: page.value("campaigns", environment="production", health=health)
        for health in ("critical", "unknown", "warning", "healthy")
    }
    assert counts == {"critical": 2, "unknown": 3, "warning": 1, "healthy": 4}


@pytest.mark.parametrize("up", [True, False])
def test_the_api_is_up_or_not_after_the_first_call(up: bool) -> None:
    status = EnvironmentStatus(name="production", up=up)
    page = scrape(a_snapshot(an_environment(status=status)))
    assert page.value("api_up", environment="production") == up


def test_before_the_first_call_and_sweep_nothing_is_said_of_them() -> None:
    status = EnvironmentStatus(name="production")
    page = scrape(a_snapshot(an_environment(status=status)))
    assert page.value("api_up", environment="production") is None
    assert page.value("environment_swept_timestamp_seconds", environment="production") is None


def test_an_environment_tells_its_budget_and_its_pace() -> None:
    snapshot = an_environment(
        requests_per_minute=50.0, available_requests=3, interval_seconds=300.0, lag_seconds=7.5
    )
    page = scrape(a_snapshot(snapshot))
    key = {"environment": "production"}
    assert page.value("budget_requests_per_minute", **key) == 50
    assert page.value("budget_available_requests", **key) == 3
    assert page.value("effective_interval_seconds", **key) == 300
    assert page.value("poll_lag_seconds", **key) == 7.5
    assert page.value("environment_owned", **key) == 1
    assert page.value("environment_swept_timestamp_seconds", **key) == NOW - MINUTE


def test_an_environment_tells_when_the_last_of_its_campaigns_was_readable() -> None:
    down = PollError(Reason.TIMEOUT, "")
    read = an_entry("c-1", (NOW - 90, NoConfig()), (NOW - 30, down))
    old, never = an_entry("c-2", (NOW - 600, a_config())), an_entry("c-3", (NOW, down))
    page = scrape(a_snapshot(an_environment(never, read, old)))
    name = "environment_last_poll_timestamp_seconds"
    assert page.value(name, environment="production") == NOW - 90
    for nobody in ((never,), ()):
        page = scrape(a_snapshot(an_environment(*nobody)))
        assert page.value(name, environment="production") is None


# --- sinks -------------------------------------------------------------------------------------


def test_a_sink_tells_what_waits_and_since_when() -> None:
    page = scrape(sinks={"log": (3, NOW)})
    assert page.value("sink_pending_events", sink="log") == 3
    assert page.value("sink_oldest_pending_timestamp_seconds", sink="log") == NOW


def test_a_sink_without_anything_waiting_has_no_oldest() -> None:
    page = scrape(sinks={"log": (0, None)})
    assert page.value("sink_pending_events", sink="log") == 0
    assert page.value("sink_oldest_pending_timestamp_seconds", sink="log") is None
