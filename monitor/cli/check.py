"""`sftp-monitor check`: one sweep, then every campaign with its findings, and a verdict."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import click

from monitor import __version__
from monitor.adapters import log
from monitor.adapters.metrics import OwnMetrics
from monitor.adapters.store import MEMORY, Store
from monitor.adapters.web import schemas, serializers
from monitor.cli import options
from monitor.config import Config, narrowed
from monitor.core.board import Board, Health, doubts
from monitor.core.budget import Budget
from monitor.core.model import Severity, Verdict
from monitor.core.text import rfc3339, span
from monitor.daemon import SystemClock
from monitor.polling import Fleet, Poller
from monitor.serialize import from_json, to_json

VERDICTS = {Health.HEALTHY: 0, Health.WARNING: 1, Health.CRITICAL: 2, Health.UNKNOWN: 3}
"""Exit codes. Of several campaigns the worst counts: critical, unknown, warning, healthy."""

_OF_SEVERITY = {Severity.CRITICAL: Health.CRITICAL, Severity.WARNING: Health.WARNING}


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found; the health of a campaign counts what is pending as its severity."""

    environments: Sequence[schemas.EnvironmentAnswer]
    campaigns: Sequence[schemas.CampaignAnswer]


class Row(NamedTuple):
    """What is said of an environment or a campaign; its health counts what is pending, too."""

    health: Health
    name: str
    lines: Sequence[str]


@click.command()
@options.config_file()
@options.daemon_url
@options.output_format
@click.option("--campaign", "wanted", multiple=True, help="Only this campaign; may be repeated.")
def check(config_file: Path | None, url: str | None, output: str, wanted: tuple[str, ...]) -> int:
    """Poll every campaign once and show what is wrong; writes no state, sends nothing.

    Exit code: 0 all healthy, 1 a warning, 2 something critical, 3 something unknown.
    """
    if url is not None:
        known = _asked(url, wanted)
    elif config_file is not None:
        known = _swept(_narrowed(options.load(config_file), wanted))
    else:
        raise click.UsageError("say what to check: --config.file, or --url of a running daemon")
    failed = {one.name: one.listing_error for one in known.environments if one.listing_error}
    for name, error in failed.items():
        click.echo(f"{name}: the listing of campaigns failed: {error.reason}", err=True)
    # After a listing that failed nobody knows which campaigns there are.
    if not failed:
        _refuse_unknown(wanted, {campaign.campaign_id for campaign in known.campaigns})
    campaigns = [_of_campaign(campaign) for campaign in known.campaigns]
    own = [_of_environment(environment) for environment in known.environments]
    counted = [
        replace(campaign, health=row.health)
        for campaign, row in zip(known.campaigns, campaigns, strict=True)
    ]
    rows = [row for row in own if row.lines] + sorted(
        campaigns, key=lambda row: list(Health).index(row.health)
    )
    total = _total(known, campaigns, "would fire" if url is None else "firing")
    table = "\n".join([*map(_block, rows), total])
    options.show(output, to_json(replace(known, campaigns=counted)), table)
    healths = {row.health for row in own} - {Health.HEALTHY} | {row.health for row in campaigns}
    return VERDICTS[_worst(healths)]


# --- what is asked --------------------------------------------------------------------------------


def _asked(url: str, wanted: tuple[str, ...]) -> Checked:
    """Return what the daemon says of the wanted campaigns and of their environments, or of all."""
    pages = options.ask(url, "/api/v1/campaigns", {}, schemas.CampaignsAnswer)
    campaigns = [campaign for page in pages for campaign in page.campaigns]
    (status,) = options.ask(url, "/api/v1/status", {}, schemas.StatusAnswer)
    if not wanted:
        return Checked(status.environments, campaigns)
    campaigns = [one for one in campaigns if one.campaign_id in wanted]
    concerned = {one.environment for one in campaigns}
    environments = [one for one in status.environments if one.name in concerned]
    return Checked(environments, campaigns)


