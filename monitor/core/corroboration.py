"""Whether a config that is gone is gone by itself: two others must be readable after that."""

from collections.abc import Iterator, Mapping
from heapq import nlargest

from monitor.core.environment import CAMPAIGNS_TO_OPEN, Call, EnvironmentContext, interpret
from monitor.core.model import AnyAnswer, Instant, Page, Reason, Seconds, Verdict
from monitor.core.rule import EvaluationInput
from monitor.core.rules import Missing, Unreadable
from monitor.core.snapshot import Entry
from monitor.core.status import EnvironmentStatus

# So many others with a config must be asked after a first NoConfig, and be readable: a token of
# another environment, a wrong base URL or an API release give 404 for all campaigns.
OTHERS = 2

Entries = Mapping[str, Entry]  # the campaigns of one environment by id


class Corroboration:
    """The campaigns whose lost config is in doubt, and which polls would settle it; not stored."""

    def __init__(self) -> None:
        """Start with nothing in doubt."""
        self._doubted: dict[str, Instant] = {}
        self._asked_at: dict[str, Instant] = {}

    def others_read_at(self, key: str, entries: Entries) -> Instant | None:
        """Return when two others were asked and read; None: no two, or no config is in doubt."""
        status = entries[key].status
        if status.last_known.config is None:
            return None
        # What was found is settled, wherever a step of our clock has put the instants since.
        alert = status.alerts.get(Missing.name)
        found = alert is not None and alert.active and alert.healthy_at is None
        if status.last_known.missing_since is not None and found:
            return None
        return self._others_read_at(key, entries)

    def take(self, key: str, asked_at: Instant, entries: Entries) -> list[str]:
        """Take that a campaign asked at `asked_at` was decided on; return whom to poll next."""
        entry = entries[key]
        if entry.status.error is None:
            self._doubted.pop(key, None)
            missing_since = _lost_at(entry)
            others = None if missing_since is None else self._others_read_at(key, entries)
            if missing_since is not None and others is not None and others < missing_since:
                self._doubted[key] = missing_since
                return self._witnesses(entries)
        if not self._doubted:
            self._asked_at.clear()
            return []
        if entry.status.error is None:
            # Asked before the loss, answered after it: perhaps that was with the token of before.
            self._asked_at[key] = asked_at
        return self._settled(entries)

    def restore(self, entries: Entries) -> list[str]:
        """Take the campaigns after a start, a reload or a listing; return whom to poll next."""
        # All whose config is gone are decided again, unless others must be read before.
        lost = ((key, _lost_at(entry)) for key, entry in entries.items())
        self._doubted = {key: at for key, at in lost if at is not None}
        settled = self._settled(entries)
        return [*settled, *(self._witnesses(entries) if self._doubted else [])]

    def stepped(self, step: Seconds, entries: Entries) -> None:
        """Take that our clock jumped by `step`: the order of what was asked and lost stays."""
        if self._doubted:
            self._doubted = {key: at + step for key, at in self._doubted.items()}
            read = _with_config("", entries)
            self._asked_at = {key: self._asked_at.get(key, at) + step for key, at in read}

    def _settled(self, entries: Entries) -> list[str]:
        """Take out of doubt, and return, those whose own loss is confirmed by now."""
        others = self._others_read_at("", entries) if self._doubted else None
        settled = [one for one, at in self._doubted.items() if others is None or others >= at]
        for one in settled:
            del self._doubted[one]
        return settled

    def _others_read_at(self, key: str, entries: Entries) -> Instant | None:
        read = _with_config(key, entries)
        asked = nlargest(OTHERS, (self._asked_at.get(other, at) for other, at in read))
        # Where more than one is in doubt perhaps all are: the last one that is left is asked, too.
        enough = 1 if len({*self._doubted, key} - {""}) > 1 else OTHERS
        return asked[-1] if len(asked) >= enough else None

    def _witnesses(self, entries: Entries) -> list[str]:
        return [key for key, _ in nlargest(OTHERS, _with_config("", entries), lambda one: one[1])]


