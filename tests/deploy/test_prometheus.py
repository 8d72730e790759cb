"""The alerting rules, in the real engine: each fires, holds over a hole, and resolves at once.

The engine is promtool's. A series has a value every 15 s, written as promtool has it: `1x3` is 1
and three more, `_` a missed scrape, `stale` what Prometheus notes when a series or target ends.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from monitor.config.model import RUNBOOKS
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.rule import BaseRule
from monitor.core.rules import RULES
from support.documents import read_yaml
from support.peers import require_peer

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
FILE = FOLDER / "sftp-monitor.rules.yaml"

ALL_RULES: dict[str, type[BaseRule]] = {**RULES, **ENVIRONMENT_RULES}
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in read_yaml(FILE.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
OF_A_RULE = {
    match[1]: name
    for name, alert in ALERTS.items()
    if (match := re.fullmatch(r'sftp_monitor:alert:held\{rule="(\w+)"\}', alert["expr"]))
}
META = sorted(ALERTS.keys() - OF_A_RULE.values())

SOME_RULES = ("failed_test", "api_unreachable")
"""One of a campaign and one of an environment: the expressions of all others are the same."""

each_rule = pytest.mark.parametrize("rule", ALL_RULES)

Series = Mapping[str, str]
"""A series' selector → its values, one every 15 s."""

UnitTest = Mapping[str, Any]
"""A test as promtool reads it."""

Labels = Mapping[str, str]


def of(name: str, instance: str = "a:1", job: str = "sftp-monitor", **labels: str) -> str:
    """Return the selector of a series of this target, with `sftp_monitor_` before its name."""
    every = {"instance": instance, "job": job, **labels}
    return f"sftp_monitor_{name}{{" + ",".join(f'{k}="{v}"' for k, v in every.items()) + "}"


def monitor(
    values: str, instance: str = "a:1", job: str = "sftp-monitor", *, swept: str = "", **env: str
) -> dict[str, str]:
    """Return what a monitor exports of itself: these values; `swept` where that is another."""
    environment = {"environment": "production", **env}
    return {
        of("build_info", instance, job, version="1"): values,
        of("environment_owned", instance, job, **environment): values,
        of("environment_swept_timestamp_seconds", instance, job, **environment): swept or values,
    }


def labels_of(rule: str) -> dict[str, str]:
    """Return the labels that an alert of this rule has in the monitor."""
    campaign = {"campaign_id": "c-1", "sftp_host": "sftp.example.com"}
    labels = {"environment": "production", "rule": rule, "severity": "critical", "team": "retail"}
    return labels if rule in ENVIRONMENT_RULES else labels | campaign


def series(rule: str, state: str = "firing", instance: str = "a:1", **more: str) -> str:
    """Return the selector of the alert's series, as Prometheus stores it for this target."""
    target = {"alertstate": state, "instance": instance, "job": "sftp-monitor", "pod": instance}
    every = labels_of(rule) | target | more
    return "sftp_monitor_alert{" + ",".join(f'{k}="{v}"' for k, v in every.items()) + "}"


def promtool(folder: Path, *tests: UnitTest, every: str = "30s", rules: Path = FILE) -> str:
    """Run these unit tests of the rules, evaluated so often; return what failed."""
    file = folder / "tests.yaml"
    document = {"rule_files": [str(rules)], "evaluation_interval": every, "tests": tests}
    file.write_text(json.dumps(document), encoding="utf-8")
    command = [require_peer("promtool"), "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) != bool("FAILED" in done.stdout + done.stderr), done.stderr
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_of(inputs: Series, alert: str, firing: Mapping[str, list[Labels]]) -> UnitTest:
    """Return a unit test: at each of these times the alert fires with these label sets."""
    return {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in inputs.items()],
        "promql_expr_test": [
            {
                "expr": f'ALERTS{{alertname="{alert}",alertstate="firing"}}',
                "eval_time": time,
                "exp_samples": [
                    {"labels": as_series(alert, labels), "value": 1} for labels in found
                ],
            }
            for time, found in firing.items()
        ],
    }


def firing(rule: str, *times: str) -> dict[str, list[Labels]]:
    """Return that the rule's alert fires at these times, as the one and only."""
    return {time: [labels_of(rule)] for time in times}


test_of.__test__ = False  # type: ignore[attr-defined]


