"""What the API and the page say of a finding is what the decision said, whatever happens."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core import assess
from monitor.core.environment import CALLS_TO_OPEN, EnvironmentInput
from monitor.core.model import Answer, Finding, Instant, PageAnswer, PollError, Reason
from monitor.core.rule import Target, evaluate_by
from monitor.core.status import CampaignStatus
from support.histories import (
    Poll,
    Reload,
    Remove,
    Restart,
    Step,
    observation,
    some_histories,
    some_policies,
    target_of,
)
from support.model import Policies
from support.shown import (
    SteeredClock,
    a_watch,
    compare,
    compare_environment,
    compare_event,
    compare_gauge,
    some_settings,
)

REASONS = st.sampled_from(
    [Reason.TIMEOUT, Reason.TIMEOUT, Reason.UNAUTHORIZED, Reason.FORBIDDEN, Reason.SCHEMA_MISMATCH]
)
EXAMPLES = settings().max_examples


@dataclass
class Watched:
    """A campaign under a real watch, beside what was decided of it."""

    target: Target
    clock: SteeredClock
    key: str = "c-1"
    decided: Mapping[str, Finding] | None = None
    generation: int = 0

    def __post_init__(self) -> None:
        self.state = a_watch(self.clock, self.target)

    def aim(self, target: Target) -> None:
        """Take a changed config: what was found of rules that stay stays."""
        self.target = target
        list(self.state.configure(some_settings(target)))
        if self.decided is not None:
            self.decided = {k: v for k, v in self.decided.items() if k in target.rules}

    def restart(self) -> None:
        """Start again with what is stored: nothing was read since."""
        known = {key: replace(one, failures=None) for key, one in self.state.campaigns.items()}
        self.state = a_watch(self.clock, self.target, known, self.state.status)
        self.decided = None
        compare_environment(self.state, None)

    def remove(self) -> None:
        """Take the campaign off the list and put it on again: another life."""
        list(self.state.configure(some_settings(replace(self.target, campaign_id="c-2"))))
        assert self.key not in self.state.entries
        list(self.state.configure(some_settings(self.target)))
        self.decided = None

    def outage(self, at: Instant) -> None:
        """Have three calls for the listing unanswered: the breaker opens, nobody was polled."""
        for _ in range(CALLS_TO_OPEN):
            answer = PageAnswer(PollError(Reason.TIMEOUT))
            self.state.decide("*", answer, self.generation, 0.0)
        self._compare_environment(at)
        compare(self.state, self.key, self.decided)

    def poll(self, at: Instant, answer: Answer) -> None:
        """Decide on an answer, and work out beside the watch what is decided by it."""
        before = self.state.campaigns.get(self.key) or CampaignStatus(
            environment=self.target.environment, campaign_id=self.key
        )
        self.generation += 1
        self.state.decide(self.key, answer, self.generation, 0.0)
        status = self.state.status
        self._compare_environment(at)
        if status.breaker_open and isinstance(answer.observation, PollError):
            note("breaker open")
            return
        decision = assess.assess(
            before,
            self.target,
            answer.observation,
            at,
            remind_every={},
            environment=status,
        )
        self.decided = decision.findings
        compare_gauge(self.state, self.key, decision.findings)
        for event in decision.events:
            note(f"notified: {event.status}")
            compare_event(self.state, self.key, event)

    def _compare_environment(self, at: Instant) -> None:
        rules, status = self.state.settings.environment.resolved.rules, self.state.status
        context = self.state.settings.context_at(self.state.pace)
        found = evaluate_by(rules, EnvironmentInput(status, context, at))
        compare_environment(self.state, found)


@settings(max_examples=2 * EXAMPLES)
@given(
    some_policies(),
    some_histories(),
    st.booleans(),
    st.lists(REASONS, min_size=1, max_size=5),
    st.lists(st.booleans(), min_size=1, max_size=5),
)
def test_views_say_what_was_decided(
    policies: Policies,
    history: list[Step],
    discovered: bool,
    reasons: list[Reason],
    relisted: list[bool],
) -> None:
    listed = replace(target_of(policies), listed=not discovered)
    watched = Watched(listed, SteeredClock(history[0].at))
    compare(watched.state, watched.key, None)
    for number, step in enumerate(history):
        watched.clock.mono += max(0.0, step.at - watched.clock.at)
        watched.clock.at = step.at
        match step:
            case Reload(_, changed):
                watched.aim(replace(watched.target, rules=target_of(changed).rules))
            case Restart():
                watched.restart()
            case Remove():
                watched.remove()
            case Poll(at, seen, status_told, outage):
                listing = at if relisted[number % len(relisted)] else watched.target.listed_at
                status = None if status_told else "paused"
                aim = replace(watched.target, muted_status=status, listed_at=listing)
                watched.aim(aim)
                if outage is not None:
                    watched.outage(at)
                saw = observation(seen)
                if isinstance(saw, PollError):
                    saw = PollError(reasons[number % len(reasons)])
                watched.poll(at, Answer(saw))
        note(type(step).__name__)
        compare(watched.state, watched.key, watched.decided)


@pytest.mark.slow
def test_views_say_what_was_decided_in_every_timeline_of_the_core() -> None:
    """The core's own tests once more, each decision through a watch, its board and both views."""
    tests = Path(__file__).parent.parent
    plugins = ("-p", "support.through_views", "-p", "no:xdist", "-p", "no:cacheprovider")
    ended = subprocess.run(
        # Random histories go through a watch above; here are those that somebody wrote down.
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            *plugins,
            "-m",
            "not hypothesis",
            # Half of the time, and it decides nothing of a config.
            f"--ignore={tests / 'core' / 'test_tests_do_no_harm.py'}",
            str(tests / "core"),
        ],
        cwd=tests.parent,
        env={**os.environ, "PYTHONPATH": str(tests)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-4000:]
    compared = re.search(r"(\d+) decisions were compared with what is shown", ended.stdout)
    assert compared is not None
    assert int(compared[1]) > 500
