"""Random histories of a campaign, and both opinions on them: the core's and the model's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from monitor.core.model import (
    DAY,
    HOUR,
    MINUTE,
    Event,
    Instant,
    NoConfig,
    Observation,
    PollError,
    Reason,
    Severity,
)
from monitor.core.rule import Target
from support.builders import NOW, a_config, a_target
from support.model import ORDER, OnCall, Page, Policies, Policy, Seen
from support.timeline import WatchedCampaign, in_a_word

REMIND_EVERY = {Severity.CRITICAL: HOUR, Severity.WARNING: 4 * HOUR}
CREATED_AT = NOW - 20 * HOUR

THRESHOLDS = {
    "never_tested": "grace",
    "disabled": "grace",
    "stale_test": "max_age",
    "future_test": "tolerance",
    "unreadable": "after",
    "changed_untested": "grace",
}


@dataclass(frozen=True)
class Poll:
    """A poll at `at`, with what it sees and whether its status and environment let it be told.

    Of `others` two were asked then and read; None: there are no two others.
    """

    at: Instant
    seen: Seen
    status_told: bool = True
    outage: str | None = None
    others: Instant | None = None


@dataclass(frozen=True)
class Reload:
    """A changed config at `at`."""

    at: Instant
    policies: Policies
    label: str = ""


@dataclass(frozen=True)
class Restart:
    """A restart at `at`."""

    at: Instant


@dataclass(frozen=True)
class Remove:
    """The campaign leaves the config at `at`; the next poll finds it listed again."""

    at: Instant


Step = Poll | Reload | Restart | Remove


def observation(seen: Seen) -> Observation:
    """Return what the core sees where the model sees `seen`."""
    if seen.kind == "error":
        return PollError(Reason.TIMEOUT)
    if seen.kind == "gone":
        return NoConfig()
    outcome = None if seen.tested_at is None or seen.half else seen.passed
    return a_config(
        host=seen.host,
        created_at=CREATED_AT,
        is_enabled=seen.enabled,
        last_test_at=seen.tested_at,
        last_test_success=outcome,
    )


def target_of(policies: Policies, label: str = "") -> Target:
    """Return the target whose rules have these policies, and no others; `label` is its team."""
    settings: dict[str, dict[str, Any]] = {rule: {"enabled": False} for rule in ORDER}
    for rule, policy in policies.items():
        settings[rule] = {
            "severity": Severity(policy.severity),
            "for_": policy.wait,
            "keep_firing_for": policy.linger,
        }
        if rule in THRESHOLDS:
            settings[rule][THRESHOLDS[rule]] = policy.limit
    return a_target(settings, name=label, labels={"team": label}, exported=("team",))


def page(event: Event) -> Page:
    """Return an event as the model would put it."""
    previous = event.previous_severity
    return Page(
        event.rule,
        in_a_word(event),
        event.seq,
        event.severity.value,
        None if previous is None else previous.value,
        (event.sftp_host, event.labels["team"]),
    )


def a_campaign(policies: Policies, *, expected: bool = True) -> WatchedCampaign:
    """Return a campaign with these policies that was never polled."""
    return WatchedCampaign(replace(target_of(policies), expected=expected), REMIND_EVERY)


def an_on_call(policies: Policies, *, expected: bool = True) -> OnCall:
    """Return the model of such a campaign."""
    every = {key.value: every for key, every in REMIND_EVERY.items()}
    return OnCall(policies, every, CREATED_AT, expected=expected)


def take(campaign: WatchedCampaign, step: Step) -> tuple[Event, ...]:
    """Let the core take one step of a history."""
    match step:
        case Poll(at, seen, status_told, outage, others):
            status = None if status_told else "paused"
            campaign.target = replace(campaign.target, muted_status=status)
            return campaign.poll(observation(seen), at, outage, others)
        case Reload(at, policies, label):
            expected = campaign.target.expected
            return campaign.reload(replace(target_of(policies, label), expected=expected), at)
        case Restart(at):
            return campaign.restart(at)
        case Remove(at):
            return campaign.remove("campaign_removed", at)


def take_by_model(on_call: OnCall, step: Step) -> list[Page]:
    """Let the model take one step of a history."""
    match step:
        case Poll(at, seen, status_told, outage, others):
            return on_call.poll(
                seen, at, status_told=status_told, outage=outage, others_from=others
            )
        case Reload(at, policies, label):
            return on_call.change(policies, at, label)
        case Restart(at):
            return on_call.restart(at)
        case Remove():
            return on_call.remove()


def run(policies: Policies, history: Sequence[Step]) -> WatchedCampaign:
    """Return a campaign after a whole history."""
    campaign = a_campaign(policies)
    for step in history:
        take(campaign, step)
    return campaign


SPANS = st.sampled_from([0.0, 0.0, 5 * MINUTE, HOUR])
PASSING = st.sampled_from([0.0, 1.0, MINUTE, 5 * MINUTE, HOUR, 5 * HOUR])
OTHERS_AGO = st.sampled_from([None, 0.0, MINUTE, 5 * MINUTE, 5 * HOUR])
CLOCK_STEPS = st.sampled_from([-HOUR, -MINUTE, 30 * DAY])

SIGHTS = st.one_of(
    st.just(Seen("error")),
    st.just(Seen("gone")),
    st.builds(
        Seen,
        st.just("config"),
        enabled=st.booleans(),
        tested_at=st.sampled_from([None, NOW - 30 * HOUR, NOW - HOUR, NOW, NOW + 2 * HOUR]),
        passed=st.booleans(),
        host=st.sampled_from(["sftp.example", "new.example"]),
    ),
    st.just(Seen("config", tested_at=NOW, half=True)),
)


@st.composite
def some_policies(draw: st.DrawFn, *, without: frozenset[str] = frozenset()) -> Policies:
    """Draw settings of some of the rules; those that are left out are switched off."""
    severities = st.sampled_from([severity.value for severity in Severity])
    limits = st.sampled_from([0.0, HOUR, 24 * HOUR])
    policies = st.builds(Policy, severities, SPANS, SPANS, limits)
    return {
        rule: draw(policies) for rule in ORDER if rule not in without and draw(st.integers(0, 4))
    }


@st.composite
def some_polls(draw: st.DrawFn, *, inhibits: bool = True, backward: bool = False) -> list[Step]:
    """Draw polls at later and later instants; `backward`: with a clock that steps as well."""
    now, polls = NOW, []
    for _ in range(draw(st.integers(1, 15))):
        now += draw(st.one_of(PASSING, CLOCK_STEPS) if backward else PASSING)
        outage = draw(st.sampled_from([None, None, "api_unreachable"])) if inhibits else None
        status_told = bool(draw(st.integers(0, 4))) or not inhibits
        ago = draw(OTHERS_AGO)
        others = None if ago is None else now - ago
        polls.append(Poll(now, draw(SIGHTS), status_told, outage, others))
    return list[Step](polls)


@st.composite
def some_histories(draw: st.DrawFn) -> list[Step]:
    """Draw polls, with reloads, restarts and removals strewn in."""
    steps: list[Step] = []
    for poll in draw(some_polls(backward=True)):
        what = draw(st.sampled_from(["", "", "", "reload", "restart", "remove"]))
        if what == "reload":
            label = draw(st.sampled_from(["", "retail", "growth"]))
            steps.append(Reload(poll.at, draw(some_policies()), label))
        elif what == "restart":
            steps.append(Restart(poll.at))
        elif what == "remove":
            steps.append(Remove(poll.at))
        steps.append(poll)
    return steps