def as_series(alert: str, labels: Mapping[str, str]) -> str:
    every = {"alertname": alert, "alertstate": "firing", **labels}
    return "ALERTS{" + ",".join(f'{k}="{v}"' for k, v in every.items()) + "}"


# --- one alert for each rule ----------------------------------------------------------------------


def test_there_is_one_alert_for_each_rule_of_the_monitor_and_no_other() -> None:
    assert OF_A_RULE.keys() == ALL_RULES.keys()


@pytest.mark.slow
def test_an_alert_fires_at_the_next_evaluation_with_the_labels_that_the_monitor_gives_it(
    tmp_path: Path,
) -> None:
    def case(rule: str) -> UnitTest:
        inputs = {series(rule): "_ 1x9", **monitor("1x10")}
        return test_of(inputs, OF_A_RULE[rule], {"0s": [], **firing(rule, "30s", "2m")})

    assert promtool(tmp_path, *map(case, ALL_RULES)) == ""


@pytest.mark.slow
def test_what_is_pending_or_muted_or_of_another_rule_does_not_fire(tmp_path: Path) -> None:
    def case(rule: str) -> UnitTest:
        others = {series(other): "1x9" for other in ALL_RULES if other != rule}
        not_sent = {series(rule, state): "1x9" for state in ("pending", "muted")}
        return test_of({**others, **not_sent, **monitor("1x9")}, OF_A_RULE[rule], {"2m": []})

    assert promtool(tmp_path, *map(case, ALL_RULES)) == ""


@pytest.mark.parametrize(
    ("old", "new", "swept_by_new"),
    [
        pytest.param("1x4 _ 1 _x14 1x90", "", "", id="missed scrapes"),
        pytest.param("1x4 stale _x80 1x30", "", "", id="20 minutes dead"),
        # Prometheus does not note the end of anything then.
        pytest.param("1x4 _x40 1x70", "", "", id="Prometheus restarted"),
        # The new one has loaded its state before it has swept again.
        pytest.param("1x4 stale", "_x20 1x99", "_x40 1x99", id="a new address"),
        # With a state of its own it knows nothing before its first sweep.
        pytest.param("1x4 stale", "_x30 1x99", "_x30 1x99", id="a new state"),
    ],
)
@pytest.mark.slow
def test_an_alert_is_held_while_nobody_knows_better(
    old: str, new: str, swept_by_new: str, tmp_path: Path
) -> None:
    def case(rule: str) -> UnitTest:
        inputs = {series(rule): old, **monitor(old)}
        if new:
            inputs |= {series(rule, instance="b:1"): new}
            inputs |= monitor(new, "b:1", swept=swept_by_new)
        # Another installation is there all the time.
        inputs |= monitor("1x120", "c:1", "other", environment="staging")
        minutes = (1, 2, 3, 5, 7, 8, 10, 12, 20, 22, 25)
        return test_of(inputs, OF_A_RULE[rule], firing(rule, *(f"{one}m" for one in minutes)))

    assert promtool(tmp_path, *map(case, SOME_RULES)) == ""


@pytest.mark.slow
def test_an_alert_resolves_with_the_first_scrape_without_it(tmp_path: Path) -> None:
    def case(rule: str) -> UnitTest:
        inputs = {series(rule): "1x4 stale", **monitor("1x99")}
        times = {**firing(rule, "1m"), "90s": [], "2m": [], "20m": []}
        return test_of(inputs, OF_A_RULE[rule], times)

    assert promtool(tmp_path, *map(case, SOME_RULES)) == ""


@pytest.mark.slow
def test_what_a_dead_monitor_exported_is_held_for_an_hour_only(tmp_path: Path) -> None:
    def case(rule: str) -> UnitTest:
        inputs = {series(rule): "1x4 stale", **monitor("1x4 stale")}
        return test_of(inputs, OF_A_RULE[rule], {**firing(rule, "60m"), "62m": []})

    assert promtool(tmp_path, *map(case, SOME_RULES)) == ""


GONE = "1x4 stale"


