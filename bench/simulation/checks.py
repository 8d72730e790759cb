"""What must hold: after every decision, at every line that is told, and at the end."""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monitor.adapters.store import read_history
from monitor.core.model import DAY, Answer, Event, EventKind, PollError, Seconds, SftpConfig
from monitor.core.snapshot import HistoryQuery
from monitor.daemon import Daemon
from simulation.clocks import Clocks
from simulation.logins import Logins
from simulation.opinion import Opinion, Pages
from simulation.platform import CAMPAIGNS, Platform
from simulation.rhythm import THROTTLED, Rhythm
from simulation.settings import REMIND_EVERY, ListedCampaign
from simulation.shown import EventSource, Shown
from support.model import Line, OnCall, Page, Policies
from support.state_files import select

HISTORY = 200
"""So many lines of what happened before a violation are kept."""

RETENTION: Seconds = 90 * DAY
"""Older events leave the history: the default of `state.retention`."""

AT_ONCE: Seconds = 1.0
"""How long an event takes from its decision to the sink, if nothing hinders it."""

TOLD_WITHIN: Seconds = 120.0
"""After this time an event is told, if its sink works: it is tried again every minute."""

NEVER_LOGGED = {
    "task_ended", "rule_broke", "poll_broke", "state_row_lost", "state_set_aside",
}  # fmt: skip
"""Lines of the daemon's own log that are a violation by themselves."""


