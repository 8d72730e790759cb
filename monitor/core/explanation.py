"""Why each alert of a campaign fires or does not: the words of its page and of `explain`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any

from monitor.core.attempt import Attempt, server_of
from monitor.core.model import Finding, Instant, Sentence, Severity, SftpConfig, Verdict
from monitor.core.rule import BaseRule
from monitor.core.rules import RULES
from monitor.core.rules.last_test import StaleTest
from monitor.core.snapshot import ActiveAlert, Entry, EnvironmentSnapshot
from monitor.core.text import arrow, pairs, relative, rfc3339, span

WORST_FIRST = (*Severity, "muted", Verdict.UNKNOWN, Verdict.UNHEALTHY, Verdict.HEALTHY)

OriginOf = Callable[[str, str], str]
"""Where a setting of a section stands: of `rules.stale_test`, and `max_age`; empty: nowhere."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A part of an explanation: state is a severity, muted, unknown, healthy, or empty."""

    title: Sentence
    state: str
    lines: tuple[Sentence, ...]


def explain(environment: EnvironmentSnapshot, entry: Entry, origin: OriginOf) -> list[Paragraph]:
    """Return why each alert of a campaign fires or does not, and what is next, as of the snapshot.

    What is wrong comes first. The texts of an alert are word for word those of its events.
    """
    found, now = environment.findings_of(entry) or {}, environment.now
    alerts = {active.rule.name: active for active in entry.active_alerts()}
    rules = [
        _of_rule(rule, alerts.get(name), found.get(name), now, _set_to(entry, rule, origin))
        for name, rule in entry.target.rules.items()
    ]
    rules.sort(key=lambda one: WORST_FIRST.index(one.state))
    return [
        Paragraph("Campaign", environment.health(entry), tuple(_campaign(environment, entry))),
        *_of_environment(environment),
        *(one for one in rules if one.state != Verdict.HEALTHY),
        Paragraph("Tests", "", tuple(_tests(environment, entry, origin))),
        *(one for one in rules if one.state == Verdict.HEALTHY),
        *_switched_off(entry, origin),
    ]


def why_unread(environment: EnvironmentSnapshot, entry: Entry) -> str:
    """Return why what was read of a campaign, if anything, is no evidence now; empty: it is."""
    if environment.is_current(entry):
        return ""
    if entry.status.error is not None:
        return f"the last poll failed: {entry.status.error.reason}"
    if entry.status.last_known.last_read_at is None:
        return "not read yet"
    if environment.status.breaker_open:
        return "not read while the environment's API gives nothing"
    return "not read for too long"


def _of_environment(environment: EnvironmentSnapshot) -> Iterator[Paragraph]:
    for one in environment.active_alerts():
        labels, impact = environment.labels.labels, environment.impact(environment.now).text
        summary, *why = _alert(one, environment.now)
        stake = filter(None, (impact, f"labels {pairs(labels)}" * bool(labels)))
        title = f"{environment.status.name}: {_title(one)}"
        yield Paragraph(title, one.severity, (summary, *stake, *why))


def _switched_off(entry: Entry, origin: OriginOf) -> Iterator[Paragraph]:
    for name in RULES:
        where = origin(f"rules.{name}", "enabled")
        if name not in entry.target.rules and where:
            yield Paragraph(f"{name}: switched off", "", (f"settings: enabled false ({where})",))


def _campaign(environment: EnvironmentSnapshot, entry: Entry) -> Iterator[str]:
    target, now, known = entry.target, environment.now, entry.status.last_known
    yield f"{environment.health(entry)}: {target.environment}/{target.name or target.campaign_id}"
    if target.labels:
        yield f"labels {pairs(target.labels)}"
    if target.muted_status is not None:
        yield f"muted, for its status is {target.muted_status}"
    if impact := entry.impact(now).text:
        yield impact
    error = entry.status.error
    if why := why_unread(environment, entry):
        yield f"{why}, {error.detail}" if error is not None and error.detail else why
    if error is not None and known.last_read_at is None:
        yield "not read yet"
    if known.missing_since is not None:
        was = f"; the last one was {_config(known.config)}" if known.config is not None else ""
        yield f"no SFTP config since {_when(known.missing_since, now)}{was}"
    elif known.config is not None and known.last_read_at is not None:
        yield f"{_config(known.config)}; read {_when(known.last_read_at, now)}"
    if known.last_passed_at is not None:
        yield f"last passed test {_when(known.last_passed_at - environment.ahead, now)}"
    for change in known.changes[-1:]:
        words = ", ".join(f"{name} {arrow(pair)}" for name, pair in change.fields.items())
        yield f"changed {_when(change.at, now)}: {words}"


def _config(config: SftpConfig) -> str:
    paths = f"import {config.import_path or '-'}, export {config.export_path or '-'}"
    who = f"{config.username}@" if config.username else ""
    how = f"{who}{server_of(config)}, {config.auth_type or 'auth type unknown'}"
    on = "enabled" if config.is_enabled else "disabled"
    return f"{how}, {paths}, {on}"


def _title(active: ActiveAlert) -> str:
    alert = active.alert
    by = f" by {alert.muted_by}" if alert.muted_by else ""
    return f"{alert.rule}: {alert.shown_as}{by} ({active.severity})"