@pytest.mark.parametrize(
    ("inputs", "firing_at", "over_at"),
    [
        pytest.param(
            # The config of a:1 has another environment still, whose alert is none of this.
            {
                **monitor("1x400", environment="staging"),
                **monitor(GONE),
                of("build_info", version="1"): "1x400",
            },
            (1,),
            (1.5, 2, 10, 61),
            id="its environment was taken out of the config",
        ),
        pytest.param(
            # Down over the removal: at its new start it has the other environment only.
            {
                **monitor("1x4 stale _x40 1x400", environment="staging"),
                **monitor(GONE),
                of("build_info", version="1"): "1x4 stale _x40 1x400",
            },
            (1, 5, 11),
            (12, 20),
            id="taken out while the monitor was down",
        ),
        pytest.param(
            {**monitor(GONE), **monitor("1x400", "b:1", "other", environment="staging")},
            (1, 2, 30, 60),
            (62,),
            id="its installation dies, another lives",
        ),
        pytest.param(
            # Two targets of one job, each with its own environments.
            {
                **monitor(GONE),
                **monitor("1x400", "b:1", environment="staging"),
                'up{job="sftp-monitor",instance="a:1"}': "1x4 0x400",
                'up{job="sftp-monitor",instance="b:1"}': "1x400",
            },
            (1, 2, 30, 60),
            (62,),
            id="its target dies, another one of the same job lives",
        ),
        pytest.param(
            {**monitor(GONE), **monitor("_x40 1x400", "b:1", "other")},
            (1, 5, 9),
            (10.5, 20),
            id="another installation has taken it over, and the alert is over",
        ),
    ],
)
@pytest.mark.slow
def test_an_alert_ends_with_its_environment_and_not_with_its_monitor(
    inputs: Series, firing_at: tuple[float, ...], over_at: tuple[float, ...], tmp_path: Path
) -> None:
    def case(rule: str) -> UnitTest:
        over: dict[str, list[Labels]] = {f"{int(one * 60)}s": [] for one in over_at}
        held = firing(rule, *(f"{int(one * 60)}s" for one in firing_at))
        return test_of({series(rule): GONE, **inputs}, OF_A_RULE[rule], {**held, **over})

    assert promtool(tmp_path, *map(case, SOME_RULES)) == ""


# --- several replicas -----------------------------------------------------------------------------


def replica(
    instance: str, owned: str = "1x400", known: str = "2x400", up: str = "1x400", config: str = "7"
) -> dict[str, str]:
    """Return what a replica on PostgreSQL exports of itself; `known` are those that live."""
    return {
        **monitor("1x400", instance),
        of("environment_owned", instance, environment="production"): owned,
        of("state_up", instance): up,
        of("replicas", instance): known,
        of("replica_info", instance, replica=instance): "1x400",
        of("config_hash", instance): f"{config}x400",
    }


ITSELF = {"job": "sftp-monitor"}
OWN = {**ITSELF, "environment": "production"}
CUT_OFF = {"owned": "1x7 0x400", "up": "1x7 0x400"}
"""A replica that is cut off from the database after two minutes."""


@pytest.mark.slow
def test_a_replica_that_lost_the_database_is_not_asked_where_another_one_owns_by_now(
    tmp_path: Path,
) -> None:
    def case(rule: str, theirs: str, *over: str) -> UnitTest:
        # The other one has it within a minute, and there the alert ends after five.
        other = replica("b:1", owned="0x10 1x400")
        known = {series(rule): "1x400", series(rule, instance="b:1"): theirs}
        inputs = {**known, **replica("a:1", **CUT_OFF), **other}
        expected = {**firing(rule, "1m", "2m", "3m", "4m"), **{time: [] for time in over}}
        return test_of(inputs, OF_A_RULE[rule], expected)

    ended = [case(rule, "_x10 1x9 stale", "6m", "30m", "59m") for rule in SOME_RULES]
    assert promtool(tmp_path, *ended) == ""


@pytest.mark.slow
def test_while_no_replica_reaches_the_database_what_fired_goes_on(tmp_path: Path) -> None:
    def case(rule: str) -> UnitTest:
        inputs = {series(rule): "1x400", **replica("a:1", **CUT_OFF)}
        inputs |= replica("b:1", owned="0x400", up="1x7 0x400")
        return test_of(inputs, OF_A_RULE[rule], firing(rule, "1m", "3m", "30m", "90m"))

    assert promtool(tmp_path, *map(case, SOME_RULES)) == ""


ALL_CUT_OFF = {**replica("a:1", **CUT_OFF), **replica("b:1", owned="0x400", up="1x7 0x400")}
ONE_CUT_OFF = {
    **replica("a:1", **CUT_OFF),
    **replica("b:1", owned="0x10 1x400", known="2x12 1x400"),
}
TWO = {**replica("a:1"), **replica("b:1", owned="0x400")}
DEAD = "1x7 stale"