def _swept(config: Config) -> Checked:
    """Return what one sweep finds; on a terminal it says how far it is, and how long it takes."""
    # Which polls failed is in the verdict, and standard output belongs to the verdict alone.
    writer = log.LineWriter(sys.stderr.fileno())
    log.configure(writer, SystemClock().wall, level="error", output="console")
    try:
        board = asyncio.run(_sweep(config))
    finally:
        writer.close()
        if sys.stderr.isatty():
            click.echo(err=True)
    known = Checked(serializers.environments(board), serializers.campaigns(board))
    # As a daemon would say it: nothing of the API's texts reaches a terminal as it is.
    return from_json(Checked, to_json(known))


async def _sweep(config: Config) -> Board:
    """Poll every campaign once: the pollers without the daemon around them, state in memory.

    Where campaigns are discovered it lists them first. An environment whose breaker opens is given
    up: its campaigns stay unknown. It spends no more than the budget. Raises SecretError.
    """
    clock, own, start = SystemClock(), OwnMetrics(__version__), asyncio.create_task
    store = Store(MEMORY, now=clock.wall())
    fleet = Fleet(store, clock, own, lambda name, work: start(work, name=name))
    polled, polls = asyncio.Event(), 0
    _show_progress(config, 0, {one.name: len(one.campaigns) for one in config.environments})
    try:
        await fleet.take(*await fleet.prepare(config))
        for poller in fleet.pollers.values():
            poller.on_poll = polled.set
        while not all(_done(poller) for poller in fleet.pollers.values()):
            await polled.wait()
            polled.clear()
            polls += 1
            known = {
                name: len(poller.watch.settings.targets) for name, poller in fleet.pollers.items()
            }
            _show_progress(config, polls, known)
        boards = {name: poller.board() for name, poller in fleet.pollers.items()}
        return Board(boards, clock.wall())
    finally:
        await fleet.aclose()
        await store.aclose()


def _done(poller: Poller) -> bool:
    status, watch = poller.watch.status, poller.watch
    # Probing until it closes may take for ever, and `check` is to end.
    if status.breaker_open:
        return True
    if watch.awaits_listing or not watch.settings.targets:
        return not watch.awaits_listing
    # 404s that were distrusted are asked again once any config could be read.
    again = status.readable_seen and watch.distrusted()
    return status.swept_at is not None and not again


def _show_progress(config: Config, polls: int, campaigns: Mapping[str, int]) -> None:
    """Overwrite the line of the terminal: how many polls are done, and how long all take."""
    if not sys.stderr.isatty():
        return
    budgets = {one.name: Budget(one.budget_per_minute, 0.0) for one in config.environments}
    expected = sum(campaigns.values())
    # Environments are polled side by side, so the slowest one tells how long it takes.
    seconds = max(count * budgets[name].spacing(0.0) for name, count in campaigns.items())
    # Listings and 404s that are asked again are polls, too: never 13 of 12.
    done = f"{min(polls, expected)}/{expected} campaigns"
    click.echo(f"\r{done}, {span(seconds)} in all ", nl=False, err=True)


def _narrowed(config: Config, wanted: tuple[str, ...]) -> Config:
    """Return the config with these campaigns alone; those it does not list may be discovered."""
    if not wanted:
        return config
    known = {one.id for environment in config.environments for one in environment.campaigns}
    if not any(environment.discovery.enabled for environment in config.environments):
        _refuse_unknown(wanted, known)
    found_later = not known.issuperset(wanted)
    own = [narrowed(environment, wanted) for environment in config.environments]
    kept = [one for one in own if one.campaigns or (found_later and one.discovery.enabled)]
    return config.model_copy(update={"environments": tuple(kept)})


def _refuse_unknown(wanted: Iterable[str], known: set[str]) -> None:
    if unknown := sorted(set(wanted) - known):
        raise click.UsageError(f"no such campaign is configured: {', '.join(unknown)}")


