"""What is logged of a campaign's polls: changes, each once."""

from structlog.testing import capture_logs

from monitor.core.model import Verdict
from monitor.core.rule import Broken, healthy
from monitor.core.status import CampaignStatus
from monitor.polling.changes import CampaignLog

STATUS = CampaignStatus(environment="production", campaign_id="c-1")
BROKEN = Broken(Verdict.UNKNOWN, "internal error", error=ZeroDivisionError())


def test_fault_43_a_rule_that_breaks_is_logged_once_until_it_judges_again() -> None:
    log = CampaignLog()
    with capture_logs() as logged:
        for finding in (BROKEN, BROKEN, healthy("", {}), BROKEN):
            log.polled(STATUS, STATUS, {"stale_test": finding, "failed_test": healthy("", {})})
    assert [(one["event"], one["rule"], one["exc_info"]) for one in logged] == [
        ("rule_broke", "stale_test", BROKEN.error)
    ] * 2