OF_REPLICAS = [
    ("StateUnavailable", ALL_CUT_OFF, {"1m": [], "3m": [], "5m": [ITSELF], "60m": [ITSELF]}),
    ("StateUnavailable", ONE_CUT_OFF, {"5m": [], "60m": []}),
    ("StateUnavailable", {of("state_up"): "0x400"}, {"60m": []}),
    ("EnvironmentUnowned", ALL_CUT_OFF, {"4m": [], "6m": [OWN]}),
    ("EnvironmentUnowned", ONE_CUT_OFF, {"6m": [], "60m": []}),
    ("EnvironmentOwnedTwice", TWO, {"60m": []}),
    (
        "EnvironmentOwnedTwice",
        {**replica("a:1"), **replica("b:1")},
        {"9m": [], "12m": [{"environment": "production"}]},
    ),
    ("ReplicaMissing", TWO, {"60m": []}),
    ("ReplicaMissing", ONE_CUT_OFF, {"12m": [], "20m": [ITSELF], "90m": [ITSELF]}),
    # For a minute of an update there are three.
    ("ReplicaMissing", {**TWO, of("replicas", "a:1"): "2x99 3x4 2x400"}, {"60m": []}),
    ("ReplicaMissing", replica("a:1"), {"20m": [ITSELF]}),
    ("ConfigMismatch", TWO, {"60m": []}),
    (
        "ConfigMismatch",
        {**replica("a:1"), **replica("b:1", owned="0x400", config="8")},
        {"14m": [], "16m": [ITSELF]},
    ),
    # Two installations of one process each, in one job.
    (
        "ConfigMismatch",
        {of("config_hash", "a:1"): "7x400", of("config_hash", "b:1"): "8x400"},
        {"60m": []},
    ),
    # Another replica lives: that one is dead is a warning, and no page.
    (
        "Absent",
        {
            **dict.fromkeys(replica("a:1"), DEAD),
            **replica("b:1"),
            'up{job="sftp-monitor",instance="a:1"}': "1x7 0x400",
        },
        {"20m": [], "60m": []},
    ),
    # A restart of PostgreSQL pages nobody; of one process a full disk does.
    ("StorageErrors", {**TWO, of("storage_errors_total"): "0x4 1x400"}, {"2m": []}),
    ("StorageErrors", {of("storage_errors_total"): "0x4 1x400"}, {"2m": [ITSELF]}),
]
"""Alert, series, and when it fires with which labels: of several replicas."""


@pytest.mark.parametrize(
    ("alert", "inputs", "found"),
    OF_REPLICAS,
)
@pytest.mark.slow
def test_what_prometheus_says_of_replicas(
    alert: str, inputs: Series, found: Mapping[str, list[Labels]], tmp_path: Path
) -> None:
    name = f"SftpMonitor{alert}"
    severity = ALERTS[name]["labels"]["severity"]
    expected: dict[str, list[Labels]] = {
        at: [{**one, "severity": severity} for one in many] for at, many in found.items()
    }
    assert promtool(tmp_path, test_of(inputs, name, expected)) == ""


# --- what an alert says ---------------------------------------------------------------------------


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_why_and_what_to_do_next(alert: str) -> None:
    said = list(ALERTS[alert]["annotations"])
    if alert in OF_A_RULE.values():
        assert said.pop(3) == "impact"
        assert said.pop(1) == "problem"
    assert said == ["summary", "description", "next_step", "runbook_url", "dashboard_url"]
    assert ("severity" in ALERTS[alert].get("labels", {})) == (alert in META)


@each_rule
def test_the_next_step_and_the_runbook_are_those_of_the_rule(rule: str) -> None:
    said = ALERTS[OF_A_RULE[rule]]["annotations"]
    assert said["problem"] == ALL_RULES[rule].meaning
    assert said["next_step"] == ALL_RULES[rule].next_step
    assert said["runbook_url"] == RUNBOOKS.replace("{rule}", rule)


@pytest.mark.parametrize("alert", META)
def test_a_meta_alert_has_a_runbook_of_its_own(alert: str) -> None:
    folder, _, page = ALERTS[alert]["annotations"]["runbook_url"].rpartition("/")
    assert folder == RUNBOOKS.rpartition("/")[0]
    assert (FOLDER.parents[1] / "docs" / "runbooks" / page).is_file()


