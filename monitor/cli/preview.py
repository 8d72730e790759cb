"""What a config would change at a running daemon, by the very core that decides there.

The daemon's JSON API says what it knows. Each campaign is decided once more under the new settings,
as if the daemon had taken them and polled it with the same answer.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import NamedTuple

from monitor.adapters.web import schemas
from monitor.cli.client import Checked
from monitor.config import Config
from monitor.core import assess
from monitor.core.alerts import recheck_at
from monitor.core.discovery import TargetSet
from monitor.core.environment_rules import ABOUT_TESTS, DiscoveryFailing, TestsFailing
from monitor.core.model import Instant, ListedCampaign, Verdict
from monitor.core.rule import BaseRule, Target, Testing
from monitor.core.rules import Unreadable
from monitor.core.snapshot import active_alerts
from monitor.core.status import Alert, AlertState, CampaignStatus, EnvironmentStatus
from monitor.core.text import span
from monitor.polling.settings import Settings

VERBS = ("fire", "resolve", "change")


class Difference(NamedTuple):
    """An alert that would be another one: `verb` is fire, resolve or change."""

    verb: str
    text: str


class _Before(NamedTuple):
    """Where the daemon's alerts stand, whose they are, and which rules are in doubt."""

    of: str
    alerts: Mapping[str, schemas.AlertAnswer]
    unsure: Collection[str]
    at: Instant

    def known(self) -> dict[str, Alert]:
        """Return the alerts as the core has them."""
        return {name: _alert(one) for name, one in self.alerts.items()}

    def against(
        self,
        taken: Mapping[str, Alert],
        decided: Mapping[str, Alert],
        rules: Mapping[str, BaseRule],
    ) -> Iterator[Difference]:
        """Yield what differs once the config is `taken`, and then has `decided`."""
        sure = {name: alert for name, alert in decided.items() if name not in self.unsure}
        after = {name: alert for name, alert in taken.items() if name in self.unsure} | sure
        active = {one.alert.rule: one for one in active_alerts(after, rules)}
        for name in dict.fromkeys((*self.alerts, *active)):
            was, now = self.alerts.get(name), active.get(name)
            old = new = "no alert"
            if was is not None:
                old = self._words(was.state, was.severity, was.muted_by, was.changes_at)
            if now is not None:
                alert, rule, severity = now
                at = recheck_at(alert, rule)
                new = self._words(alert.shown_as, severity, alert.muted_by, at)
            if old == new:
                continue
            fires, fired = now is not None and now.alert.notified, was and was.state == "firing"
            verb = "change" if fires == bool(fired) else "fire" if fires else "resolve"
            said = was.summary if was is not None else now.alert.summary if now is not None else ""
            yield Difference(verb, f"{self.of}  {name}: {old} → {new}: {said}")

    def _words(self, state: str, severity: str, muted_by: str | None, at: Instant | None) -> str:
        by = "" if muted_by is None else f" by {muted_by}" if state == "muted" else f", {muted_by}"
        end = "fires" if state == "pending" else "resolves"
        # Rounded, for JSON has milliseconds.
        soon = "" if at is None else f", {end} in {span(max(0.0, round(at - self.at)))}"
        return f"{state}{by} ({severity}{soon})"


def target_sets(current: Checked) -> dict[str, TargetSet]:
    """Return whom the daemon has discovered, by environment."""
    listed = defaultdict[str, dict[str, ListedCampaign]](dict)
    for one in current.campaigns:
        if one.listing is not None:
            listed[one.environment][one.campaign_id] = one.listing
    return {name: TargetSet(campaigns, listed_at=current.at) for name, campaigns in listed.items()}


def preview(config: Config, current: Checked) -> tuple[list[Difference], list[str]]:
    """Return what would differ under this config, and what cannot be known of that."""
    differences, unknown, listed = list[Difference](), list[str](), target_sets(current)
    configured = {one.name: one for one in config.environments}
    known = {one.name: one for one in current.environments}
    for name in dict.fromkeys((*known, *configured)):
        if (answer := known.get(name)) is None:
            unknown.append(f"{name}: the daemon has no such environment")
            continue
        campaigns = [one for one in current.campaigns if one.environment == name]
        environment, settings = configured.get(name), None
        if environment is not None:
            target_set = listed.get(name, TargetSet())
            settings = Settings(environment, config.polling, config.alerts, target_set)
            unknown += _unknown(name, campaigns, settings)
        differences += _of_environment(answer, campaigns, settings, current.at)
    return sorted(differences, key=lambda one: VERBS.index(one.verb)), unknown


