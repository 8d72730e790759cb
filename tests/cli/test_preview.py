"""`config check --against`: what a new file would change is what happens when it is in force.

A daemon in virtual time comes to a board with an alert in every state; each changed file is
previewed on that board, then reloaded, and every campaign polled again. The seam is between the
JSON API and the core: all that a decision rests on must have got through, or be said to be unknown.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from monitor.adapters.web import serializers
from monitor.cli.client import Checked
from monitor.cli.preview import preview, target_sets
from monitor.config import load_config, unused
from monitor.core.model import DAY, HOUR, MINUTE, CallTimes, NoConfig, PollError, Reason
from monitor.daemon import Daemon
from monitor.serialize import from_json, to_json
from support.command import called, daemon, write_config
from support.daemons import World
from support.fake_platform import fake_platform
from support.virtual import START, config, listed, run, virtual_seconds

ENVIRON = {"TOKEN": "talq_test", "OTHER_TOKEN": "talq_other"}

FILE = """
environments:
  - name: production
    base_url: http://127.0.0.1:9/api/v1
    token: ${TOKEN}
    requests_per_minute: 6000
    campaigns:
      - {id: healthy, name: Retail leads}
      - {id: failed, name: Solar leads}
      - {id: stale}
      - {id: disabled}
      - {id: young}
      - {id: untested}
      - {id: changed}
      - {id: future}
      - {id: missing}
      - {id: gone}
      - {id: unreadable}
    discovery: {enabled: true, every: 10m}
    overrides: []
  - name: other
    base_url: http://127.0.0.1:9/api/v1
    token: ${OTHER_TOKEN}
    campaigns: [{id: failed}]
polling: {interval: 10m, unhealthy_interval: 2m, idle_interval: 10m}
alerts: {remind_every: 0}
rules:
  future_test: {for: 3h}
  unreadable: {after: 3h}
