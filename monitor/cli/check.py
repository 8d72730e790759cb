"""`sftp-monitor check`: one sweep, then every campaign with its findings, and a verdict."""

import asyncio
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

import click

from monitor import __version__
from monitor.adapters import log
from monitor.adapters.metrics import SelfMetrics
from monitor.adapters.store import MEMORY, Store
from monitor.adapters.web import schemas, serializers
from monitor.cli import options
from monitor.config import Config, narrowed
from monitor.core.model import MINUTE, Severity, Verdict
from monitor.core.snapshot import Health, Snapshot, doubts
from monitor.core.text import rfc3339, span
from monitor.daemon import SystemClock
from monitor.polling import Poller, PollerManager
from monitor.serialize import from_json, to_json

VERDICTS = {Health.HEALTHY: 0, Health.WARNING: 1, Health.CRITICAL: 2, Health.UNKNOWN: 3}
"""Exit codes. Of several campaigns the worst counts: critical, unknown, warning, healthy."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found."""

    environments: Sequence[schemas.EnvironmentAnswer]
    campaigns: Sequence[schemas.CampaignAnswer]


class _Row(NamedTuple):
    """An environment or a campaign in the table: a line, and one for each alert and remark."""

    health: Health
    name: str
    alerts: Sequence[schemas.AlertAnswer]
    remarks: Sequence[str]


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
    environments = [_environment_row(one) for one in known.environments]
    campaigns = [_campaign_row(one) for one in known.campaigns]
    counted = zip(known.campaigns, campaigns, strict=True)
    known = replace(known, campaigns=[replace(one, health=row.health) for one, row in counted])
    table = _table(environments, campaigns, running=url is not None)
    options.show(output, to_json(known), table)
    own = {row.health for row in environments} - {Health.HEALTHY}
    return VERDICTS[_worst(own | {row.health for row in campaigns})]


def _asked(url: str, wanted: tuple[str, ...]) -> Checked:
    """Return what the daemon says of the wanted campaigns and of their environments, or of all."""
    pages = options.ask(url, "/api/v1/campaigns", {}, schemas.CampaignsAnswer)
    campaigns = [campaign for page in pages for campaign in page.campaigns]
    (status,) = options.ask(url, "/api/v1/status", {}, schemas.StatusAnswer)
    if not wanted:
        return Checked(status.environments, campaigns)
    campaigns = [one for one in campaigns if one.campaign_id in wanted]
    concerned = {one.environment for one in campaigns}
    return Checked([one for one in status.environments if one.name in concerned], campaigns)


def _swept(config: Config) -> Checked:
    """Return what one sweep finds; on a terminal it says how far it is, and how long it takes."""
    # Which polls failed is in the verdict, and standard output belongs to the verdict alone.
    writer = log.LineWriter(sys.stderr.fileno())
    log.configure(writer, SystemClock().wall, level="error", output="console")
    try:
        snapshot = asyncio.run(_sweep(config))
    finally:
        writer.close()
        if sys.stderr.isatty():
            click.echo(err=True)
    environments = [serializers.environment(one) for one in snapshot.environments.values()]
    known = Checked(environments, [serializers.campaign(*each) for each in snapshot.entries()])
    # As a daemon would say it: nothing of the API's texts reaches a terminal as it is.
    return from_json(Checked, to_json(known))


async def _sweep(config: Config) -> Snapshot:
    """Poll every campaign once: the pollers without the daemon around them, state in memory.

    An environment whose breaker opens is given up: its campaigns stay unknown. Raises SecretError.
    """
    clock, own, start = SystemClock(), SelfMetrics(__version__), asyncio.create_task
    store = Store(MEMORY, now=clock.wall())
    manager = PollerManager(store, clock, own, lambda name, work: start(work, name=name))
    polled, pollers = asyncio.Event(), manager.pollers
    try:
        await manager.take(*await manager.prepare(config))
        for poller in pollers.values():
            poller.on_poll = polled.set
        for polls in count():
            _show_progress(pollers.values(), polls)
            if all(map(_done, pollers.values())):
                break
            await polled.wait()
            polled.clear()
        return Snapshot({name: poller.snapshot() for name, poller in pollers.items()}, clock.wall())
    finally:
        await manager.aclose()
        await store.aclose()


def _done(poller: Poller) -> bool:
    status, watch = poller.state.status, poller.state
    # Probing until it closes may take for ever, and `check` is to end.
    if status.breaker_open:
        return True
    if watch.awaits_listing or not watch.settings.targets:
        return not watch.awaits_listing
    # 404s that were distrusted are asked again once any config could be read.
    again = status.readable_seen and watch.distrusted()
    return status.swept_at is not None and not again


