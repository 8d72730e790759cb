"""What a reload costs and what it leaves alone: work is counted, not time."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from monitor.config import load_config
from monitor.core import schedule
from monitor.core.rule import Target
from monitor.daemon import Daemon
from monitor.polling import poller as poller_module
from support.daemons import World
from support.virtual import START, config, run, virtual_seconds

MINUTE = 60.0
KEYS = [f"c-{n}" for n in range(60)]
"""More than take a config in one go."""

FAILED = {"last_test_success": False}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what a reload may have to do: files read, campaigns made, rules run, polls planned."""
    counted = Counter[str]()

    def count(owner: Any, name: str, what: str) -> None:
        real = getattr(owner, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            counted[what] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(Target, "__init__", "made")
    count(schedule, "evaluate_all", "evaluated")
    count(poller_module, "next_poll", "planned")
    return counted


def written(world: World, more: str = "", **said: str) -> None:
    """Write a config of all campaigns, with what it says of some, and `more`."""
    listed = "".join(f"      - {{id: {key}{said.get(key, '')}}}\n" for key in KEYS)
    world.write_config(
        "environments:\n  - name: production\n    base_url: http://127.0.0.1:9/api/v1\n"
        f"    token_file: token\n    requests_per_minute: 10000\n    campaigns:\n{listed}{more}"
    )


def secret(world: World, token: str) -> None:
    """Put a token where the config says."""
    (world.folder / "token").write_text(token)
    (world.folder / "token").chmod(0o600)


def metric(daemon: Daemon, name: str) -> float:
    lines = daemon.report.metrics(False)().decode().splitlines()
    return float(next(one for one in lines if one.startswith(f"sftp_monitor_{name}")).split()[-1])


def due(daemon: Daemon) -> dict[str, Any]:
    """Return under which put each campaign waits for its poll: another one, planned anew."""
    return dict(daemon._manager.pollers["production"]._queue._puts)


def test_a_reload_of_the_same_file_reads_and_plans_nothing_and_is_a_reload(
    world: World, work: Counter[str]
) -> None:
    async def story() -> None:
        secret(world, "talq_1")
        written(world)
        async with world.daemon() as daemon:
            await virtual_seconds(2 * MINUTE)
            entries, before = daemon.report.snapshot(), due(daemon)
            work.clear()
            with capture_logs() as logged:
                assert await daemon.reload() == []
            assert [one["event"] for one in logged] == ["reloaded"]
            assert not work
            assert due(daemon) == before
            assert daemon.report.snapshot().environments == entries.environments
            at = metric(daemon, "config_last_reload_success_timestamp_seconds")
            assert at == world.clock.wall()
            assert metric(daemon, "config_last_reload_successful") == 1

    run(story())


LABELS = ", labels: {team: b}"
CHANGES: dict[str, tuple[dict[str, Any], set[str], int]] = {
    "a comment": ({"more": "# hello\n"}, set(), 0),
    "labels of one": ({"c-7": LABELS}, set(), 0),
    "labels of all": (dict.fromkeys(KEYS, LABELS), set(), 0),
    "a name": ({"c-7": ", name: Retail"}, set(), 0),
    "a rule of one": ({"c-7": ", rules: {stale_test: {max_age: 9d}}"}, {"c-7"}, 1),
    "tests of one": ({"c-7": ", connection_tests: {enabled: true}"}, {"c-7"}, 1),
    "a rule of all": ({"more": "rules: {stale_test: {max_age: 9d}}\n"}, {*KEYS}, len(KEYS)),
    # What was found of them holds under another interval, too.
    "the interval": ({"more": "polling: {interval: 6m}\n"}, {*KEYS}, 0),
    "the reminders": ({"more": "alerts: {remind_every: 3h}\n"}, set(), 0),
}
"""What a file may change, whose polls are planned anew, and whose rules are run for that."""


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize("change", CHANGES)
def test_only_campaigns_whose_polls_a_change_concerns_are_planned_anew(
    world: World, work: Counter[str], change: str
) -> None:
    says, whose, evaluated = CHANGES[change]

    async def story() -> None:
        secret(world, "talq_1")
        written(world)
        async with world.daemon() as daemon:
            await virtual_seconds(2 * MINUTE)
            before = due(daemon)
            work.clear()
            written(world, **says)
            assert await daemon.reload() == []
            assert {key for key, put in due(daemon).items() if before[key] != put} == whose
            assert (work["planned"], work["evaluated"]) == (len(whose), evaluated)
            targets = daemon.report.config.environments[0].resolved.targets
            for key, entry in daemon.report.snapshot().environments["production"].campaigns.items():
                assert entry.target is targets[key]

    run(story())


def test_who_joins_and_who_leaves_plans_nobody_else(world: World, work: Counter[str]) -> None:
    async def story() -> None:
        secret(world, "talq_1")
        written(world)
        async with world.daemon() as daemon:
            await virtual_seconds(2 * MINUTE)
            before = due(daemon)
            work.clear()
            text = (world.folder / "monitor.yaml").read_text()
            text = text.replace("      - {id: c-5}\n", "      - {id: new}\n")
            (world.folder / "monitor.yaml").write_text(text)
            assert await daemon.reload() == []
            # The new one is under way already.
            assert due(daemon) == {key: put for key, put in before.items() if key != "c-5"}
            campaigns = list(daemon.report.snapshot().environments["production"].campaigns)
            # In the order of the file.
            assert campaigns == [*KEYS[:5], "new", *KEYS[6:]]
            await virtual_seconds(1)
            assert world.api().calls[-1][1] == "new"

    run(story())


def test_a_secret_that_was_rotated_is_used_after_a_reload_of_the_same_file(world: World) -> None:
    async def story() -> list[str]:
        secret(world, "talq_1")
        written(world)
        async with world.daemon() as daemon:
            secret(world, "talq_2")
            assert await daemon.reload() == []
            # A 401 may have had the token read before, and then the old one was put back.
            daemon._manager.pollers["production"].connection.token = "talq_other"
            assert await daemon.reload() == []
            return world.api().tokens

    assert run(story()) == ["talq_1", "talq_2", "talq_2"]


BREAKAGES: dict[str, Callable[[World], object]] = {
    "the file is bad": lambda world: world.write_config("environments: []\n"),
    "the file is gone": lambda world: (world.folder / "monitor.yaml").unlink(),
    "the token is gone": lambda world: (world.folder / "token").unlink(),
    "the token is none": lambda world: secret(world, "your-token"),
    "others can read the token": lambda world: (world.folder / "token").chmod(0o604),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_what_breaks_is_refused_each_time_and_put_right_it_is_as_before(
    world: World, work: Counter[str], breakage: str
) -> None:
    async def story() -> None:
        secret(world, "talq_1")
        written(world)
        async with world.daemon() as daemon:
            await virtual_seconds(2 * MINUTE)
            before = due(daemon)
            loaded_at = metric(daemon, "config_last_reload_success_timestamp_seconds")
            BREAKAGES[breakage](world)
            with capture_logs():
                first, second = await daemon.reload(), await daemon.reload()
            assert first
            assert first == second
            assert metric(daemon, "config_last_reload_successful") == 0
            at = metric(daemon, "config_last_reload_success_timestamp_seconds")
            assert at == loaded_at
            secret(world, "talq_1")
            written(world)
            work.clear()
            assert await daemon.reload() == []
            assert not work
            assert due(daemon) == before
            assert metric(daemon, "config_last_reload_successful") == 1

    run(story())


def test_what_could_not_be_put_in_force_is_tried_again_though_its_file_is_the_same(
    world: World,
) -> None:
    async def story() -> None:
        secret(world, "talq_1")
        written(world)
        async with world.daemon() as daemon:
            connect, daemon._manager._connect = daemon._manager._connect, lambda *_: 1 / 0  # type: ignore[assignment]
            written(world, **{"c-7": LABELS})
            with capture_logs():
                assert await daemon.reload()
                assert await daemon.reload()
            daemon._manager._connect = connect
            assert await daemon.reload() == []
            entry = daemon.report.snapshot().environments["production"].campaigns["c-7"]
            assert entry.target.labels == {"team": "b"}

    run(story())


def test_an_environment_variable_of_the_config_cannot_change_in_a_process(
    world: World, work: Counter[str]
) -> None:
    async def story() -> None:
        environ = {"TOKEN": "talq_1"}
        world.configure()
        async with world.daemon(environ) as daemon:
            work.clear()
            assert await daemon.reload() == []
            assert not work

    run(story())


def test_a_start_takes_what_was_just_loaded(world: World) -> None:
    async def story() -> int:
        world.configure()
        loads = Counter[str]()

        def load() -> Any:
            loads["all"] += 1
            return load_config(world.folder / "monitor.yaml", {"TOKEN": "talq_test"})

        daemon = Daemon(
            load, world.write, clock=world.clock, connect=world.connect, threaded=False,
            loaded=load(),
        )  # fmt: skip
        await daemon.start()
        assert daemon.loaded is None  # after a reload nobody needs it
        await daemon.stop()
        return loads["all"]

    assert run(story()) == 1


SOFTER = "rules: {failed_test: {severity: warning}}\n"


async def _turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("turns", [3, 4, 2, 5, 6, 8])
def test_a_stop_in_the_middle_of_a_reload_leaves_what_the_next_start_goes_on_with(
    world: World, turns: int
) -> None:
    async def story() -> None:
        secret(world, "talq_1")
        written(world)
        for key in KEYS:
            world.api().says[key] = config(key, START, **FAILED)
        async with world.daemon() as daemon:
            await virtual_seconds(2 * MINUTE)
            written(world, SOFTER)
            daemon.reload_requested.set()
            await _turns(turns)
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
        async with world.daemon():
            await virtual_seconds(2 * MINUTE)

    run(story())
    told = Counter((one["status"], one["severity"], one["campaign_id"]) for one in world.events())
    expected = [("firing", "critical", key) for key in KEYS]
    expected += [("updated", "warning", key) for key in KEYS]
    assert told == Counter(expected)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("turns", [3, 4, 1, 2, 5, 6, 7, 8])
def test_the_newest_of_two_files_is_in_force_though_it_came_during_a_reload(
    world: World, turns: int
) -> None:
    async def story() -> None:
        secret(world, "talq_1")
        written(world)
        async with world.daemon() as daemon:
            await virtual_seconds(2 * MINUTE)
            written(world, "polling: {interval: 6m}\n", **dict.fromkeys(KEYS, LABELS))
            daemon.reload_requested.set()
            await _turns(turns)
            written(world, "polling: {interval: 7m}\n", **{"c-7": ", labels: {team: c}"})
            assert await daemon.reload() == []
            settings = daemon._manager.pollers["production"].state.settings
            assert settings.polling.interval == 7 * MINUTE
            known = daemon.report.snapshot().environments["production"].campaigns
            assert {key: one.target.labels for key, one in known.items() if one.target.labels} == {
                "c-7": {"team": "c"}
            }
            assert list(known) == KEYS

    run(story())