@pytest.mark.parametrize("values", ["1x9", "1x1 stale"], ids=["alive", "the monitor is dead"])
def test_the_description_names_the_campaign_its_host_and_since_when(
    values: str, tmp_path: Path
) -> None:
    since = values.replace("1", "1800000000", 1)
    alert, key = OF_A_RULE["failed_test"], '{environment="production",campaign_id="c-1"'
    inputs = {
        series("failed_test"): values,
        **monitor(values),
        f'sftp_monitor_campaign_info{key},campaign_name="Retail leads"}}': values,
        f'sftp_monitor_alert_since_timestamp_seconds{key},rule="failed_test"}}': since,
    }
    assert described(tmp_path, inputs, alert) == (
        "Campaign Retail leads (production/c-1), host sftp.example.com, "
        "since 2027-01-15 08:00:00 +0000 UTC."
    )


def test_the_description_does_without_what_is_not_known(tmp_path: Path) -> None:
    unnamed = {series("failed_test", sftp_host=""): "1x9"}
    assert described(tmp_path, unnamed, OF_A_RULE["failed_test"]) == "Campaign (production/c-1)."


@pytest.mark.parametrize("rule", ["api_unreachable", "api_refusing", "discovery_failing"])
def test_the_description_of_an_outage_says_why_most_calls_fail(tmp_path: Path, rule: str) -> None:
    failures = 'sftp_monitor_api_request_failures_total{environment="%s",reason="%s",endpoint="%s"}'
    inputs = {
        series(rule): "1x9",
        failures % ("production", "timeout", "sftp"): "0+2x9",
        failures % ("production", "timeout", "campaigns"): "0+2x9",
        failures % ("production", "server_error", "sftp"): "0+3x9",
        failures % ("staging", "connection_lost", "sftp"): "0+9x9",
    }
    said = described(tmp_path, inputs, OF_A_RULE[rule])
    assert said == "Environment production; most failed calls: timeout."


def test_the_description_of_an_environments_alert_says_since_when(tmp_path: Path) -> None:
    since = 'sftp_monitor_alert_since_timestamp_seconds{environment="production",rule="%s"}'
    inputs = {series("api_unreachable"): "1x9", since % "api_unreachable": "1800000000x9"}
    assert described(tmp_path, inputs, OF_A_RULE["api_unreachable"]) == (
        "Environment production, since 2027-01-15 08:00:00 +0000 UTC."
    )


# --- the title ------------------------------------------------------------------------------------

INFO_OF = 'sftp_monitor_campaign_info{environment="production",campaign_id="c-1",%s}'
NAMED = INFO_OF % 'campaign_name="%s"'


@pytest.mark.parametrize(
    ("known", "title"),
    [
        pytest.param({NAMED % "Retail leads": "1x9"}, "Retail leads", id="known"),
        pytest.param({}, "c-1", id="not known"),
        pytest.param({NAMED % "": "1x9"}, "c-1", id="without a name"),
        pytest.param({NAMED % "Retail leads": "1x2 stale"}, "Retail leads", id="the monitor died"),
        pytest.param({NAMED % "Old": "1x1 stale", NAMED % "New": "_x1 1x9"}, "New", id="renamed"),
        pytest.param({NAMED % "{{ 1 }} %q `": "1x9"}, "{{ 1 }} %q `", id="hostile"),
        pytest.param(
            {INFO_OF % f'campaign_name="Leads",instance="{n}"': "1x9" for n in "ab"},
            "Leads",
            id="seen by two",
        ),
    ],
)
def test_a_title_has_the_campaigns_name_and_only_where_that_is_not_known_its_id(
    tmp_path: Path, known: Series, title: str
) -> None:
    alert = OF_A_RULE["failed_test"]
    said = annotated(tmp_path, {series("failed_test"): "1x9", **known}, alert)
    assert said["summary"] == f"production/{title}: the last connection test failed"
    named = "" if title == "c-1" else f"{title} "
    assert said["description"] == f"Campaign {named}(production/c-1), host sftp.example.com."


@pytest.mark.slow
def test_who_renames_a_campaign_neither_resolves_its_alerts_nor_pages(tmp_path: Path) -> None:
    names = {NAMED % "Old": "1x8 stale", NAMED % "New": "_x8 1x99", **monitor("1x99")}
    tests = [
        test_of(
            {series(rule): "1x99", **names},
            OF_A_RULE[rule],
            firing(rule, *(f"{seconds}s" for seconds in range(15, 300, 15))),
        )
        for rule in RULES
    ]
    assert promtool(tmp_path, *tests) == ""


