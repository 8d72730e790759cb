"""(status, observation, rules, now) → (status, findings, events): the product in one module."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from monitor.core import alerts as machine
from monitor.core import clock, settled
from monitor.core.attempt import CampaignTests
from monitor.core.connection_tests import Tested
from monitor.core.environment import (
    Call,
    EnvironmentContext,
    Evaluated,
    at_rest,
    inputs_of,
    observe,
)
from monitor.core.environment_rules import ENVIRONMENT_RULES, TestsFailing, firing_alert
from monitor.core.guards import EnvironmentTests, Guards
from monitor.core.impact import has_ended, impact_of_all, with_impact
from monitor.core.model import (
    DAY,
    AlertLabels,
    Event,
    Finding,
    Instant,
    Observation,
    Page,
    SftpConfig,
    redated,
)
from monitor.core.outcomes import recorded, switched_off
from monitor.core.rule import (
    NO_TESTS,
    RULES,
    EvaluationInput,
    RemindEvery,
    Target,
    Testing,
    evaluate_all,
)
from monitor.core.rules import FailedTest, PathInaccessible, Unreadable
from monitor.core.schedule import NextPoll, PollIntervals, next_poll
from monitor.core.snapshot import Entry
from monitor.core.status import OURS, SPANS_OF_BREAKER, Ahead, CampaignStatus, EnvironmentStatus


class Outcome(NamedTuple):
    """What one answer means, to be put in force as a whole; `events` are in sending order."""

    environment: EnvironmentStatus
    evaluated: Evaluated  # of the environment
    entry: Entry | None  # the campaign's after it; None: it says nothing of a campaign
    next_poll: NextPoll | None
    events: tuple[Event, ...]
    guards: Guards | None = None
    unchanged: bool = False  # nothing but instants has moved


def take_answer(  # noqa: PLR0913 - each is one more thing that an answer's meaning depends on
    before: EnvironmentStatus,
    entry: Entry | None,
    call: Call,
    context: EnvironmentContext,
    intervals: PollIntervals,
    now: Instant,
    *,
    others_read_at: Instant | None,
    testing: Testing,
    evaluated: Evaluated | None,  # at the last decision
) -> Outcome:
    """Decide what an answer at `now` of ours means; without an `entry` it is a listing's page."""
    seen = call.observation
    status, found, events = assess_environment(before, call, context, now, evaluated)
    # While it is open a failed poll is the breaker's business: one outage, one page.
    if entry is None or isinstance(seen, Page) or (status.breaker_open and call.refusal):
        return Outcome(status, found, None, None, events)
    clocks, testing = clock.ahead(status, now), _with_common_failure(testing, status)
    guards, after = testing.guards, settled.unchanged(entry, seen, testing, clocks, now)
    unchanged = after is not None and found is evaluated
    if after is None:
        decision = assess(
            entry.status,
            entry.target,
            seen,
            now,
            remind_every=context.remind_every,
            environment_alert=firing_alert(status),
            others_read_at=others_read_at,
            testing=testing,
            ahead=clocks,
        )
        after = Entry(entry.target, decision.status, decision.findings)
        after, guards = settled.settle(after, seen, testing, clocks), decision.guards
        events = machine.in_sending_order([*events, *decision.events])
    if guards is not None:
        status = replace(status, tests=guards.environment)
    planned = next_poll(after.status, after.target, intervals, now, clocks, findings=after.findings)
    return Outcome(status, found, after, planned, events, guards, unchanged)


class Decision(NamedTuple):
    """What came of one observation: the status after it, the findings, the events in order."""

    status: CampaignStatus
    findings: Mapping[str, Finding]
    events: tuple[Event, ...]
    guards: Guards | None = None  # of tests, with the test on record taken in


