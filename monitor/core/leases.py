"""Which replica polls which environment, by what all of them have written into one table.

All instants are the database's, which `DatabaseClock` carries on between two answers. A row of the
table is the truth; what a replica may do follows from its last renewal (`monitor.polling.holding`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from monitor.core import alerts
from monitor.core.model import MINUTE, AlertLabels, Event, Instant, Seconds, Severity, setting
from monitor.core.rule import BaseRule, RemindEvery, healthy, unhealthy, unknown
from monitor.core.status import Alert
from monitor.core.text import rfc3339

LASTS: Seconds = 30.0  # a lease, in the database
RENEW_EVERY: Seconds = 10.0
MARGIN: Seconds = 5.0  # a right ends so long before its lease: clocks drift, a request takes time
MEET: Seconds = 3.0  # those that start together know each other by then
SETTLED: Seconds = 2 * MINUTE  # only so old a replica, with so old a config, is handed anything
FREE_FOR_ANYONE: Seconds = 10.0  # what is free for longer need not go to who is preferred
MOVE_AT_MOST: Seconds = 10 * MINUTE  # how often an environment is handed over
GONE_AFTER: Seconds = 5 * MINUTE  # an environment that no config has any more

LOOK_FOR_HANDED: Seconds = 5.0  # how often somebody looks who expects to be handed something
DRIFT = 0.02  # of two clocks that are 1 % off each, at most
TO_COME: Seconds = LASTS + MARGIN  # what ends later was written by a clock that stepped since


@dataclass(frozen=True, slots=True)
class Replica:
    """What a replica announces. The same `config` (a hash) has one age: the earliest of any."""

    id: str
    address: str  # for people
    environments: frozenset[str]
    config: str
    config_at: Instant
    started_at: Instant
    expires_at: Instant


@dataclass(frozen=True, slots=True)
class Lease:
    """The row of an environment: `holder` is empty while it is free, since `expires_at`."""

    environment: str
    holder: str
    fence: str  # of this takeover alone
    expires_at: Instant
    moved_at: Instant  # when `holder` took it


@dataclass(frozen=True, slots=True)
class Seen:
    """The table as one transaction saw it, which began at `now`."""

    now: Instant
    replicas: tuple[Replica, ...]
    leases: Mapping[str, Lease]

    def holder(self, name: str, now: Instant) -> Replica | None:
        """Return who holds an environment at `now`, as far as this says; None: nobody."""
        lease = self.leases.get(name)
        if lease is None or lease.expires_at <= now:
            return None
        return next((one for one in self.replicas if one.id == lease.holder), None)

    @property
    def living(self) -> int:
        """How many replicas lived then."""
        return sum(self.now < one.expires_at for one in self.replicas)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a replica is to do: take, hand over, and `bury` what no config has any more.

    `look_in` is in how many seconds to look again, at the latest.
    """

    take: tuple[str, ...] = ()
    hand_over: str | None = None
    bury: tuple[str, ...] = ()
    look_in: Seconds = RENEW_EVERY


def decide(me: Replica, seen: Seen, held: Collection[str]) -> Decision:
    """Return what `me` is to do by what it has `seen`; `held` is what it may act for."""
    now, live = seen.now, _Live.of(seen)
    me = next((one for one in live.replicas if one.id == me.id), me)
    waits = [RENEW_EVERY, *(one.expires_at - now for one in live.replicas)]
    take, give, unowned = list[str](), list[str](), False
    for name in sorted(me.environments):
        lease = seen.leases.get(name, Lease(name, "", "", now, 0.0))
        to = live.preferred(name)
        if name in held:
            at_rest = abs(now - lease.moved_at) >= MOVE_AT_MOST
            if at_rest and to is not None and to.id != me.id and live.settled(to):
                give.append(name)
        elif lease.holder == me.id:
            take.append(name)  # the answer to a take was lost, or the right has ended meanwhile
        elif lease.holder and now < lease.expires_at <= now + TO_COME:
            waits.append(lease.expires_at - now)
            expects = to == me or not live.settled(me)
            waits += [LOOK_FOR_HANDED] if expects else []
        else:
            unowned, idle = True, now - lease.expires_at
            # A whole lease: a clock may have stepped just before it looked for the first time.
            late = me.started_at + (LASTS if lease.holder else MEET) - now
            if late <= 0 and (to == me or not 0 <= idle < FREE_FOR_ANYONE):
                take.append(name)
            else:
                waits.append(late if late > 0 else FREE_FOR_ANYONE - idle)
    # What nobody polls comes first: it may be what was handed over last.
    hand_over = give[0] if give and not unowned else None
    waits += [LOOK_FOR_HANDED] if give else []
    return Decision(tuple(take), hand_over, _gone(me, seen, live), min(waits))


