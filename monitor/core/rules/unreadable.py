"""Whether the config can be read: where it cannot, nothing is known about it."""

from monitor.core.model import MINUTE, Finding, PollError, Seconds, setting
from monitor.core.rule import (
    EvaluationInput,
    Rule,
    campaign_rule,
    healthy,
    unhealthy,
    unknown,
    unread,
)
from monitor.core.text import rfc3339


@campaign_rule
class Unreadable(Rule, alertname="SftpConfigUnreadable"):
    """The config could not be read for `after` or longer: nothing is known about it any more."""

    FAILURES = 3
    name = "unreadable"
    meaning = "the SFTP config cannot be read, so nothing is known about it"
    next_step = (
        "Look at the reason: forbidden is a matter of the token's rights, the others of the API; "
        "open the campaign's SFTP page to verify."
    )

    after: Seconds = setting(15 * MINUTE, "how long polls must have failed")

    def evaluate(self, inputs: EvaluationInput) -> Finding:
        """Return unhealthy at a failed poll: 3 in a row, the first of them `after` ago."""
        error, failures = inputs.observation, inputs.status.failures
        if not isinstance(error, PollError):
            return healthy("the SFTP config can be read")
        if failures is None:
            return unread(error)
        first = rfc3339(failures.first_at)
        evidence = {
            "reason": error.reason.value,
            "detail": error.detail,
            "failures": str(failures.count),
            "first_failure_at": first,
        }
        summary = f"{failures.count} polls in a row failed since {first}: {error.reason}"
        lasted = inputs.now - inputs.dated(failures.first_at)
        if failures.count < self.FAILURES or lasted < self.after:
            return unknown(summary, evidence)
        return unhealthy(summary, evidence, since=failures.first_at)