def assess(  # noqa: PLR0913 - each is one more thing that a decision depends on
    before: CampaignStatus,
    target: Target,
    observation: Observation,
    now: Instant,
    *,
    remind_every: RemindEvery,
    environment_alert: str | None = None,
    others_read_at: Instant | None = None,
    testing: Testing = NO_TESTS,
    ahead: Ahead = OURS,
) -> Decision:
    """Decide what an observation at `now` of ours means; `environment_alert` mutes `unreadable`."""
    status, ours = before.after(observation, now), None
    if isinstance(observation, SftpConfig) and status.error is None and testing.guards is not None:
        tested = Tested(status, target, now, ahead[0])
        if len(ahead) > 1:  # whose clock is right nobody knows
            tested = _by_order(before, tested, observation)
        tests, guards = _with_record(before, tested, observation, testing.guards)
        # Not as it was before this answer: the test on record may have cleared the login.
        testing = replace(testing, guards=guards)
        status, ours = replace(status, tests=tests), tests.on_record(observation)
    seen = status.error or observation
    inputs = EvaluationInput(seen, status, target, now, others_read_at, testing=testing)
    findings = evaluate_all(target.rules, inputs, ahead)
    initial = before.last_known.last_read_at is None and status.last_known.last_read_at is not None
    initial = initial or (ours is not None and ours.first)
    muted = {} if environment_alert is None else {Unreadable.name: environment_alert}
    # One common failure, one page: what tests have found since is the platform's own.
    if testing.failing_since is not None and ours and ours.at >= testing.failing_since:
        muted |= dict.fromkeys((FailedTest.name, PathInaccessible.name), TestsFailing.name)
    muted |= _muted(status, target, now)
    source = replace(_source(status, target, now), initial=initial, muted=muted)
    alerts, events = machine.decide(before.alerts, findings, target.rules, source, remind_every)
    events = with_impact(events, Entry(target, status).impact)
    return Decision(replace(status, alerts=alerts), findings, events, testing.guards)


def _by_order(before: CampaignStatus, tested: Tested, seen: SftpConfig) -> Tested:
    """Return it dated without a clock: a record that has moved did so since the poll before."""
    last, was, at = before.tests.last, before.last_known.config, seen.last_test_at
    since = before.last_known.last_read_at
    if was is None or since is None or at is None or at == was.last_test_at:
        return tested
    ours = last is not None and last.tested_at is None and last.at >= since
    seen_at = min(max(at - tested.ahead, since), tested.now)
    ran_at = last.at if last is not None and ours else seen_at
    return replace(tested, ahead=at - ran_at)


def _with_record(
    before: CampaignStatus, tested: Tested, seen: SftpConfig, guards: Guards
) -> tuple[CampaignTests, Guards]:
    """Return a campaign's tests and guards with the test on record taken in."""
    tests, guards = recorded(tested, guards)
    name = tested.target.name
    tests, suspended = switched_off(replace(before, tests=tests), seen, tested.now, name)
    if suspended is not None:
        environment = replace(guards.environment, suspended=suspended)
        guards = replace(guards, environment=environment)
    return tests, guards


def _with_common_failure(testing: Testing, status: EnvironmentStatus) -> Testing:
    """Return where tests stand, with since when on-call knows that they fail everywhere."""
    alert = status.alerts.get(TestsFailing.name)
    known = alert is not None and alert.unhealthy
    return replace(testing, failing_since=status.tests.failing_since) if known else testing


def _muted(status: CampaignStatus, target: Target, now: Instant) -> dict[str, str]:
    """Return by rule what mutes a campaign's alerts beside rules: the last that is named counts."""
    muted = dict[str, str]()
    if target.muted_status is not None or has_ended(target.calls, now):
        why = "campaign_status" if target.muted_status is not None else "ended"
        muted = dict.fromkeys(target.rules, why)
    # From memory, not from the observation: it stays in force through polls that fail.
    config = status.last_known.config
    if config is not None and not config.is_enabled:
        muted |= {name: "disabled" for name, rule in target.rules.items() if rule.needs_enabled}
    return muted


def reconcile(
    status: CampaignStatus, target: Target | None, now: Instant, gone: str | None = None
) -> Decision:
    """Decide what a start or a changed config means; without a target it has left, for `gone`."""
    if target is not None and not status.alerts:
        return Decision(_redated(status, now), {}, ())
    environment, key = status.environment, status.campaign_id
    known = target or Target(environment=environment, campaign_id=key)
    source = _source(status, known, now)
    why = gone if target is None else None
    alerts, events = machine.reconcile(status.alerts, RULES, known.rules, source, why)
    if target is None:
        # A tombstone: the event counts, so that no event id is reused.
        after = CampaignStatus(environment=environment, campaign_id=key, alerts=alerts)
    else:
        after = replace(_redated(status, now), alerts=alerts)
    return Decision(after, {}, with_impact(events, Entry(known, status).impact))