class Checks:
    """Compares the daemon with the second opinion; the first `violation` is kept."""

    def __init__(self, clocks: Clocks, platform: Platform, seed: int) -> None:
        self.visited: Counter[str] = Counter()
        self.violation: str | None = None
        self.attention = asyncio.Event()
        self.history: deque[str] = deque(maxlen=HISTORY)
        self.rhythm = Rhythm(clocks, self.fail)
        self.logins = Logins(clocks, seed, self.fail, self.visited)
        for key in platform.campaigns:
            self.logins.campaign(key)
        self.opinions = {
            environment: Opinion(
                {key: platform.campaigns[key].config.created_at or 0.0 for key in keys},
                REMIND_EVERY,
            )
            for environment, keys in CAMPAIGNS.items()
        }
        self._clocks = clocks
        self._daemon: Daemon | None = None
        self._database = Path()
        self._expected: dict[EventSource, list[tuple[Seconds, Page]]] = defaultdict(list)
        self._told: Counter[EventSource] = Counter()
        self._ids: list[str] = []
        self._undone: dict[str, list[Line]] = {}
        self._prunable = 0
        self._may_repeat = self._first_of_life = False
        self._shown = Shown(clocks, self.opinions, self.fail)

    def note(self, text: str) -> None:
        """Keep a line of what happened."""
        elapsed = self._clocks.elapsed()
        day, rest = divmod(int(elapsed), 86400)
        hours, rest = divmod(rest, 3600)
        clock = f"day {day + 1} {hours:02}:{rest // 60:02}:{rest % 60:02}"
        self.history.append(f"{clock}.{int(elapsed * 10) % 10}  {text}")

    def logged(self, event: str, text: str) -> None:
        """Keep a line of the daemon's own log."""
        self.note(f"    log {text}")
        if event in NEVER_LOGGED:
            self.fail(f"the daemon logged {text}")

    def fail(self, text: str) -> None:
        """Note a violation; the first one counts."""
        self.note(f"VIOLATION {text}")
        if self.violation is None:
            self.violation = text
            self.attention.set()

    def must(self, holds: bool, text: str) -> None:
        """Fail with this text, unless it holds."""
        if not holds:
            self.fail(text)

    def wall(self) -> Seconds:
        """Return what our clock says."""
        return self._clocks.wall()

    def truth(self) -> Seconds:
        """Return what time it really is."""
        return self._clocks.truth()

    def elapsed(self) -> Seconds:
        """Return the monotonic clock."""
        return self._clocks.elapsed()

    # -- what happens ----------------------------------------------------------------------

    def starting(
        self,
        database: Path,
        policies: Policies,
        listed: ListedCampaign,
        team: str,
        *,
        crashed: bool,
    ) -> None:
        """Take a start of the daemon, on this state and this config."""
        self._database = database
        self.rhythm.plan_anew()
        self.rhythm.started = self._clocks.elapsed()
        self._may_repeat, self._first_of_life = crashed, True
        for environment, opinion in self.opinions.items():
            told = opinion.restart(policies, set(listed[environment]), team, self._clocks.wall())
            self._expect(environment, told)
            for line in self._undone.pop(environment, []):
                line.notified_at = self._clocks.wall()

    def started(self, daemon: Daemon) -> None:
        """Compare what a start made of what was remembered."""
        self._daemon = daemon
        self.compare()
        self.compare_metrics()

    def ended(self) -> None:
        """Note that the daemon is gone."""
        self._daemon = None

    def died(self) -> None:
        """Note that the daemon is gone; what it made of a new config may not be committed yet.

        The next start comes to the same, but dates it anew.
        """
        self.ended()
        kept = {
            (event.environment, event.campaign_id, event.rule, event.seq)
            for event in self._history()
        }
        self._undone = defaultdict(list)
        for (environment, campaign), expected in self._expected.items():
            opinion = self.opinions[environment]
            of_it = opinion.breaker if campaign is None else opinion.campaigns[campaign]
            for _, page in expected[self._told[environment, campaign] :]:
                committed = (environment, campaign, page.rule, page.seq) in kept
                if page.what == "updated" and not committed:
                    self._undone[environment].append(of_it.lines[page.rule])

    def reloading(self, policies: Policies, listed: ListedCampaign, team: str) -> None:
        """Take a reload of this config."""
        self.rhythm.plan_anew()
        for environment, opinion in self.opinions.items():
            for key in listed[environment] - opinion.listed:
                self.rhythm.joined(key)
            told = opinion.reload(policies, set(listed[environment]), team, self._clocks.wall())
            self._expect(environment, told)

    def stepped(self, seconds: Seconds) -> None:
        """Take a step of our clock that was made, forward or back: nothing comes of it."""
        self.rhythm.stepped = self._clocks.elapsed()
        self.logins.stepped()
        self.visited["clock stepped"] += 1
        for opinion in self.opinions.values():
            opinion.stepped(seconds, self._clocks.wall())
        # A view is the first to notice it here; with it, all that is remembered goes along.
        self.compare()
        # Retention goes by our own clock: a year ahead, it takes what was told until it is back.
        if abs(seconds) > RETENTION:
            self._prunable = len(self._ids)

    def answered(
        self, environment: str, key: str, answer: Answer, reading: int, took: float
    ) -> None:
        """Take an answer that the daemon decides on next; then compare."""
        opinion, observation = self.opinions[environment], answer.observation
        self.logins.answered(key, observation)
        failed = isinstance(observation, PollError)
        if failed:
            self.rhythm.shake(environment)
        if answer.rate is not None or answer.pause is not None:
            self.rhythm.shake(environment, lasts=THROTTLED + (answer.pause or 0.0))
        on_call = opinion.campaigns[key]
        stale_before = on_call.lines["stale_test"].firing
        pages = opinion.answered(key, answer, reading, self._clocks.wall(), took)
        self._expect(environment, pages)
        for source, page in pages:
            if failed and source is not None and page.rule != "unreadable":
                self.fail(f"the model tells {page.rule} of {key} on a failed poll")
        if isinstance(observation, SftpConfig):
            if not stale_before:
                self._look_how_late(environment, key, on_call, observation)
            counts = observation.is_enabled and opinion.clock.settled(self._clocks.wall())
            self.rhythm.read(key, observation.last_test_at if counts else None)
        self._visit(opinion, on_call, failed=failed)
        self.note(f"  {environment}/{key} answered {_in_short(answer)}")
        # When the daemon has decided: it does so before anything else runs.
        asyncio.get_running_loop().call_soon(self.compare)

    def tested(self, environment: str, key: str) -> None:
        """Take a connection test that the daemon sends."""
        self.note(f"  {environment}/{key} is tested")
        self.rhythm.count(environment)
        self.logins.sent(environment, key, self.opinions[environment].listed, self._database)

    def _look_how_late(
        self, environment: str, key: str, on_call: OnCall, config: SftpConfig
    ) -> None:
        line, policy = on_call.lines["stale_test"], on_call.policies.get("stale_test")
        if policy is None or policy.wait or not line.firing or config.last_test_at is None:
            return
        now = self.opinions[environment].clock.times(self._clocks.wall())[0]
        deadline = config.last_test_at + policy.limit
        counts = self.rhythm.fired_stale(environment, key, config.last_test_at, deadline, now)
        self.visited["stale told on time"] += counts

    def _visit(self, opinion: Opinion, on_call: OnCall, *, failed: bool) -> None:
        lines = list(on_call.lines.values())
        self.visited["pending"] += any(line.state == "pending" for line in lines)
        self.visited["firing"] += any(line.told for line in lines)
        self.visited["muted"] += any(line.firing and line.muter for line in lines)
        decided = failed and not opinion.breaker.open
        self.visited["unknown while firing"] += decided and any(line.told for line in lines)
        self.visited["breaker open"] += opinion.breaker.open

    def _expect(self, environment: str, pages: Pages) -> None:
        opinion = self.opinions[environment]
        for campaign, page in pages:
            of_it = opinion.breaker if campaign is None else opinion.campaigns[campaign]
            self.visited["told as it fired"] += page.about != (of_it.host, of_it.label)
            self._expected[environment, campaign].append((self._clocks.elapsed(), page))
            self.note(f"    expected of {environment}/{campaign}: {page}")

    # -- what is told ----------------------------------------------------------------------

    def told(self, record: Mapping[str, Any], *, unhindered: bool) -> None:
        """Take a line that the sink was given; `unhindered` by sink and disk it comes at once."""
        source = (record["environment"], record["campaign_id"])
        first, self._first_of_life = self._first_of_life, False
        event_id = record["event_id"]
        # Without its id, which has the epoch of a database: the same story has the same lines.
        self.note(f"    told of {source[0]}/{source[1]}: {_page(record)}")
        self.visited["told"] += 1
        self.must(first or not record["redelivery"], f"{event_id} is marked without a crash")
        if self._ids and event_id == self._ids[-1]:
            may, self._may_repeat = self._may_repeat, False
            self.must(may and record["redelivery"], f"{event_id} was told twice")
            self.visited["redelivered"] += 1
            return
        expected, position = self._expected[source], self._told[source]
        if position >= len(expected):
            self.fail(f"told what nobody expected: {_page(record)}")
            return
        at, wanted = expected[position]
        self.must(_page(record) == wanted, f"told {_page(record)}, expected {wanted}")
        late = self._clocks.elapsed() - at
        if unhindered and at >= self.rhythm.started:
            self.must(late <= AT_ONCE, f"{wanted} was told {late:.1f} s after it was decided")
        self._told[source] += 1
        self._ids.append(event_id)
        if record["durable"]:
            row = select(self._database, f"SELECT 1 FROM event WHERE event_id = '{event_id}'")
            self.must(bool(row), f"{event_id} was told before it was committed")
        else:
            self.visited["told undurable"] += 1

    def all_is_told(self, within: Seconds = TOLD_WITHIN) -> None:
        """Look whether everything that was decided by so many seconds ago is told."""
        for source, expected in self._expected.items():
            for at, page in expected[self._told[source] :]:
                if self._clocks.elapsed() - at >= within:
                    self.fail(f"never told of {source}: {page}")

    def at_the_end(self) -> None:
        """Look whether all is told and resolved, and the history has all of it in order."""
        self.all_is_told(within=0.0)
        for environment, opinion in self.opinions.items():
            for name, of_it in [(environment, opinion.breaker), *opinion.campaigns.items()]:
                told = [rule for rule, line in of_it.lines.items() if line.told]
                self.must(not told, f"{told} of {name} never resolved")
        history = [event.event_id for event in self._history()]
        kept, prunable = set(history), self._prunable
        if self._clocks.off > RETENTION:
            prunable = len(self._ids)
        in_order = history[::-1] == [one for one in self._ids if one in kept]
        self.must(in_order, "the history is not what was told, in this order")
        lost = set(self._ids[prunable:]) - kept
        self.must(not lost, f"the history has lost {sorted(lost)}")

    def compare(self) -> None:
        """Compare the board with the second opinion."""
        if self._daemon is not None:
            self._shown.compare_board(self._daemon.report.snapshot())

    def compare_metrics(self) -> None:
        """Compare the page for Prometheus with the second opinion."""
        assert self._daemon is not None
        self._shown.compare_metrics(self._daemon.report.metrics(False)())

    def _history(self) -> Sequence[Event]:
        known = read_history(self._database, HistoryQuery(limit=10**6)).values()
        return [event for event in known if event.kind is EventKind.ALERT]


def _page(record: Mapping[str, Any]) -> Page:
    words = {"firing": "fired", "reminder": "reminded", "updated": "updated"}
    what = words.get(record["status"], f"resolved: {record['reason']}")
    if record["muted_by"]:
        what = f"muted by {record['muted_by']}"
    elif record["reason"] == "recovered":
        what = "resolved"
    return Page(
        record["rule"],
        what,
        record["seq"],
        record["severity"],
        record["previous_severity"],
        (record["sftp_host"], record["labels"]["team"]),
    )


def _in_short(answer: Answer) -> str:
    seen = answer.observation
    if isinstance(seen, PollError):
        return seen.reason.value
    if not isinstance(seen, SftpConfig):
        return "no config"
    on = "on" if seen.is_enabled else "off"
    return f"{seen.id} {on} tested {seen.last_test_at} passed {seen.last_test_success}"
