"""Environments share nothing: one that hangs delays no other, and not the loop's sign of life.

The calls that the process may have under way at once are shared out, so nobody waits for another's.
"""

import asyncio
import itertools
import resource
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from support.daemons import World
from support.virtual import run, virtual_seconds

MINUTE = 60.0


def configure(world: World, names: list[str], *, timeout: str = "5m", campaigns: int = 12) -> None:
    """Write a config of these environments, each with so many campaigns and its own token."""
    keys = ", ".join(f"{{id: c-{n}}}" for n in range(campaigns))
    world.write_config(
        f"polling: {{timeout: {timeout}, interval: 10m, unhealthy_interval: 10m}}\nenvironments:\n"
        + "".join(
            f"  - name: {name}\n    base_url: http://127.0.0.1:9/api/v1\n"
            f"    token: ${{TOKEN_{n}}}\n    campaigns: [{keys}]\n"
            for n, name in enumerate(names)
        )
    )


def tokens(names: list[str]) -> dict[str, str]:
    return {f"TOKEN_{n}": f"talq_{n}" for n in range(len(names))}


def gaps(world: World, environment: str, campaign: str) -> list[float]:
    """Return the seconds between two calls for a campaign."""
    at = [when for when, key in world.api(environment).calls if key == campaign]
    return [later - earlier for earlier, later in itertools.pairwise(at)]


@pytest.mark.matrix
@pytest.mark.parametrize(("hung", "files"), [(9, 64), (40, 64), (40, 1024), (40, 1_048_576)])
def test_where_others_hang_a_healthy_environment_is_polled_on_its_cadence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hung: int, files: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    world = World(tmp_path)
    names = [f"hung-{n}" for n in range(hung)] + ["well"]
    configure(world, names)
    for name in names[:-1]:
        world.api(name).hang = asyncio.Event()

    async def story() -> list[bool]:
        healthy = []
        async with world.daemon(tokens(names)) as daemon:
            for _ in range(25 * 12):
                await virtual_seconds(5)
                healthy.append(daemon.report.healthy())
        return healthy

    assert all(run(story()))
    # As it is polled alone: a first sweep at the budget's pace, then each campaign in its slot.
    first = [at for at, _ in world.api("well").calls[:12]]
    assert first == pytest.approx([n * 60 / 48.5 for n in range(12)], abs=1)
    for n in range(12):
        later = gaps(world, "well", f"c-{n}")
        assert later[0] <= 15 * MINUTE + 1
        assert later[1:] == pytest.approx([10 * MINUTE] * len(later[1:]), abs=1)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("environments", "files", "share"),
    [(10, 64, 1), (10, 1024, 8), (10, 4096, 8), (100, 64, 1), (100, 1024, 2), (100, 4096, 8)],
)
def test_the_calls_under_way_at_once_are_shared_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environments: int, files: int, share: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    world = World(tmp_path)
    names = [f"hung-{n}" for n in range(environments)]
    configure(world, names)
    for name in names:
        world.api(name).hang = asyncio.Event()

    async def story() -> None:
        async with world.daemon(tokens(names)):
            await virtual_seconds(MINUTE)

    run(story())
    assert {len(world.api(name).calls) for name in names} == {share}


@pytest.mark.slow
def test_among_four_hundred_environments_of_which_all_others_hang_one_is_polled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    world = World(tmp_path)
    names = [f"one-{n}" for n in range(400)]
    configure(world, names, campaigns=2)
    for name in names[1:]:
        world.api(name).hang = asyncio.Event()

    async def story() -> bool:
        async with world.daemon(tokens(names)) as daemon:
            await virtual_seconds(2 * MINUTE)
            return daemon.report.healthy()

    with capture_logs() as logged:
        assert run(story())
    assert len(world.api(names[0]).calls) == 2
    assert {len(world.api(name).calls) for name in names[1:]} == {1}
    # Each may need a socket: then 1,024 files are few, and somebody is to know.
    (few,) = [line for line in logged if line["event"] == "few_open_files"]
    assert (few["environments"], few["wanted"]) == (400, 1600)


def test_a_reload_that_adds_an_environment_makes_the_shares_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (32, 32))
    world, names = World(tmp_path), ["a", "b"]

    async def calls_that_hang() -> int:
        api = world.api("a")
        if api.hang is not None:
            api.hang.set()
        api.hang, before = asyncio.Event(), len(api.calls)
        await virtual_seconds(MINUTE)
        return len(api.calls) - before

    async def story() -> tuple[int, int]:
        configure(world, names[:1], campaigns=50)
        async with world.daemon(tokens(names)) as daemon:
            alone = await calls_that_hang()
            configure(world, names, campaigns=50)
            assert await daemon.reload() == []
            return alone, await calls_that_hang()

    assert run(story()) == (8, 4)