def _redated(status: CampaignStatus, now: Instant) -> CampaignStatus:
    # An instant from the future (the clock was wrong) would confirm a loss of today.
    last_known = redated(status.last_known, "last_read_at", latest=now)
    tests = status.tests.redated(latest=now)
    if last_known is status.last_known and tests is status.tests:
        return status
    return replace(status, last_known=last_known, tests=tests)


def assess_environment(
    before: EnvironmentStatus,
    call: Call,
    context: EnvironmentContext,
    now: Instant,
    known: Evaluated | None = None,
) -> tuple[EnvironmentStatus, Evaluated, tuple[Event, ...]]:
    """Decide what the outcome of a call at `now` of ours means."""
    status = observe(clock.after_call(before, call.server_date, now), call, context, now)
    if status.listing_doubt and (status.breaker_open or context.paused):
        status = replace(status, listing_doubt="")
    return evaluate_environment(status, context, now, known)


def evaluate_environment(
    before: EnvironmentStatus,
    context: EnvironmentContext,
    now: Instant,
    known: Evaluated | None = None,
) -> tuple[EnvironmentStatus, Evaluated, tuple[Event, ...]]:
    """Decide what is known of an environment, after a call or at the end of a listing."""
    inputs, rests = inputs_of(before, context), at_rest(before)
    if known is not None and rests and now < known.until and inputs == known.inputs:
        return before, known, ()
    rules, source = context.rules, machine.EventSource(before.name, context.labels, now)
    findings = {name: rule.evaluate(before, context, now) for name, rule in rules.items()}
    alerts, events = machine.decide(before.alerts, findings, rules, source, context.remind_every)
    events = with_impact(events, partial(impact_of_all, context.targets))
    rests = rests and not any(alert.active or alert.notified for alert in alerts.values())
    until = settled.until(findings) if rests else 0.0
    after = before if alerts == before.alerts else replace(before, alerts=alerts)
    return after, Evaluated(findings, inputs, until), events


def reconcile_environment(
    before: EnvironmentStatus,
    context: EnvironmentContext | None,
    now: Instant,
    gone: str | None = None,
) -> tuple[EnvironmentStatus, tuple[Event, ...]]:
    """Decide what a start or a changed config means; without a context it has left, for `gone`."""
    rules, labels = (context.rules, context.labels) if context else ({}, AlertLabels())
    source = machine.EventSource(before.name, labels, now)
    alerts, events = machine.reconcile(before.alerts, ENVIRONMENT_RULES, rules, source, gone)
    events = with_impact(events, partial(impact_of_all, context.targets if context else ()))
    if context is None:
        # A tombstone, without its breaker: one that comes back under this name starts closed.
        # But no edit ends a suspension of its tests.
        tests = EnvironmentTests(suspended=before.tests.suspended)
        return EnvironmentStatus(name=before.name, tests=tests, alerts=alerts), events
    # A call from the future (the clock was wrong) would put off the next probe until then.
    kept = redated(before, *SPANS_OF_BREAKER, "swept_at", latest=now)
    tests = kept.tests.redated(latest=now)
    if tests.on_since and kept.swept_at and now - kept.swept_at > DAY:
        # Tests could not run for so long that all are overdue: each waits for its own minute.
        tests = replace(tests, on_since=now)
    return replace(kept, alerts=alerts, tests=tests), events


def _source(status: CampaignStatus, target: Target, now: Instant) -> machine.EventSource:
    config = status.last_known.config
    return machine.EventSource(
        environment=target.environment,
        campaign_id=target.campaign_id,
        labels=Entry(target, status).labels,
        import_schedule=(config.import_schedule if config else None) or "",
        last_passed_at=status.last_known.last_passed_at,
        decided_at=now,
        observed_at=status.polled_at,
        definite=status.error is None,
    )
