"""One environment's connection tests: which are due, what holds them back, what they came to.

Synchronous, as the environment's state is: between a look at a guard and its use nothing awaits.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import structlog

from monitor.adapters.store import Change
from monitor.core import clock, outcomes
from monitor.core.attempt import (
    Attempt,
    CampaignTests,
    TestAnswer,
    Trigger,
    login_of,
    server_of,
)
from monitor.core.connection_tests import Plan, Tested, plan, probe
from monitor.core.guards import (
    EnvironmentTests,
    Guard,
    Guards,
    Hold,
    NotRun,
    Reason,
    Suspension,
)
from monitor.core.model import HOUR, Event, Observation, Seconds, SftpConfig
from monitor.core.outcomes import Step
from monitor.core.rule import Testing
from monitor.core.snapshot import Entry
from monitor.core.status import EnvironmentStatus
from monitor.core.text import rfc3339
from monitor.polling.environment_state import EnvironmentState
from monitor.polling.guard_book import GuardBook

# A test that is held back for longer counts as one that does not run.
HELD = HOUR

FORCED_GAP: Seconds = 0.001  # between two tests, where an operator overrides the gaps

log = structlog.get_logger()


class Tester:
    """The connection tests of one environment; `holds` says of which campaigns what holds them."""

    __test__ = False  # no test case of pytest's

    def __init__(
        self,
        state: EnvironmentState,
        book: GuardBook,
        count: Callable[[Attempt], None] = lambda _: None,
    ) -> None:
        """Test under `book`'s guards, which all environments share; `count` takes what ended."""
        self.holds: dict[str, Hold] = {}
        self.under_way: Attempt | None = None
        self._probed: str | None = None
        self.state, self._book, self._count = state, book, count

    def configure(self) -> None:
        """Take that the environment has started, has other settings, or knows who is there."""
        tests, now = self.state.status.tests, self.state.now()
        if not self.state.settings.tests_on:
            # Switched off they are forgotten, a suspension with them.
            if not self.state.settings.knows_nobody_else:
                self.put_environment(EnvironmentTests())
        elif tests.on_since is None:
            self.put_environment(replace(tests, on_since=now))

    def tested(self, key: str) -> Tested:
        """Return what a campaign's tests depend on now."""
        now = self.state.now()
        return self.state.entries[key].tested(now, clock.ahead(self.state.status, now)[0])

    def guards(self, config: SftpConfig | None) -> Guards:
        """Return all that may hold back a test of this config."""
        tests, url = self.state.status.tests, self.state.settings.environment.base_url
        suspended = self._book.suspended(url)
        if config is None:
            return Guards(environment=tests, suspended=suspended)
        login, host = self._book[login_of(config)], self._book[server_of(config)]
        return Guards(login=login, host=host, environment=tests, suspended=suspended)

    def plan(self, key: str) -> Plan | None:
        """Return when a campaign's next test may go out, and keep what holds it back."""
        self.holds.pop(key, None)
        entry = self.state.entries[key]
        if not entry.target.tests.enabled or self.state.status.breaker_open:
            return None
        tested = self.tested(key)
        planned = plan(tested, self.guards(tested.config))
        busy = self._busy(tested)
        if planned is not None and busy is not None and planned.hold is None:
            at = max(planned.at or 0.0, busy.until or 0.0)
            planned = planned._replace(at=at, hold=busy)
        if planned is not None and planned.hold is not None:
            self.holds[key] = planned.hold
            if planned.hold.reason is Reason.SUSPENDED:
                # When that is over each waits for its own minute: see `decided`.
                planned = planned._replace(at=None)
        if key == self._probed and self._may_probe([key]) is not None:
            planned = Plan(tested.now, Trigger.PROBE)
        return planned

    def _busy(self, tested: Tested) -> Hold | None:
        """Return what holds tests back while another one is under way."""
        if self.under_way is None:
            return None
        # One at a time: most end sooner, but nobody knows when.
        until = max(self.under_way.at + tested.settings.timeout, tested.now)
        return Hold(Reason.BUDGET, until, "another test is under way")

    def probe(self) -> str | None:
        """Return the campaign that is to be polled and probed now, as tests fail everywhere."""
        if self.state.status.tests.failing_since is None or self.under_way is not None:
            self._probed = None
            return None
        key = self._may_probe(self.state.entries)
        new, self._probed = key != self._probed, key
        return key if new else None

    def _may_probe(self, keys: Iterable[str]) -> str | None:
        tested = (self.tested(key) for key in keys)
        pairs = ((one, self.guards(one.config)) for one in tested)
        found = probe(pairs, self.state.status.tests)
        return found[1] if found is not None and found[0] <= self.state.now() else None

    def for_rules(self, key: str, seen: Observation) -> Testing:
        """Return where a campaign's tests stand, for the decision on what was just seen."""
        entry = self.state.entries.get(key)
        if entry is None or not isinstance(seen, SftpConfig):
            return Testing()
        if not (self.state.settings.tests_on or entry.status.tests.attempts):
            return Testing()
        settings, guards, hold = entry.target.tests, self.guards(seen), self.holds.get(key)
        now = self.state.now()
        held = hold is not None and (hold.until is None or hold.until > now + HELD)
        return Testing(
            wanted=settings.covers(seen) and entry.target.muted_status is None,
            held=hold.why if hold is not None and held else "",
            same_login=self._book.campaigns_on(login_of(seen)) if guards.login.fails else 0,
            since=guards.environment.on_since,
            guards=guards,
        )

    def decided(
        self, before: EnvironmentStatus, was: Entry, entry: Entry, guards: Guards | None
    ) -> None:
        """Take a decision on a campaign: what its record says of its login, and what changed."""
        state, config = self.state, entry.status.last_known.config
        now, changes = state.now(), entry.status.last_known.changes
        if changes != was.status.last_known.changes:
            note = outcomes.note_of_change(entry.status, changes[-1], entry.labels)
            _log_note(note)
            state.save(Change(events=(note,)))
        if guards is not None and config is not None:
            self._book[login_of(config)], self._book[server_of(config)] = guards.login, guards.host
        if not state.settings.tests_on:
            return
        left = self._book.left.pop(state.settings.environment.base_url, None)
        if left is not None and state.status.tests.suspended is None:
            self.put_environment(replace(state.status.tests, suspended=left))
        tests = state.status.tests
        idle_since = min((at for at in before.opened_at if at is not None), default=now)
        every = state.settings.environment.resolved.tests.every
        if tests.suspended is not None and not tests.suspended.lasts(now):
            self.put_environment(tests.resumed(now))
        elif not state.status.breaker_open and now - idle_since >= every:
            # They could not run for so long: begin anew, each campaign at its own minute.
            self.put_environment(replace(tests, on_since=now, round_over=False))

    def suspend(self, by: str) -> None:
        """Have no test run any more, until `resume`; where tests are off there is none."""
        if self.state.settings.tests_on:
            suspended = Suspension("suspended by hand", self.state.now(), by=by)
            self.put_environment(replace(self.state.status.tests, suspended=suspended))
            log.warning("tests_suspended", environment=self.state.name, by=by)

    def resume(self, by: str) -> None:
        """End a suspension, whatever it was for; tests begin anew, each at its own minute."""
        if self.state.status.tests.suspended is not None:
            self.put_environment(self.state.status.tests.resumed(self.state.now()))
            log.warning("tests_resumed", environment=self.state.name, by=by)

    def known_guards(self) -> tuple[Mapping[str, Guard], Suspension | None]:
        """Return all guards, and what suspends tests here, for a snapshot."""
        base_url = self.state.settings.environment.base_url
        return self._book.all(), self._book.suspended(base_url)

    def begin(self, key: str) -> Step | None:
        """Take all that a test needs, if one is due now, and have it stored; None: none is."""
        planned = self.plan(key)
        tested = self.tested(key)
        if planned is None or planned.at is None or planned.at > tested.now or planned.hold:
            return None
        return self._begin(tested, self.guards(tested.config), planned.trigger)

    def begin_now(
        self, key: str, by: str, *, force: bool = False, unblock: bool = False
    ) -> Step | Hold | NotRun:
        """Take all that a test needs which an operator asks for; or return what holds it back.

        The config may be switched off. `force` overrides gaps and `between`, `unblock` a block of
        the login: that is logged.
        """
        tested = self.tested(key)
        config, now = tested.config, tested.now
        if config is None:
            return NotRun("the campaign has no SFTP config")
        opens = tested.opens.from_(now)
        if opens > now and not force:
            return NotRun(f"outside of `between`: from {rfc3339(opens)} on, or with --force")
        # Where tests are off its record was not looked at.
        guards, settings = outcomes.recorded(tested, self.guards(config))[1], tested.settings
        if unblock:
            guards = replace(guards, login=guards.login.cleared(now))
        if force:
            # Not 0: one that is under way still holds.
            settings = replace(settings, login_gap=FORCED_GAP, host_gap=FORCED_GAP)
        moved_at = tested.status.last_known.moved_at
        hold = self._busy(tested) or guards.hold(settings, now, moved_at=moved_at)
        if hold is not None:
            return hold
        if unblock:
            known = {"environment": self.state.name, "campaign_id": key, "by": by}
            log.warning("login_unblocked", **known, sftp_host=config.host)
        return self._begin(tested, guards, Trigger.COMMAND, by)

    def _begin(self, tested: Tested, guards: Guards, trigger: Trigger, by: str = "") -> Step:
        per_minute = self.state.settings.environment.budget_per_minute
        step = outcomes.begin(tested, guards, trigger, per_minute, by)
        self.under_way = step.attempt
        self._put(step)
        return step

    def end(self, attempt: Attempt, answer: TestAnswer) -> Step:
        """Take what came of a test; where it was none, the step's campaign has no such attempt."""
        self.under_way, state = None, self.state
        now, entry = state.now(), state.entries.get(attempt.campaign_id)
        guards = replace(
            self.guards(None), login=self._book[attempt.login], host=self._book[attempt.server]
        )
        tests = entry.status.tests if entry else CampaignTests().begun(attempt)
        if tests.last is not None and tests.last.ended_at is None:
            attempt = tests.last  # its instants have gone along with a step of our clock
        ahead = clock.ahead(state.status, now)[0]
        step = outcomes.end(Step(attempt, tests, guards), answer, now, ahead)
        notes = tuple[Event, ...]()
        if step.attempt.ended_at is not None and state.settings.tests_on:
            self._count(step.attempt)
        if step.attempt.ended_at is not None and entry is not None:
            notes = (outcomes.note_of_test(step.attempt, entry.labels),)
            _log_note(notes[0])
        self._put(step, notes)
        return step

    def _put(self, step: Step, notes: tuple[Event, ...] = ()) -> None:
        """Put in force and store what a test changes."""
        attempt, state = step.attempt, self.state
        self._book[attempt.login] = step.guards.login
        self._book[attempt.server] = step.guards.host
        self.put_environment(step.guards.environment)
        state.put_tests(attempt.campaign_id, step.tests, notes)

    def put_environment(self, tests: EnvironmentTests) -> None:
        """Put in force and store what is remembered of the environment's tests."""
        if tests != self.state.status.tests:
            self.state.status = replace(self.state.status, tests=tests)
            self.state.save(Change(environments=(self.state.status,)))


def _log_note(note: Event) -> None:
    log.info(
        note.kind.value,
        environment=note.environment,
        campaign_id=note.campaign_id,
        sftp_host=note.sftp_host,
        **note.evidence,
    )
