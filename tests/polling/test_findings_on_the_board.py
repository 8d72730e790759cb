"""The findings that the board shows are those of the last decision, and of no other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.adapters.web import serializers
from monitor.adapters.web.schemas import EnvironmentAnswer
from monitor.core.model import NoConfig, PollError, Reason
from monitor.daemon import Daemon
from support.daemons import World
from support.virtual import START, config, run, virtual_seconds

MINUTE = 60.0
DISCOVERING = """
environments:
  - name: production
    base_url: http://127.0.0.1:9/api/v1
    token: ${TOKEN}
    discovery: {enabled: true, every: 2m}
"""
NO_FAILED_TEST = "rules: {failed_test: {enabled: false}}\n"
STRICT = "rules: {stale_test: {max_age: 30m}}\n"
SAID_BY_ENVIRONMENT = [
    "api_unreachable", "token_rejected", "budget_insufficient", "api_refusing"
]  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def shown(daemon: Daemon, key: str = "c-1") -> Any:
    """Return a campaign as the JSON API shows it."""
    snapshot = daemon.report.snapshot()
    (one,) = (each for each in snapshot.entries() if each[1].target.campaign_id == key)
    return serializers.campaign(*one)


def verdicts(daemon: Daemon, key: str = "c-1") -> dict[str, str] | None:
    """Return the verdict of every rule, as the JSON API shows it."""
    found = shown(daemon, key).findings
    return None if found is None else {one.rule: one.verdict.value for one in found}


def environment(daemon: Daemon) -> EnvironmentAnswer:
    """Return the environment as the JSON API shows it."""
    return serializers.environment(daemon.report.snapshot().environments["production"])


def healthy_until(instant: float, then: Any, world: World) -> Callable[[], Any]:
    """Return what answers with a config until `instant` of the monotonic clock, and `then`."""
    return lambda: config("c-1", START) if world.clock.elapsed() < instant else then


def test_missing_of_a_discovered_campaign_is_shown_as_it_was_decided(world: World) -> None:
    async def story() -> tuple[list[str], str]:
        world.write_config(DISCOVERING)
        api = world.api()
        api.lists("c-1")
        api.says["c-1"] = healthy_until(MINUTE, NoConfig(), world)
        async with world.daemon() as daemon:
            await virtual_seconds(20 * MINUTE)
            known = verdicts(daemon)
            assert known is not None
            return [alert.rule for alert in shown(daemon).alerts], known["missing"]

    assert run(story()) == (["missing"], "unhealthy")


def test_a_listing_leaves_the_findings_of_those_who_stay_and_has_none_of_who_is_new(
    world: World,
) -> None:
    async def story() -> None:
        world.write_config(DISCOVERING.replace("2m", "1m"))
        api = world.api()
        api.lists("c-1")
        async with world.daemon() as daemon:
            await virtual_seconds(10)
            api.lists("c-1", "c-2")
            api.latency = 30.0
            await virtual_seconds(90)
            assert daemon.report.snapshot().environments["production"].campaigns.keys() == {
                *("c-1", "c-2")
            }
            assert set((verdicts(daemon) or {}).values()) == {"healthy"}
            assert verdicts(daemon, "c-2") is None

    run(story())


def test_after_a_start_there_is_no_finding_until_the_first_poll_but_the_alert_is_there(
    world: World,
) -> None:
    async def story() -> None:
        world.configure(["c-1"])
        world.api().says["c-1"] = config("c-1", START, last_test_success=False)
        async with world.daemon():
            await virtual_seconds(10)
        async with world.daemon() as daemon:
            assert [alert.rule for alert in shown(daemon).alerts] == ["failed_test"]
            assert verdicts(daemon) is None
            assert environment(daemon).findings is None
            await virtual_seconds(2 * MINUTE)
            assert (verdicts(daemon) or {})["failed_test"] == "unhealthy"
            found = environment(daemon).findings
            assert found is not None
            assert [one.rule for one in found] == SAID_BY_ENVIRONMENT

    run(story())


def test_a_reload_loses_the_finding_of_a_rule_that_is_gone_and_keeps_the_others(
    world: World,
) -> None:
    async def story() -> None:
        world.configure(["c-1"])
        world.api().says["c-1"] = config("c-1", START, last_test_success=False)
        async with world.daemon() as daemon:
            await virtual_seconds(10)
            before = verdicts(daemon)
            assert before is not None
            for more in (NO_FAILED_TEST, ""):
                # Switched on again it has none, either: nobody has looked since.
                world.configure(["c-1"], more)
                assert await daemon.reload() == []
                left = {rule: said for rule, said in before.items() if rule != "failed_test"}
                assert verdicts(daemon) == left
                assert shown(daemon).alerts == []
            await virtual_seconds(10 * MINUTE)
            assert verdicts(daemon) == before

    run(story())


def test_a_changed_threshold_leaves_the_finding_until_the_next_poll(world: World) -> None:
    async def story() -> None:
        world.configure(["c-1"])
        async with world.daemon() as daemon:
            await virtual_seconds(10)
            world.configure(["c-1"], STRICT)
            assert await daemon.reload() == []
            assert (verdicts(daemon) or {})["stale_test"] == "healthy"
            await virtual_seconds(10 * MINUTE)
            assert (verdicts(daemon) or {})["stale_test"] == "unhealthy"

    run(story())


def test_while_the_breaker_is_open_failed_probes_find_nothing_and_healthy_is_unknown(
    world: World,
) -> None:
    async def story() -> None:
        world.configure(["c-1", "c-2", "c-3", "ill"])
        api = world.api()
        api.says["ill"] = config("ill", START, last_test_success=False)
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            for key in ("c-1", "c-2", "c-3", "ill"):
                api.says[key] = PollError(Reason.TIMEOUT)
            await virtual_seconds(20 * MINUTE)
            assert environment(daemon).outage_since is not None
            last = [shown(daemon, key).polled_at for key in ("c-1", "ill")]
            known, ill = verdicts(daemon), verdicts(daemon, "ill")
            assert known is not None
            assert ill is not None
            assert set(known.values()) == {"unknown"}
            assert shown(daemon).health == "unknown"
            await virtual_seconds(20 * MINUTE)
            assert (verdicts(daemon), verdicts(daemon, "ill")) == (known, ill)
            assert [shown(daemon, key).polled_at for key in ("c-1", "ill")] == last

    run(story())


def test_a_campaign_that_comes_back_has_no_finding_of_its_former_life(world: World) -> None:
    async def story() -> None:
        world.configure(["c-1", "c-2"])
        async with world.daemon() as daemon:
            await virtual_seconds(10)
            world.configure(["c-2"])
            assert await daemon.reload() == []
            world.configure(["c-1", "c-2"])
            assert await daemon.reload() == []
            assert verdicts(daemon) is None
            assert set((verdicts(daemon, "c-2") or {}).values()) == {"healthy"}

    run(story())
