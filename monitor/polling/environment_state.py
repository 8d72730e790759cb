"""What one environment knows, and what it makes of an answer. Synchronous: nothing awaits here.

So a poll happened whole or not at all, whatever is cancelled when.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from monitor.adapters.store import Change
from monitor.core import assess, clock, corroboration, environment
from monitor.core.attempt import CampaignTests
from monitor.core.budget import LONGEST_PAUSE, Budget
from monitor.core.discovery import Listing, TargetSet, doubt, take
from monitor.core.environment import EnvironmentContext, Evaluated
from monitor.core.guards import Guards
from monitor.core.instants import redated
from monitor.core.model import Answer, AnyAnswer, Event, Instant, NoConfig, Page, PollError, Seconds
from monitor.core.rule import NO_TESTS, Target, Testing
from monitor.core.schedule import NextPoll, Priority
from monitor.core.snapshot import Entry, Findings, in_force
from monitor.core.status import CampaignStatus, EnvironmentStatus
from monitor.polling import differences
from monitor.polling.settings import Clock, Settings

LISTING = "*"  # the listing's key in the due-queue: no campaign can have this id
STEP: Seconds = 2.0  # from here on the wall clock and the monotonic one differ by a step


@dataclass(eq=False)
class EnvironmentState:
    """All that is known about one environment and its campaigns; `save` takes every change of it.

    `entries`, made by `configure`, are the campaigns as the snapshot shows them: never changed.
    `doubts` are about lost configs. `listing` runs, or is to begin; `listing_due` is its next page,
    on the monotonic clock, and `listing_error` why the last one failed. `held`: nothing goes out of
    it while another replica may have it.
    """

    settings: Settings
    clock: Clock
    save: Callable[[Change], None]
    status: EnvironmentStatus
    campaigns: dict[str, CampaignStatus]
    held: Callable[[], bool] = lambda: True

    def __post_init__(self) -> None:
        settings, mono = self.settings, self.clock.elapsed()
        self.name = self.status.name
        self.entries: dict[str, Entry] = {}
        self.findings: Findings | None = None
        self._evaluated: Evaluated | None = None
        self.budget = Budget(settings.environment.budget_per_minute, mono)
        self.pace = self.budget.pace(mono)
        self.unswept = set(settings.targets)
        self.awaits_listing = settings.discovers
        self._list_at_once(settings, mono)
        self.listing_error: PollError | None = None
        self.doubts = corroboration.Corroboration()
        self._offset, self._probed, self._paused_until = self.clock.wall() - mono, 0, 0.0

    def now(self) -> Instant:
        """Return our clock's *now*; what is remembered goes along with its steps."""
        wall = self.clock.wall()
        offset = wall - self.clock.elapsed()
        step, self._offset = offset - self._offset, offset
        if abs(step) > STEP:
            before, self.status = self.status, clock.clock_stepped(self.status, step, wall)
            differences.log_environment(before, self.status)
            campaigns = tuple(clock.campaign_stepped(one, step) for one in self.campaigns.values())
            self.campaigns = {one.campaign_id: one for one in campaigns}
            self.doubts.stepped(step, self.entries)
            target_set = redated(self.settings.target_set, by=step)
            self._aim(replace(self.settings, target_set=target_set))
            self.save(Change(campaigns=campaigns, environments=(self.status,)))
        return wall

    def configure(self, settings: Settings, *, every: bool = True) -> Iterator[tuple[str, bool]]:
        """Take a config, new or changed: the environment first, then its campaigns, one by one.

        Yields the listing, then each campaign, with whether it is to be planned anew, as `every`
        one is. Anything may happen between two of them: until its turn a campaign is as it was.
        """
        if not settings.discovers and settings.target_set.campaigns:
            settings = replace(settings, target_set=TargetSet())
            self.save(Change(target_sets={self.name: settings.target_set}))
        self.budget = replace(self.budget, per_minute=settings.environment.budget_per_minute)
        waits = self.awaits_listing or not self.settings.discovers
        self.awaits_listing = settings.discovers and waits
        if settings.environment.discovery != self.settings.environment.discovery:
            self._list_at_once(settings, self.clock.elapsed())
        now = self.now()
        self._take_settings(settings)
        self.unswept = set(settings.targets)
        before, context, since = self.status, self._context(), self.status.discovering_since or now
        self.status = replace(self.status, discovering_since=since if settings.discovers else None)
        if not settings.discovers:
            self.status = replace(self.status, discovered_at=None, listing_doubt="")
        self.status, events = assess.reconcile_environment(self.status, context, now)
        if self.status != before:
            self.save(Change(environments=(self.status,), events=events))
        yield LISTING, True
        gone = (one for one in (*self.entries, *self.campaigns) if one not in settings.targets)
        for key in chain(gone, settings.targets):
            # A listing that came between has put new targets in force, and reconciled nobody here.
            overtaken = self.settings is not settings
            yield key, self._configure_campaign(key, overtaken=overtaken) or every
        # Shown in the order of the config.
        self.entries = {key: self.entries[key] for key in self.settings.targets}

    def _configure_campaign(self, key: str, *, overtaken: bool) -> bool:
        """Reconcile a campaign with the config; return whether it is to be planned anew."""
        target, was = self.settings.targets.get(key), self.entries.get(key)
        if was is not None and target is was.target and not overtaken:
            return False
        if target is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = self._aimed(key, target)
        if key in self.campaigns:
            self._reconcile([key], self.now())
        return overtaken or not (was and target and target.is_polled_as(was.target))

    def _list_at_once(self, settings: Settings, mono: Seconds) -> None:
        self.listing = Listing(settings.environment.discovery.max_campaigns)
        self.listing_due = (mono, Priority.NEVER_SEEN)

    def take_page(self, page: Page | PollError) -> list[str]:
        """Take the page that was asked for; return the campaigns that are to be polled at once."""
        settings, listing, wait, anew = self.settings, self.listing, 0.0, list[str]()
        if isinstance(page, PollError) or not listing.add(page):
            # After an error from page 1 again: pages may have shifted by the next try, and someone
            # would fall between.
            self.listing = Listing(settings.environment.discovery.max_campaigns)
            error = page if isinstance(page, PollError) else None
            before, self.listing_error = self.listing_error, error
            differences.log_listing_error(self.name, before, error)
            after, why = None, f"{error.reason} {error.detail}".strip() if error else ""
            if error is None:
                known = settings.target_set
                after = take(known, listing, self.now())
                why = doubt(known, after, listing)
                news = bool(why) and why != self.status.listing_doubt
                differences.log_listing(self.name, known, after, listing, doubted=news)
            anew, wait = self._discover(after, why), settings.environment.discovery.every
            if error is not None and settings.knows_nobody_else:
                wait = min(wait, settings.polling.unhealthy_interval)
        # The first one is due as long as its first page was: it stays ahead of the campaigns.
        if not self.awaits_listing:
            self.listing_due = (self.clock.elapsed() + wait, Priority.ROUTINE)
        return anew

    def _discover(self, target_set: TargetSet | None, why: str) -> list[str]:
        """Take what a listing came to, None where it failed; return whom to poll at once.

        `why` it is not believed; empty where it is.
        """
        # The sweep that runs goes on, with those that joined; the first one has waited for this.
        now, status, before = self.now(), self.status, self.settings
        anew, target_sets = list[str](), dict[str, TargetSet]()
        if target_set is not None:
            self._aim(replace(before, target_set=target_set))
            targets, known = self.settings.targets, before.targets
            # Who joined or changed, and whom it has confirmed to be there without a config.
            anew = [key for key, target in targets.items() if not target.is_as(known.get(key))]
            anew += self.doubts.restore(self.entries)
            self.unswept = (self.unswept & targets.keys()) | (targets.keys() - known.keys())
            gone = [key for key in self.campaigns if key not in targets]
            self._reconcile([*gone, *(key for key in anew if key in self.campaigns)], now)
            self.status = replace(self.status, listed_at=target_set.listed_at)
            # A target set is large: where only its instant is new, that in the status is enough.
            if replace(target_set, listed_at=before.target_set.listed_at) != before.target_set:
                target_sets[self.name] = target_set
        self.awaits_listing = False
        self._end_sweep(now)
        believed_at = self.status.discovered_at if why else now
        why = "" if self.status.breaker_open else why
        listed = replace(self.status, discovered_at=believed_at, listing_doubt=why)
        after, found, events = assess.evaluate_environment(listed, self._context(), now)
        self._put_environment(after, found)
        if self.status != status or target_sets:
            self.save(Change((), (self.status,), events, target_sets=target_sets))
        return anew

    def _context(self, *, lost: bool = False) -> EnvironmentContext:
        context = self.settings.context_at(self.pace)
        paused = self.clock.elapsed() < self._paused_until
        had = corroboration.configured(self.entries) if lost else 0
        return replace(context, configured=had, paused=paused) if had or paused else context

    def _aim(self, settings: Settings) -> None:
        self._take_settings(settings)
        self.entries = {key: self._aimed(key, one) for key, one in settings.targets.items()}

    def _take_settings(self, settings: Settings) -> None:
        self.settings = settings
        self.status = environment.of_campaigns(self.status, settings.targets)
        self.findings = in_force(self.findings, settings.environment.resolved.rules)

    def _aimed(self, key: str, target: Target) -> Entry:
        known, was = self.campaigns.get(key), self.entries.get(key)
        if was is not None and target is was.target and known is was.status:
            return was  # with what is settled of it
        status = known or CampaignStatus(environment=self.name, campaign_id=key)
        return Entry(target, status, in_force(was.findings if was else None, target.rules))

    def _reconcile(self, keys: Iterable[str], now: Instant) -> None:
        """Take what the config means for these campaigns; of one that is gone a tombstone stays."""
        for key in keys:
            before, entry = self.campaigns[key], self.entries.get(key)
            if entry is None and self.settings.knows_nobody_else:
                continue  # until a listing has shown who is there, none is gone
            target = None if entry is None else entry.target
            decision = assess.reconcile(before, target, now, "campaign_removed")
            if decision.status != before:
                self.campaigns[key] = decision.status
                if entry is not None:
                    self.entries[key] = replace(entry, status=decision.status, settled=None)
                self.save(Change(campaigns=(decision.status,), events=decision.events))

    def decide(
        self, key: str, answer: AnyAnswer, token: int, took: Seconds, testing: Testing = NO_TESTS
    ) -> tuple[list[str], NextPoll | None, Guards | None]:
        """Take an answer; return whom to poll at once, when it next, and its tests' guards."""
        self._apply_rate_limit(answer)
        now, status, before = self.now(), self.status, self.entries.get(key)
        if before is None and isinstance(answer, Answer):
            return [], None, None  # the campaign has left meanwhile
        lost = isinstance(answer.observation, NoConfig)
        # Not for all those that never have one: it looks at every campaign.
        looked = lost and before is not None and corroboration.had_config(before)
        context = self._context(lost=looked)
        outcome = assess.take_answer(
            status,
            before,
            corroboration.call_of(before, answer, status, context, token),
            context,
            self.settings.intervals,
            now,
            others_read_at=self.doubts.others_read_at(key, self.entries) if lost else None,
            testing=testing,
            evaluated=self._evaluated,
        )
        self._put_environment(outcome.environment, outcome.evaluated)
        if before is None or outcome.entry is None:
            self.save(Change(environments=(self.status,), events=outcome.events))
            return [], None, None
        self.entries[key] = after = outcome.entry
        self.campaigns[key] = after.status
        differences.log_poll(before, after)
        self.unswept.discard(key)
        self._end_sweep(now)
        changed = (after.status,), (self.status,), outcome.events
        self.save(Change(*changed, encodable=outcome.unchanged))
        anew = self.doubts.take(key, now - took, self.entries)
        anew += corroboration.asked_next(self.status, self.entries)
        return anew, outcome.next_poll, outcome.guards

    def _put_environment(self, status: EnvironmentStatus, found: Evaluated) -> None:
        differences.log_environment(self.status, status)
        if found is not self._evaluated:
            differences.log_broken(self.findings, found.findings, environment=self.name)
        self.status, self._evaluated, self.findings = status, found, found.findings

    def put_tests(self, key: str, tests: CampaignTests, notes: tuple[Event, ...]) -> None:
        """Put in force what a connection test changes of a campaign, if it is still there."""
        if key not in self.entries:
            return self.save(Change(events=notes))
        status = replace(self.entries[key].status, tests=tests)
        self.campaigns[key] = status
        self.entries[key] = replace(self.entries[key], status=status, settled=None)
        self.save(Change(campaigns=(status,), events=notes))

    def probed_next(self) -> str | None:
        """Return what to ask for while the breaker is open; None: there is nothing to ask for."""
        self._probed += 1
        known = (LISTING,) if self.settings.discovers else ()
        return corroboration.probed_next(self.status, self.entries, known, self._probed)

    def _apply_rate_limit(self, answer: AnyAnswer) -> None:
        """Take what an answer says of the API's limits."""
        plan, mono = self.settings.environment.requests_per_minute, self.clock.elapsed()
        before, self.budget = self.budget, self.budget.answered(answer, plan, mono)
        self.pace = self.budget.pace(mono)
        if answer.pause is not None:
            self._paused_until = mono + round(min(answer.pause, LONGEST_PAUSE))
        differences.log_limits(self.name, before, self.budget, answer.pause)

    def _end_sweep(self, now: Instant) -> None:
        if self.settings.targets and not self.unswept and not self.awaits_listing:
            self.status = replace(self.status, swept_at=now)
            self.unswept = set(self.settings.targets)