# --- what is said ---------------------------------------------------------------------------------


def _of_environment(environment: schemas.EnvironmentAnswer) -> Row:
    stopped = environment.outage_since or environment.token_rejected_since
    unknown = stopped or environment.listing_error
    health = _with_alerts(Health.UNKNOWN if unknown else Health.HEALTHY, environment.alerts)
    # An outage is unknown to its rule until it has lasted: one sweep does not wait for that.
    coming = [
        f"{finding.rule}: {finding.summary}, would fire at {rfc3339(finding.recheck_at)}"
        for finding in environment.findings or ()
        if finding.verdict is Verdict.UNKNOWN and finding.recheck_at is not None
    ]
    return Row(health, environment.name, [*map(_of_alert, environment.alerts), *coming])


def _of_campaign(campaign: schemas.CampaignAnswer) -> Row:
    health = _with_alerts(campaign.health, campaign.alerts)
    unknown = doubts((finding.verdict, finding.summary) for finding in campaign.findings or ())
    # What a rule cannot say is no verdict to end with 0 on.
    if health is Health.HEALTHY and unknown:
        health = Health.UNKNOWN
    if campaign.polled_at is None:
        said = ["not polled: the API does not answer, or rejects the token"]
    elif campaign.error is not None:
        detail = f" ({campaign.error.detail})" if campaign.error.detail else ""
        said = [f"the poll failed: {campaign.error.reason}{detail}"]
    elif campaign.findings is None:
        said = ["not read since the start"]
    else:
        said = [f"unknown: {summary}" for summary in unknown]
    host = f"  {campaign.config.host}" if campaign.config is not None else ""
    name = f"{campaign.environment}/{campaign.name or campaign.campaign_id}{host}"
    return Row(health, name, [*map(_of_alert, campaign.alerts), *said])


def _of_alert(alert: schemas.AlertAnswer) -> str:
    change = "" if alert.muted_by is None else f", muted by {alert.muted_by}"
    if alert.changes_in_seconds is not None and not change:
        what = "would fire" if alert.state == "pending" else "healthy by now, to be resolved"
        # Rounded: half a second after the poll it is the whole span still.
        change = f", {what} in {span(round(alert.changes_in_seconds))}"
    return f"{alert.rule}: {alert.summary}{change}"


def _block(row: Row) -> str:
    return "\n".join(
        [f"{row.health.upper():<9} {row.name}", *(f"{'':<9} {line}" for line in row.lines)]
    )


def _total(known: Checked, campaigns: Sequence[Row], word: str) -> str:
    """Return the last line; `word` says that alerts are firing, or would fire."""
    counts = ", ".join(f"{sum(row.health == h for row in campaigns)} {h}" for h in Health)
    alerts = [*(one.alerts for one in known.environments), *(one.alerts for one in known.campaigns)]
    states = Counter(alert.state for alert in chain(*alerts) if alert.muted_by is None)
    firing, pending = states["firing"], states["pending"]
    if word == "would fire":
        firing, pending = firing + pending, 0
    total = f"{firing} alert{'' if firing == 1 else 's'} {word}"
    more = f", {pending} pending" if pending else ""
    return f"{len(campaigns)} campaigns: {counts}; {total}{more}"


def _with_alerts(health: Health, alerts: Iterable[schemas.AlertAnswer]) -> Health:
    """Return the worst of a health and of these alerts, as if each that is pending fired."""
    counted = [alert.severity for alert in alerts if alert.muted_by is None]
    return _worst([health, *(_OF_SEVERITY.get(each, Health.HEALTHY) for each in counted)])


def _worst(healths: Iterable[Health]) -> Health:
    """Return the worst of these; where there is none at all, nothing is known."""
    # Health is declared worst first.
    return min(healths, key=list(Health).index, default=Health.UNKNOWN)