# --- what is at stake -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls_at", "impact"),
    [
        (("14460x9", "21660x9"), "first calls start in 4h 0m 0s"),
        (("10x9", "20x9", "14460x9"), "campaigns calling now: 2"),
        ((), ""),
    ],
    ids=["later", "now", "not known"],
)
def test_the_impact_on_an_environment_is_how_many_of_its_campaigns_call(
    tmp_path: Path, calls_at: tuple[str, ...], impact: str
) -> None:
    key = '{environment="production",campaign_id="c-%d"}'
    calls = {
        f"sftp_monitor_campaign_next_calls_timestamp_seconds{key % number}": at
        for number, at in enumerate(calls_at)
    }
    inputs = {series("api_unreachable"): "1x9", **calls}
    assert annotated(tmp_path, inputs, OF_A_RULE["api_unreachable"]).get("impact", "") == impact


@pytest.mark.parametrize(
    ("calls_at", "impact"),
    [
        # A minute after the begin of promtool's time it is 60.
        ("14460x9", "calls start in 4h 0m 0s"),
        ("10x9", "calling now"),
        ("_x9", ""),
    ],
    ids=["later", "now", "not known"],
)
def test_the_impact_is_when_calls_start_where_that_is_known(
    tmp_path: Path, calls_at: str, impact: str
) -> None:
    key = '{environment="production",campaign_id="c-1"}'
    calls = {f"sftp_monitor_campaign_next_calls_timestamp_seconds{key}": calls_at}
    inputs = {series("failed_test"): "1x9", **calls}
    assert annotated(tmp_path, inputs, OF_A_RULE["failed_test"]).get("impact", "") == impact


def described(folder: Path, inputs: Series, alert: str) -> str:
    """Return the description with which the alert fires."""
    return annotated(folder, inputs, alert)["description"]


def annotated(folder: Path, inputs: Series, alert: str) -> dict[str, str]:
    """Return the annotations with which the alert fires, as far as they have no quotation mark."""
    # promtool tells the annotations only where they are not the expected ones.
    expected = {
        **test_of(inputs, alert, {}),
        "alert_rule_test": [
            {"eval_time": "1m", "alertname": alert, "exp_alerts": [{"exp_labels": {"no": "such"}}]}
        ],
    }
    (got,) = re.findall(r"got:.*?Annotations:\{(.*?)\}\n", promtool(folder, expected), re.S)
    return dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', got))


# --- the alerts about the monitor itself ----------------------------------------------------------


def info(instance: str = "a:1", **more: str) -> str:
    return of("build_info", instance, version="1", **more)


def of_production(name: str, instance: str = "a:1", job: str = "sftp-monitor") -> str:
    return of(name, instance, job, environment="production")


OWNED, TESTS_ON = "environment_owned", "connection_tests_enabled"
OLDEST = of("sink_oldest_pending_timestamp_seconds", sink="log")
LAG = of_production("poll_lag_seconds")
POLLED = of_production("environment_last_poll_timestamp_seconds")
INTERVAL = of_production("effective_interval_seconds")
RELOADED = of("config_last_reload_successful")
ERRORS = of("storage_errors_total")
CALLS = of("api_requests_total", endpoint="sftp", environment="production")
JOB = {"job": "sftp-monitor"}
PRODUCTION = {"environment": "production"}

OTHER = {
    **monitor("1x1000", "z:1", "other", environment="elsewhere"),
    of("poll_lag_seconds", "z:1", "other", environment="elsewhere"): "0x1000",
    of("sink_oldest_pending_timestamp_seconds", "z:1", "other", sink="log"): "0+15x1000",
    of("config_last_reload_successful", "z:1", "other"): "1x1000",
    of("storage_errors_total", "z:1", "other"): "0x1000",
    'up{instance="z:1",job="other"}': "1x1000",
}
"""Another installation on the same Prometheus, with which all is well: it must hide nothing."""

Case = tuple[str, dict[str, str], Series, str, Series]
"""Alert, its labels, the series that make it fire, when it has, and those of a healthy monitor."""

