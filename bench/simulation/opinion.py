"""A second opinion on the whole: what on-call should be told, of the answers the daemon was given.

Written from the specification, over the campaign's model in `support.model`; it shares no code
with the core. What it adds is one environment: whose clock is right, when the breaker opens, what
is told of that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from monitor.core.model import Answer, NoConfig, Observation, PollError, Reason, SftpConfig
from support.model import Line, OnCall, Page, Policies, Seen

OF_AN_ENVIRONMENT = ("api_unreachable", "token_rejected", "budget_insufficient", "api_refusing")
NO_ANSWER = {Reason.TIMEOUT, Reason.CONNECT_ERROR, Reason.HTTP_5XX, Reason.BAD_CONTENT_TYPE}

Pages = list[tuple[str | None, Page]]
"""What is told, in order, and of which campaign; None: of the environment."""


def seen(observation: Observation) -> Seen:
    """Return what a campaign's model takes from an observation."""
    match observation:
        case PollError():
            return Seen("error")
        case NoConfig():
            return Seen("gone")
        case SftpConfig(last_test_at=tested_at, last_test_success=passed):
            half = (tested_at is None) != (passed is None)
            on, host = observation.is_enabled, observation.host
            return Seen("config", on, tested_at, bool(passed), half, host)


@dataclass
class TheirClock:
    """What time it may be at the platform, by our clock and by what its API says of the time.

    `dates` are its last five `Date`s and when they came; `course` is how far off their median was
    from when on. `on` says that it was the platform's clock that was believed last.
    """

    dates: list[tuple[float, float]] = field(default_factory=list)
    course: list[tuple[float, float]] = field(default_factory=list)
    on: bool = False
    unsettled: int = 0

    def settled(self, wall: float) -> bool:
        """Whether there is one time, and none of it from before one of the clocks last stepped."""
        times = self.times(wall)
        return self.unsettled == 0 and max(times) - min(times) < 2

    def unsettle(self) -> None:
        """Take a step of one of the clocks: so many answers later nothing is left of it."""
        self.unsettled = 5

    def take(self, date: float | None, wall: float) -> None:
        """Take the `Date` of an answer that came at `wall`."""
        if date is not None:
            self.times(wall)
            self.dates = [*self.dates, (date, wall)][-5:]
            self.unsettled = max(0, self.unsettled - 1)
            self._moved(wall)

    def stepped(self, by: float, wall: float) -> None:
        """Take a step of our own clock, to `wall`: the platform's time goes on as it was."""
        if self.dates:
            self.times(wall - by)
            self.dates = [(date, came + by) for date, came in self.dates]
            self.course = [(since + by, off) for since, off in self.course]
            self.unsettle()
            self._moved(wall)

    def times(self, wall: float) -> list[float]:
        """Return what time it may be, where our clock says `wall`: one, or ours and theirs."""
        if not self.dates:
            return [wall]
        theirs = wall + self.course[-1][1]
        if not self._steady(wall):
            return [wall, theirs]
        self.on = abs(theirs - wall) >= (30 if self.on else 60)
        return [theirs if self.on else wall]

    def _moved(self, wall: float) -> None:
        self.course.append((wall, median(date - came for date, came in self.dates)))
        self.times(wall)

    def _steady(self, wall: float) -> bool:
        offs = [date - came for date, came in self.dates]
        together = max(sum(0 <= other - one <= 10 for other in offs) for one in offs)
        lately = [off for since, off in self.course if since > wall - 300]
        before = [off for since, off in self.course if since <= wall - 300][-1:]
        return together >= 3 and max(before + lately) - min(before + lately) <= 60