def describe(config: Config, current: Checked) -> Iterator[str]:
    """Yield what would differ at a daemon, what cannot be known of that, and how many of each."""
    differences, unknown = preview(config, current)
    yield from (f"would {one.verb:<8} {one.text}" for one in differences)
    yield from (f"not known: {one}" for one in unknown)
    counts = (f"{sum(d.verb == verb for d in differences)} would {verb}" for verb in VERBS)
    yield f"alerts of the daemon: {', '.join(counts)}"


def _of_environment(
    answer: schemas.EnvironmentAnswer,
    campaigns: Sequence[schemas.CampaignAnswer],
    settings: Settings | None,
    now: Instant,
) -> Iterator[Difference]:
    gone = "environment_removed" if settings is None else None
    context = None if settings is None else settings.unthrottled
    closed = answer.outage_since is None and answer.refused_since is None
    # These rest on more than the daemon says.
    unsure = {DiscoveryFailing.name, *ABOUT_TESTS, *(_unknown_rules(answer) if closed else ())}
    before = _Before(answer.name, {one.rule: one for one in answer.alerts}, unsure, now)
    status = EnvironmentStatus(
        name=answer.name,
        outage_at=answer.outage_since,
        outage_reason=answer.outage_reason,
        rejected_at=answer.token_rejected_since,
        refused_at=answer.refused_since,
        refused_with=answer.refused_with,
        alerts=before.known(),
    )
    taken, _ = assess.reconcile_environment(status, context, now, gone)
    decided = taken
    if context is not None:
        decided, *_ = assess.evaluate_environment(taken, context, now)
    yield from before.against(taken.alerts, decided.alerts, context.rules if context else {})
    for one in campaigns:
        target = settings.targets.get(one.campaign_id) if settings is not None else None
        ahead = answer.clock_ahead_seconds
        yield from _of_campaign(one, target, now, ahead, decided, gone or "campaign_removed")


def _of_campaign(
    answer: schemas.CampaignAnswer,
    target: Target | None,
    now: Instant,
    ahead: float,
    environment: EnvironmentStatus,
    gone: str,
) -> Iterator[Difference]:
    unsure = {*_unknown_rules(answer)} - {Unreadable.name}
    # Whether a test of ours found them is not known here.
    unsure |= {one.rule for one in answer.alerts if one.muted_by == TestsFailing.name}
    of = "  ".join(filter(None, (f"{answer.environment}/{answer.campaign_id}", answer.name)))
    before = _Before(of, {one.rule: one for one in answer.alerts}, unsure, now)
    status = CampaignStatus(
        environment=answer.environment,
        campaign_id=answer.campaign_id,
        last_known=replace(answer.remembered, config=answer.config),
        alerts=before.known(),
        polled_at=answer.polled_at,
        error=answer.error,
        failures=answer.failures,
    )
    taken = assess.reconcile(status, target, now, gone).status
    decided, seen = taken, answer.error or status.known
    if target is not None and seen is not None:
        held = answer.tests.held if answer.tests is not None else None
        decided = assess.assess(
            taken,
            target,
            seen,
            now,
            remind_every={},
            environment=environment,
            testing=Testing(held=held.why if held is not None else ""),
            ahead=(ahead,),
        ).status
    yield from before.against(taken.alerts, decided.alerts, target.rules if target else {})


def _unknown(
    name: str, campaigns: Sequence[schemas.CampaignAnswer], settings: Settings
) -> Iterator[str]:
    """Yield what nobody can say before the config is in force."""
    unread = sum(one.findings is None or one.error is not None for one in campaigns)
    new = len(settings.targets.keys() - {one.campaign_id for one in campaigns})
    if unread:
        yield f"{name}: campaigns that cannot be read now: {unread}"
    if new:
        yield f"{name}: campaigns of the file that the daemon does not watch: {new}"
    if settings.discovers:
        yield f"{name}: what else would be discovered"


def _unknown_rules(answer: schemas.CampaignAnswer | schemas.EnvironmentAnswer) -> list[str]:
    return [one.rule for one in answer.findings or () if one.verdict is Verdict.UNKNOWN]


def _alert(answer: schemas.AlertAnswer) -> Alert:
    firing = answer.state == "firing"
    same = {one.name for one in fields(Alert)} & {one.name for one in fields(answer)} - {"state"}
    return Alert(
        **{name: getattr(answer, name) for name in same},
        state=AlertState.PENDING if answer.state == "pending" else AlertState.FIRING,
        notified=firing,
        notified_severity=answer.severity if firing else None,
    )