# In each of the first there is a hole of one scrape, which must not end what fires.
CASES: list[Case] = [
    ("SftpMonitorAbsent", JOB, {info(): "1x3 stale"}, "7m", {info(): "1x19 _ 1x990"}),
    # One of two targets of one job is dead; a pod that moved leaves no target behind.
    (
        "SftpMonitorAbsent",
        {**JOB, "instance": "a:1"},
        {
            info(): "1x3 stale",
            info("b:1"): "1x990",
            'up{instance="a:1",job="sftp-monitor"}': "1x3 0x990",
        },
        "7m",
        {
            info(): "1x3 stale",
            info("b:1"): "_x5 1x990",
            'up{instance="a:1",job="sftp-monitor"}': "1x3 stale",
        },
    ),
    # A target that never was a monitor of ours is not missed.
    (
        "SftpMonitorAbsent",
        {**JOB, "namespace": "blue"},
        {info(namespace="blue"): "1x3 stale", info("b:1", namespace="green"): "1x990"},
        "7m",
        {info(namespace="blue"): "1x990", 'up{instance="x:1",job="node"}': "0x990"},
    ),
    (
        "SftpMonitorEnvironmentOwnedTwice",
        PRODUCTION,
        {of_production(OWNED): "1x50 _ 1x990", of_production(OWNED, "b", "old"): "1x50 _ 1x990"},
        "13m",
        {of_production(OWNED): "0x50 _ 0x990", of_production(OWNED, "b"): "1x50 _ 1x990"},
    ),
    (
        "SftpMonitorTestsEnabledTwice",
        PRODUCTION,
        {of_production(TESTS_ON): "1x50 _ 1x990", of_production(TESTS_ON, "b"): "1x50 _ 1x990"},
        "13m",
        {of_production(TESTS_ON): "1x990", of_production(OWNED, "b"): "1x990"},
    ),
    (
        "SftpMonitorSinkBlocked",
        {**JOB, "sink": "log"},
        {OLDEST: "0x35 _ 0x990"},
        "9m",
        {OLDEST: "0+15x990"},
    ),
    (
        "SftpMonitorPollsLate",
        JOB | PRODUCTION,
        {LAG: "300x25 _ 300x990"},
        "7m",
        {LAG: "0x10 300x10 0x990"},
    ),
    (
        "SftpMonitorEvidenceOld",
        JOB | PRODUCTION,
        {POLLED: "0x990", INTERVAL: "300x990"},
        "80m",
        {POLLED: "0+15x990", INTERVAL: "300x990"},
    ),
    (
        "SftpMonitorEvidenceOld",
        JOB | PRODUCTION,
        {POLLED: "0x990", INTERVAL: "300x990"},
        "80m",
        # The outage has its own page.
        {POLLED: "0x990", INTERVAL: "300x990", series("api_unreachable"): "1x990"},
    ),
    (
        "SftpMonitorConfigReloadFailed",
        JOB,
        {RELOADED: "0x25 _ 0x990"},
        "7m",
        {RELOADED: "1x3 0x3 1x990"},
    ),
    (
        "SftpMonitorStorageErrors",
        JOB,
        {ERRORS: "0x3 1x25 _ 1x990"},
        "3m",
        {ERRORS: "3x990"},
    ),
    (
        "SftpMonitorHonorLabelsForgotten",
        JOB,
        {of(OWNED, environment="eu", exported_environment="production"): "1x25 _ 1x990"},
        "7m",
        {of_production(OWNED): "1x990"},
    ),
    ("SftpMonitorWatchdog", JOB, {CALLS: "0+1x20 _x40 0+1x99"}, "12m", {CALLS: "7x990"}),
]


def test_each_alert_about_the_monitor_has_its_case() -> None:
    of_replicas = {f"SftpMonitor{alert}" for alert, *_ in OF_REPLICAS}
    assert {case[0] for case in CASES} | of_replicas == set(META)


@pytest.mark.slow
def test_a_meta_alert_fires_when_it_must(tmp_path: Path) -> None:
    tests = [
        test_of({**OTHER, **broken}, alert, {when: [labels | ALERTS[alert]["labels"]]})
        for alert, labels, broken, when, _ in CASES
    ]
    assert promtool(tmp_path, *tests) == ""


@pytest.mark.slow
def test_a_meta_alert_is_silent_when_nothing_is_wrong(tmp_path: Path) -> None:
    times = [f"{minute}m" for minute in (*range(2, 24), 80)]
    tests = [
        test_of({**OTHER, **healthy}, alert, {time: [] for time in times})
        for alert, *_, healthy in CASES
    ]
    assert promtool(tmp_path, *tests) == ""