@dataclass
class Breaker(OnCall):
    """The API of one environment, and what is told of it. `readings` counts how often its token
    was read; `doubted` is the reading to which the first 401 came."""

    lines: dict[str, Line] = field(
        default_factory=lambda: {rule: Line() for rule in OF_AN_ENVIRONMENT}
    )
    silent: int = 0
    out_from: float | None = None
    refused_from: float | None = None
    refused_by_403: bool = False
    readings: int = 0
    doubted: int | None = None
    run_of: str = ""
    run: set[str] = field(default_factory=set)
    all_of: str = ""
    all_from: float | None = None

    @property
    def open(self) -> bool:
        """Whether only probes go out."""
        return {self.out_from, self.refused_from, self.all_from} != {None}

    @property
    def alert(self) -> str | None:
        """The alert that mutes the environment's `unreadable` ones."""
        mute = ("api_unreachable", "token_rejected", "api_refusing")
        firing = (rule for rule in mute if self._mutes(rule))
        return next(firing, None)

    def call(
        self,
        key: str,
        listed: set[str],
        had: set[str],
        observation: Observation,
        reading: int,
        now: float,
    ) -> list[Page]:
        """Return what is told after a call for campaign `key`, one of `listed`.

        `had` are those that had a config until now, or of which it is in doubt that it is gone.
        """
        reason = observation.reason if isinstance(observation, PollError) else None
        if reason in NO_ANSWER:
            self.silent += 1
            if self.silent >= 3 and self.out_from is None:
                self.out_from = now
        else:
            said = _in_a_word(key, observation, had)
            self._take_run(key, said)
            if reason is not Reason.CACHED:
                self.silent, self.out_from = 0, None
                self._take_answer(listed, reason, reading, now)
            self._take_refusal(said, had if said == "gone" else listed, now)
        verdicts = {
            "api_unreachable": self._unreachable(now),
            "token_rejected": self._rejected(),
            "api_refusing": self._refusing(now),
        }
        pages = []
        for rule in self.policies:
            bad = verdicts.get(rule, False)
            self._move(self.lines[rule], self.policies[rule], bad, now)
            if bad is not None:
                pages += self._level(rule, now, reminders=True)
        return sorted(pages, key=lambda page: page.what == "resolved")

    def restart_calls(self) -> None:
        """Forget what is not stored."""
        self.doubted, self.run = None, set()

    def stepped(self, by: float) -> None:
        """Let all spans go on where our clock stepped."""
        super().stepped(by)
        self.out_from = None if self.out_from is None else self.out_from + by
        self.refused_from = None if self.refused_from is None else self.refused_from + by
        self.all_from = None if self.all_from is None else self.all_from + by

    def clamp(self, now: float) -> None:
        """Move what lies in the future to the present."""
        self.out_from = None if self.out_from is None else min(self.out_from, now)
        self.refused_from = None if self.refused_from is None else min(self.refused_from, now)
        self.all_from = None if self.all_from is None else min(self.all_from, now)

    def _take_run(self, key: str, said: str) -> None:
        # Any other answer, and it begins anew; one that never had a config is none.
        if said != "none" or self.run_of != "gone":
            self.run = self.run | {key} if said == self.run_of else {key}
            self.run_of = said

    def _take_refusal(self, said: str, everybody: set[str], now: float) -> None:
        if self.all_of:
            kept = {self.all_of, Reason.CACHED, Reason.RATE_LIMITED}
            if said not in kept | ({"none"} if self.all_of == "gone" else set()):
                self.all_of, self.all_from = "", None
            return
        elsewhere = {"", "none", Reason.UNAUTHORIZED, Reason.FORBIDDEN}
        if said not in elsewhere and not self.open and len(self.run) >= _all_of(everybody):
            self.all_of, self.all_from = said, now

    def _take_answer(
        self, listed: set[str], reason: Reason | None, reading: int, now: float
    ) -> None:
        all_forbidden = reason is Reason.FORBIDDEN and len(self.run) >= _all_of(listed)
        if reason is Reason.UNAUTHORIZED:
            if self.doubted is None:
                self.doubted = reading
            elif reading > self.doubted and self.refused_from is None:
                self.refused_from = now
            # A 401 to the token of now: it is read again before the next call.
            if self.doubted == reading == self.readings:
                self.readings += 1
            return
        if reason is Reason.RATE_LIMITED:
            return
        self.doubted = None
        # Once it was 403 for all, one more of them is no sign that the token is good again.
        if reason is not Reason.FORBIDDEN or not self.refused_by_403:
            self.refused_from, self.refused_by_403 = None, False
        if all_forbidden and self.refused_from is None:
            self.refused_from, self.refused_by_403 = now, True

    def _unreachable(self, now: float) -> bool | None:
        if self.out_from is None:
            return None if self.silent else False
        return True if now - self.out_from >= self._limit("api_unreachable") else None

    def _limit(self, rule: str) -> float:
        # Where the rule is switched off, nobody looks at the verdict.
        return self.policies[rule].limit if rule in self.policies else 0.0

    def _refusing(self, now: float) -> bool | None:
        if self.silent or self.out_from is not None:
            return None
        if self.all_from is None:
            return False
        return True if now - self.all_from >= self._limit("api_refusing") else None

    def _rejected(self) -> bool | None:
        if self.silent or self.out_from is not None:
            return None
        if self.refused_from is not None:
            return True
        return None if self.doubted is not None else False


def _in_a_word(key: str, observation: Observation, had: set[str]) -> str:
    """Return how the API refuses; empty: it does not, "none": it says that there is no config."""
    match observation:
        case PollError(reason=reason):
            return reason
        case NoConfig():
            return "gone" if key in had else "none"
    return ""


def _all_of(everybody: set[str]) -> int:
    return max(3, min(10, len(everybody)))