@dataclass(frozen=True, slots=True)
class _Live:
    """The replicas that live at `now`, and since when there is each config of theirs."""

    now: Instant
    replicas: Sequence[Replica]
    ages: Mapping[str, Instant]

    @classmethod
    def of(cls, seen: Seen) -> "_Live":
        """Return those of what was seen that live."""
        now, ages = seen.now, dict[str, Instant]()
        replicas = [one for one in seen.replicas if now < one.expires_at <= now + TO_COME]
        for one in replicas:
            ages[one.config] = min(one.config_at, ages.get(one.config, one.config_at))
        return cls(now, replicas, ages)

    def settled(self, one: Replica) -> bool:
        """Return whether a replica and its config have been there long enough."""
        # Its config as well: a reload reaches one after the other, and is no reason to move.
        return self.now - max(one.started_at, self.ages.get(one.config, one.config_at)) >= SETTLED

    def preferred(self, name: str) -> Replica | None:
        """Return who is to hold it: of those with the newest config, settled if any is, one."""
        having = [one for one in self.replicas if name in one.environments]
        newest = max(((self.ages[one.config], one.config) for one in having), default=None)
        having = [one for one in having if (self.ages[one.config], one.config) == newest]
        # Highest random weight: whoever comes or goes, only its own environments move.
        chosen = [one for one in having if self.settled(one)] or having
        weight = lambda one: sha256(f"{one.id}\0{name}".encode()).digest()  # noqa: E731
        return max(chosen, key=weight, default=None)


def _gone(me: Replica, seen: Seen, live: _Live) -> tuple[str, ...]:
    # Who is new itself may not have waited for others, which do have it.
    if seen.now - me.started_at < GONE_AFTER:
        return ()
    wanted = frozenset[str]().union(*(one.environments for one in live.replicas))
    left = sorted(seen.leases.keys() - wanted)
    return tuple(one for one in left if seen.now - seen.leases[one].expires_at >= GONE_AFTER)


@dataclass(frozen=True, slots=True)
class DatabaseClock:
    """The database's clock by our monotonic one: its `offset` to that lies in `low` … `high`."""

    offset: Seconds
    low: Seconds
    high: Seconds
    at: Seconds  # when the last answer was asked for: it may have been read then

    def now(self, elapsed: Seconds) -> Instant:
        """Return what the database's clock shows when ours shows `elapsed`."""
        return elapsed + self.offset

    @classmethod
    def after(
        cls, before: "DatabaseClock | None", now: Instant, sent: Seconds, answered: Seconds
    ) -> tuple["DatabaseClock", bool]:
        """Return the clock after an answer that says `now`, and whether that clock has stepped.

        It was read in between, so the offset is known but for the round trip; an estimate that may
        still be right, by that and by the drift since, is kept.
        """
        low, high = now - answered, now - sent
        middle = (low + high) / 2
        if before is None:
            return cls(middle, low, high, sent), False
        drift = DRIFT * max(0.0, answered - before.at)
        both = max(low, before.low - drift), min(high, before.high + drift)
        if both[0] > both[1]:
            return cls(middle, low, high, sent), True
        return cls(min(max(before.offset, both[0]), both[1]), *both, sent), False


class StateUnavailable(BaseRule, alertname="SftpMonitorStateUnavailable"):
    """The database has not answered for `after`: this replica polls, tests and stores nothing."""

    name = "state_unavailable"
    meaning = "the state's database does not answer, so nothing is polled and nothing is known"
    next_step = (
        "Check the database that state.url names, and the network from this host to it; polling "
        "goes on by itself once it answers."
    )

    severity: Severity = setting(Severity.CRITICAL, "critical, warning or info")
    after: Seconds = setting(2 * MINUTE, "how long it must not have answered")

    def look(
        self,
        alert: Alert,
        since: Instant | None,
        problem: str,
        now: Instant,
        remind_every: RemindEvery,
    ) -> tuple[Alert, tuple[Event, ...]]:
        """Return the alert, and its events, where nothing was answered `since`; None: it is.

        It has no environment: so it has one fingerprint for all replicas.
        """
        found = healthy("the database answers")
        if since is not None:
            evidence = {"reason": problem, "opened_at": rfc3339(since)}
            summary = f"the state's database does not answer since {rfc3339(since)}: {problem}"
            verdict = unhealthy if now - since >= self.after else unknown
            found = verdict(summary, evidence, since=since)
        source = alerts.EventSource("", AlertLabels(), now)
        known, rules = {self.name: alert}, {self.name: self}
        kept, events = alerts.decide(known, {self.name: found}, rules, source, remind_every)
        return kept.get(self.name, Alert(rule=self.name)), events
