"""One process of the daemon, from its start to its end, and how it reaches what lies outside."""

import asyncio
from collections.abc import Callable

from monitor.config import Config
from monitor.core.attempt import TestAnswer, TestReport
from monitor.core.model import Answer, PageAnswer, PollError, Reason
from monitor.daemon import Daemon
from monitor.polling import Api, Settings
from simulation.checks import Checks
from simulation.clocks import Clocks
from simulation.platform import Platform


class Life:
    """A daemon on the config that `load` returns, which tells through `due_event`.

    Once it is `dead`, nothing that it does has any effect.
    """

    def __init__(
        self,
        load: Callable[[], Config],
        platform: Platform,
        checks: Checks,
        clocks: Clocks,
        due_event: Callable[[bytes], None],
    ) -> None:
        self.platform = platform
        self.checks = checks
        self.dead = False
        self.daemon = Daemon(
            load,
            self._write,
            clock=clocks,
            connect=self._connect,
            threaded=False,
        )
        self._tell = due_event

    def _connect(self, settings: Settings, token: str) -> Api:
        return LifeApi(self, settings.environment.name)

    async def _write(self, line: bytes) -> None:
        if not self.dead:
            self._tell(line)


class LifeApi:
    """The API of one environment, as one process reaches it."""

    def __init__(self, life: Life, environment: str) -> None:
        self._life = life
        self._environment = environment

    async def fetch_sftp(self, campaign_id: str) -> Answer:
        """Take a call down, answer it, and have the answer judged."""
        platform, checks, environment = self._life.platform, self._life.checks, self._environment
        await self._unless_dead()
        checks.rhythm.call(environment, campaign_id)
        opinion = checks.opinions[environment]
        reading, asked = opinion.breaker.readings, asyncio.get_running_loop().time()
        await asyncio.sleep(platform.latency(environment, campaign_id))
        await self._unless_dead()
        answer = platform.answer(environment, campaign_id)
        took = asyncio.get_running_loop().time() - asked
        checks.answered(environment, campaign_id, answer, reading, took)
        return answer

    async def fetch_campaigns(self, page: int) -> PageAnswer:
        """List nothing: nobody discovers here."""
        return PageAnswer(PollError(Reason.INTERNAL_ERROR))

    async def run_test(self, campaign_id: str, within: float) -> TestAnswer:
        """Run a connection test, have it judged, and put it on record, dead or not: it was sent."""
        life, environment = self._life, self._environment
        await self._unless_dead()
        checks, platform, logins = life.checks, life.platform, life.checks.logins
        checks.tested(environment, campaign_id)
        trouble = platform.apis[environment].trouble.now(checks.elapsed())
        if trouble is not None:
            # Something in front of the platform answers, or nothing: nobody knows what came of it.
            await asyncio.sleep(within if trouble is Reason.TIMEOUT else 1.0)
            await self._unless_dead()
            return TestAnswer(PollError(Reason.TIMEOUT))
        await asyncio.sleep(logins.world.takes(campaign_id))
        said = logins.run(campaign_id, checks.truth())
        if platform.campaigns[campaign_id].there:
            passed = said.passed
            platform.change(campaign_id, last_test_at=said.at, last_test_success=passed)
        await self._unless_dead()
        checks.note(f"  {environment}/{campaign_id} tested by us: {said.error or 'passed'}")
        if logins.loses_answer:
            return TestAnswer(PollError(Reason.CONNECTION_LOST))
        report = TestReport(said.passed, said.at, said.error, said.import_path, said.export_path)
        return TestAnswer(report, status=200)

    def set_token(self, token: str) -> None:
        """Take the token that was read again."""

    async def aclose(self) -> None:
        """Have nothing to close."""

    async def _unless_dead(self) -> None:
        if self._life.dead:
            await asyncio.Event().wait()
