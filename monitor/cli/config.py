"""`sftp-monitor config`: validate the config file, show it with its defaults, its JSON Schema."""

import json
import os
from math import ceil
from pathlib import Path

import click

from monitor.adapters.store import Loaded, StorageError, read_state
from monitor.cli.workload import describe_tests
from monitor.config import Config, effective_yaml, format_duration, json_schema, load_config, notes
from monitor.core.budget import PACE, Budget, effective_interval
from monitor.core.model import MINUTE
from monitor.core.text import span
from monitor.daemon import SystemClock

_FILE = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def config() -> None:
    """Check and show the config file."""


@config.command()
@_FILE
def check(file: Path) -> None:
    """Validate FILE: every problem at once, what interval the budget gives, what tests come to."""
    checked = load_config(file, os.environ)
    for line in [*describe_budgets(checked), *_describe_tests(checked), *notes(checked)]:
        click.echo(line)
    click.echo(f"{file}: ok")


@config.command()
@_FILE
def show(file: Path) -> None:
    """Show FILE with every default filled in; secrets as <secret>."""
    click.echo(effective_yaml(load_config(file, os.environ)), nl=False)


@config.command()
def schema() -> None:
    """Print the JSON Schema of the config file, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))


def _describe_tests(config: Config) -> list[str]:
    """Return what connection tests come to, by the file and, where there is one, by the state."""
    now, nothing = SystemClock().wall(), Loaded()
    found = list(describe_tests(config, nothing, now))
    # Where tests are off the state is nobody's business.
    if not found:
        return []
    try:
        return list(describe_tests(config, read_state(config.state.path), now))
    except StorageError as error:
        return [*found, f"hosts and discovered campaigns are not known: {error}"]


def describe_budgets(config: Config) -> list[str]:
    """Return a line for each environment: its budget, and the interval it really gives."""
    lines, interval = [], config.polling.interval
    for environment in config.environments:
        budget, count = Budget(environment.budget_per_minute, 0.0), len(environment.campaigns)
        pace = budget.pace(0.0)
        really = effective_interval(pace, count, interval)
        line = (
            f"{environment.name}: {count} campaigns, {budget.per_minute:g} requests a minute, "
            f"each read every {span(really)}"
        )
        if really > interval:
            needed = count * 60 / interval / PACE
            # Rounded up: a share that is a little too small would bring the same complaint back.
            share = ceil(100 * needed / environment.requests_per_minute) / 100
            would_do = f"budget_share {share:.2f}" if share <= 1 else "no share"
            line += f" instead of {format_duration(interval)}; {would_do} would do"
        if environment.discovery.enabled:
            most = int(pace * interval / MINUTE)
            line += f"; discovered ones come on top, up to {most} in all keep that interval"
        lines.append(line)
    return lines
