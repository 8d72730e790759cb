"""The labels of an alert, on virtual time: whatever is edited while it fires, they stay.

Host, name and labels are those of its last `firing` event, wherever they are shown or sent.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from monitor.adapters.sinks.alertmanager import labels_of, standing_events
from monitor.adapters.web import serializers
from monitor.core.model import PollError, Reason
from monitor.daemon import Daemon
from support.daemons import World
from support.virtual import START, config, listed, run, virtual_seconds

MINUTE = 60.0

SAID = ("sftp_host", "campaign_name", "labels")
BEFORE: dict[str, Any] = {
    "sftp_host": "old.example",
    "campaign_name": "Retail leads",
    "labels": {"team": "retail", "region": "emea"},
}


@dataclass
class Story:
    """One campaign, its platform, and the file; `edited` gives another file."""

    world: World
    discovered: bool = False
    name: str = "Retail leads"
    team: str = "retail"
    match: str = "Retail.*"
    exported: str = "team, region"
    campaigns: list[str] = field(default_factory=lambda: ["c-1"])
    environment: str = "production"

    def write(self, **edits: Any) -> None:
        for key, value in edits.items():
            setattr(self, key, value)
        files = [f"{{id: {one}, name: {self.name}}}" for one in self.campaigns]
        who = f"campaigns: [{', '.join(files)}]"
        if self.discovered:
            who = "discovery: {enabled: true, every: 10m}"
        self.world.write_config(
            f"environments:\n"
            f"  - name: {self.environment}\n"
            f"    base_url: http://127.0.0.1:9/api/v1\n"
            f"    token: ${{TOKEN}}\n"
            f"    labels: {{team: {self.team}}}\n"
            f"    overrides: [{{match: {{name: {self.match}}}, labels: {{region: emea}}}}]\n"
            f"    {who}\n"
            f"metrics: {{campaign_labels: [{self.exported}]}}\n"
        )

    def say(self, *, passed: bool, host: str = "old.example") -> None:
        changes = {"last_test_success": passed, "host": host}
        for one in ("c-1", "c-2"):
            self.world.api().says[one] = config(one, START, **changes)


def identities(daemon: Daemon) -> list[tuple[tuple[str, str], ...]]:
    """Return what names each alert on the page for Prometheus, and at a direct Alertmanager."""
    page = daemon.report.metrics(False)().decode()
    series = [line for line in page.splitlines() if line.startswith("sftp_monitor_alert{")]
    shown = [tuple(sorted(_parsed(line).items())) for line in series]
    told = [
        tuple(sorted(labels_of(event).items()))
        for environment in daemon.report.snapshot().environments.values()
        for event in standing_events(environment)
    ]
    return shown + told


def answers(daemon: Daemon) -> list[dict[str, Any]]:
    """Return what the JSON API says of each alert, of what on-call was told."""
    return [
        {"campaign_name": one.campaign_name, "labels": dict(one.labels)}
        for one in serializers.alerts_page(daemon.report.snapshot(), 1000, None).alerts
    ]


def _parsed(line: str) -> dict[str, str]:
    pairs = line.partition("{")[2].partition("}")[0].split(",")
    return dict(pair.replace('"', "").split("=", 1) for pair in pairs)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


EDITS: dict[str, Callable[[Story], None]] = {
    "the host, at the platform": lambda story: story.say(passed=False, host="new.example"),
    "the name, in the file": lambda story: story.write(name="Retail renewed"),
    "a label of the environment": lambda story: story.write(team="growth"),
    "an override that no longer matches": lambda story: story.write(match="Nobody"),
    "which labels are exported": lambda story: story.write(exported="region"),
    "one exported label more": lambda story: story.write(exported="team, region, tier"),
}


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("restarts", [False, True], ids=["while it runs", "over a restart"])
@pytest.mark.parametrize("what", EDITS)
def test_an_edit_while_an_alert_fires_changes_no_label_of_it(
    world: World, what: str, restarts: bool
) -> None:
    story = Story(world)
    story.write()
    story.say(passed=False)

    async def told() -> None:
        async with world.daemon() as daemon:
            await virtual_seconds(10 * MINUTE)
            before, said = identities(daemon), answers(daemon)
            EDITS[what](story)
            if not restarts:
                assert await daemon.reload() == []
                await virtual_seconds(20 * MINUTE)
                assert (identities(daemon), answers(daemon)) == (before, said)
        async with world.daemon() as daemon:
            assert (identities(daemon), answers(daemon)) == (before, said)
            await virtual_seconds(20 * MINUTE)
            assert (identities(daemon), answers(daemon)) == (before, said)
            now = world.api().says["c-1"]
            world.api().says["c-1"] = replace(now, last_test_success=True)  # type: ignore[type-var]
            await virtual_seconds(20 * MINUTE)
            assert identities(daemon) == []

    run(told())
    assert world.told() == [("firing", "failed_test", "c-1"), ("resolved", "failed_test", "c-1")]
    assert [{key: event[key] for key in SAID} for event in world.events()] == [BEFORE, BEFORE]


def test_the_campaigns_own_fields_and_info_have_the_current_ones(world: World) -> None:
    story = Story(world)
    story.write()
    story.say(passed=False)

    async def told() -> tuple[str, Any]:
        async with world.daemon() as daemon:
            await virtual_seconds(10 * MINUTE)
            story.say(passed=False, host="new.example")
            story.write(name="Retail renewed", team="growth")
            await daemon.reload()
            await virtual_seconds(20 * MINUTE)
            page = daemon.report.metrics(False)().decode().splitlines()
            (info,) = [one for one in page if one.startswith("sftp_monitor_campaign_info{")]
            campaign = serializers.campaign(*next(daemon.report.snapshot().entries()))
            return info, campaign

    info, campaign = run(told())
    shown = _parsed(info)
    current = ("new.example", "Retail renewed", "growth")
    assert (shown["sftp_host"], shown["campaign_name"], shown["team"]) == current
    assert (campaign.config.host, campaign.name, campaign.labels["team"]) == current
    (alert,) = campaign.alerts
    assert (alert.campaign_name, alert.labels["team"]) == ("Retail leads", "retail")


def test_a_campaign_that_is_renamed_at_the_platform_keeps_the_name_it_fired_with(
    world: World,
) -> None:
    story, api = Story(world, discovered=True), world.api()
    story.write()
    story.say(passed=False)
    api.listing = [listed("c-1", name="Retail leads")]

    async def told() -> None:
        async with world.daemon() as daemon:
            await virtual_seconds(10 * MINUTE)
            before = identities(daemon)
            api.listing = [listed("c-1", name="Renamed")]
            await virtual_seconds(25 * MINUTE)
            entry = daemon.report.snapshot().environments["production"].campaigns["c-1"]
            assert entry.target.name == "Renamed"
            assert identities(daemon) == before
            story.say(passed=True)
            await virtual_seconds(25 * MINUTE)

    run(told())
    assert [{key: event[key] for key in SAID} for event in world.events()] == [BEFORE, BEFORE]


GONE: dict[str, tuple[str, Callable[[Story], None]]] = {
    "the campaign": ("campaign_removed", lambda story: story.write(campaigns=["c-2"])),
    "the environment": ("environment_removed", lambda story: story.write(environment="other")),
}


@pytest.mark.matrix
@pytest.mark.parametrize("stopped", [False, True], ids=["by a reload", "while it is stopped"])
@pytest.mark.parametrize("what", GONE)
def test_what_leaves_the_config_is_resolved_with_the_labels_that_it_fired_with(
    world: World, what: str, stopped: bool
) -> None:
    story, (reason, leave) = Story(world), GONE[what]
    story.write()
    story.say(passed=False)

    async def told() -> None:
        async with world.daemon() as daemon:
            await virtual_seconds(10 * MINUTE)
            story.say(passed=False, host="new.example")
            story.write(name="Other", team="growth", exported="team")
            await daemon.reload()
            await virtual_seconds(10 * MINUTE)
            leave(story)
            if not stopped:
                assert await daemon.reload() == []
                await virtual_seconds(1)
        async with world.daemon():
            await virtual_seconds(1)

    run(told())
    mine = [e for e in world.events() if e["campaign_id"] == "c-1" and e["environment"] != "other"]
    assert [(event["status"], event["reason"]) for event in mine] == [
        ("firing", None),
        ("resolved", reason),
    ]
    assert [{key: event[key] for key in SAID} for event in mine] == [BEFORE, BEFORE]


def test_an_alert_of_the_environment_keeps_its_labels_too(world: World) -> None:
    story = Story(world)
    story.write()
    world.api().says["c-1"] = PollError(Reason.TIMEOUT)

    async def told() -> None:
        async with world.daemon() as daemon:
            await virtual_seconds(20 * MINUTE)
            before = identities(daemon)
            assert any(dict(one).get("team") == "retail" for one in before)
            story.write(team="growth", exported="region")
            await daemon.reload()
            assert identities(daemon) == before
        async with world.daemon() as daemon:
            assert identities(daemon) == before
            story.say(passed=True)
            await virtual_seconds(20 * MINUTE)
            assert identities(daemon) == []

    run(told())
    assert world.told() == [
        ("firing", "api_unreachable", None),
        ("resolved", "api_unreachable", None),
    ]
    assert [event["labels"] for event in world.events()] == [{"team": "retail"}] * 2


def test_two_alerts_of_one_campaign_have_each_the_labels_it_fired_with(world: World) -> None:
    story = Story(world)
    story.write()
    story.say(passed=False)

    async def told() -> None:
        async with world.daemon():
            await virtual_seconds(10 * MINUTE)
            old = 40 * 86400.0
            world.api().says["c-1"] = config(
                "c-1", START, last_test_success=False, last_test_at=START - old, host="new.example"
            )
            await virtual_seconds(20 * MINUTE)
            world.api().says["c-1"] = config("c-1", START, last_test_at=START, host="third.example")
            await virtual_seconds(20 * MINUTE)

    run(told())
    hosts = {(e["rule"], e["status"]): e["sftp_host"] for e in world.events()}
    assert hosts == {
        ("failed_test", "firing"): "old.example",
        ("stale_test", "firing"): "new.example",
        ("failed_test", "resolved"): "old.example",
        ("stale_test", "resolved"): "new.example",
    }


def test_what_is_muted_is_over_and_fires_again_with_the_labels_of_then(world: World) -> None:
    story = Story(world)
    story.write()
    story.say(passed=False)

    async def told() -> None:
        async with world.daemon():
            await virtual_seconds(10 * MINUTE)
            off = {"is_enabled": False, "last_test_success": False}
            world.api().says["c-1"] = config("c-1", START, host="new.example", **off)
            await virtual_seconds(10 * MINUTE)
            story.say(passed=False, host="third.example")
            await virtual_seconds(10 * MINUTE)

    run(told())
    hosts = [(event["status"], event["sftp_host"]) for event in world.events()]
    assert hosts == [
        ("firing", "old.example"),
        ("resolved", "old.example"),
        ("firing", "third.example"),
    ]


def test_another_severity_pages_and_keeps_the_labels(world: World) -> None:
    story = Story(world)
    story.write()
    story.say(passed=False)

    async def told() -> None:
        async with world.daemon() as daemon:
            await virtual_seconds(10 * MINUTE)
            story.say(passed=False, host="new.example")
            await virtual_seconds(10 * MINUTE)
            story.write(team="growth")
            file = world.folder / "monitor.yaml"
            file.write_text(file.read_text() + "rules: {failed_test: {severity: warning}}\n")
            assert await daemon.reload() == []
            await virtual_seconds(1)

    run(told())
    assert [event["status"] for event in world.events()] == ["firing", "updated"]
    assert [{key: event[key] for key in SAID} for event in world.events()] == [BEFORE, BEFORE]
