"""What one environment knows, and what it makes of an answer. Synchronous: nothing awaits here.

So a poll happened whole or not at all, whatever is cancelled when.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from monitor.adapters.store import Change
from monitor.core import assess, clock, environment, environment_rules
from monitor.core.alerts import in_telling_order
from monitor.core.assess import NextPoll
from monitor.core.board import Entry, Findings, in_force
from monitor.core.budget import Budget
from monitor.core.corroboration import Corroboration
from monitor.core.discovery import Roster
from monitor.core.environment import Call
from monitor.core.model import Answer, Event, Instant, ListingAnswer, PollError, Reason, Seconds
from monitor.core.rule import Target
from monitor.core.status import CampaignStatus, EnvironmentStatus, moved
from monitor.polling.changes import CampaignLog, log_environment
from monitor.polling.settings import Clock, Settings

STEP: Seconds = 2.0
"""From here on a difference between the wall clock and the monotonic one is a step."""


class Decided(NamedTuple):
    """What came of an answer: whom to poll next; the findings, where it was decided on."""

    anew: list[str]
    findings: Findings | None = None


class Watch:
    """All that is known about one environment and its campaigns."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        save: Callable[[Change], None],
        status: EnvironmentStatus,
        campaigns: Mapping[str, CampaignStatus],
    ) -> None:
        """Continue from what is remembered; every change goes to `save`, events in it.

        `entries`, made by `configure`, are the campaigns as the board shows them: never changed.
        """
        self.settings = settings
        self.status = status
        self.campaigns = dict(campaigns)
        self.entries: dict[str, Entry] = {}
        self.findings: Findings | None = None
        self.pace = Budget(settings.environment.budget_per_minute, 0.0).pace(0.0)
        self.unswept = set(settings.targets)
        self.awaits_listing = settings.discovers
        self._clock = clock
        self._save = save
        self._log = CampaignLog()
        self._doubts = Corroboration()
        self._offset = clock.wall() - clock.elapsed()

    @property
    def name(self) -> str:
        """The environment's name."""
        return self.status.name

    @property
    def interval(self) -> Seconds:
        """The sweep time that the budget really gives at `pace` (calls a minute), in seconds."""
        return self.settings.interval_at(self.pace)

    def now(self) -> Instant:
        """Return our clock's *now*; what is remembered goes along with its steps."""
        wall = self._clock.wall()
        offset = wall - self._clock.elapsed()
        step, self._offset = offset - self._offset, offset
        if abs(step) > STEP:
            self._step(step, wall)
        return wall

    def _step(self, step: Seconds, now: Instant) -> None:
        before, roster = self.status, self.settings.roster
        self.status = clock.clock_stepped(before, step, now)
        log_environment(before, self.status)
        campaigns = tuple(clock.campaign_stepped(one, step) for one in self.campaigns.values())
        self.campaigns = {one.campaign_id: one for one in campaigns}
        roster = replace(roster, listed_at=moved(step)(roster.listed_at))
        self._doubts.stepped(step, self.entries)
        self._aim(replace(self.settings, roster=roster))
        self._save(Change(campaigns=campaigns, environments=(self.status,)))

    def configure(self, settings: Settings) -> list[str]:
        """Take a config, new or changed, and reconcile with it; return whom to poll next."""
        if not settings.discovers and settings.roster.campaigns:
            settings = replace(settings, roster=Roster())
            self._save(Change(rosters={self.name: settings.roster}))
        waits = self.awaits_listing or not self.settings.discovers
        self.awaits_listing = settings.discovers and waits
        self._aim(settings)
        self.unswept = set(settings.targets)
        self._save_any(self._reconciled(list(self.campaigns)))
        self._reconcile_environment(self.now())
        return self._doubts.restore(self.entries)

    def discover(self, roster: Roster) -> list[str]:
        """Take what a listing came to; return the campaigns that are to be looked at anew.

        The sweep that runs goes on, with those that joined. Whom a listing has confirmed to be
        there without its config, or to be told or muted, is decided at once.
        """
        before = self.settings
        self._aim(replace(before, roster=roster))
        now, known = self.settings.targets, before.targets
        anew = [key for key, target in now.items() if not target.is_as(known.get(key))]
        anew += self._doubts.restore(self.entries)
        self.unswept = (self.unswept & now.keys()) | (now.keys() - before.targets.keys())
        gone = [key for key in self.campaigns if key not in now]
        change = self._reconciled([*gone, *(key for key in anew if key in self.campaigns)])
        self.status = replace(self.status, listed_at=roster.listed_at)
        # A roster is large: where only its instant is new, that in the status is enough.
        if replace(roster, listed_at=before.roster.listed_at) != before.roster:
            change = replace(change, rosters={self.name: roster})
        self._save(replace(change, environments=(self.status,)))
        return anew

    def listing_ended(self) -> None:
        """Note that a listing came to its end, good or bad: the first sweep has waited for it."""
        before, self.awaits_listing = self.status, False
        self._end_sweep(self.now())
        if self.status != before:
            self._save(Change(environments=(self.status,)))

    def _aim(self, settings: Settings) -> None:
        self.settings = settings
        self.status = environment.of_campaigns(self.status, settings.targets)
        self.findings = in_force(self.findings, settings.environment.resolved.rules)
        before, targets = self.entries, settings.targets
        kept = {
            key: in_force(before[key].findings, targets[key].rules)
            for key in before.keys() & targets.keys()
        }
        self.entries = {
            key: Entry(target, self._status_of(key), kept.get(key))
            for key, target in targets.items()
        }

    def _reconciled(self, keys: Iterable[str]) -> Change:
        """Return what the config means for these campaigns, and take it.

        What is left of one that is gone is a tombstone, so that its numbering goes on if it comes
        back. As long as no listing has told who is there, none is gone.
        """
        now, changed, told = self.now(), list[CampaignStatus](), list[Event]()
        for key in keys:
            before, target = self.campaigns[key], self.settings.targets.get(key)
            if target is not None:
                decision = assess.reconcile(before, target, now)
            elif self.settings.knows_nobody_else:
                continue
            else:
                gone = Target(environment=self.name, campaign_id=key)
                decision = assess.remove(before, gone, "campaign_removed", now)
            if decision.status != before:
                self._know(decision.status)
                changed.append(decision.status)
                told += decision.events
        return Change(campaigns=tuple(changed), events=tuple(told))

    def remove(self) -> None:
        """Tell that the environment is no longer watched: whatever was told of it is resolved."""
        self._save(removal(self.status, self.campaigns.values(), self.now()))
        self._save = lambda _: None  # an answer that is on its way would bring it back

    def _reconcile_environment(self, now: Instant) -> None:
        before, config = self.status, self.settings.environment
        labels, rules = config.alert_labels, config.resolved.rules
        self.status, events = environment.reconcile(before, rules, now, labels)
        if self.status != before:
            self._save(Change(environments=(self.status,), events=events))

    def decide(self, key: str, answer: Answer, generation: int, took: Seconds) -> Decided:
        """Take an answer: breaker first, then campaign, then events."""
        target = self.settings.targets.get(key)
        if target is None:
            return Decided([])
        count, now = len(self.settings.targets), self.now()
        observation = environment.interpret(self.status, answer.observation, count)
        call = Call(key, observation, generation, notified=target.muted_status is None)
        events = self._observe(call, answer.server_date, now)
        if self.status.breaker_open and isinstance(observation, PollError):
            # The breaker's business, not the campaign's: one outage, one page.
            self._save(Change(environments=(self.status,), events=events))
            return Decided([])
        before = self._status_of(key)
        decision = assess.assess(
            before,
            target,
            observation,
            now,
            remind_every=self.settings.alerts.remind_every,
            environment_alert=environment_rules.firing_alert(self.status),
            others_read_at=self._doubts.others_read_at(key, observation, self.entries),
            ahead=clock.ahead(self.status, now),
        )
        self._log.polled(before, decision.status, decision.findings)
        self._know(decision.status, decision.findings)
        self.unswept.discard(key)
        self._end_sweep(now)
        told = in_telling_order([*events, *decision.events])
        self._save(Change(campaigns=(decision.status,), environments=(self.status,), events=told))
        return Decided(self._doubts.take(key, now - took, self.entries), decision.findings)

    def observe_listing(self, answer: ListingAnswer, token_generation: int) -> None:
        """Take a page of the listing, or why there is none: for the breaker it is a call."""
        call = Call(None, answer.page, token_generation)
        events = self._observe(call, answer.server_date, self.now())
        self._save(Change(environments=(self.status,), events=events))

    def _observe(self, call: Call, server_date: Instant | None, now: Instant) -> tuple[Event, ...]:
        before, rules = self.status, self.settings.environment.resolved.rules
        self.status, self.findings, events = environment.step(
            before, call, server_date, rules, self.settings.facts_at(self.pace), now
        )
        log_environment(before, self.status)
        return events

    def _end_sweep(self, now: Instant) -> None:
        if self.settings.targets and not self.unswept and not self.awaits_listing:
            self.status = replace(self.status, swept_at=now)
            self.unswept = set(self.settings.targets)

    def distrusted(self) -> list[str]:
        """Return the campaigns that answered 404 while no base URL was known to be right."""
        read = self.campaigns.items()
        return sorted(k for k, one in read if one.error and one.error.reason is Reason.NOT_FOUND)

    def next_poll(self, key: str, findings: Findings | None = None) -> NextPoll | None:
        """Return when to look at a campaign again, and why; None: never polled, at once.

        `findings` are those of the decision on it that has just been made, if one has.
        """
        now, settings, status = self.now(), self.settings, self._status_of(key)
        target, ahead = settings.targets[key], clock.ahead(self.status, now)
        return assess.next_poll(status, target, settings.cadence, now, ahead, findings=findings)

    def probe_at_once(self) -> None:
        """Have the next probe due at once: there is reason to hope."""
        self.status = replace(self.status, called_at=None)

    def next_probe(self) -> Instant:
        """Return when the open breaker lets its next probe through."""
        polling = self.settings.polling
        return environment.next_probe(
            self.status,
            self.settings.environment.resolved.rules,
            self.settings.facts_at(self.pace),
            polling.probe_interval,
            polling.token_probe_interval,
        )

    def _save_any(self, change: Change) -> None:
        if change != Change():
            self._save(change)

    def _know(self, status: CampaignStatus, findings: Findings | None = None) -> None:
        key = status.campaign_id
        self.campaigns[key] = status
        if key in self.entries:
            found = self.entries[key].findings if findings is None else findings
            self.entries[key] = Entry(self.settings.targets[key], status, found)

    def _status_of(self, key: str) -> CampaignStatus:
        return self.campaigns.get(key) or CampaignStatus(environment=self.name, campaign_id=key)


def removal(status: EnvironmentStatus, campaigns: Iterable[CampaignStatus], now: Instant) -> Change:
    """Return what is left, and what is to be told, of an environment that is no longer watched."""
    why = "environment_removed"
    after, events = environment.reconcile(status, {}, now, gone=why)
    # Without its breaker: an environment that comes back under this name starts closed.
    left = EnvironmentStatus(name=status.name, alerts=after.alerts)
    tombstones, told = [], list(events)
    for campaign in campaigns:
        target = Target(environment=status.name, campaign_id=campaign.campaign_id)
        decision = assess.remove(campaign, target, why, now)
        tombstones.append(decision.status)
        told += decision.events
    return Change(
        campaigns=tuple(tombstones),
        environments=(left,),
        events=tuple(told),
        rosters={status.name: Roster()},
        removed=status.name,
    )