class Opinion:
    """What should be so in one environment."""

    def __init__(self, keys: Mapping[str, float], remind_every: Mapping[str, float]) -> None:
        """Start before the first config; `keys` are campaigns with their `created_at`."""
        self.clock = TheirClock()
        self.breaker = Breaker({}, remind_every, 0.0)
        self.campaigns = {key: OnCall({}, remind_every, at) for key, at in keys.items()}
        self.listed: set[str] = set()
        self.read: set[str] = set()
        self.failing: set[str] = set()
        self._ids: dict[str, str] = {}
        self._asked: dict[str, float] = {}
        self._polled: dict[str, float] = {}

    def answered(self, key: str, answer: Answer, reading: int, wall: float, took: float) -> Pages:
        """Return what is told after an answer that came at `wall`, and `took` so many seconds."""
        if key not in self.listed:
            return []
        self.clock.take(answer.server_date, wall)
        now, observation = wall, answer.observation
        had = {one for one in self.listed if self._had(one)}
        of_it = self.breaker.call(key, self.listed, had, observation, reading, now)
        pages: Pages = [(None, page) for page in of_it]
        failed = isinstance(observation, PollError)
        if self.breaker.open and (failed or (isinstance(observation, NoConfig) and key in had)):
            return pages
        on_call = self.campaigns[key]
        if isinstance(observation, SftpConfig):
            self._take_identity(key, observation)
        (self.failing.add if failed else self.failing.discard)(key)
        self._polled[key] = now
        if not failed:
            self.read.add(key)
            self._asked[key] = now - took
        told = on_call.poll(
            seen(observation),
            now,
            outage=self.breaker.alert,
            others_from=self._others_from(key),
            theirs=self.clock.times(wall),
        )
        return pages + [(key, page) for page in told]

    def _others_from(self, key: str) -> float | None:
        """Return when the second to last of those was asked that have a config, besides this one.

        None: there are no two of which that is known, or what was found is settled.
        """
        line = self.campaigns[key].lines["missing"]
        if self.campaigns[key].gone_from is not None and line.bad_from and not line.good_from:
            return None
        asked = sorted(
            self._asked[other]
            for other, on_call in self.campaigns.items()
            if other in self.listed - {key} and self._has_config(other, on_call)
        )
        # Where others are in doubt as well, the last one that is left is asked, too.
        doubted = {other for other in self.listed - {key} if self._is_in_doubt(other)}
        needed = 1 if doubted else 2
        return asked[-min(2, len(asked))] if len(asked) >= needed else None

    def _had(self, key: str) -> bool:
        on_call = self.campaigns[key]
        return on_call.had and (on_call.gone_from is None or self._is_in_doubt(key))

    def _is_in_doubt(self, key: str) -> bool:
        on_call = self.campaigns[key]
        gone = on_call.had and on_call.gone_from is not None and "missing" in on_call.policies
        return gone and on_call.lines["missing"].bad_from is None

    def _has_config(self, key: str, on_call: OnCall) -> bool:
        policy, failing = on_call.policies.get("unreadable"), key in self.failing
        allowed = 900.0 if policy is None else policy.limit
        long = self._polled.get(key, 0.0) - on_call.failing_from >= allowed
        unreadable = failing and on_call.failures >= 3 and long
        return on_call.had and on_call.gone_from is None and not unreadable

    def reload(self, policies: Policies, listed: set[str], team: str, wall: float) -> Pages:
        """Return what is told of a config, new or changed."""
        now = wall
        self.breaker.readings += 1
        pages: Pages = []
        for key, on_call in self.campaigns.items():
            own = {rule: found for rule, found in policies.items() if rule in on_call.lines}
            if key in listed:
                pages += [(key, page) for page in on_call.change(own, now, team)]
            elif key in self.listed:
                pages += [(key, page) for page in on_call.remove()]
                self._ids.pop(key, None)
        self.read &= listed
        self.failing &= listed
        self.breaker.run &= listed
        self.listed = listed
        self.breaker.clamp(now)
        of_it = {rule: found for rule, found in policies.items() if rule in OF_AN_ENVIRONMENT}
        return pages + [(None, page) for page in self.breaker.change(of_it, now, team)]

    def restart(self, policies: Policies, listed: set[str], team: str, wall: float) -> Pages:
        """Return what is told of a start with what was stored."""
        self.clock = TheirClock()
        self.breaker.restart_calls()
        for on_call in self.campaigns.values():
            on_call.failures = 0
        return self.reload(policies, listed, team, wall)

    def stepped(self, by: float, wall: float) -> None:
        """Take a step of our own clock, to `wall`: nothing comes of it."""
        self.clock.stepped(by, wall)
        self.breaker.stepped(by)
        for on_call in self.campaigns.values():
            on_call.stepped(by)
        for at in (self._asked, self._polled):
            at.update({key: before + by for key, before in at.items()})

    def _take_identity(self, key: str, config: SftpConfig) -> None:
        on_call = self.campaigns[key]
        if self._ids.get(key, config.id) != config.id:
            on_call.ever_on, on_call.off_from = False, None
        self._ids[key] = config.id
        on_call.created_at = config.created_at or 0.0