def _of_rule(
    rule: BaseRule,
    active: ActiveAlert | None,
    finding: Finding | None,
    now: Instant,
    set_to: str,
) -> Paragraph:
    last = (f"settings: {set_to}",) if set_to else ()
    if active is not None:
        differs = finding is not None and finding.verdict is not Verdict.UNHEALTHY
        now_so = (f"by now {finding.verdict}: {finding.summary}",) if finding and differs else ()
        state = "muted" if active.alert.muted_by else active.severity
        return Paragraph(_title(active), state, (*_alert(active, now), *now_so, *last))
    if finding is None:
        return Paragraph(f"{rule.name}: not evaluated yet", Verdict.UNKNOWN, last)
    recheck_at = finding.recheck_at
    changes = () if recheck_at is None else (f"changes by itself {_when(recheck_at, now)}",)
    lines = (finding.summary, *_evidence(finding.evidence), *changes, *last)
    return Paragraph(f"{rule.name}: {finding.verdict}", finding.verdict, lines)


def _alert(active: ActiveAlert, now: Instant) -> tuple[str, ...]:
    """Return what is wrong, since when, why, when that would change, and what to do."""
    alert, lines = active.alert, [active.alert.summary]
    if alert.since is not None:
        lines.append(f"since {_when(alert.since, now)}")
    lines += _evidence(alert.evidence)
    if alert.notified_at is not None:
        lines.append(f"on-call was notified {_when(alert.notified_at, now)}")
    if (at := active.changes_at) is not None:
        what = "resolves" if alert.healthy_at is not None else "fires"
        lines.append(f"{what} by itself {_when(at, now)}, if nothing changes")
    return (*lines, f"next: {active.next_step}")


def _evidence(evidence: Mapping[str, str]) -> Iterator[str]:
    if evidence:
        yield f"evidence: {'; '.join(f'{name} {value}' for name, value in evidence.items())}"


def _is_shown(setting: "Field[Any]", value: object) -> bool:
    """Return whether a setting is worth a word: a threshold, or one that is not the default."""
    of_all = setting.name in {one.name for one in fields(BaseRule)}
    own = not of_all and bool(value)
    return own or (setting.default is not MISSING and value != setting.default)


def _set_to(entry: Entry, rule: BaseRule, origin: OriginOf) -> str:
    """Return the settings of a rule that are worth a word, each with where it was set."""
    shown = [one.name for one in fields(rule) if _is_shown(one, getattr(rule, one.name))]
    said = [_setting(rule, name, origin) for name in shown]
    tests, config = entry.target.tests, entry.status.last_known.config
    if isinstance(rule, StaleTest) and config is not None and tests.covers(config):
        every = f"every {span(tests.every)} ({origin('connection_tests', 'every') or 'default'})"
        said.append(f"{span(tests.missed_after)} where the monitor tests {every}")
    return "; ".join(said)


def _setting(rule: BaseRule, name: str, origin: OriginOf) -> str:
    value = getattr(rule, name)
    shown = span(value) if isinstance(value, float) else str(value)
    return f"{name.rstrip('_')} {shown} ({origin(f'rules.{rule.name}', name) or 'default'})"


def _tests(environment: EnvironmentSnapshot, entry: Entry, origin: OriginOf) -> Iterator[str]:
    """Yield the last connection test and by whom, the next one and why then, and what holds it."""
    now, config = environment.now, entry.status.last_known.config
    settings, section = entry.target.tests, "connection_tests"
    yield f"{'on' if settings.enabled else 'off'} ({origin(section, 'enabled') or 'default'})"
    if settings.enabled:
        yield f"settings: every {span(settings.every)} ({origin(section, 'every') or 'default'})"
    tests, ours = entry.status.tests, None
    if config is not None and config.last_test_at is not None:
        ours = tests.on_record(config)
        result = {True: "passed", False: "failed", None: "unknown"}[config.last_test_success]
        by = "by somebody else" if ours is None else _by(ours)
        at = config.last_test_at - environment.ahead
        yield f"on record: {result} {_when(at, now)}, {by}"
    last = tests.last
    if last is not None and last is not ours:
        said = f': TalkOver says: "{last.cause}"' if last.cause else ""
        result = "under way" if last.ended_at is None else last.result.value
        yield f"the monitor's last: {result} {_when(last.at, now)}, {_by(last)}{said}"
    planned = environment.planned.get(entry.target.campaign_id)
    if planned is None:
        yield f"no next one is due {_why_none(environment, entry)}"
        return
    if planned.at is not None:
        yield f"next: {_when(max(planned.at, now), now)} ({planned.trigger})"
    if (hold := planned.hold) is not None:
        yield f"held back by {hold.reason}: {hold.why}; this ends it: {hold.ends}"


def _why_none(environment: EnvironmentSnapshot, entry: Entry) -> str:
    config, settings = entry.status.last_known.config, entry.target.tests
    if settings.enabled and environment.status.breaker_open:
        return "while the environment's API gives nothing"
    if settings.enabled and config is not None and not settings.covers(config):
        return "for a manual import" if config.is_enabled else "while the config is disabled"
    return "as things are"


def _by(attempt: Attempt) -> str:
    who = f"the monitor for {attempt.by}" if attempt.by else "the monitor"
    return f"by {who} ({attempt.trigger})"


def _when(at: Instant, now: Instant) -> str:
    return f"{relative(now - at)} ({rfc3339(at)})"