"""

CHANGES: Mapping[str, tuple[Callable[[str], str], set[tuple[str, str, str]]]] = {
    "nothing": (str, set()),
    "a longer max_age": (
        lambda text: text + "  stale_test: {max_age: 60d}\n",
        {("resolve", "production/stale", "stale_test")},
    ),
    "a shorter max_age": (
        lambda text: text + "  stale_test: {max_age: 30m}\n",
        {
            ("fire", f"production/{key}", "stale_test")
            for key in ("healthy", "failed", "changed", "found")
        }
        | {("fire", "other/failed", "stale_test")}
        | {("change", f"production/{key}", "stale_test") for key in ("disabled", "young", "ended")}
        | {("change", "production/paused", "stale_test")},
    ),
    "a shorter grace": (
        lambda text: text + "  disabled: {grace: 1h}\n  never_tested: {grace: 100d}\n",
        {
            ("fire", "production/young", "disabled"),
            ("resolve", "production/untested", "never_tested"),
        },
    ),
    "another severity": (
        lambda text: text + "  failed_test: {severity: warning}\n",
        {("change", f"{key}", "failed_test") for key in ("production/failed", "other/failed")}
        | {("change", f"production/{key}", "failed_test") for key in ("paused", "ended")},
    ),
    "a rule switched off": (
        lambda text: text + "  missing: {enabled: false}\n",
        {("resolve", f"production/{key}", "missing") for key in ("missing", "gone")},
    ),
    "no `for`": (
        lambda text: text.replace("{for: 3h}", "{for: 0s}"),
        {("fire", "production/future", "future_test")},
    ),
    "a longer `for`": (
        lambda text: text.replace("{for: 3h}", "{for: 4h}") + "  failed_test: {for: 1h}\n",
        {("change", "production/future", "future_test")},
    ),
    "sooner unreadable": (
        lambda text: text.replace("after: 3h", "after: 5m"),
        {
            ("fire", "production/unreadable", "unreadable"),
            # Read every 10 minutes they may well stay unread for 5.
            ("change", "production", "budget_insufficient"),
            ("change", "other", "budget_insufficient"),
        },
    ),
    "changes wait longer for a test": (
        lambda text: text + "  changed_untested: {grace: 6h}\n",
        {("resolve", "production/changed", "changed_untested")},
    ),
    "another status is told": (
        lambda text: text.replace("every: 10m", "every: 10m, statuses: [active, paused]"),
        {("fire", "production/paused", "failed_test")},
    ),
    "no discovery": (
        lambda text: text.replace("enabled: true, every", "enabled: false, every"),
        {("change", f"production/{key}", "failed_test") for key in ("paused", "ended")},
    ),
    "an override by type": (
        lambda text: text.replace(
            "overrides: []",
            "overrides: [{match: {campaign_type: sales}, rules: {stale_test: {max_age: 30m}}}]",
        ),
        {("fire", "production/found", "stale_test")},
    ),
    "a campaign less": (
        lambda text: text.replace("      - {id: failed, name: Solar leads}\n", ""),
        {("resolve", "production/failed", "failed_test")},
    ),
    "an environment less": (
        lambda text: text[: text.index("  - name: other")] + text[text.index("polling:") :],
        {("resolve", "other/failed", "failed_test")},
    ),
    "a campaign that must have a config": (
        lambda text: text.replace("every: 10m", "every: 10m, expect_sftp: true"),
        {("fire", "production/bare", "missing")},
    ),
}
"""Changed files, and what differs under them: the verb, the campaign and the rule."""


FAST = ("a shorter max_age",)


def says(world: World) -> None:
    """Have the platform show one campaign in every state."""
    api, now = world.api(), START
    off = {"is_enabled": False}
    api.says |= {
        "healthy": config("healthy", now),
        "failed": config("failed", now, last_test_success=False),
        "stale": config("stale", now, last_test_at=now - 31 * DAY),
        "disabled": config("disabled", now, **off),
        "young": config("young", now, created_at=now - 2 * HOUR, **off),
        "untested": config("untested", now, last_test_at=None, last_test_success=None),
        "changed": config("changed", now),
        "future": config("future", now, last_test_at=now + DAY),
        "missing": NoConfig(),
        "gone": config("gone", now),
        "unreadable": config("unreadable", now),
        "found": config("found", now),
        "paused": config("paused", now, last_test_success=False),
        "ended": config("ended", now, last_test_success=False),
        "bare": NoConfig(),
    }
    over = CallTimes(last_day="2026-12-31")
    ended = listed("ended")
    api.listing = [
        listed("found", kind="sales"),
        listed("paused", status="paused", kind="custom"),
        type(ended)(ended.id, ended.name, ended.status, "custom", over),
        listed("bare", kind="custom"),
    ]
    world.api("other").says["failed"] = config("failed", now, last_test_success=False)


async def story(world: World) -> None:
    """Let two hours go by in which one config changes, one goes, and one cannot be read."""
    api = world.api()
    await virtual_seconds(20 * MINUTE)
    api.says["changed"] = config("changed", START, host="other.example.com")
    api.says["gone"] = NoConfig()
    await virtual_seconds(60 * MINUTE)
    api.says["unreadable"] = PollError(Reason.FORBIDDEN, "403")
    await virtual_seconds(30 * MINUTE)


def board_of(daemon: Daemon) -> Checked:
    """Return what the JSON API says of the daemon's board."""
    snapshot = daemon.report.snapshot()
    board = Checked(
        [serializers.environment(one) for one in snapshot.environments.values()],
        [serializers.campaign(*each) for each in snapshot.entries()],
        snapshot.now,
    )
    return from_json(Checked, to_json(board))


def previewed(path: Path, board: Checked) -> tuple[set[tuple[str, str, str]], list[str]]:
    """Return the differences as verb, campaign and rule, and what is unknown."""
    differences, unknown = preview(load_config(path, ENVIRON), board)
    found = set()
    for verb, text in differences:
        match = re.match(r"(\S+).*?  (\w+): .+ → ", text)
        assert match is not None, text
        found.add((verb, match[1], match[2]))
    return found, unknown


def through_a_reload(folder: Path, change: Callable[[str], str]) -> tuple[Any, Any]:
    """Return what is previewed of a change, and the events that it really brings."""
    world = World(folder)
    says(world)
    world.write_config(FILE)
    new = folder / "new.yaml"
    new.write_text(change(FILE) + f"state: {{path: {folder / 'state.db'}}}\n")

    async def both() -> tuple[Any, Any]:
        async with world.daemon() as daemon:
            await story(world)
            foreseen, _ = previewed(new, board_of(daemon))
            before = len(world.lines)
            world.write_config(change(FILE))
            assert await daemon.reload() == []
            await virtual_seconds(12 * MINUTE)
            return foreseen, world.events()[before:]

    return run(both())


