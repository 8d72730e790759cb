"""A TalkOver API in memory whose connection tests log in at the servers of a stand-in world.

What it answers goes through the product's own decoding; every POST that came in is kept.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from monitor.adapters.talkover.answer import body_of, read_aside
from monitor.adapters.talkover.decode import decode_test, observe_sftp
from monitor.core.attempt import TestAnswer
from monitor.core.model import Answer, Instant, PollError, Reason
from monitor.demo.world import Server, World
from monitor.http import Received
from support.daemons import World as Stage
from support.virtual import FakeApi, VirtualClock, virtual_seconds

USER, PASSWORD = "campaigns_user", "right"

SHORT: Mapping[str, object] = {
    "enabled": True,
    "every": "20m",
    "between": "",
    "after_change": "1m",
    "confirm_after": "1m",
    "retry_after": "2m",
    "retry_max": "8m",
    "login_gap": "20s",
    "host_gap": "10s",
    "budget_share": 0.5,
}
"""Settings of connection tests under which all of it happens within an hour."""


@dataclass(frozen=True)
class Said:
    """What is answered instead of what the world says: a status, a body, headers; None: no answer.

    `runs`: the platform has run the test all the same.
    """

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    runs: bool = False
    lost: Reason | None = None


@dataclass
class TestedApi(FakeApi):
    """The API of one environment, in front of a world that it may share with others.

    `posts` are the connection tests that were asked for: when (wall), and of which campaign.
    `says_of_test` answers instead of the world; `on_post` is awaited before a test is run, `on_get`
    before a config is shown. `takes` is how long a test takes, None: as long as in the world.
    """

    __test__ = False  # no test case of pytest's

    sftp: World = field(default_factory=World)
    posts: list[tuple[Instant, str]] = field(default_factory=list)
    says_of_test: Callable[[str], Said | None] = lambda _: None
    on_post: Callable[[str], Awaitable[None]] | None = None
    on_get: Callable[[str], Awaitable[None]] | None = None
    takes: float | None = None
    under_way: int = 0
    most_at_once: int = 0
    shows: Callable[[dict[str, object]], dict[str, object]] = lambda data: data

    def add(self, campaign_id: str, host: str = "", user: str = USER) -> None:
        """Enter a campaign that is on and was tested an hour ago, and its server if there is none.

        Without a host it has one of its own.
        """
        host = host or f"{campaign_id}.example.com"
        server = self.sftp.servers.setdefault(host, Server())
        server.passwords[user] = PASSWORD
        hour_ago = self.clock.start - 3600
        self.sftp.create(campaign_id, hour_ago, host, user, PASSWORD)
        self.sftp.test(campaign_id, hour_ago)
        server.log.clear()
        self.sftp.switch(campaign_id, on=True)

    async def fetch_sftp(self, campaign_id: str) -> Answer:
        self.calls.append((self.clock.elapsed(), campaign_id))
        if self.on_get is not None:
            await self.on_get(campaign_id)
        await virtual_seconds(self.latency)
        if campaign_id in self.says:
            said = self.says[campaign_id]
            return Answer(said() if callable(said) else said)
        config = self.sftp.configs.get(campaign_id)
        if config is None:
            return Answer(PollError(Reason.NOT_FOUND))
        body = {"success": True, "data": self.shows(config.as_json())}
        received = _received(Said(body=body))
        seen = observe_sftp(received, campaign_id, self.tokens[-1])
        return Answer(seen, server_date=self.clock.start + self.clock.elapsed())

    async def run_test(self, campaign_id: str, within: float) -> TestAnswer:
        self.posts.append((self.clock.wall(), campaign_id))
        self.calls.append((self.clock.elapsed(), f"test {campaign_id}"))
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            return await self._run(campaign_id, within)
        finally:
            self.under_way -= 1

    async def _run(self, campaign_id: str, within: float) -> TestAnswer:
        if self.on_post is not None:
            await self.on_post(campaign_id)
        takes = self.sftp.takes(campaign_id) if self.takes is None else self.takes
        said = self.says_of_test(campaign_id)
        await virtual_seconds(min(takes, within))
        if said is None or said.runs:
            # The platform's clock is right, whatever ours is set to.
            run = self.sftp.test(campaign_id, self.clock.start + self.clock.elapsed())
            said = said or Said(run.status, run.as_json())
        if takes > within:
            return TestAnswer(PollError(Reason.TIMEOUT))
        if said.lost is not None:
            return TestAnswer(PollError(said.lost))
        received = _received(said)
        seen = decode_test(body_of(received, 200), self.tokens[-1])
        return TestAnswer(seen, *read_aside(received, self.clock.wall), status=said.status)

    def failed_logins(self, host: str, user: str = USER) -> list[Instant]:
        """Return when a login failed at a server, by its own log."""
        log = self.sftp.server(host).log
        return [one.at for one in log if one.failed and one.username == user]


def _received(said: Said) -> Received:
    text = said.body if isinstance(said.body, str) else json.dumps(said.body)
    headers = httpx.Headers({"content-type": said.content_type, **said.headers})
    return Received(said.status, headers, text.encode())


def an_api(stage: Stage, name: str = "production", sftp: World | None = None) -> TestedApi:
    """Put such an API in front of an environment; `sftp` is a world that it shares."""
    clock: VirtualClock = stage.clock
    api = TestedApi(clock, sftp=sftp or World())
    stage.apis[name] = api
    return api


def configure(
    stage: Stage,
    campaigns: Mapping[str, list[str]] | list[str],
    interval: str = "30s",
    unhealthy_interval: str = "15s",
    stale: bool = False,
    requests_per_minute: int = 6000,
    **tests: Any,
) -> None:
    """Write a config: environments with their campaigns, or one; `tests` differ from `SHORT`.

    Without `stale` there is no such rule: where `every` is minutes it would soon fire.
    """
    environments = campaigns if isinstance(campaigns, Mapping) else {"production": campaigns}
    document = {
        "polling": {
            "interval": interval,
            "unhealthy_interval": unhealthy_interval,
            "timeout": "5s",
        },
        "rules": {"stale_test": {"enabled": stale}},
        "connection_tests": {**SHORT, **tests},
        "environments": [
            {
                "name": name,
                "base_url": "http://127.0.0.1:9/api/v1",
                "token": "${TOKEN}" if name == "production" else "${OTHER_TOKEN}",
                "requests_per_minute": requests_per_minute,
                "campaigns": [{"id": key} for key in keys],
            }
            for name, keys in environments.items()
        ],
    }
    stage.write_config("\n".join(f"{key}: {json.dumps(one)}" for key, one in document.items()))