def _show_progress(pollers: Collection[Poller], polls: int) -> None:
    """Overwrite the line of the terminal: how many polls are done, and how long all take."""
    if not sys.stderr.isatty():
        return
    campaigns = [(len(poller.state.settings.targets), poller.state.pace) for poller in pollers]
    expected = sum(known for known, _ in campaigns)
    # Environments are polled side by side, so the slowest one says how long it takes.
    seconds = max(known * MINUTE / pace for known, pace in campaigns)
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


def _environment_row(environment: schemas.EnvironmentAnswer) -> _Row:
    stopped = environment.outage_since or environment.token_rejected_since
    unknown = stopped or environment.refused_since or environment.listing_error
    health = _with_alerts(Health.UNKNOWN if unknown else Health.HEALTHY, environment.alerts)
    # An outage is unknown to its rule until it has lasted: one sweep does not wait for that.
    coming = [
        f"{finding.rule}: {finding.summary}, would fire at {rfc3339(finding.recheck_at)}"
        for finding in environment.findings or ()
        if finding.verdict is Verdict.UNKNOWN and finding.recheck_at is not None
    ]
    return _Row(health, environment.name, environment.alerts, coming)


def _campaign_row(campaign: schemas.CampaignAnswer) -> _Row:
    unknown = doubts((finding.verdict, finding.summary) for finding in campaign.findings or ())
    health = _with_alerts(campaign.health, campaign.alerts)
    # What a rule cannot say is no verdict to end with 0 on.
    health = Health.UNKNOWN if health is Health.HEALTHY and unknown else health
    if campaign.polled_at is None:
        remarks = ["not polled: the API does not answer, or rejects the token"]
    elif campaign.error is not None:
        detail = f" ({campaign.error.detail})" if campaign.error.detail else ""
        remarks = [f"the poll failed: {campaign.error.reason}{detail}"]
    elif campaign.findings is None:
        remarks = ["not read since the start"]
    else:
        remarks = [f"unknown: {summary}" for summary in unknown]
    if campaign.alerts and campaign.impact:
        remarks.append(f"at stake: {campaign.impact}")
    host = f"  {campaign.config.host}" if campaign.config is not None else ""
    name = f"{campaign.environment}/{campaign.name or campaign.campaign_id}{host}"
    return _Row(health, name, campaign.alerts, remarks)


def _table(environments: Sequence[_Row], campaigns: Sequence[_Row], *, running: bool) -> str:
    """Return the environments that there is something to say of, all campaigns, and the total."""
    notable = [row for row in environments if row.alerts or row.remarks]
    worst_first = sorted(campaigns, key=lambda row: list(Health).index(row.health))
    lines = []
    for row in (*notable, *worst_first):
        lines.append(f"{row.health.upper():<9} {row.name}")
        lines += [f"{'':<9} {line}" for line in (*map(_of_alert, row.alerts), *row.remarks)]
    healths = Counter(row.health for row in campaigns)
    counts = ", ".join(f"{healths[health]} {health}" for health in Health)
    alerts = chain.from_iterable(row.alerts for row in (*environments, *campaigns))
    states = Counter(alert.state for alert in alerts if alert.muted_by is None)
    pending = states["pending"]
    firing = states["firing"] if running else states["firing"] + pending
    more = f", {pending} pending" if running and pending else ""
    total = f"{firing} alert{'' if firing == 1 else 's'} {'firing' if running else 'would fire'}"
    return "\n".join([*lines, f"{len(campaigns)} campaigns: {counts}; {total}{more}"])


def _of_alert(alert: schemas.AlertAnswer) -> str:
    change = "" if alert.muted_by is None else f", muted by {alert.muted_by}"
    if alert.changes_in_seconds is not None and not change:
        what = "would fire" if alert.state == "pending" else "healthy by now, to be resolved"
        # Rounded: half a second after the poll it is the whole span still.
        change = f", {what} in {span(round(alert.changes_in_seconds))}"
    return f"{alert.rule}: {alert.summary}{change}"


def _with_alerts(health: Health, alerts: Iterable[schemas.AlertAnswer]) -> Health:
    """Return the worst of a health and of these alerts, as if each that is pending fired."""
    severities = {alert.severity for alert in alerts if alert.muted_by is None}
    return _worst([health, *map(Health, severities - {Severity.INFO})])


def _worst(healths: Iterable[Health]) -> Health:
    """Return the worst of these; where there is none at all, nothing is known."""
    # Health is declared worst first.
    return min(healths, key=list(Health).index, default=Health.UNKNOWN)
