"""`sftp-monitor explain`, `test` and `tests`: why alerts fire, a test by hand, the switch of tests.

They ask a daemon by its JSON API: the one that has the state or, where none has, one of their own.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import click

from monitor.adapters import log
from monitor.adapters.store import StateLocked, read_replicas
from monitor.adapters.web import key_path, schemas
from monitor.cli import options
from monitor.cli.client import LOOK_AGAIN, Monitor
from monitor.clocks import SystemClock
from monitor.config import Access, Config, safe_access
from monitor.config.formats import is_loopback
from monitor.core.attempt import Result
from monitor.core.model import Seconds
from monitor.core.text import rfc3339
from monitor.daemon import Daemon
from monitor.serialize import to_json

VERDICTS = {Result.PASSED: 0, Result.FAILED: 2, Result.UNKNOWN: 3}
"""Exit codes; a path that is not accessible is as bad as a failed test."""

NOT_KNOWN = 3  # of a campaign that is to be explained

HELD_WITHIN: Seconds = 60.0  # what a replica that died has held is free after 30


@contextmanager
def monitor_of(config_file: Path | None, url: str | None) -> Iterator[Monitor]:
    """Give the daemon at `url`, or that which has the config's state, or else one of our own.

    One that does not answer ends the command with 75.
    """
    config = None if config_file is None and url else options.load(config_file)
    try:
        with ExitStack() as ends:
            yield Monitor(url or "") if config is None else _monitor(config, url, ends)
    except ConnectionError as error:
        click.echo(f"error: {error}; the daemon that has the state is asked, see --url", err=True)
        raise click.exceptions.Exit(os.EX_TEMPFAIL) from error


def _monitor(config: Config, url: str | None, ends: ExitStack) -> Monitor:
    if config.state.url is not None:
        key, living = read_replicas(config.state)
        if url is None and not living:
            return ends.enter_context(_our_own(config))
        # Any of them may have the key: whoever answers for a replica can read the state.
        return Monitor(url or living[0], key if url in (None, *living) else "")
    usual = safe_access(config.web).url_of(*config.web.listen_address)
    if url is None:
        try:
            return ends.enter_context(_our_own(config))
        except StateLocked:
            url = usual
    key = ""
    # It is for this machine, and must not be shown to another one.
    if url == usual or is_loopback(urlsplit(url).hostname or ""):
        with suppress(OSError):
            key = key_path(config.state.path).read_text()
    return Monitor(url, key)


@contextmanager
def _our_own(config: Config) -> Iterator[Monitor]:
    """Run a daemon that does what it is asked for alone; raises StateLocked and StorageError."""
    # On a free port, for who has the key alone: no password has that hash.
    web = config.web.model_copy(update={"listen_address": ("127.0.0.1", 0), "external_url": None})
    config = config.model_copy(update={"web": web})
    closed = Access(users={"": f"$2b$04${'.' * 53}"})
    with ExitStack() as ends:
        writer = ends.enter_context(closing(log.LineWriter(sys.stderr.fileno())))
        log.configure(writer, SystemClock().wall, level="warning", output="console")
        daemon = Daemon(lambda: config, writer.write, by_itself=False, read_access=lambda _: closed)
        loop = ends.enter_context(asyncio.Runner()).get_loop()
        thread = Thread(target=loop.run_forever)
        thread.start()
        ends.callback(thread.join)
        ends.callback(loop.call_soon_threadsafe, loop.stop)

        def done(work: Coroutine[Any, Any, None]) -> None:
            """Have work done on the daemon's loop."""
            asyncio.run_coroutine_threadsafe(work, loop).result()

        def poll(known: schemas.CampaignAnswer) -> None:
            """Have a campaign polled."""
            poller = daemon.report.manager.pollers[known.environment]
            done(poller.poll_now(known.campaign_id))

        done(daemon.start())
        ends.callback(lambda: done(daemon.stop()))
        done(_held(daemon))
        yield Monitor(daemon.url, daemon.report.key, poll)


async def _held(daemon: Daemon) -> None:
    """Return once the daemon holds everything: at once, but where replicas may share the state."""
    names = [one.name for one in daemon.report.config.environments]
    for _ in range(round(HELD_WITHIN / LOOK_AGAIN)):
        if all(name in daemon.report.manager.pollers for name in names):
            return
        await asyncio.sleep(LOOK_AGAIN)
    raise ConnectionError("no replica runs, and what the last one held is not free yet")


