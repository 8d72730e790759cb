"""What is logged of a campaign's polls: changes, each once."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from structlog.testing import capture_logs

from monitor.core.environment import EnvironmentInput, EnvironmentRule
from monitor.core.model import MINUTE, Answer, Finding, ListedCampaign, PollError, Reason
from monitor.core.rule import EvaluationInput, Target, healthy
from monitor.core.rules import FailedTest
from support.daemons import World
from support.shown import SteeredClock, a_watch
from support.virtual import START, config, listed, run, virtual_seconds

ERROR = ZeroDivisionError()


class Breaks(FailedTest, alertname="SftpFailedTest"):
    """A rule that raises for campaigns on port 0."""

    def evaluate(self, inputs: EvaluationInput) -> Finding:
        """Raise, or return healthy."""
        if getattr(inputs.observation, "port", 0) == 0:
            raise ERROR
        return healthy("", {})


def test_fault_43_a_rule_that_breaks_is_logged_once_until_it_judges_again() -> None:
    rules = {Breaks.name: Breaks()}
    watch = a_watch(
        SteeredClock(START), Target(environment="production", campaign_id="c-1", rules=rules)
    )
    with capture_logs() as logged:
        for port in (0, 0, 22, 0):
            watch.decide("c-1", Answer(config("c-1", START, port=port)), 0, 0.0)
    broke = [one for one in logged if one["event"] == "rule_broke"]
    assert [(one["campaign_id"], one["rule"]) for one in broke] == [("c-1", "failed_test")] * 2
    assert all(one["exc_info"] is ERROR for one in broke)


class BreaksWhileUnread(EnvironmentRule):
    """A rule of an environment that raises while its last call failed."""

    name = "breaks_while_unread"

    def evaluate(self, inputs: EnvironmentInput) -> Finding:
        """Raise, or return healthy."""
        if inputs.status.unanswered:
            raise ERROR
        return healthy("")


def test_fault_43_a_rule_of_an_environment_that_breaks_is_logged_once_and_polls_go_on() -> None:
    target = Target(environment="production", campaign_id="c-1")
    watch = a_watch(SteeredClock(START), target)
    resolved = watch.settings.environment.resolved
    rules = {**resolved.rules, BreaksWhileUnread.name: BreaksWhileUnread()}
    environment: Any = watch.settings.environment
    environment = replace(environment, resolved=replace(resolved, rules=rules))
    settings = replace(watch.settings, environment=environment)
    list(watch.configure(settings))
    down, up = Answer(PollError(Reason.TIMEOUT)), Answer(config("c-1", START))
    with capture_logs() as logged:
        for answer in (up, down, down, up, down):
            watch.decide("c-1", answer, 0, 0.0)
    broke = [one for one in logged if one["event"] == "rule_broke"]
    known = {"environment": "production", "rule": "breaks_while_unread", "exc_info": ERROR}
    assert [known.items() <= one.items() for one in broke] == [True, True]
    assert watch.entries["c-1"].status.error is not None


def test_fault_43_a_listing_that_breaks_is_logged_once_until_one_works(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write_config(
        "environments:\n"
        "  - {name: production, base_url: 'http://127.0.0.1:9/api/v1', token: '${TOKEN}',"
        " campaigns: [{id: c-1}], discovery: {enabled: true, every: 1m}}\n"
    )

    async def story() -> None:
        async with world.daemon():
            for listing in (None, [listed("c-1")], None):
                # What is no list of campaigns breaks our own reading of it.
                world.api().listing = cast("list[ListedCampaign]", listing)
                await virtual_seconds(5 * MINUTE)

    with capture_logs() as logged:
        run(story())
    broke = [one for one in logged if one["event"] == "poll_broke"]
    assert [(one["campaign_id"], type(one["exc_info"])) for one in broke] == [("", TypeError)] * 2
