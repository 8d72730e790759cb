"""`sftp-monitor config`: validate the config file, preview it, show it, begin one; its schema."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from monitor.cli import options
from monitor.cli.estimates import describe_budgets, estimate_tests
from monitor.config import (
    Config,
    EnvironmentConfig,
    effective_yaml,
    json_schema,
    load_config,
    notes,
    settings_of,
    targets,
    unused,
)
from monitor.core.discovery import TargetSet
from monitor.core.explanation import OriginOf
from monitor.core.model import ListedCampaign
from monitor.core.rule import Target

_FILE = click.argument("file", required=False, type=options.PATH)


@click.group()
def config() -> None:
    """Check and show the config file."""


@config.command(
    epilog=options.examples(
        "config check",
        "config check --no-secrets sftp-monitor.yaml     # in CI",
        "config check new.yaml --against 127.0.0.1:10022",
    )
)
@_FILE
@options.config_file
@click.option("--no-secrets", is_flag=True, help="Read no token and no password: for CI.")
@click.option(
    "--against",
    metavar="URL",
    callback=options.whole_url,
    help="Say what would fire, resolve or change on the daemon that runs there.",
)
def check(
    file: Path | None, config_file: Path | None, no_secrets: bool, against: str | None
) -> None:
    """Validate FILE: every problem at once, what interval the budget gives, what tests come to.

    With --against the alerts of a running daemon are decided once more under FILE, here: nothing
    changes, and nobody is paged. Exit code: 0, or 78 for a bad file.
    """
    path, unread = options.config_path(file or config_file), list[str]()
    checked = load_config(path, os.environ, unread=unread if no_secrets else None)
    tests, listed = estimate_tests(checked)
    click.echo("\n".join((*describe_budgets(checked), *tests, *notes(checked))))
    previewed: Iterable[str] = ()
    if against:
        from monitor.cli.client import Monitor  # noqa: PLC0415 - it is much
        from monitor.cli.preview import describe, target_sets  # noqa: PLC0415

        current = Monitor(against).checked()
        listed, previewed = target_sets(current), describe(checked, current)
    for warning in unused(checked, listed, whole=not against):
        click.echo(f"{path}: warning: {warning}", err=True)
    if unread:
        click.echo(f"not read: {', '.join(dict.fromkeys(unread))}")
    for line in previewed:
        click.echo(line)
    click.echo(f"{path}: ok")


@config.command(
    epilog=options.examples(
        "config show",
        "config show --campaign 'Retail leads'",
        "config show --campaign 'production/Retail leads' --url 127.0.0.1:10022",
    )
)
@_FILE
@options.config_file
@click.option("--campaign", metavar="CAMPAIGN", help="The settings of this one, and their places.")
@options.daemon_url
def show(
    file: Path | None, config_file: Path | None, campaign: str | None, url: str | None
) -> None:
    """Show FILE with every default filled in; secrets as <secret>.

    With --campaign ([ENVIRONMENT/]ID, or its name) what is in force for that campaign, and where it
    is set. Overrides apply by name: of a discovered campaign give the name, or the --url of a
    daemon, which knows its id and its type, too.
    """
    loaded = options.load(file or config_file)
    if campaign is None:
        click.echo(effective_yaml(loaded), nl=False)
        return
    listed: Mapping[str, TargetSet] = {}
    if url:
        from monitor.cli.client import Monitor  # noqa: PLC0415 - it is much
        from monitor.cli.preview import target_sets  # noqa: PLC0415

        listed = target_sets(Monitor(url).checked())
    found = _targets(loaded, campaign, listed)
    if not found:
        hint = "" if url else "; give the name of a discovered one, or --url"
        raise click.UsageError(f"no such campaign: {campaign}{hint}")
    for environment, target in found:
        click.echo("\n".join(_settings(loaded, environment, target)))


def _targets(
    config: Config, name: str, listed: Mapping[str, TargetSet]
) -> list[tuple[EnvironmentConfig, Target]]:
    """Return the campaigns that are called so: of the file and, as far as is known, discovered."""
    known, by_name = [], []
    for one in config.environments:
        found = targets(one, listed.get(one.name, TargetSet())).values()
        known += [(one, target) for target in found if options.is_called(target, name)]
        # One that may be discovered, by its name alone.
        some = ListedCampaign("", name.removeprefix(f"{one.name}/"), "active", "")
        if one.discovery.enabled and not listed:
            found = targets(one, TargetSet({"": some})).values()
            by_name += [(one, target) for target in found if not target.listed]
    return known or by_name


def _settings(config: Config, environment: EnvironmentConfig, target: Target) -> Iterator[str]:
    """Yield the settings of a campaign as the file has them, each with its place."""
    called = f"{target.campaign_id}  {target.name}".strip()
    yield f"# {target.environment}/{called}"
    if not target.campaign_id:
        yield "# not in the file: as if discovered by this name; with --url its type counts, too"
    for number in target.overrides:
        yield f"# overrides[{number}] of {environment.name} applies"
    yield f"labels: {json.dumps(dict(target.labels), ensure_ascii=False)}"
    yield f"expect_sftp: {json.dumps(target.expected)}"
    place_of = config.origins(target)
    listed = (one for one in environment.campaigns if one.id == target.campaign_id)
    found = settings_of(environment, target, next(listed, None), whole=True)
    for rule, settings in found["rules"].items():
        yield from _section(f"rules.{rule}", settings, place_of)
    yield from _section("connection_tests", found["connection_tests"], place_of)


def _section(name: str, settings: Mapping[str, Any], place_of: OriginOf) -> Iterator[str]:
    yield f"{name}:"
    for key, value in settings.items():
        shown = value if value and isinstance(value, str) else json.dumps(value)
        yield f"  {f'{key}: {shown}':<32} # {place_of(name, key) or 'default'}"


@config.command(epilog=options.examples("config init", "config init sftp-monitor.yaml"))
@click.argument("file", required=False, type=options.PATH)
def init(file: Path | None) -> None:
    """Print a short config that works at once, or write it to FILE, which must not be there yet.

    It takes the token of ${TALKOVER_TOKEN} and watches every active campaign.
    """
    starter = Path(__file__).with_name("starter.yaml").read_text()
    if file is None:
        click.echo(starter, nl=False)
        return
    try:
        with file.open("x") as new:
            new.write(starter)
    except FileExistsError:
        raise click.UsageError(f"{file} is there already; it is left as it is") from None
    click.echo(f"{file}: written; next: sftp-monitor config check {file}")


@config.command()
def schema() -> None:
    """Print the JSON Schema of the config file, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))