@click.command(
    epilog=options.examples(
        "explain 'Retail leads'", "explain 'production/Retail leads' --url 127.0.0.1:10022"
    )
)
@click.argument("campaign")
@options.config_file
@options.daemon_url
def explain(campaign: str, config_file: Path | None, url: str | None) -> int:
    """Say why each alert of CAMPAIGN ([ENVIRONMENT/]ID, or its name) fires or does not.

    Evidence and its age, thresholds and where they are set, what mutes it, what to do next. Without
    a daemon the campaign is polled once. Exit code: 0, or 3 where nothing is known of it.
    """
    with monitor_of(config_file, url) as monitor:
        known = monitor.find(campaign)
    for paragraph in known.explanation:
        click.echo("\n  ".join((paragraph.title, *paragraph.lines)))
    return 0 if known.configured is not None else NOT_KNOWN


@click.command(
    epilog=options.examples("test 'Retail leads'", "test 'production/Retail leads' --yes")
)
@click.argument("campaign")
@options.config_file
@options.daemon_url
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Whatever the time of day, and between two tests.")
@click.option("--unblock", is_flag=True, help="Once more on a login that has failed too often.")
def test(
    campaign: str, config_file: Path | None, url: str | None, yes: bool, force: bool, unblock: bool
) -> int:
    """Run a connection test of CAMPAIGN ([ENVIRONMENT/]ID, or its name) now.

    TalkOver logs in at the customer's server. Exit code: 0 passed, 2 failed or a path is not
    accessible, 3 unknown, or held back by a guard.
    """
    with monitor_of(config_file, url) as monitor:
        before = monitor.find(campaign)
        click.echo("\n  ".join(before.explanation[0].lines))  # with what is at stake
        if not yes and sys.stdin.isatty():
            click.confirm("Run a connection test?", abort=True)
            if unblock:
                click.confirm("A failed login more may lock the account. Unblock?", abort=True)
        after = monitor.test(before, force=force, unblock=unblock)
    if isinstance(after, str):
        click.echo(f"not run: {after}")
        return VERDICTS[Result.UNKNOWN]
    last = after.tests.last if after.tests is not None else None
    assert last is not None
    said = f': TalkOver says: "{last.cause}"' if last.cause else ""
    click.echo(f"connection test: {last.result}{said}")
    paths = {"import": last.import_path, "export": last.export_path}
    for name, reached in paths.items():
        if reached is not None:
            click.echo(f"  {name} path: {'accessible' if reached else 'not accessible'}")
    was, now = to_json(before.config) or {}, to_json(after.config) or {}
    pairs = {name: (was.get(name, "-"), value) for name, value in now.items()}
    changed = [f"  {name}: {old} → {new}" for name, (old, new) in pairs.items() if old != new]
    click.echo("\n".join(changed) or "  nothing has changed in the record")
    return VERDICTS[Result.FAILED if False in paths.values() else last.result]


@click.command(epilog=options.examples("tests status", "tests suspend production"))
@click.argument("action", type=click.Choice(["suspend", "resume", "status"]))
@click.argument("environment", required=False)
@options.config_file
@options.daemon_url
def tests(action: str, environment: str | None, config_file: Path | None, url: str | None) -> None:
    """Suspend, resume or show the connection tests of ENVIRONMENT, or all; it is stored.

    Suspended, none is run until they are resumed, each at its own minute; the config stays.
    """
    with monitor_of(config_file, url) as monitor:
        monitor.environments(environment)
        if action != "status":
            monitor.switch(environment, on=action == "resume")
        for one in monitor.environments(environment):
            click.echo(f"{one.name}: {_state(one.tests)}")


def _state(tests: schemas.EnvironmentTestsAnswer) -> str:
    suspended = tests.suspended
    if not tests.enabled:
        return "off"
    if suspended is None:
        since = tests.failing_since
        return "on" if since is None else f"on, failing everywhere since {rfc3339(since)}"
    by = f" by {suspended.by}" if suspended.by else ""
    until = f" until {rfc3339(suspended.until)}" if suspended.until is not None else ""
    return f"suspended{by} since {rfc3339(suspended.since)}{until}: {suspended.why}"
