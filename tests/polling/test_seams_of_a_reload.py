"""What happens between one campaign and the next while a config is taken happens as if before it.

Or as if after it: for each campaign by itself, at each place, whatever happens there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from monitor.adapters.store import Change
from monitor.config import Config, load_config
from monitor.core.model import Answer, Event, EventStatus, NoConfig, Page, PollError, Reason
from monitor.core.status import CampaignStatus, EnvironmentStatus
from monitor.polling.environment_state import LISTING, EnvironmentState
from monitor.polling.settings import Settings
from support.shown import SteeredClock
from support.virtual import START, config, listed

STAYS = ["same", "labels", "softer", "ruleless", "named"]
BEFORE = """
environments:
  - name: production
    token: ${T}
    discovery: {enabled: true, statuses: [active]}
    campaigns:
      - {id: same}
      - {id: labels, labels: {team: a}}
      - {id: softer}
      - {id: gone}
      - {id: ruleless}
      - {id: named}
"""
AFTER = """
environments:
  - name: production
    token: ${T}
    discovery: {enabled: true, statuses: [active]}
    campaigns:
      - {id: new}
      - {id: named, name: Retail}
      - {id: same}
      - {id: labels, labels: {team: b}}
      - {id: softer, rules: {failed_test: {severity: warning}}}
      - {id: ruleless, rules: {failed_test: {enabled: false}}}
"""
LISTED = ["same", "labels", "softer", "found", "lost"]
"""Whom the listing of before has."""


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Config]:
    """Return the config of before, and the new one, as a reload has it."""
    file = tmp_path_factory.mktemp("configs") / "monitor.yaml"
    found = []
    for text in (BEFORE, AFTER):
        file.write_text(text)
        found.append(load_config(file, {"T": "talq_test"}))
    return found[0], found[1].sharing_with(found[0])


@dataclass
class Case:
    """An environment that has polled everybody, and found that all of their tests have failed."""

    before: Config
    after: Config
    clock: SteeredClock = field(default_factory=lambda: SteeredClock(START))
    events: list[Event] = field(default_factory=list)
    stored: dict[str, CampaignStatus] = field(default_factory=dict)

    def __post_init__(self) -> None:
        before, status = self.settings(self.before), EnvironmentStatus(name="production")
        self.state = EnvironmentState(before, self.clock, self._save, status, {})
        list(self.state.configure(before))
        self.listing(LISTED)
        for key in list(self.state.entries):
            self.answer(key, failed=True)
        assert len(self.events) == len(self.state.entries)
        self.events.clear()
        self.clock.at, self.clock.mono = START + 60, 60.0

    def _save(self, change: Change) -> None:
        self.events += change.events
        self.stored |= {one.campaign_id: one for one in change.campaigns}

    def settings(self, config: Config) -> Settings:
        known = getattr(self, "state", None)
        more = (known.settings.target_set, known.settings.targets) if known else ()
        return Settings(config.environments[0], config.polling, config.alerts, *more)

    def answer(self, key: str, *, failed: bool) -> None:
        """Take an answer about a campaign: its test has failed, or passed since."""
        seen = config(key, START, last_test_success=not failed)
        if not failed:
            seen = replace(seen, last_test_at=START + 30)
        self.state.decide(key, Answer(seen), 0, 0.1)

    def listing(self, keys: list[str]) -> None:
        """Take a whole listing, as often as it takes to be believed."""
        for _ in range(3):
            self.state.take_page(Page(tuple(map(listed, keys)), 1, True, len(keys)))

    def take(self, at: int | None = None, happening: Callable[[], object] = int) -> None:
        """Take the new config; this happens after so many steps of it."""
        for number, _ in enumerate(self.state.configure(self.settings(self.after), every=False)):
            if number == at:
                happening()
        self.state.doubts.restore(self.state.entries)

    def outcome(self) -> Any:
        """Return all that is known in the end, and what was sent, whatever came first."""
        assert [(key, one.target) for key, one in self.state.entries.items()] == [
            *self.state.settings.targets.items()
        ]
        for key, entry in self.state.entries.items():
            assert self.state.campaigns.get(key, entry.status) is entry.status
            assert set(entry.findings or {}) <= set(entry.target.rules)
        sent = [(e.campaign_id, e.rule, e.status, e.severity, e.seq, e.reason) for e in self.events]
        alerts = {key: one.alerts for key, one in self.state.campaigns.items()}
        assert {key: one.alerts for key, one in self.stored.items()} == alerts
        # A campaign's own events are in order.
        return alerts, {key: [one for one in sent if one[0] == key] for key in alerts}


def _answers(key: str, *, failed: bool) -> Callable[[Case], object]:
    return lambda case: case.answer(key, failed=failed)


HAPPENINGS: dict[str, Callable[[Case], object]] = {
    **{
        f"{key} answers: {'as before' if failed else 'recovered'}": _answers(key, failed=failed)
        for key in [*STAYS, "gone", "new", "found", "lost"]
        for failed in (True, False)
    },
    "one is gone at the platform": lambda case: case.state.decide(
        "softer", Answer(NoConfig()), 0, 0.1
    ),
    "one cannot be read": lambda case: case.state.decide(
        "softer", Answer(PollError(Reason.TIMEOUT)), 0, 0.1
    ),
    "a listing lacks one, and has a new one": lambda case: case.listing(
        ["same", "labels", "softer", "found", "joined"]
    ),
}
STEPS = 11
"""How many steps it takes: the listing, who has left (asked for twice), then each campaign."""


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("happening", HAPPENINGS)
def test_whatever_happens_while_a_config_is_taken_happened_before_or_after_it(
    configs: tuple[Config, Config], happening: str
) -> None:
    happens = HAPPENINGS[happening]
    first = Case(*configs)
    happens(first)
    first.take()
    last = Case(*configs)
    last.take()
    happens(last)
    either = [first.outcome(), last.outcome()]
    for at in range(STEPS):
        case = Case(*configs)
        case.take(at, partial(happens, case))
        assert case.outcome() in either, at


def test_so_many_steps_are_all_of_them(configs: tuple[Config, Config]) -> None:
    case = Case(*configs)
    steps = list(case.state.configure(case.settings(case.after), every=False))
    assert steps[0] == (LISTING, True)
    assert len(steps) == STEPS
    # Who was known under the same rules is not planned anew, nor is who has left.
    assert {key for key, anew in steps if anew} - {"gone"} == {LISTING, "new", "softer", "ruleless"}


def test_a_step_of_our_clock_in_the_middle_moves_what_is_remembered_once(
    configs: tuple[Config, Config],
) -> None:
    for at in range(STEPS):
        case = Case(*configs)

        def stepped(case: Case = case) -> None:
            case.clock.at += 3600
            case.state.now()

        case.take(at, stepped)
        case.outcome()
        pending = {one.alerts["failed_test"].pending_at for one in case.state.campaigns.values()}
        assert pending <= {START + 3600, None}, at
        updated = [(e.campaign_id, e.status) for e in case.events if e.campaign_id == "softer"]
        assert updated == [("softer", EventStatus.UPDATED)], at
