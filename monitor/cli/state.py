"""`sftp-monitor state`: what is done to the state on PostgreSQL beside the daemon."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from monitor.adapters.store import migrate_state
from monitor.cli import options


@click.group()
def state() -> None:
    """Bring the schema of the state on PostgreSQL up to date."""


@state.command(
    epilog=options.examples(
        "state migrate",
        "state migrate --state.url 'postgresql://owner@db.example/monitor?sslmode=verify-full'",
    )
)
@options.config_file
@partial(options.run_flags, only=("--state.url", "--state.password-file"))
def migrate(config_file: Path | None, **flags: Any) -> None:
    """Make the schema, or bring it up to date; for where state.migrate is false.

    The role of --state.url owns the tables; grant those of the daemon what it needs on them
    (docs/operating.md). Running replicas may go on, unless they are too old to write.
    """
    config = options.load(config_file, **flags)
    if config.state.url is None:
        raise click.UsageError("expected state.url: a state.path is migrated by the daemon itself")
    click.echo(f"{migrate_state(config.state)}: the schema is up to date")
