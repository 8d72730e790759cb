"""The monitor that a command works on: this process on the state, or the daemon that has it."""

import asyncio
import getpass
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from monitor import __version__
from monitor.adapters import log
from monitor.adapters.metrics import SelfMetrics
from monitor.adapters.sinks import SinkContext, links_of, sinks_of
from monitor.adapters.store import StateLocked, Store
from monitor.adapters.web import key_path, schemas, serializers
from monitor.adapters.web.commands import KEY_HEADER, StartedAnswer
from monitor.cli import options
from monitor.config import Config, safe_access
from monitor.config.formats import is_loopback
from monitor.core.attempt import Attempt
from monitor.core.explanation import explain
from monitor.core.guards import Hold
from monitor.core.model import Seconds
from monitor.core.snapshot import Entry, EnvironmentSnapshot, Snapshot
from monitor.daemon import SystemClock
from monitor.polling import PollerManager
from monitor.serialize import from_json, to_json

_T = TypeVar("_T")

LOOK_AGAIN: Seconds = 0.5  # how often a daemon is asked whether a test has ended
LOOKS = 600  # so often at most


class Here:
    """This process on the state, all its own: nothing is polled but what is asked for."""

    def __init__(self, config: Config) -> None:
        """Take the state's lock. Raises StateLocked where a daemon has it, and StorageError."""
        clock, self._config = SystemClock(), config
        self._store = Store(config.state.path, now=clock.wall())
        writer = log.LineWriter(sys.stderr.fileno())
        log.configure(writer, clock.wall, level="error", output="console")
        # What a poll decides waits for the daemon's sinks, also for those that it never had yet.
        context = SinkContext(
            links_of(config), writer.write, clock.wall, lambda: Snapshot({}, clock.wall())
        )
        for sink in sinks_of(config, context):
            self._store.add_sink(sink.name)
        self._runner = asyncio.Runner()
        self._runner.run(self._start(config, clock))

    async def _start(self, config: Config, clock: SystemClock) -> None:
        def start(name: str, work: Any) -> asyncio.Task[None]:
            """Run what runs for as long as the command does."""
            return asyncio.create_task(work, name=name)

        own = SelfMetrics(__version__)
        self._manager = PollerManager(self._store, clock, own, start, by_itself=False)
        await self._manager.take(*await self._manager.prepare(config))

    def close(self) -> None:
        """Write what is left, and let a daemon have the state."""
        with self._runner:
            self._runner.run(self._manager.aclose())
            self._runner.run(self._store.aclose())

    def environments(self) -> Sequence[schemas.EnvironmentAnswer]:
        """Return all environments."""
        return [serializers.environment(one) for one in self._snapshots().values()]

    def campaigns(self) -> Sequence[schemas.CampaignAnswer]:
        """Return all campaigns as they were last known."""
        found = self._snapshots().values()
        return [_shown(of, entry) for of in found for entry in of.campaigns.values()]

    def campaign(self, known: schemas.CampaignAnswer) -> schemas.CampaignAnswer:
        """Return a campaign as it is: it is polled."""
        poller = self._manager.pollers[known.environment]
        self._runner.run(poller.poll_now(known.campaign_id))
        of = self._snapshots()[known.environment]
        return _shown(of, of.campaigns[known.campaign_id])

    def explanation(self, known: schemas.CampaignAnswer) -> Sequence[schemas.ParagraphAnswer]:
        """Return why a campaign's alerts fire or do not, as it was last polled."""
        of = self._snapshots()[known.environment]
        entry = of.campaigns[known.campaign_id]
        origins = self._config.origins(entry.target)
        return [schemas.ParagraphAnswer(*one) for one in explain(of, entry, origins)]

    def _snapshots(self) -> Mapping[str, EnvironmentSnapshot]:
        pollers = self._manager.pollers.items()
        return self._within(lambda: {name: one.snapshot() for name, one in pollers})

    def _within(self, work: Callable[[], _T]) -> _T:
        """Return what work gives that needs the loop's clock."""

        async def done() -> _T:
            """Do it on the loop."""
            return work()

        return self._runner.run(done())

    def test(self, known: schemas.CampaignAnswer, **how: bool) -> schemas.NotRunAnswer | None:
        """Run a campaign's test to its end, its polls included; return why it was not."""
        runner = self._manager.pollers[known.environment].runner
        outcome = self._runner.run(runner.run_now(known.campaign_id, operator(), **how))
        if isinstance(outcome, Attempt):
            return None
        held = outcome if isinstance(outcome, Hold) else None
        shown = None if held is None else serializers.answer_of(schemas.HoldAnswer, held)
        return schemas.NotRunAnswer(error=outcome.why, held=shown)

    def switch(self, environment: str | None, *, on: bool) -> None:
        """Suspend or resume an environment's tests, or all."""
        self._within(lambda: self._manager.switch_tests(environment, operator(), on=on))


