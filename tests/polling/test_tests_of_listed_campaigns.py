"""Connection tests of campaigns that no file names: they are found by listing them."""

import asyncio
from pathlib import Path

import pytest

from monitor.adapters.metrics import SelfMetrics
from monitor.adapters.store import MEMORY, Store
from monitor.config import load_config
from monitor.core.guards import EnvironmentTests, Suspension
from monitor.core.model import DAY
from monitor.core.status import EnvironmentStatus
from monitor.polling import Poller, Settings, tester
from monitor.polling.environment_state import EnvironmentState
from monitor.polling.settings import Connection
from support.virtual import START, FakeApi, VirtualClock, run, virtual_seconds


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "monitor.yaml"
    file.write_text(
        "environments: [{name: production, token: '${T}', discovery: {enabled: true}}]\n"
        "connection_tests: {enabled: true}\n"
        "polling: {interval: 1h}\n"
    )
    config = load_config(file, {"T": "talq_test"})
    return Settings(config.environments[0], config.polling, config.alerts)


def _poller(settings: Settings, api: FakeApi, tests: EnvironmentTests) -> Poller:
    store, clock = Store(MEMORY, now=START), VirtualClock()
    status = EnvironmentStatus(name="production", tests=tests)
    state = EnvironmentState(settings, clock, store.save, status, {})
    book = tester.GuardBook(clock, store.save)
    book.environments["production"] = state
    tests_of_it = tester.Tester(state, book)
    own = SelfMetrics("test")
    own.prepare("production")
    return Poller(state, Connection(settings, lambda *_: api), store, own, START, tests_of_it, 2)


async def _runs_for(poller: Poller, seconds: float) -> None:
    polling = asyncio.create_task(poller.run())
    await virtual_seconds(seconds)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)


def test_a_campaign_that_a_listing_found_is_tested_within_a_day(settings: Settings) -> None:
    async def story() -> set[str]:
        api = FakeApi(VirtualClock())
        api.lists("c-1", "c-2")
        await _runs_for(_poller(settings, api, EnvironmentTests()), 2 * DAY)
        return {call for _, call in api.calls if call.startswith("test")}

    assert run(story()) == {"test c-1", "test c-2"}


def test_a_suspension_outlives_a_start_that_does_not_know_yet_who_is_there(
    settings: Settings,
) -> None:
    async def story() -> Suspension | None:
        api = FakeApi(VirtualClock())
        api.lists("c-1")
        tests = EnvironmentTests(on_since=START - DAY, suspended=Suspension("harm", START))
        poller = _poller(settings, api, tests)
        await _runs_for(poller, 2 * DAY)
        assert not [call for _, call in api.calls if call.startswith("test")]
        return poller.state.status.tests.suspended

    found = run(story())
    assert found is not None
    assert found.why == "harm"
