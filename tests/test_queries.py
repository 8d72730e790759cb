"""The queries of docs/metrics.md, asked of Prometheus' own engine (promtool's)."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from support.peers import require_peer

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
QUERIES = re.findall(
    r"^\*\*(.+?)\*\*.*?^```promql\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL
)
WHO, STALE, SHARE, EVIDENCE, DELAY, BUDGET = (query for _, query in QUERIES)

Series = Mapping[str, str]
"""A series' selector → its values, one a minute, as promtool writes them."""

CAMPAIGN = 'environment="production",campaign_id="%s"'
ALERT = 'sftp_monitor_alert{environment="production"%s,rule="%s",severity="critical"%s}'
FAILED = ',campaign_id="c-1"', "failed_test", ',sftp_host="sftp.example",alertstate="%s"%s'
NAMED = f'sftp_monitor_campaign_info{{{CAMPAIGN % "c-1"},campaign_name="%s"%s}}'


def answered(folder: Path, query: str, inputs: Series, expected: Mapping[str, float]) -> str:
    """Ask a query an hour after the beginning; return what promtool has against the answer."""
    series: Sequence[object] = [{"series": name, "values": of} for name, of in inputs.items()]
    test = {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [
            {
                "expr": query,
                "eval_time": "1h",
                "exp_samples": [{"labels": k, "value": v} for k, v in expected.items()],
            }
        ],
    }
    (folder / "tests.yaml").write_text(json.dumps({"evaluation_interval": "1m", "tests": [test]}))
    command = [require_peer("promtool"), "test", "rules", str(folder / "tests.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def failed(state: str = "firing", more: str = "") -> str:
    """Return the series of a failed test of campaign c-1."""
    about, rule, rest = FAILED
    return ALERT % (about, rule, rest % (state, more))


BROKEN = '{environment="production",campaign_id="c-1",rule="failed_test",severity="critical",%s}'
WITH_NAME = BROKEN % 'sftp_host="sftp.example",campaign_name="Retail leads"'
WITHOUT = BROKEN % 'sftp_host="sftp.example"'
OUTAGE = ALERT % ("", "api_unreachable", ',alertstate="firing"')
OF_ALL = '{environment="production",rule="api_unreachable",severity="critical"}'


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param(
            {failed(): "1x60", NAMED % ("Retail leads", ""): "1x60"}, [WITH_NAME], id="a name"
        ),
        pytest.param({failed(): "1x60"}, [WITHOUT], id="no name"),
        pytest.param(
            {failed(more=f',instance="{n}"'): "1x60" for n in "ab"}
            | {NAMED % ("Retail leads", f',instance="{n}"'): "1x60" for n in "ab"},
            [WITH_NAME],
            id="seen by two",
        ),
        pytest.param(
            {
                failed(): "1x60",
                NAMED % ("Old", ""): "1x30 stale",
                NAMED % ("Retail leads", ""): "_x31 1x40",
            },
            [WITH_NAME],
            id="renamed",
        ),
        pytest.param({OUTAGE: "1x60"}, [OF_ALL], id="of an environment"),
        pytest.param({failed("muted"): "1x60", failed("pending"): "1x60"}, [], id="not sent"),
    ],
)
def test_who_is_broken_now_has_names_where_they_are_known_and_loses_nobody(
    tmp_path: Path, inputs: Series, expected: list[str]
) -> None:
    assert answered(tmp_path, WHO, inputs, dict.fromkeys(expected, 1.0)) == ""


def test_what_grows_stale_within_three_days_is_there_in_days_and_nothing_else(
    tmp_path: Path,
) -> None:
    # It is asked at 3,600 s.
    stale = f"sftp_monitor_sftp_test_stale_timestamp_seconds{{{CAMPAIGN}}}"
    instants = {"in-1": 90_000, "in-2": 176_400, "in-4": 349_200, "past": 3_000}
    inputs = {stale % name: f"{at}x60" for name, at in instants.items()}
    days = {f"{{{CAMPAIGN % 'in-1'}}}": 1.0, f"{{{CAMPAIGN % 'in-2'}}}": 2.0}
    assert answered(tmp_path, STALE, inputs, days) == ""


def test_the_share_that_is_known_and_healthy_counts_unknown_as_not(tmp_path: Path) -> None:
    count = 'sftp_monitor_campaigns{environment="%s",health="%s"}'
    healths = {"healthy": 6, "warning": 1, "critical": 1, "unknown": 2}
    inputs = {count % ("production", health): f"{n}x60" for health, n in healths.items()}
    inputs |= {count % ("dark", health): "0x60" for health in healths}
    inputs[count % ("dark", "unknown")] = "5x60"
    shares = {'{environment="production"}': 0.6, '{environment="dark"}': 0.0}
    assert answered(tmp_path, SHARE, inputs, shares) == ""


def test_the_oldest_evidence_is_that_of_the_campaign_that_was_not_read_for_longest(
    tmp_path: Path,
) -> None:
    polled = f"sftp_monitor_campaign_last_poll_timestamp_seconds{{{CAMPAIGN}}}"
    inputs = {polled % "c-1": "3500x60", polled % "c-2": "600x60"}
    assert answered(tmp_path, EVIDENCE, inputs, {'{environment="production"}': 3000.0}) == ""


def test_half_of_the_alerts_came_sooner_than_the_delay_says(tmp_path: Path) -> None:
    bucket = 'sftp_monitor_alert_delay_seconds_bucket{environment="production",le="%s"}'
    # An alert a minute came within 5 s, and one within 15 s: half of them within the first bucket.
    inputs = {bucket % le: f"0+{n}x60" for le, n in {"5.0": 1, "15.0": 2, "+Inf": 2}.items()}
    assert answered(tmp_path, DELAY, inputs, {'{environment="production"}': 5.0}) == ""


def test_the_budget_used_is_all_calls_of_a_minute_in_what_may_be_spent(tmp_path: Path) -> None:
    calls = 'sftp_monitor_api_requests_total{environment="production",endpoint="%s"}'
    inputs = {
        calls % "sftp": "0+18x60",
        calls % "test": "0+2x60",
        'sftp_monitor_budget_requests_per_minute{environment="production"}': "50x60",
    }
    assert answered(tmp_path, BUDGET, inputs, {'{environment="production"}': 0.4}) == ""


def test_an_answer_that_is_not_as_expected_is_seen(tmp_path: Path) -> None:
    assert "FAILED" in answered(tmp_path, BUDGET, {}, {'{environment="production"}': 0.4})
