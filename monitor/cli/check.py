"""`sftp-monitor check`: one sweep, then what is wrong with which campaign, and a verdict."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from monitor.adapters.web import schemas
from monitor.cli import options
from monitor.cli.client import Checked, Monitor
from monitor.cli.oneshot import sweep
from monitor.clocks import SystemClock
from monitor.core.model import Instant, Severity, Verdict
from monitor.core.snapshot import Health, doubts
from monitor.core.text import rfc3339, span
from monitor.serialize import to_json

VERDICTS = {Health.HEALTHY: 0, Health.WARNING: 1, Health.CRITICAL: 2, Health.UNKNOWN: 3}
"""Exit codes. Of several campaigns the worst counts: critical, unknown, warning, healthy."""

_COLORS = dict(zip(Health, ("red", "magenta", "yellow", "green"), strict=True))

_Seen = TypeVar("_Seen", schemas.EnvironmentAnswer, schemas.CampaignAnswer)


class _Row(NamedTuple):
    """An environment or a campaign in the table: a line, and some for each alert and remark."""

    health: Health
    name: str
    alerts: Sequence[schemas.AlertAnswer]
    remarks: Sequence[str]


@click.command(
    epilog=options.examples(
        "check",
        "check --campaign 'Retail leads' --campaign 6f3c1a52-9b1e-4c57-8a55-2f8f0d9f7c11",
        "check --url 127.0.0.1:10022 --label team=retail --rule failed_test",
    )
)
@options.config_file
@options.daemon_url
@options.filters
@click.option("--all", "everything", is_flag=True, help="Healthy ones, too (JSON has them anyway).")
@options.output_format
@options.color
def check(
    config_file: Path | None, url: str | None, output: str, everything: bool, **wanted: Any
) -> int:
    """Poll every campaign once and show what is wrong; writes no state, sends nothing.

    With --url a running daemon is asked instead, which spends no request to the API. Filters may be
    repeated: of each kind one must fit, and every label.

    Exit code, of what the filters leave: 0 all healthy, 1 a warning, 2 something critical, 3
    something unknown.
    """
    filters, url = options.Filters(**wanted), options.url_to_ask(config_file, url)
    if url is not None:
        found = Monitor(url).checked()
        _refuse_unknown(filters, found, [one.name for one in found.environments])
    else:
        config = options.load(config_file)
        found = sweep(config, filters)
        _refuse_unknown(filters, found, [one.name for one in config.environments])
    found = _chosen(found, filters)
    healths = filters.healths or [*Health]
    environments = [
        one for one in map(_environment_row, found.environments) if one.health in healths
    ]
    campaigns = [(one, _campaign_row(one)) for one in found.campaigns]
    campaigns = [(one, row) for one, row in campaigns if row.health in healths]
    rows = [row for _, row in campaigns]
    answers = [replace(one, health=row.health) for one, row in campaigns]
    lines = _table(environments, rows, running=url is not None, everything=everything)
    options.show(output, to_json(replace(found, campaigns=answers)), "\n".join(lines))
    # Where nobody is known at all nothing is; that there is none of a health is an answer.
    none = Health.HEALTHY if filters.healths else Health.UNKNOWN
    ill = {row.health for row in environments} - {Health.HEALTHY}
    return VERDICTS[_worst(ill | {row.health for row in rows}, none)]


def _refuse_unknown(filters: options.Filters, found: Checked, known: Collection[str]) -> None:
    """Raise UsageError where a filter names what is not there; say which listings failed."""
    if unknown := sorted({*filters.environments} - {*known}):
        raise click.UsageError(
            f"no such environment: {', '.join(unknown)}; there is {', '.join(known)}"
        )
    failed = {one.name: one.listing_error for one in found.environments if one.listing_error}
    for name, error in failed.items():
        click.echo(f"{name}: the listing of campaigns failed: {error.reason}", err=True)
    # After a listing that failed nobody knows which campaigns there are.
    if not failed and (missing := filters.missing(found.campaigns)):
        raise click.UsageError(f"no such campaign: {', '.join(missing)}")


def _chosen(found: Checked, filters: options.Filters) -> Checked:
    """Return what the filters leave of it, but for that of healths."""
    campaigns = [one for one in found.campaigns if filters.fit(one)]
    environments, concerned = found.environments, {one.environment for one in campaigns}
    if filters.campaigns or filters.environments or filters.labels:
        # One whose listing failed may have campaigns that nobody knows.
        maybe = [one for one in environments if one.name in concerned or one.listing_error]
        environments = [one for one in maybe if one.name in (filters.environments or [one.name])]
    if filters.rules:
        environments = [_by_rules(one, filters.rules) for one in environments]
        campaigns = [_by_rules(one, filters.rules) for one in campaigns]
    return replace(found, environments=environments, campaigns=campaigns)


def _by_rules(one: _Seen, rules: Collection[str]) -> _Seen:
    alerts = [alert for alert in one.alerts if alert.rule in rules]
    findings = one.findings and [finding for finding in one.findings if finding.rule in rules]
    left = replace(one, alerts=alerts, findings=findings)
    if isinstance(left, schemas.CampaignAnswer):
        # Without the other rules it is healthy, unless nothing is known of it.
        unread = left.health is Health.UNKNOWN or left.findings is None
        return replace(left, health=Health.UNKNOWN if unread else Health.HEALTHY)
    return left


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
    if health is not Health.HEALTHY and campaign.evidence_at is not None and not campaign.alerts:
        remarks.append(f"last read {_when(campaign.evidence_at)}")
    if campaign.alerts and campaign.impact:
        remarks.append(f"at stake: {campaign.impact}")
    host = campaign.config.host if campaign.config is not None else ""
    labels = " ".join(f"{name}={value}" for name, value in campaign.labels.items())
    words = (f"{campaign.environment}/{campaign.campaign_id}", campaign.name, host, labels)
    return _Row(health, "  ".join(filter(None, words)), campaign.alerts, remarks)


def _table(
    environments: Sequence[_Row], campaigns: Sequence[_Row], *, running: bool, everything: bool
) -> Iterator[str]:
    """Yield the summary, what needs attention (or all of it), the worst first, and the summary."""
    summary = _summary(environments, campaigns, running=running)
    yield summary
    rows = (*environments, *sorted(campaigns, key=lambda row: list(Health).index(row.health)))
    shown = [row for row in rows if row.health is not Health.HEALTHY or everything]
    for row in shown:
        health = click.style(f"{row.health.upper():<9}", fg=_COLORS[row.health], bold=True)
        yield f"{health} {row.name}"
        for line in (*chain.from_iterable(map(_of_alert, row.alerts)), *row.remarks):
            yield f"{'':<9} {line}"
    if shown:
        yield summary


def _summary(environments: Sequence[_Row], campaigns: Sequence[_Row], *, running: bool) -> str:
    """Return how many need attention, and how many alerts there are."""
    alerts = chain.from_iterable(row.alerts for row in (*environments, *campaigns))
    states = Counter[str](alert.state for alert in alerts)
    firing = states["firing"] if running else states["firing"] + states.pop("pending", 0)
    total = f"; {firing} alert{'' if firing == 1 else 's'} {'firing' if running else 'would fire'}"
    total += "".join(f", {states[name]} {name}" for name in ("pending", "muted") if states[name])
    who = [f"environment {row.name}" for row in environments if row.health is not Health.HEALTHY]
    healths, known = Counter(row.health for row in campaigns), len(campaigns)
    counts = ", ".join(f"{healths[health]} {health}" for health in Health if healths[health])
    problems = known - healths[Health.HEALTHY]
    need = f"need{'s' if len(who) + problems == 1 else ''} attention"
    if problems:
        who.append(f"{problems} of {known} campaigns")
    if who:
        return f"{' and '.join(who)} {need}: {counts or 'no campaign is known'}{total}"
    all_of_them = "the campaign is" if known == 1 else f"all {known} campaigns are"
    return f"{all_of_them if known else 'no campaign is known, so none is'} healthy{total}"


def _of_alert(alert: schemas.AlertAnswer) -> Iterator[str]:
    """Yield what is wrong and, unless that is muted, since when and what to do."""
    change = "" if alert.muted_by is None else f", muted by {alert.muted_by}"
    if alert.changes_in_seconds is not None and not change:
        what = "would fire" if alert.state == "pending" else "healthy by now, to be resolved"
        # Rounded: half a second after the poll it is the whole span still.
        change = f", {what} in {span(round(alert.changes_in_seconds))}"
    yield f"{alert.rule} ({alert.severity}): {alert.summary}{change}"
    if alert.muted_by is None:
        if alert.since is not None:
            yield f"  since {_when(alert.since)}"
        yield f"  next: {alert.next_step}"


def _when(at: Instant) -> str:
    return f"{span(max(0.0, SystemClock().wall() - at))} ago ({rfc3339(at)})"


def _with_alerts(health: Health, alerts: Iterable[schemas.AlertAnswer]) -> Health:
    """Return the worst of a health and of these alerts, as if each that is pending fired."""
    severities = {alert.severity for alert in alerts if alert.muted_by is None}
    return _worst({health, *map(Health, severities - {Severity.INFO})}, health)


def _worst(healths: Collection[Health], none: Health) -> Health:
    """Return the worst of these; where there is none at all, `none`."""
    # Health is declared worst first.
    return next((one for one in Health if one in healths), none)
