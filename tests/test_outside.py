"""What users, scripts and dashboards rely on, word for word: metrics, log lines, OpenAPI.

A difference here is a change of the contract: decide it, write it into docs/decisions.md, and only
then renew the goldens: `GOLDENS=renew make test ARGS=tests/test_outside.py`.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from monitor.adapters.web.openapi import document
from monitor.core.model import NoConfig, PollError, Reason
from support.daemons import World
from support.virtual import START, config, run, virtual_seconds

GOLDENS = Path(__file__).with_name("goldens")

DAY = 86400.0

CONFIG = """
environments:
  - name: production
    base_url: http://127.0.0.1:9/api/v1
    token: ${TOKEN}
    labels: {team: platform}
    campaigns:
      - {id: healthy, name: Retail leads}
      - {id: failed, name: Solar leads, labels: {team: solar}}
      - {id: stale, name: "Say \\"hi\\" \\\\ to leads"}
      - {id: disabled}
      - {id: untested}
      - {id: future}
      - {id: missing}
      - {id: unreadable}
  - name: empty
    token: ${OTHER_TOKEN}
    discovery: {enabled: true}
alerts: {remind_every: 10m, runbook_url: "https://runbooks.example/{rule}"}
web: {listen_address: 127.0.0.1:0, external_url: https://monitor.example/}
metrics: {campaign_labels: [team]}
rules:
  stale_test: {for: 1h}
  disabled: {severity: SEVERITY}
"""


def write_config(world: World, disabled: str) -> None:
    state = f"state: {{path: {world.folder / 'state.db'}}}\n"
    (world.folder / "monitor.yaml").write_text(CONFIG.replace("SEVERITY", disabled) + state)


def a_day_with_everything(folder: Path) -> tuple[list[dict[str, Any]], str]:
    """Return the events of a story with an alert of each rule and status, and the last scrape."""
    world = World(folder)
    says = world.api().says
    world.api().server_clock = world.clock.wall
    world.api("empty").server_clock = world.clock.wall
    says["failed"] = config("failed", START, last_test_success=False)
    says["stale"] = config("stale", START, last_test_at=START - 31 * DAY)
    says["disabled"] = config("disabled", START, is_enabled=False)
    says["untested"] = config("untested", START, last_test_at=None, last_test_success=None)
    says["future"] = config("future", START, last_test_at=START + DAY)
    says["missing"] = NoConfig()
    says["unreadable"] = PollError(Reason.FORBIDDEN, "403")
    write_config(world, "warning")

    async def story() -> str:
        async with world.daemon() as daemon:
            await virtual_seconds(25 * 60)
            write_config(world, "critical")
            assert await daemon.reload() == []
            says["failed"] = config("failed", START, last_test_at=START + 1500)
            says["untested"] = NoConfig()
            await virtual_seconds(25 * 60)
            return daemon.report.metrics(False)().decode()

    metrics = run(story())
    return world.events(), metrics


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], str]:
    return a_day_with_everything(tmp_path_factory.mktemp("outside"))


def check(name: str, text: str) -> None:
    """Compare a text with its golden, or make that anew where this is asked for."""
    golden = GOLDENS / name
    if os.environ.get("GOLDENS") == "renew":
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.slow
def test_one_log_line_of_each_rule_and_status(story: tuple[list[dict[str, Any]], str]) -> None:
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for event in story[0]:
        # Drawn anew at each start.
        stable = {**event, "event_id": event["event_id"].replace(event["epoch"], "EPOCH")}
        first.setdefault((event["rule"], event["status"]), {**stable, "epoch": "EPOCH"})
    assert {status for _, status in first} == {"firing", "reminder", "updated", "resolved"}
    check("events.jsonl", "".join(f"{json.dumps(event)}\n" for event in first.values()))


def test_the_metrics(story: tuple[list[dict[str, Any]], str]) -> None:
    ours = [
        line
        for line in story[1].splitlines()
        if "sftp_monitor_" in line
        and not re.match(r"sftp_monitor_(build_info|config_hash|event_loop_lag)", line)
    ]
    check("metrics.txt", "".join(f"{line}\n" for line in ours))


def test_the_openapi_document() -> None:
    described = json.loads(document("VERSION", None))
    check("openapi.json", json.dumps(described, indent=1) + "\n")
