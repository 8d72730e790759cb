"""`sftp-monitor check`: one sweep, then every campaign with its findings, and a verdict."""

import asyncio
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

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
    counted = [replace(one, health=_health_of(one)) for one in known.campaigns]
    known = Checked(known.environments, counted)
    worst_first = sorted(counted, key=lambda one: list(Health).index(one.health))
    blocks = [*map(_environment_block, known.environments), *map(_campaign_block, worst_first)]
    total = _total(known, "would fire" if url is None else "firing")
    options.show(output, to_json(known), "\n".join([*filter(None, blocks), total]))
    own = {_health_of_environment(one) for one in known.environments} - {Health.HEALTHY}
    return VERDICTS[_worst(own | {one.health for one in counted})]


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

    Where campaigns are discovered it lists them first. An environment whose breaker opens is given
    up: its campaigns stay unknown. It spends no more than the budget. Raises SecretError.
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


def _health_of_environment(environment: schemas.EnvironmentAnswer) -> Health:
    stopped = environment.outage_since or environment.token_rejected_since
    unknown = stopped or environment.listing_error
    return _with_alerts(Health.UNKNOWN if unknown else Health.HEALTHY, environment.alerts)


def _health_of(campaign: schemas.CampaignAnswer) -> Health:
    health = _with_alerts(campaign.health, campaign.alerts)
    # What a rule cannot say is no verdict to end with 0 on.
    return Health.UNKNOWN if health is Health.HEALTHY and _doubts_of(campaign) else health


def _doubts_of(campaign: schemas.CampaignAnswer) -> list[str]:
    return doubts((finding.verdict, finding.summary) for finding in campaign.findings or ())


def _environment_block(environment: schemas.EnvironmentAnswer) -> str:
    """Return its lines in the table; none where there is nothing to say."""
    # An outage is unknown to its rule until it has lasted: one sweep does not wait for that.
    coming = [
        f"{finding.rule}: {finding.summary}, would fire at {rfc3339(finding.recheck_at)}"
        for finding in environment.findings or ()
        if finding.verdict is Verdict.UNKNOWN and finding.recheck_at is not None
    ]
    if not environment.alerts and not coming:
        return ""
    health = _health_of_environment(environment)
    return _block(health, environment.name, environment.alerts, coming)


def _campaign_block(campaign: schemas.CampaignAnswer) -> str:
    if campaign.polled_at is None:
        said = ["not polled: the API does not answer, or rejects the token"]
    elif campaign.error is not None:
        detail = f" ({campaign.error.detail})" if campaign.error.detail else ""
        said = [f"the poll failed: {campaign.error.reason}{detail}"]
    elif campaign.findings is None:
        said = ["not read since the start"]
    else:
        said = [f"unknown: {summary}" for summary in _doubts_of(campaign)]
    host = f"  {campaign.config.host}" if campaign.config is not None else ""
    name = f"{campaign.environment}/{campaign.name or campaign.campaign_id}{host}"
    return _block(campaign.health, name, campaign.alerts, said)


def _block(
    health: Health, name: str, alerts: Sequence[schemas.AlertAnswer], more: Sequence[str]
) -> str:
    lines = [f"{'':<9} {line}" for line in (*map(_of_alert, alerts), *more)]
    return "\n".join([f"{health.upper():<9} {name}", *lines])


def _of_alert(alert: schemas.AlertAnswer) -> str:
    change = "" if alert.muted_by is None else f", muted by {alert.muted_by}"
    if alert.changes_in_seconds is not None and not change:
        what = "would fire" if alert.state == "pending" else "healthy by now, to be resolved"
        # Rounded: half a second after the poll it is the whole span still.
        change = f", {what} in {span(round(alert.changes_in_seconds))}"
    return f"{alert.rule}: {alert.summary}{change}"


def _total(known: Checked, word: str) -> str:
    """Return the last line; `word` says that alerts are firing, or would fire."""
    healths = Counter(campaign.health for campaign in known.campaigns)
    counts = ", ".join(f"{healths[health]} {health}" for health in Health)
    alerts = [*(one.alerts for one in known.environments), *(one.alerts for one in known.campaigns)]
    states = Counter(alert.state for alert in chain(*alerts) if alert.muted_by is None)
    firing, pending = states["firing"], states["pending"]
    if word == "would fire":
        firing, pending = firing + pending, 0
    total = f"{firing} alert{'' if firing == 1 else 's'} {word}"
    more = f", {pending} pending" if pending else ""
    return f"{len(known.campaigns)} campaigns: {counts}; {total}{more}"


def _with_alerts(health: Health, alerts: Iterable[schemas.AlertAnswer]) -> Health:
    """Return the worst of a health and of these alerts, as if each that is pending fired."""
    severities = {alert.severity for alert in alerts if alert.muted_by is None}
    return _worst([health, *map(Health, severities - {Severity.INFO})])


def _worst(healths: Iterable[Health]) -> Health:
    """Return the worst of these; where there is none at all, nothing is known."""
    # Health is declared worst first.
    return min(healths, key=list(Health).index, default=Health.UNKNOWN)
