"""`sftp-monitor check`: one sweep, then every campaign with its findings, and a verdict."""

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click
from pydantic import TypeAdapter, ValidationError

from monitor.adapters import log
from monitor.adapters.web import views
from monitor.adapters.web.answers import CampaignAnswer, CampaignsAnswer
from monitor.cli import options
from monitor.cli.asking import ask
from monitor.config import Config, narrowed
from monitor.core.board import Board, Health
from monitor.core.budget import Budget
from monitor.core.model import Verdict
from monitor.core.text import span
from monitor.daemon import SystemClock
from monitor.polling import talkover
from monitor.sweeping import Progress, sweep

VERDICTS = {Health.HEALTHY: 0, Health.WARNING: 1, Health.CRITICAL: 2, Health.UNKNOWN: 3}
"""Exit codes. Of several campaigns the worst counts: critical, unknown, warning, healthy."""

_ANSWER: TypeAdapter[CampaignsAnswer] = TypeAdapter(CampaignsAnswer)


@click.command()
@options.config_file_or_url
@options.output_format
@click.option("--campaign", "wanted", multiple=True, help="Only this campaign; may be repeated.")
def check(config_file: Path | None, url: str | None, output: str, wanted: tuple[str, ...]) -> int:
    """Poll every campaign once and show what is wrong; writes no state, sends nothing.

    Exit code: 0 all healthy, 1 a warning, 2 something critical, 3 something unknown.
    """
    healths: list[Health] = []
    if url is not None:
        known = _ask(url).campaigns
        _refuse_unknown(wanted, {campaign.campaign_id for campaign in known})
        seen = [campaign for campaign in known if not wanted or campaign.campaign_id in wanted]
    elif config_file is not None:
        board = _sweep(_narrowed(options.load(config_file), wanted))
        seen = list(views.campaigns(board, lambda *_: True))
        for name, environment in board.environments.items():
            if error := environment.listing_error:
                click.echo(f"{name}: the listing of campaigns failed: {error.reason}", err=True)
                healths.append(Health.UNKNOWN)
        # After a listing that failed nobody knows which campaigns there are.
        if not healths:
            _refuse_unknown(wanted, {campaign.campaign_id for campaign in seen})
    else:
        raise click.UsageError("say what to check: --config.file, or --url of a running daemon")
    if output == "json":
        click.echo(_ANSWER.dump_json(CampaignsAnswer(campaigns=seen), indent=2))
    else:
        click.echo(_table(seen))
    return max_verdict([*healths, *(campaign.health for campaign in seen)])


def max_verdict(healths: Iterable[Health]) -> int:
    """Return the exit code for campaigns of these healths; none at all is unknown."""
    found = set(healths)
    # Health is declared worst first, and the exit codes are in another order.
    return VERDICTS[next((health for health in Health if health in found), Health.UNKNOWN)]


def _sweep(config: Config) -> Board:
    clock, progress = SystemClock(), _progress(config)
    # Which polls failed is in the verdict, and standard output belongs to the verdict alone.
    writer = log.LineWriter(sys.stderr.fileno())
    log.configure(writer, clock.wall, level="error", output="console")
    try:
        progress(0, {one.name: len(one.campaigns) for one in config.environments})
        return asyncio.run(sweep(config, clock, talkover(clock), progress))
    finally:
        writer.close()
        if sys.stderr.isatty():
            click.echo(err=True)


def _progress(config: Config) -> Progress:
    """Return what shows on a terminal how many polls are done, and how long all of them take."""
    budgets = {one.name: Budget(one.budget_per_minute, 0.0) for one in config.environments}

    def show(polls: int, campaigns: Mapping[str, int]) -> None:
        """Overwrite the line of the terminal; say nothing where there is none."""
        if sys.stderr.isatty():
            expected = sum(campaigns.values())
            # Environments are polled side by side, so the slowest one tells how long it takes.
            seconds = max(count * budgets[name].spacing(0.0) for name, count in campaigns.items())
            # Listings and 404s that are asked again are polls, too: never 13 of 12.
            done = f"{min(polls, expected)}/{expected} campaigns"
            click.echo(f"\r{done}, {span(seconds)} in all ", nl=False, err=True)

    return show


def _narrowed(config: Config, wanted: tuple[str, ...]) -> Config:
    """Return the config with these campaigns alone; those it does not list may be discovered."""
    if not wanted:
        return config
    known = {one.id for environment in config.environments for one in environment.campaigns}
    found_later = set(wanted) - known
    if not any(environment.discovery.enabled for environment in config.environments):
        _refuse_unknown(wanted, known)
    own = [narrowed(environment, wanted) for environment in config.environments]
    kept = [one for one in own if one.campaigns or (found_later and one.discovery.enabled)]
    return config.model_copy(update={"environments": tuple(kept)})


def _refuse_unknown(wanted: Iterable[str], known: set[str]) -> None:
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise click.UsageError(f"no such campaign is configured: {', '.join(unknown)}")


def _ask(url: str) -> CampaignsAnswer:
    try:
        return _ANSWER.validate_json(ask(url, "/api/v1/campaigns"))
    except ValidationError:
        raise OSError("what answers at --url is no sftp-monitor of this version") from None


def _table(seen: Sequence[CampaignAnswer]) -> str:
    lines = []
    for campaign in sorted(seen, key=lambda one: list(Health).index(one.health)):
        host = f"  {campaign.config.host}" if campaign.config is not None else ""
        name = campaign.name or campaign.campaign_id
        lines.append(f"{campaign.health.upper():<9} {campaign.environment}/{name}{host}")
        lines += [f"{'':<9} {said}" for said in _findings(campaign)]
    counts = ", ".join(f"{sum(c.health == h for c in seen)} {h}" for h in Health)
    told = sum(alert.state == "firing" for campaign in seen for alert in campaign.alerts)
    lines.append(f"{len(seen)} campaigns: {counts}; {told} alerts would be told")
    return "\n".join(lines)


def _findings(campaign: CampaignAnswer) -> list[str]:
    if campaign.polled_at is None:
        return ["not polled: the API does not answer, or rejects the token"]
    if campaign.error is not None:
        detail = f" ({campaign.error.detail})" if campaign.error.detail else ""
        return [f"the poll failed: {campaign.error.reason}{detail}"]
    muted = {
        alert.rule: f", muted by {alert.muted_by}" for alert in campaign.alerts if alert.muted_by
    }
    return [
        f"{finding.rule}: {finding.summary}{muted.get(finding.rule, '')}"
        for finding in campaign.findings
        if finding.verdict is Verdict.UNHEALTHY
    ]