@pytest.mark.slow
def test_a_meta_alert_ends_when_its_reason_does(tmp_path: Path) -> None:
    lag = test_of({LAG: "300x40 0x99"}, "SftpMonitorPollsLate", {"12m": []})
    back = test_of({info(): "1x3 stale _x40 1x99"}, "SftpMonitorAbsent", {"13m": []})
    assert promtool(tmp_path, lag, back) == ""


@pytest.mark.slow
def test_a_monitor_that_was_never_there_is_missed_and_one_taken_away_is_for_a_day(
    tmp_path: Path,
) -> None:
    never = test_of({}, "SftpMonitorAbsent", {"20m": [ALERTS["SftpMonitorAbsent"]["labels"]]})
    labels = JOB | ALERTS["SftpMonitorAbsent"]["labels"]
    elsewhere = {of("build_info", "b:1", "other", version="1"): "1x7000"}
    gone = test_of(
        {info(): "1x3 stale", **elsewhere}, "SftpMonitorAbsent", {"23h": [labels], "25h": []}
    )
    assert promtool(tmp_path, never, gone, every="10m") == ""


@pytest.mark.slow
def test_the_watchdog_goes_on_over_a_restart_and_ends_within_an_hour_of_the_monitor(
    tmp_path: Path,
) -> None:
    labels = JOB | ALERTS["SftpMonitorWatchdog"]["labels"]
    other = {of("api_requests_total", "z:1", "other", endpoint="sftp"): "0x990"}
    restarted = {
        CALLS: "0+1x20 stale",
        of("api_requests_total", "b:1", endpoint="sftp", environment="production"): "_x40 0+1x400",
    }
    goes_on = {f"{minute}m": [labels] for minute in (1, 5, 8, 10, 12, 30, 90)}
    dead = {CALLS: "0+1x20 stale"}
    ends: dict[str, list[Labels]] = {"30m": [labels], "66m": []}
    tests = [
        test_of({**other, **restarted}, "SftpMonitorWatchdog", goes_on),
        test_of({**other, **dead}, "SftpMonitorWatchdog", ends),
    ]
    assert promtool(tmp_path, *tests) == ""


@pytest.mark.slow
def test_at_night_it_is_known_who_calls_nobody_before_the_morning(tmp_path: Path) -> None:
    """promtool's time begins at midnight; 21,600 s later it is six o'clock."""
    next_calls = "sftp_monitor_campaign_next_calls_timestamp_seconds"
    inputs = {
        f'{next_calls}{{environment="production",campaign_id="{campaign}"}}': f"{at}x6000"
        for campaign, at in {"at 5": 18000, "at 8": 28800, "tomorrow at 8": 115200}.items()
    }

    def waits(*campaigns: str) -> list[Labels]:
        common = {"environment": "production", "severity": "none"}
        return [{**common, "campaign_id": campaign} for campaign in campaigns]

    times = {
        "10m": waits("at 8", "tomorrow at 8"),
        "350m": waits("at 8", "tomorrow at 8"),
        "370m": [],
        "21h": [],
        "23h": waits("tomorrow at 8"),
    }
    case = test_of(inputs, "SftpCampaignCanWait", times)
    assert promtool(tmp_path, case, every="10m", rules=FOLDER / "night.rules.yaml") == ""


def test_a_failure_of_a_rule_is_seen(tmp_path: Path) -> None:
    assert "FAILED" in promtool(
        tmp_path, test_of({CALLS: "0+1x9"}, "SftpMonitorWatchdog", {"1m": []})
    )


# --- the example ----------------------------------------------------------------------------------


def test_prometheus_accepts_the_example_with_its_rules() -> None:
    command = [require_peer("promtool"), "check", "config", str(FOLDER / "prometheus.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS) + 1} rules found" in done.stdout


def test_the_example_scrapes_where_the_monitor_listens_and_pages_through_alertmanager() -> None:
    example = read_yaml((FOLDER / "prometheus.yaml").read_text())
    (job,) = example["scrape_configs"]
    config = read_yaml((FOLDER.parents[1] / "config.example.yaml").read_text())
    assert job["static_configs"] == [{"targets": [config["web"]["listen_address"]]}]
    assert job["honor_labels"] is True
    (alertmanagers,) = example["alerting"]["alertmanagers"]
    assert alertmanagers["static_configs"] == [{"targets": ["127.0.0.1:9093"]}]
