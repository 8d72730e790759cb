"""A connection test from before it is sent to what its answer means: for campaign and guards."""

from dataclasses import dataclass, replace

from monitor.core.alerts import EventSource, note
from monitor.core.attempt import (
    SUSPECT_ANSWERS,
    Attempt,
    CampaignTests,
    Result,
    TestAnswer,
    TestReport,
    Trigger,
    login_of,
    server_of,
)
from monitor.core.connection_tests import Tested
from monitor.core.guards import BUSY_FOR, REFUSED_FOR, SWITCHED_OFF_WITHIN, Guards, Suspension
from monitor.core.model import (
    MINUTE,
    AlertLabels,
    Event,
    EventKind,
    Instant,
    PollError,
    Reason,
    Seconds,
    SftpConfig,
)
from monitor.core.status import CONNECTION, CampaignStatus, ConfigChange, values_of
from monitor.core.text import arrow, clean, rfc3339

# How far the platform's word on when it tested may be from now: further, it says nothing.
PLAUSIBLE = 5 * MINUTE

TURNED_AWAY = frozenset({403, 404, 405, 422})
# Not TLS_ERROR: that may come while the answer is read.
NOT_SENT = frozenset({Reason.CONNECT_ERROR, Reason.DNS_ERROR})


@dataclass(frozen=True, slots=True)
class Step:
    """An attempt, with what it changes: of its campaign, and of all that may hold others back."""

    attempt: Attempt
    tests: CampaignTests
    guards: Guards


def begin(
    tested: Tested, guards: Guards, trigger: Trigger, per_minute: float, by: str = ""
) -> Step:
    """Return what is to be stored before a test is sent; `per_minute` is the monitor's budget."""
    config, now, last = tested.config, tested.now, tested.status.tests.last
    assert config is not None
    environment, moved_at = guards.environment, tested.status.last_known.moved_at
    first = last is None or last.at < (environment.on_since or now)
    attempt = Attempt(
        environment=tested.status.environment,
        campaign_id=tested.status.campaign_id,
        server=server_of(config),
        login=login_of(config),
        at=now,
        trigger=trigger,
        by=by,
        # One that confirms the first one belongs to it.
        first=first or (trigger is Trigger.CONFIRM and last is not None and last.first),
    )
    changed = guards.changed(tested.settings, moved_at, now)
    spacing = MINUTE / (per_minute * tested.settings.budget_share)
    after = replace(
        guards,
        login=guards.login.begun(now, changed=changed),
        host=guards.host.begun(now),
        environment=replace(
            environment,
            next_at=max(environment.next_at, now) + spacing,
            probed_at=now if trigger is Trigger.PROBE else environment.probed_at,
        ),
    )
    return Step(attempt, tested.status.tests.begun(attempt), after)


def end(begun: Step, answer: TestAnswer, now: Instant, ahead: Seconds) -> Step:
    """Return what an answer that came at `now` means; `begun` has tests and guards as they are now.

    `ahead` is how far the platform's clock is ahead of ours.
    An attempt that never reached the server, or was turned away, is none: it is not in `tests`.
    """
    said, environment = answer.observation, begun.guards.environment
    if isinstance(said, PollError) and _is_none(answer, said):
        wait = BUSY_FOR
        if answer.status in TURNED_AWAY:
            wait = REFUSED_FOR
            environment = environment.turned_away(begun.attempt.campaign_id, answer.status, now)
        if answer.status == 429:
            environment = environment.slowed(now, answer.pause or MINUTE)
        tests = replace(begun.tests.withdrawn(begun.attempt), not_before=now + wait)
        guards = replace(
            begun.guards,
            login=begun.guards.login.withdrawn(),
            host=begun.guards.host.withdrawn(),
            environment=environment,
        )
        return Step(begun.attempt, tests, guards)
    attempt = replace(begun.attempt, ended_at=now)
    if isinstance(said, TestReport) and abs(said.tested_at - ahead - now) <= PLAUSIBLE:
        attempt = replace(
            attempt,
            result=Result.PASSED if said.passed else Result.FAILED,
            tested_at=said.tested_at,
            cause=said.cause,
            import_path=said.import_path,
            export_path=said.export_path,
        )
    guards = replace(
        begun.guards,
        login=begun.guards.login.ended(attempt),
        host=begun.guards.host.ended(attempt, host=True),
        environment=environment.ended(attempt, now),
    )
    return Step(attempt, begun.tests.ended(attempt), guards)