@dataclass
class There:
    """A daemon at a URL, asked with the key beside its state where there is one to read."""

    url: str
    key: str = ""

    def environments(self) -> Sequence[schemas.EnvironmentAnswer]:
        """Return all environments."""
        (status,) = self._asked("/api/v1/status", schemas.StatusAnswer)
        found: Sequence[schemas.EnvironmentAnswer] = status.environments
        return found

    def campaigns(self) -> Sequence[schemas.CampaignAnswer]:
        """Return all campaigns as they were last known."""
        pages = self._asked("/api/v1/campaigns", schemas.CampaignsAnswer)
        return [one for page in pages for one in page.campaigns]

    def campaign(self, known: schemas.CampaignAnswer) -> schemas.CampaignAnswer:
        """Return a campaign as the daemon knows it by now."""
        (found,) = self._asked(_path(known), schemas.CampaignAnswer)
        shown: schemas.CampaignAnswer = found
        return shown

    def explanation(self, known: schemas.CampaignAnswer) -> Sequence[schemas.ParagraphAnswer]:
        """Return why a campaign's alerts fire or do not, in the daemon's words."""
        (found,) = self._asked(_path(known), schemas.CampaignDetailAnswer)
        said: Sequence[schemas.ParagraphAnswer] = found.explanation
        return said

    def test(self, known: schemas.CampaignAnswer, **how: bool) -> schemas.NotRunAnswer | None:
        """Have a campaign's test run to its end, its polls included; return why it was not."""
        status, body = self._post(f"{_path(known)}/test", how)
        if status == 409:
            return from_json(schemas.NotRunAnswer, json.loads(body))
        if status == 429:
            return schemas.NotRunAnswer(error=json.loads(body)["error"], held=None)
        at = from_json(StartedAnswer, json.loads(body)).at
        for _ in range(LOOKS):
            found = self.campaign(known)
            last = found.tests.last if found.tests is not None else None
            if last is None or last.at != at:
                return schemas.NotRunAnswer(
                    error="no test was run; see the daemon's log", held=None
                )
            if last.ended_at is not None and (found.polled_at or 0.0) >= last.ended_at:
                break
            asyncio.run(asyncio.sleep(LOOK_AGAIN))
        return None

    def switch(self, environment: str | None, *, on: bool) -> None:
        """Suspend or resume an environment's tests, or all."""
        path = f"/api/v1/tests/{'resume' if on else 'suspend'}"
        self._post(path, {"environment": environment})

    def close(self) -> None:
        """Nothing is left to be done."""

    def _asked(self, path: str, answer: type[Any]) -> Iterator[Any]:
        return options.ask(self.url, path, {}, answer, self._headers())

    def _post(self, path: str, said: Mapping[str, Any]) -> tuple[int, bytes]:
        headers = {**self._headers(), "Content-Type": "application/json"}
        body = json.dumps({**said, "by": operator()}).encode()
        return options.post(self.url, path, headers=headers, content=body)

    def _headers(self) -> Mapping[str, str]:
        return {KEY_HEADER: self.key} if self.key else {}


@contextmanager
def monitor_of(config_file: Path | None, url: str | None) -> Iterator[Here | There]:
    """Give the daemon at `url`, or who has the config's state: this process, or its daemon.

    A daemon that does not answer ends the command with 75.
    """
    if config_file is None and url is None:
        raise click.UsageError("say which monitor: --config.file, or --url of a running daemon")
    config = None if config_file is None else options.load(config_file)
    found: Here | There
    try:
        found = _monitor(config, url)
        with closing(found):
            yield found
    except ConnectionError as error:
        click.echo(f"error: {error}; the daemon that has the state is asked, see --url", err=True)
        raise click.exceptions.Exit(os.EX_TEMPFAIL) from error


def found(known: Sequence[schemas.CampaignAnswer], wanted: str) -> schemas.CampaignAnswer:
    """Return the one campaign that is meant; raises UsageError."""
    meant = [
        one
        for one in known
        if wanted in (f"{one.environment}/{one.campaign_id}", one.campaign_id, one.name)
    ]
    if len(meant) != 1:
        names = ", ".join(f"{one.environment}/{one.campaign_id}" for one in meant)
        raise click.UsageError(f"which one: {names}?" if meant else f"no such campaign: {wanted}")
    return meant[0]


def _monitor(config: Config | None, url: str | None) -> Here | There:
    if config is None:
        return There(url or "")
    if url is None:
        try:
            return Here(config)
        except StateLocked:
            url = _url_of(config)
    # The key is for this machine: it must not be shown to another one.
    if url != _url_of(config) and not is_loopback(urlsplit(url).hostname or ""):
        return There(url)
    try:
        return There(url, key_path(config.state.path).read_text())
    except OSError:
        return There(url)


def _url_of(config: Config) -> str:
    """Return where the daemon of a config listens."""
    host, port = config.web.listen_address
    shown = f"[{host}]" if ":" in host else host or "127.0.0.1"
    scheme = "http" if safe_access(config.web).tls is None else "https"
    return f"{scheme}://{shown}:{port}"


def operator() -> str:
    """Return who runs this command."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _shown(of: EnvironmentSnapshot, entry: Entry) -> schemas.CampaignAnswer:
    # As a daemon would say it: nothing of the API's texts reaches a terminal as it is.
    return from_json(schemas.CampaignAnswer, to_json(serializers.campaign(of, entry)))


def _path(known: schemas.CampaignAnswer) -> str:
    return f"/api/v1/campaigns/{known.environment}/{known.campaign_id}"
