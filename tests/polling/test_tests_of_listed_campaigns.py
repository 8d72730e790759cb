"""Connection tests of campaigns that no file names: they are found by listing them."""

import asyncio
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from monitor.adapters.metrics import SelfMetrics
from monitor.adapters.store import MEMORY, Store
from monitor.config import load_config
from monitor.core.attempt import TestAnswer, TestReport
from monitor.core.guards import EnvironmentTests, Suspension
from monitor.core.model import DAY, HOUR, Instant, SftpConfig
from monitor.core.status import EnvironmentStatus
from monitor.polling import Poller, Settings
from monitor.polling.environment_state import EnvironmentState
from monitor.polling.guard_book import GuardBook
from monitor.polling.settings import Connection
from monitor.polling.tester import Tester
from support.virtual import START, FakeApi, VirtualClock, config, run, virtual_seconds

Record = dict[str, tuple[Instant, bool]]
"""Of each campaign the last test on record: when it ran, and whether it passed."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "monitor.yaml"
    file.write_text(
        "environments: [{name: production, token: '${T}', discovery: {enabled: true}}]\n"
        "connection_tests: {enabled: true, every: 1h, between: ''}\n"
        "polling: {interval: 1h}\n"
    )
    config = load_config(file, {"T": "talq_test"})
    return Settings(config.environments[0], config.polling, config.alerts)


def _poller(settings: Settings, api: FakeApi, tests: EnvironmentTests) -> Poller:
    store, clock = Store(MEMORY, now=START), VirtualClock()
    status = EnvironmentStatus(name="production", tests=tests)
    state = EnvironmentState(settings, clock, store.save, status, {})
    book = GuardBook(clock, store.save)
    book.environments["production"] = state
    tests_of_it = Tester(state, book)
    own = SelfMetrics("test")
    own.prepare("production")
    return Poller(state, Connection(settings, lambda *_: api), store, own, START, tests_of_it, 2)


async def _runs_for(poller: Poller, seconds: float) -> None:
    await poller.take(poller.state.settings)
    polling = asyncio.create_task(poller.run())
    await virtual_seconds(seconds)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)


def test_a_campaign_that_a_listing_found_is_tested_within_every(settings: Settings) -> None:
    async def story() -> set[str]:
        api = FakeApi(VirtualClock())
        api.lists("c-1", "c-2")
        await _runs_for(_poller(settings, api, EnvironmentTests()), 2 * HOUR)
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
        await _runs_for(poller, 2 * HOUR)
        assert not [call for _, call in api.calls if call.startswith("test")]
        return poller.state.status.tests.suspended

    found = run(story())
    assert found is not None
    assert found.why == "harm"


@pytest.mark.slow(seconds=1)
def test_while_tests_fail_everywhere_one_is_probed_every_ten_minutes_until_it_passes(
    settings: Settings,
) -> None:
    mended = 4 * HOUR

    async def story() -> tuple[list[float], Instant | None]:
        api = FakeApi(VirtualClock())
        api.lists(*(f"c-{n}" for n in range(5)))
        record: Record = {}
        api.says = {f"c-{n}": partial(_of_host, record, n) for n in range(5)}
        api.tests = partial(_tests, api, record, mended)
        poller = _poller(settings, api, EnvironmentTests())
        await _runs_for(poller, mended + HOUR)
        sent = [at for at, call in api.calls if call.startswith("test") and at < mended]
        return sent, poller.state.status.tests.failing_since

    sent, failing_since = run(story())
    assert failing_since is None
    probes = sent[-10:]
    assert all(600 <= later - at < 620 for at, later in pairwise(probes))


def _of_host(record: Record, number: int) -> SftpConfig:
    at, passed = record.get(f"c-{number}", (START - DAY, True))
    host = f"sftp{number}.example"
    return config(f"c-{number}", START, host=host, last_test_at=at, last_test_success=passed)


def _tests(api: FakeApi, record: Record, mended: float, key: str) -> TestAnswer:
    at, passed = float(int(api.clock.wall())), api.clock.elapsed() >= mended
    record[key] = (at, passed)
    cause = "" if passed else "Connection timed out"
    return TestAnswer(TestReport(passed, at, cause), status=200)
