"""The slots of the whole process: what waits for one heeds what came meanwhile, none is lost."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.adapters.store import MEMORY, Store
from monitor.config import load_config
from monitor.core.status import EnvironmentStatus
from monitor.polling import Poller, Settings
from monitor.polling.token import Token
from monitor.polling.watch import Watch
from support.virtual import START, FakeApi, VirtualClock, run, virtual_seconds


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "monitor.yaml"
    campaigns = ", ".join(f"{{id: c-{n}}}" for n in range(6))
    file.write_text(
        f"environments: [{{name: production, token: '${{T}}', campaigns: [{campaigns}]}}]\n"
    )
    config = load_config(file, {"T": "talq_test"})
    return Settings(
        environment=config.environments[0], polling=config.polling, alerts=config.alerts
    )


def _poller(
    settings: Settings, api: FakeApi, slots: asyncio.Semaphore, store: Store | None = None
) -> Poller:
    store = store or Store.open(MEMORY, now=START)
    status = EnvironmentStatus(name="production")
    watch = Watch(settings, api.clock, store.save, status, {})
    token = Token("production", settings.environment.token)
    return Poller(watch, api, token, store, api.clock, slots)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_429_that_comes_while_a_slot_is_waited_for_is_heeded(settings: Settings) -> None:
    async def story() -> list[float]:
        api = FakeApi(VirtualClock(), latency=5.0, refuse=60.0)
        polling = asyncio.create_task(_poller(settings, api, asyncio.Semaphore(1)).run())
        await virtual_seconds(6)
        api.refuse, api.latency = None, 0.05
        await virtual_seconds(120)
        await _ended(polling)
        return [at for at, _ in api.calls]

    calls = run(story())
    assert calls[1] - calls[0] >= 60
    assert len(calls) >= 6


def test_a_campaign_that_is_removed_while_it_waits_for_a_slot_is_not_asked_for(
    settings: Settings,
) -> None:
    async def story() -> set[str]:
        api, slots = FakeApi(VirtualClock()), asyncio.Semaphore(1)
        poller = _poller(settings, api, slots)
        await slots.acquire()
        polling = asyncio.create_task(poller.run())
        await virtual_seconds(5)
        kept = {key: target for key, target in settings.targets.items() if key != "c-0"}
        fewer = replace(settings, environment=replace(settings.environment, campaigns=kept))
        poller.configure(fewer, api, Token("production", settings.environment.token))
        slots.release()
        await virtual_seconds(10 * 60)
        await _ended(polling)
        return {key for _, key in api.calls}

    assert run(story()) == {f"c-{n}" for n in range(1, 6)}


async def test_no_slot_is_lost_when_a_poller_ends_while_its_lease_is_written(
    settings: Settings, tmp_path: Path
) -> None:
    store = Store.open(tmp_path / "state.db", now=START)
    for steps in range(20):
        slots = asyncio.Semaphore(2)
        api = FakeApi(VirtualClock(), latency=0.0)
        polling = asyncio.create_task(_poller(settings, api, slots, store).run())
        for _ in range(steps):
            await asyncio.sleep(0)
        await _ended(polling)
        for _ in range(2):
            assert not slots.locked(), f"ended after {steps} steps"
            await slots.acquire()
    await store.aclose()


def test_many_reloads_do_not_put_first_polls_off(settings: Settings) -> None:
    async def story() -> int:
        api = FakeApi(VirtualClock())
        poller = _poller(settings, api, asyncio.Semaphore(2))
        token = Token("production", settings.environment.token)
        for _ in range(100):
            poller.configure(replace(settings), api, token)
        polling = asyncio.create_task(poller.run())
        await virtual_seconds(15)
        await _ended(polling)
        return len({key for _, key in api.calls})

    assert run(story()) == 6
