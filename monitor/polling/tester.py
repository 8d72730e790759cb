"""One environment's connection tests: which are due, what holds them back, what they came to.

Synchronous, as the environment's state is: between a look at a guard and its use nothing awaits.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import structlog

from monitor.adapters.store import Change
from monitor.core import clock, outcomes
from monitor.core.attempt import Attempt, CampaignTests, TestAnswer, Trigger, login_of, server_of
from monitor.core.connection_tests import Plan, Tested, plan, probe
from monitor.core.guards import EnvironmentTests, Guards, Hold, NotRun, Reason, Suspension
from monitor.core.model import HOUR, Event, Observation, Seconds, SftpConfig
from monitor.core.outcomes import Step
from monitor.core.rule import NO_TESTS, Testing
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
    """The connection tests of one environment; `planned` is the next one of each campaign."""

    __test__ = False  # no test case of pytest's

    def __init__(
        self,
        state: EnvironmentState,
        book: GuardBook,
        count: Callable[[Attempt], None] = lambda _: None,
    ) -> None:
        """Test under `book`'s guards, which all environments share; `count` takes what ended."""
        self.planned: dict[str, Plan] = {}
        self.under_way: Attempt | None = None
        self._probed: str | None = None
        self.state, self._book, self._count = state, book, count

    def configure(self) -> None:
        """Take that the environment has started, has other settings, or knows who is there."""
        now, tests = self.state.now(), self.state.status.tests
        if not self.state.settings.tests_on:
            # Switched off they are forgotten, a suspension with them.
            if not self.state.settings.knows_nobody_else:
                self.put_environment(EnvironmentTests())
        elif tests.on_since is None:
            self.put_environment(replace(tests, on_since=now))

    def tested(self, key: str) -> Tested:
        """Return what a campaign's tests depend on now."""
        now = self.state.now()
        entry = self.state.entries[key]
        return Tested(entry.status, entry.target, now, clock.ahead(self.state.status, now)[0])

    @property
    def suspended(self) -> Suspension | None:
        """What suspends tests here; None: nothing does."""
        return self._book.suspended(self.state.settings.environment.base_url)

    def guards(self, config: SftpConfig | None) -> Guards:
        """Return all that may hold back a test of this config."""
        guards = Guards(environment=self.state.status.tests, suspended=self.suspended)
        if config is None:
            return guards
        login, host = self._book[login_of(config)], self._book[server_of(config)]
        return replace(guards, login=login, host=host)

    def plan(self, key: str) -> Plan | None:
        """Return when a campaign's next test may go out, and keep that for who shows it."""
        self.planned.pop(key, None)
        entry = self.state.entries[key]
        if not entry.target.tests.enabled or self.state.status.breaker_open:
            return None
        tested = self.tested(key)
        probed = key == self._probed and self._may_probe([key]) is not None
        usual = plan(tested, self.guards(tested.config))
        found = Plan(tested.now, Trigger.PROBE) if probed else usual
        if found is None:
            return None
        busy = self._busy(tested) if found.hold is None else None
        if busy is not None:
            found = found._replace(at=max(found.at or 0.0, busy.until or 0.0), hold=busy)
        if found.hold is not None and found.hold.reason is Reason.SUSPENDED:
            # When that is over each waits for its own minute: see `decided`.
            found = found._replace(at=None)
        self.planned[key] = found
        return found

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
        entry, on = self.state.entries.get(key), self.state.settings.tests_on
        if entry is None or not isinstance(seen, SftpConfig):
            return NO_TESTS
        if not (on or entry.status.tests.attempts):
            return NO_TESTS
        guards, planned, held = self.guards(seen), self.planned.get(key), ""
        if planned is not None and planned.hold is not None:
            until = planned.hold.until
            held = planned.hold.why if until is None or until > self.state.now() + HELD else ""
        same_login = self._book.campaigns_on(login_of(seen)) if guards.login.fails else 0
        return Testing(held=held, same_login=same_login, guards=guards)

    def decided(
        self, before: EnvironmentStatus, was: Entry, entry: Entry, guards: Guards | None
    ) -> None:
        """Take a decision on a campaign: what its record says of its login, and what changed."""
        state, last_known = self.state, entry.status.last_known
        now, config = state.now(), last_known.config
        if last_known.changes != was.status.last_known.changes:
            note = outcomes.note_of_change(entry.status, last_known.changes[-1], entry.labels)
            _log_note(note)
            state.save(Change(events=(note,)))
        if guards is not None and config is not None:
            self._book[login_of(config)], self._book[server_of(config)] = guards.login, guards.host
        if not state.settings.tests_on:
            return
        left = self._book.left.pop(state.settings.environment.base_url, None)
        tests = replace(state.status.tests, suspended=state.status.tests.suspended or left)
        idle_since = min((at for at in before.opened_at if at is not None), default=now)
        every = state.settings.environment.resolved.tests.every
        if tests.suspended is not None and not tests.suspended.lasts(now):
            tests = tests.resumed(now)
        elif not state.status.breaker_open and now - idle_since >= every:
            # They could not run for so long: begin anew, each campaign at its own minute.
            tests = replace(tests, on_since=now, round_over=False)
        self.put_environment(tests)

    def switch(self, by: str, *, on: bool) -> None:
        """End a suspension, whatever it was for, or have no test run any more until then."""
        now, tests = self.state.now(), self.state.status.tests
        if on and tests.suspended is not None:
            after = tests.resumed(now)
        elif not on and self.state.settings.tests_on:
            after = replace(tests, suspended=Suspension("suspended by hand", now, by=by))
        else:
            return
        self.put_environment(after)
        for key in self.state.entries:
            self.plan(key)  # so that who looks sees it at once
        what = "tests_resumed" if on else "tests_suspended"
        log.warning(what, environment=self.state.name, by=by)

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
        self._book.free(step.attempt)
        self.under_way = step.attempt
        self._put(step)
        return step

    def end(self, attempt: Attempt, answer: TestAnswer) -> None:
        """Take what came of a test; one that was none is forgotten."""
        self.under_way, state = None, self.state
        now, entry = state.now(), state.entries.get(attempt.campaign_id)
        login, host = self._book[attempt.login], self._book[attempt.server]
        guards = replace(self.guards(None), login=login, host=host)
        tests = entry.status.tests if entry else CampaignTests().begun(attempt)
        if tests.last is not None and tests.last.ended_at is None:
            attempt = tests.last  # its instants have gone along with a step of our clock
        ahead = clock.ahead(state.status, now)[0]
        step = outcomes.end(Step(attempt, tests, guards), answer, now, ahead)
        over = step.attempt.ended_at is not None
        if over and state.settings.tests_on:
            self._count(step.attempt)
        notes = (outcomes.note_of_test(step.attempt, entry.labels),) if over and entry else ()
        for note in notes:
            _log_note(note)
        self._put(step, notes)
        self._book.free(attempt)

    def has_guards(self, attempt: Attempt) -> bool:
        """Return whether the login and the host of an attempt are ours, and no other replica's."""
        return not self._book.lost & {attempt.login, attempt.server}

    def _put(self, step: Step, notes: tuple[Event, ...] = ()) -> None:
        """Put in force and store what a test changes."""
        attempt, state = step.attempt, self.state
        guards = {attempt.login: step.guards.login, attempt.server: step.guards.host}
        for key in guards.keys() - self._book.lost:
            self._book[key] = guards[key]
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
