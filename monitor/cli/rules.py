"""`sftp-monitor rules`: what can be wrong, as the classes of the rules say it."""

from dataclasses import fields

import click

from monitor.core.durations import format_duration
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.rule import BaseRule
from monitor.core.rules import RULES


@click.command()
def rules() -> None:
    """Show every rule: what it means, its settings with their defaults, and what to do."""
    for title, table in (("a campaign", RULES), ("an environment", ENVIRONMENT_RULES)):
        click.echo(f"Rules of {title}\n")
        for cls in table.values():
            click.echo(_describe(cls))


def _describe(cls: type[BaseRule]) -> str:
    rule = cls()
    lines = [
        f"{cls.name}  ({rule.severity})",
        f"  meaning   {cls.meaning}",
        f"  next      {cls.next_step}",
    ]
    for setting in fields(rule):
        value = getattr(rule, setting.name)
        shown = format_duration(value) if isinstance(value, float) else str(value)
        shown = shown.lower() if isinstance(value, bool) else shown
        lines.append(f"  {setting.name.rstrip('_'):<20} {shown:<9} {setting.metadata['help']}")
    return "\n".join(lines) + "\n"
