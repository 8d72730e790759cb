"""`sftp-monitor rules`: every rule, what it means, its settings, what to do about it."""

from dataclasses import fields

import click

from monitor.config import format_duration
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.rule import BaseRule
from monitor.core.rules import RULES


@click.command()
def rules() -> None:
    """Show every rule: what it means, its settings with their defaults, and what to do."""
    for title, table in (("campaign", RULES), ("environment", ENVIRONMENT_RULES)):
        click.echo(f"Rules of {'a' if title == 'campaign' else 'an'} {title}\n")
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
        shown = format_duration(value) if isinstance(value, float) else _shown(value)
        lines.append(f"  {setting.name.rstrip('_'):<20} {shown:<9} {setting.metadata['help']}")
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
