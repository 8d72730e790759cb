"""A plugin of pytest: every decision that a test has made is compared with what views show of it.

Each goes through a watch of its own, with what was known before. The decision that a test gets is
the one that it asked for.
"""

from typing import Any

import pytest

from monitor.core import assess as module
from monitor.core.assess import Decision
from monitor.core.model import Answer, Instant, Observation
from monitor.core.rule import Target
from monitor.core.rules import RULES
from monitor.core.status import CampaignStatus
from support.shown import SteeredClock, a_watch, compare

decide = module.assess
compared = 0


def observed(
    before: CampaignStatus, target: Target, observation: Observation, now: Instant, **more: Any
) -> Decision:
    """Decide, and have a watch decide the same and show it."""
    global compared  # noqa: PLW0603 - one count for the whole run
    decision = decide(before, target, observation, now, **more)
    # A rule of a test's own has no page in any view.
    if target.rules.keys() <= RULES.keys():
        module.assess = decide
        try:
            watch = a_watch(SteeredClock(now), target, {target.campaign_id: before})
            watch.decide(target.campaign_id, Answer(observation), 0, 0.0)
            compare(watch, target.campaign_id, decision.findings)
        finally:
            module.assess = observed
        compared += 1
    return decision


# Before any test imports it.
module.assess = observed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many there were: none would prove nothing."""
    terminalreporter.write_line(f"{compared} decisions were compared with what is shown")
