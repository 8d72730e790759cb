"""What is logged of a campaign's polls: changes, each once."""

from dataclasses import dataclass

from structlog.testing import capture_logs

from monitor.core.model import Answer, Finding
from monitor.core.rule import Sight, Target, healthy
from monitor.core.rules import FailedTest
from support.shown import SteeredClock, a_watch
from support.virtual import START, config

ERROR = ZeroDivisionError()


@dataclass(frozen=True, kw_only=True)
class Breaks(FailedTest, alertname="SftpFailedTest"):
    """A rule that raises for campaigns on port 0."""

    def judge(self, sight: Sight) -> Finding:
        """Raise, or return healthy."""
        if getattr(sight.observation, "port", 0) == 0:
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