def _is_none(answer: TestAnswer, error: PollError) -> bool:
    """Return whether no test can have been run: that is no attempt."""
    if not answer.status:
        return error.reason in NOT_SENT
    return answer.status in TURNED_AWAY or answer.status in {401, 409, 429}


def recorded(tested: Tested, guards: Guards) -> tuple[CampaignTests, Guards]:
    """Return a campaign's tests and guards after a definite answer and its test on record."""
    config, before = tested.config, tested.status.tests
    under_way = before.last is not None and before.last.at == guards.login.under_way
    if config is None or config.half_tested or not tested.recorded_at or under_way:
        return before, guards
    tests = before.recorded(config, tested.ahead, tested.settings.timeout)
    ours, passed = tests.on_record(config), bool(config.last_test_success)
    # Of ours we know by our own clock when it was.
    at = ours.at if ours else tested.recorded_at
    # A pass from before it was another login says nothing of this one.
    if not passed or at > tested.status.last_known.moved_at:
        login = guards.login.recorded(at, passed=passed, ours=ours is not None)
        guards = replace(guards, login=login)
    host = replace(guards.host, last_at=max(guards.host.last_at or 0.0, at))
    if ours is not None and tests is not before:
        guards = replace(guards, environment=guards.environment.ended(ours, tested.now))
        if passed:
            # It was counted as a failed login, for its answer was lost.
            host = replace(host, failures=tuple(one for one in host.failures if one != ours.at))
    return tests, replace(guards, host=host)


def switched_off(
    before: CampaignStatus, seen: SftpConfig, now: Instant, name: str = ""
) -> tuple[CampaignTests, Suspension | None]:
    """Return a campaign's tests after a definite answer, and whether one of them switched it off.

    That is: a config that was on is off within 15 minutes of a failed test, and nothing else of it
    has changed, in the first answer that has the failed test on record or one of the three after.
    """
    tests, last, was = before.tests, before.tests.last, before.last_known.config
    if not tests.suspect or last is None or was is None:
        return tests, None
    shown = tests.on_record(seen) is last or tests.suspect < SUSPECT_ANSWERS
    left = tests.suspect - 1 if shown else tests.suspect
    same = values_of(was, CONNECTION) == values_of(seen, CONNECTION)
    soon = now - last.at <= SWITCHED_OFF_WITHIN
    if was.is_enabled and not seen.is_enabled and same and soon:
        key, at = before.campaign_id, rfc3339(last.at)
        which = clean(name, 64) or key
        why = f"TalkOver has switched {which} off after our failed test at {at}"
        return replace(tests, suspect=0), Suspension(why, now, campaign_id=key)
    return replace(tests, suspect=left), None


def note_of_test(attempt: Attempt, labels: AlertLabels) -> Event:
    """Return a test of ours as an entry of the history."""
    reached = {None: "", True: "accessible", False: "not accessible"}
    at = attempt.ended_at or attempt.at
    evidence = {
        "trigger": attempt.trigger.value,
        "by": attempt.by,
        "result": attempt.result.value,
        "cause": attempt.cause,
        "import_path": reached[attempt.import_path],
        "export_path": reached[attempt.export_path],
        "duration": f"{at - attempt.at:.1f} s",
    }
    said = f': TalkOver says: "{attempt.cause}"' if attempt.cause else ""
    known = {name: text for name, text in evidence.items() if text}
    summary = f"connection test ({attempt.trigger}): {attempt.result}{said}"
    source = EventSource(attempt.environment, labels, at, campaign_id=attempt.campaign_id)
    return note(EventKind.TEST, source, summary, known)


def note_of_change(status: CampaignStatus, change: ConfigChange, labels: AlertLabels) -> Event:
    """Return a changed config as an entry of the history."""
    evidence = {name: arrow(pair) for name, pair in change.fields.items()}
    summary = f"SFTP config changed: {', '.join(evidence)}"
    if change.since is not None:
        evidence["last_seen_before"] = rfc3339(change.since)
    source = EventSource(status.environment, labels, change.at, campaign_id=status.campaign_id)
    return note(EventKind.CHANGE, source, summary, evidence)
