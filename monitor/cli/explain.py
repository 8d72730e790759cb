"""`sftp-monitor explain`: why each alert of a campaign fires, or does not."""

from pathlib import Path

import click

from monitor.cli import options
from monitor.cli.testing import monitor_of

NOT_KNOWN = 3


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
