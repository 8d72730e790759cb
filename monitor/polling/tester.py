"""One environment's connection tests: which are due, what holds them back, what they came to.

Synchronous, as the environment's state is: between a look at a guard and its use nothing awaits.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from monitor.adapters.store import Change
from monitor.core import clock, outcomes
from monitor.core.attempt import Attempt, CampaignTests, Trigger, login_of, server_of
from monitor.core.connection_tests import Plan, Tested, plan, probe
from monitor.core.guards import EnvironmentTests, Guard, Guards, Hold, Reason, Suspension
from monitor.core.model import HOUR, Event, Instant, Observation, SftpConfig, TestAnswer
from monitor.core.outcomes import Step
from monitor.core.rule import Testing
from monitor.core.snapshot import Entry
from monitor.core.status import EnvironmentStatus
from monitor.polling.environment_state import STEP, EnvironmentState
from monitor.polling.settings import Clock

# A test that is held back for longer counts as one that does not run.
HELD = HOUR

log = structlog.get_logger()


class GuardBook:
    """The guards of logins (`user@host:port`) and hosts (`host:port`), for all environments."""

    def __init__(self, clock: Clock, save: Callable[[Change], None]) -> None:
        """Begin with none; `save` takes every change."""
        self.environments: dict[str, EnvironmentState] = {}
        self._clock, self._save = clock, save
        self._known: dict[str, Guard] = {}
        self._offset = clock.wall() - clock.elapsed()

    def restore(self, known: Mapping[str, Guard]) -> None:
        """Take those of before the start: what was under way then counts as failed."""
        self._known = {key: guard.restored() for key, guard in known.items()} | self._known

    def __getitem__(self, key: str) -> Guard:
        """Return a guard; its instants go along with the steps of our clock."""
        offset = self._clock.wall() - self._clock.elapsed()
        step, self._offset = offset - self._offset, offset
        if abs(step) > STEP:
            self._known = {key: one.stepped(step) for key, one in self._known.items()}
            self._save(Change(guards=dict(self._known)))
        return self._known.get(key, Guard())

    def __setitem__(self, key: str, guard: Guard) -> None:
        """Put a guard in force, and have it stored."""
        if guard != self._known.get(key, Guard()):
            self._known[key] = guard
            self._save(Change(guards={key: guard}))

    def campaigns_on(self, login: str) -> int:
        """Return how many campaigns have this login, whichever environment they are in."""
        entries = (one for state in self.environments.values() for one in state.entries.values())
        configs = (entry.status.last_known.config for entry in entries)
        return sum(config is not None and login_of(config) == login for config in configs)

    def suspended(self, base_url: str) -> Suspension | None:
        """Return why no test may be run at a platform; None: they may."""
        states = self.environments.values()
        here = (one for one in states if one.settings.environment.base_url == base_url)
        return next((s for one in here if (s := one.status.tests.suspended)), None)


class Tester:
    """The connection tests of one environment; `holds` says of which campaigns what holds them."""

    def __init__(self, state: EnvironmentState, book: GuardBook) -> None:
        """Test under `book`'s guards, which all environments share."""
        self.holds: dict[str, Hold] = {}
        self.under_way: Attempt | None = None
        self.probe: tuple[Instant, str] | None = None  # when whom, while tests fail everywhere
        self._state, self._book = state, book

    def configure(self) -> None:
        """Take that the environment has started, has other settings, or knows who is there."""
        tests, now = self._state.status.tests, self._state.now()
        if not self._state.settings.tests_on:
            # Switched off they are forgotten, a suspension with them.
            if not self._state.settings.knows_nobody_else:
                self._put_environment(EnvironmentTests())
        elif tests.on_since is None:
            self._put_environment(replace(tests, on_since=now))
        else:
            self._note_gap(self._state.status.called_at or now, now)

    def _note_gap(self, idle_since: Instant, now: Instant) -> None:
        """Have tests begin anew where they could not run for as long as they are apart."""
        every = self._state.settings.environment.resolved.tests.every
        if now - idle_since >= every:
            self._put_environment(replace(self._state.status.tests, on_since=now))

    def tested(self, key: str) -> Tested:
        """Return what a campaign's tests depend on now."""
        state, entry = self._state, self._state.entries[key]
        now = state.now()
        return Tested(
            status=entry.status,
            settings=entry.target.tests,
            now=now,
            zone=entry.target.calls.zone,
            muted=entry.target.muted_status is not None,
            ahead=clock.ahead(state.status, now)[0],
        )

    def choose_probe(self) -> list[str]:
        """Choose whom to probe while tests fail everywhere; return who is to be planned anew."""
        failing, before = self._state.status.tests.failing_since is not None, self.probe
        tested = map(self.tested, self._state.entries if failing else ())
        self.probe = probe(((t, self.guards(t.config)) for t in tested), self._state.status.tests)
        if self.probe is not None:
            return [self.probe[1]]
        return [] if before is None else list(self.holds)

    def guards(self, config: SftpConfig | None) -> Guards:
        """Return all that may hold back a test of this config."""
        tests, url = self._state.status.tests, self._state.settings.environment.base_url
        suspended = self._book.suspended(url)
        if config is None:
            return Guards(environment=tests, suspended=suspended)
        login, host = self._book[login_of(config)], self._book[server_of(config)]
        return Guards(login=login, host=host, environment=tests, suspended=suspended)

    def plan(self, key: str) -> Plan | None:
        """Return when a campaign's next test may go out, and keep what holds it back."""
        self.holds.pop(key, None)
        entry = self._state.entries[key]
        if not entry.target.tests.enabled or self._state.status.breaker_open:
            return None
        tested = self.tested(key)
        planned = plan(tested, self.guards(tested.config))
        if planned is not None and self.probe is not None and self.probe[1] == key:
            planned = Plan(max(self.probe[0], tested.now), Trigger.PROBE)
        busy = self.under_way
        if planned is not None and busy is not None and planned.hold is None:
            # One at a time: most end sooner, but nobody knows when.
            until = max(busy.at + tested.settings.timeout, tested.now)
            hold = Hold(Reason.BUDGET, until, "another test is under way")
            planned = planned._replace(at=max(planned.at or until, until), hold=hold)
        if planned is not None and planned.hold is not None:
            self.holds[key] = planned.hold
        return planned

    def for_rules(self, key: str, seen: Observation) -> Testing:
        """Return where a campaign's tests stand, for the decision on what was just seen."""
        entry = self._state.entries.get(key)
        if entry is None or not entry.target.tests.enabled or not isinstance(seen, SftpConfig):
            return Testing()
        settings, guards, hold = entry.target.tests, self.guards(seen), self.holds.get(key)
        blocked, now = guards.blocked(settings), self._state.now()
        held = hold is not None and (hold.until is None or hold.until > now + HELD)
        return Testing(
            wanted=settings.covers(seen) and entry.target.muted_status is None,
            held=hold.why if hold is not None and held else "",
            blocked_since=min(guards.login.failures, default=None) if blocked else None,
            same_login=self._book.campaigns_on(login_of(seen)) if blocked else 0,
            since=guards.environment.on_since,
        )

    def decided(self, before: EnvironmentStatus, was: Entry, entry: Entry) -> None:
        """Take a decision on a campaign: what its record says of its login, and what changed."""
        state, config = self._state, entry.status.last_known.config
        now, changes = state.now(), entry.status.last_known.changes
        if (
            changes
            and changes[-1].at == entry.status.polled_at
            and changes != was.status.last_known.changes
        ):
            note = outcomes.note_of_change(entry.status, changes[-1], entry.labels)
            _log_note(note)
            state.save(Change(events=(note,)))
        if not state.settings.tests_on:
            return
        if before.breaker_open and not state.status.breaker_open:
            opened = [at for at in (before.outage_at, before.rejected_at) if at is not None]
            self._note_gap(min(opened, default=now), now)
        suspended = state.status.tests.suspended
        if suspended is not None and suspended.until is not None and suspended.until <= now:
            self._put_environment(state.status.tests.resumed(now))
        if entry.status.error is None and config is not None and config.last_test_at is not None:
            at = min(config.last_test_at - clock.ahead(state.status, now)[0], now)
            ours = entry.status.tests.on_record(config) is not None
            for name in (login_of(config), server_of(config)):
                passed = bool(config.last_test_success)
                self._book[name] = self._book[name].recorded(at, passed=passed, ours=ours)

    def begin(self, key: str) -> Step | None:
        """Take all that a test needs, if one is due now, and have it stored; None: none is."""
        planned = self.plan(key)
        tested = self.tested(key)
        if planned is None or planned.at is None or planned.at > tested.now or planned.hold:
            return None
        return self._begin(tested, planned.trigger)

    def _begin(self, tested: Tested, trigger: Trigger, by: str = "") -> Step:
        per_minute = self._state.settings.environment.budget_per_minute
        step = outcomes.begin(tested, self.guards(tested.config), trigger, per_minute, by)
        self.under_way = step.attempt
        self._put(step)
        return step

    def end(self, attempt: Attempt, answer: TestAnswer) -> Step:
        """Take what came of a test; where it was none, the step's campaign has no such attempt."""
        self.under_way, state = None, self._state
        now, entry = state.now(), state.entries.get(attempt.campaign_id)
        hosts = {
            key: server_of(config)
            for key in (*state.status.tests.passed, attempt.campaign_id)
            if key in state.entries and (config := state.entries[key].status.last_known.config)
        }
        guards = replace(
            self.guards(None), login=self._book[attempt.login], host=self._book[attempt.server]
        )
        tests = entry.status.tests if entry else CampaignTests().begun(attempt)
        ahead = clock.ahead(state.status, now)[0]
        step = outcomes.end(Step(attempt, tests, guards), answer, now, ahead, hosts)
        notes = tuple[Event, ...]()
        if step.attempt.ended_at is not None and entry is not None:
            notes = (outcomes.note_of_test(step.attempt, entry.labels),)
            _log_note(notes[0])
        self._put(step, notes)
        return step

    def _put(self, step: Step, notes: tuple[Event, ...] = ()) -> None:
        """Put in force and store what a test changes."""
        attempt, state = step.attempt, self._state
        self._book[attempt.login] = step.guards.login
        self._book[attempt.server] = step.guards.host
        self._put_environment(step.guards.environment)
        state.put_tests(attempt.campaign_id, step.tests, notes)

    def _put_environment(self, tests: EnvironmentTests) -> None:
        if tests != self._state.status.tests:
            self._state.status = replace(self._state.status, tests=tests)
            self._state.save(Change(environments=(self._state.status,)))


def _log_note(note: Event) -> None:
    log.info(
        note.kind.value,
        environment=note.environment,
        campaign_id=note.campaign_id,
        sftp_host=note.sftp_host,
        **note.evidence,
    )