def asked_next(status: EnvironmentStatus, entries: Entries) -> list[str]:
    """Return who was readable last, once one campaign after the other is refused the same."""
    # Is it all of them? In the first sweep they are asked as fast as may be.
    run = status.run
    if run is None or len(run.campaigns) < CAMPAIGNS_TO_OPEN or status.swept_at is None:
        return []
    read = [
        (entry.status.last_known.last_read_at or 0.0, key)
        for key, entry in entries.items()
        if entry.target.muted_status is None and entry.status.error is None
    ]
    return [key for _, key in nlargest(1, (one for one in read if one[1] not in run.campaigns))]


def distrusted(entries: Entries) -> list[str]:
    """Return the campaigns that answered 404 while no base URL was known to be right."""
    read = ((key, entry.status.error) for key, entry in entries.items())
    return sorted(key for key, error in read if error and error.reason is Reason.NOT_FOUND)


def probed_next(
    status: EnvironmentStatus, entries: Entries, listing: tuple[str, ...], number: int
) -> str | None:
    """Return what the `number`th probe of an open breaker asks for; None: there is nothing."""
    # Each probe asks for another campaign, so that one broken campaign is no outage.
    # A listing is one only where it alone can close the breaker: it says nothing of configs.
    keys = list(entries)
    if status.refused_at is not None:
        # Of those that never had a config some answers say nothing: every other one has one.
        had = [key for key, entry in entries.items() if had_config(entry)]
        keys, number = had if had and number % 2 == 0 else keys, (number + 1) // 2
    if not keys or status.outage_reason is Reason.NOT_FOUND:
        keys += listing
    return keys[number % len(keys)] if keys else None


def configured(entries: Entries) -> int:
    """Return how many that on-call is notified of have had a config until now."""
    notified = (entry for entry in entries.values() if entry.target.muted_status is None)
    return sum(map(had_config, notified))


def had_config(entry: Entry) -> bool:
    """Return whether the campaign had a config until now, or it is in doubt that this is gone."""
    last_known = entry.status.last_known
    in_doubt = last_known.missing_since is None or _lost_at(entry) is not None
    return last_known.config is not None and in_doubt


def call_of(
    entry: Entry | None,
    answer: AnyAnswer,
    before: EnvironmentStatus,
    context: EnvironmentContext,
    generation: int,
) -> Call:
    """Return how an answer counts that came with this `generation` of the token."""
    seen = answer.observation
    if entry is None or isinstance(seen, Page):
        return Call(None, seen, generation, server_date=answer.server_date)
    seen = entry.status.understood(interpret(before, seen, context.campaigns))
    key, notified = entry.target.campaign_id, entry.target.muted_status is None
    return Call(key, seen, generation, notified, had_config(entry), answer.server_date)


def _with_config(but: str, entries: Entries) -> Iterator[tuple[str, Instant]]:
    """Yield the campaigns that have a config, with their last definite answer."""
    # Not one that is `unreadable`: who waits for it would be in doubt for ever.
    for key, entry in entries.items():
        last_known = entry.status.last_known
        has_one = last_known.config is not None and last_known.missing_since is None
        if key != but and has_one and not _is_unreadable(entry):
            yield key, last_known.last_read_at or 0.0


def _is_unreadable(entry: Entry) -> bool:
    status, target = entry.status, entry.target
    if status.error is None or status.polled_at is None:
        return False
    inputs = EvaluationInput(status.error, status, target, status.polled_at)
    rule = target.rules.get(Unreadable.name) or Unreadable()
    return rule.evaluate(inputs).verdict is Verdict.UNHEALTHY


def _lost_at(entry: Entry) -> Instant | None:
    """Return when an expected config was first seen to be gone, if no alert says so yet."""
    last_known, target = entry.status.last_known, entry.target
    alert = entry.status.alerts.get(Missing.name)
    alerted = Missing.name not in target.rules or (alert is not None and alert.active)
    expected = target.expected or last_known.config is not None
    return last_known.missing_since if expected and not alerted else None
