"""One poller by itself: its first polls, and what a reload does to a poll that is under way."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.adapters.metrics import SelfMetrics
from monitor.adapters.store import MEMORY, Store
from monitor.config import load_config
from monitor.core.status import EnvironmentStatus
from monitor.polling import Api, Poller, Settings
from monitor.polling.environment_state import EnvironmentState
from monitor.polling.guard_book import GuardBook
from monitor.polling.settings import Connection
from monitor.polling.tester import Tester
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


def _poller(settings: Settings, api: Api, share: int) -> Poller:
    store, clock = Store(MEMORY, now=START), VirtualClock()
    status = EnvironmentStatus(name="production")
    watch = EnvironmentState(settings, clock, store.save, status, {})
    connection = Connection(settings, lambda *_: api)
    tester = Tester(watch, GuardBook(clock, store.save))
    return Poller(watch, connection, store, SelfMetrics("test"), START, tester, share)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_call_under_way_ends_under_the_settings_it_began_with(settings: Settings) -> None:
    async def story() -> tuple[bool, bool]:
        clock = VirtualClock()
        old, new = FakeApi(clock, latency=50.0), FakeApi(clock)
        poller = _poller(settings, old, share=1)
        await poller.take(settings)
        polling = asyncio.create_task(poller.run())
        await virtual_seconds(1)
        polling_config = settings.polling.model_copy(update={"timeout": 1.0})
        after = replace(settings, polling=polling_config)
        retiring = poller.configure(Connection(after, lambda *_: new))
        await poller.take(after)
        await virtual_seconds(48)
        early = old.closed
        await virtual_seconds(2)
        await _ended(polling)
        await retiring
        return early, old.closed

    assert run(story()) == (False, True)


def test_many_reloads_do_not_put_first_polls_off(settings: Settings) -> None:
    async def story() -> int:
        api = FakeApi(VirtualClock())
        poller = _poller(settings, api, share=2)
        for _ in range(100):
            again = replace(settings)
            await poller.configure(Connection(again, lambda *_: api))
            await poller.take(again)
        polling = asyncio.create_task(poller.run())
        await virtual_seconds(15)
        await _ended(polling)
        return len({key for _, key in api.calls})

    assert run(story()) == 6
