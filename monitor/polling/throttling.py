"""What an answer means for the budget: the API asks us to slow down."""

import structlog

from monitor.core.budget import LONGEST_PAUSE, Budget
from monitor.core.model import Answer, ListingAnswer, PollError, Reason, Seconds

log = structlog.get_logger()


def heed(
    budget: Budget, answer: Answer | ListingAnswer, plan: float, mono: Seconds, environment: str
) -> Budget:
    """Return the budget after an answer: its pause, a 429, its rate headers. Logs changes.

    `plan` is the limit of the plan, in requests per minute.
    """
    after = budget.hinted(answer.rate, plan)
    if answer.pause is not None:
        pause = min(answer.pause, LONGEST_PAUSE)
        error = answer.page if isinstance(answer, ListingAnswer) else answer.observation
        refused = isinstance(error, PollError) and error.reason is Reason.RATE_LIMITED
        after = after.refused(mono, pause) if refused else after.pause(mono, pause)
        log.warning("paused_by_api", environment=environment, seconds=round(pause))
    if (after.room < 1) != (budget.room < 1):
        log.info("yielding", environment=environment, part=round(after.room, 2))
    return after
