"""`sftp-monitor test` and `tests`: a connection test by hand, and the switch of all tests."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from monitor.adapters.web import schemas
from monitor.cli import options
from monitor.cli.monitors import Here, There, found, monitor_of
from monitor.core.attempt import Result
from monitor.core.model import SftpConfig
from monitor.core.text import rfc3339
from monitor.serialize import to_json

VERDICTS = {Result.PASSED: 0, Result.FAILED: 2, Result.UNKNOWN: 3}
"""Exit codes; a path that is not accessible is as bad as a failed test."""


@click.command()
@click.argument("campaign")
@options.config_file()
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
        before = monitor.campaign(found(monitor.campaigns(), campaign))
        click.echo(_described(before))
        if not yes and sys.stdin.isatty():
            click.confirm("Run a connection test?", abort=True)
            if unblock:
                click.confirm("A failed login more may lock the account. Unblock?", abort=True)
        why = monitor.test(before, force=force, unblock=unblock)
        if why is not None:
            ends = f"; this ends it: {why.held.ends}" if why.held is not None else ""
            click.echo(f"not run: {why.error}{ends}")
            return VERDICTS[Result.UNKNOWN]
        after = monitor.campaign(before)
    for line in _outcome(before, after):
        click.echo(line)
    last = after.tests.last if after.tests is not None else None
    assert last is not None
    lost = last.import_path is False or last.export_path is False
    return VERDICTS[Result.FAILED if lost else last.result]


def _described(campaign: schemas.CampaignAnswer) -> str:
    config = campaign.config
    name = f"{campaign.environment}/{campaign.name or campaign.campaign_id}"
    if config is None:
        return f"{name}: no SFTP config"
    where = f"{config.username or ''}@{config.host}:{config.port or 22} ({config.auth_type})"
    paths = f"import {config.import_path or '-'}, export {config.export_path or '-'}"
    return f"{name}: {where}, {paths}, {'on' if config.is_enabled else 'switched off'}"


def _outcome(before: schemas.CampaignAnswer, after: schemas.CampaignAnswer) -> Iterator[str]:
    """Yield what came of the test, and what it changed in the record."""
    last = after.tests.last if after.tests is not None else None
    if last is not None:
        said = f': TalkOver says: "{last.cause}"' if last.cause else ""
        yield f"connection test: {last.result}{said}"
        for name, reached in (("import", last.import_path), ("export", last.export_path)):
            if reached is not None:
                yield f"  {name} path: {'accessible' if reached else 'not accessible'}"
    was, now = _record(before.config), _record(after.config)
    changed = [name for name in now if was.get(name) != now[name]]
    yield from (f"  {name}: {was.get(name, '-')} → {now[name]}" for name in changed)
    if not changed:
        yield "  nothing has changed in the record"


def _record(config: SftpConfig | None) -> dict[str, str]:
    return {} if config is None else {name: str(to) for name, to in to_json(config).items()}


@click.command()
@click.argument("action", type=click.Choice(["suspend", "resume", "status"]))
@click.argument("environment", required=False)
@options.config_file()
@options.daemon_url
def tests(action: str, environment: str | None, config_file: Path | None, url: str | None) -> None:
    """Suspend, resume or show the connection tests of ENVIRONMENT, or all; it is stored.

    Suspended, none is run until they are resumed, each at its own minute; the config stays.
    """
    with monitor_of(config_file, url) as monitor:
        _named(monitor, environment)
        if action != "status":
            monitor.switch(environment, on=action == "resume")
        for one in _named(monitor, environment):
            click.echo(f"{one.name}: {_state(one.tests)}")


def _named(monitor: Here | There, name: str | None) -> Sequence[schemas.EnvironmentAnswer]:
    found = [one for one in monitor.environments() if name in (None, one.name)]
    if not found:
        raise click.UsageError(f"no such environment: {name}")
    return found


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