@pytest.mark.parametrize(
    "change",
    [pytest.param(one, marks=() if one in FAST else pytest.mark.slow) for one in CHANGES],
)
def test_what_is_foreseen_is_what_happens(tmp_path: Path, change: str) -> None:
    changed, expected = CHANGES[change]
    foreseen, events = through_a_reload(tmp_path, changed)
    assert foreseen == expected
    verbs = {"firing": "fire", "resolved": "resolve", "updated": "change"}
    happened = {
        (verbs[one["status"]], f"{one['environment']}/{one['campaign_id']}", one["rule"])
        for one in events
    }
    assert happened <= foreseen
    assert {one for one in foreseen if one[0] != "change"} <= happened


@pytest.mark.slow
def test_what_cannot_be_known_is_said_and_what_is_for_nobody_is_warned_of(tmp_path: Path) -> None:
    world = World(tmp_path)
    says(world)
    world.write_config(FILE)
    more = (
        "      - {id: new}\n    overrides: [{match: {name: Nobody.*}}, {match: {name: Camp.*}}]\n"
    )
    text = FILE.replace("    overrides: []\n", "").replace(
        "      - {id: unreadable}\n", "      - {id: unreadable}\n" + more
    )
    text = text.replace("name: other", "name: another").replace(
        "every: 10m", "include: [Nope, 'C.*'], exclude: [X]"
    )
    new = tmp_path / "new.yaml"
    new.write_text(text)

    async def on_the_board() -> tuple[list[str], list[str]]:
        async with world.daemon() as daemon:
            await story(world)
            board = board_of(daemon)
            listing = target_sets(board)
            warnings = unused(load_config(new, ENVIRON), listing, whole=False)
            return previewed(new, board)[1], list(warnings)

    unknown, warnings = run(on_the_board())
    assert unknown == [
        "production: campaigns that cannot be read now: 1",
        "production: campaigns of the file that the daemon does not watch: 1",
        "production: what else would be discovered",
        "another: the daemon has no such environment",
    ]
    assert warnings == [
        "environments[0].overrides[0]: matches no campaign",
        "environments[0].discovery.include[0]: matches no campaign that is listed",
    ]


@pytest.mark.slow
async def test_a_new_file_is_checked_against_a_daemon_that_nobody_notices(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        platform.set("c-2", last_test_success=False)
        platform.listed = {"c-1": "active", "c-2": "active"}
        found = {"discovery": {"enabled": True, "every": "1h"}}
        seldom = {"interval": "10m", "unhealthy_interval": "10m"}
        config = write_config(tmp_path, platform, ["c-1"], environment=found, polling=seldom)
        async with daemon(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            await monitor.process.alert("c-2", "failed_test", "firing")
            calls = len(platform.requests)
            rules = {"stale_test": {"max_age": "30m"}, "failed_test": {"severity": "info"}}
            write_config(tmp_path, platform, ["c-1"], environment=found, rules=rules)
            with_user = monitor.url.replace("//", "//me:a-password@")
            told = await called("config", "check", config, "--against", with_user)
            by_id = ("config", "show", config, "--campaign", "c-2", "--url", monitor.url)
            shown = await called(*by_id)
            assert len(platform.requests) == calls
            assert len(monitor.process.alerts()) == 1
        gone = await called("config", "check", config, "--against", "127.0.0.1:1")
    assert (told.code, told.err) == (0, "")
    *_, one, two, change, unknown, counts, last = told.out.splitlines()
    assert one.startswith("would fire     production/c-1  Campaign c-1  stale_test: no alert → fi")
    assert two.startswith("would fire     production/c-2  Campaign c-2  stale_test: no alert → fi")
    assert "failed_test: firing (critical) → firing (info): last test failed" in change
    assert unknown == "not known: production: what else would be discovered"
    assert counts == "alerts of the daemon: 2 would fire, 0 would resolve, 1 would change"
    assert "a-password" not in told.out
    assert last == f"{config}: ok"
    assert shown.out.startswith("# production/c-2  Campaign c-2\nlabels: {}\n")
    assert (gone.code, "cannot ask http://127.0.0.1:1" in gone.err) == (74, True)
