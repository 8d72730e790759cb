"""A second opinion on alerts: the pages that on-call should get, written from the specification.

It shares no code with the core and is built the other way round: it keeps, for every rule, when
the unbroken run of bad (or good) verdicts began, and works out from it what should be told. Slow
and naive on purpose. Instants and spans are seconds; a verdict is True for unhealthy, None for
unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

ORDER = (
    "missing",
    "never_tested",
    "disabled",
    "failed_test",
    "stale_test",
    "future_test",
    "unreadable",
    "changed_untested",
)
NEEDS_ENABLED = ("failed_test", "stale_test", "future_test", "changed_untested")


@dataclass(frozen=True)
class Seen:
    """What a poll saw. `tested_at` is None where no test is on record; `half`: no outcome."""

    kind: Literal["config", "gone", "error"]
    enabled: bool = True
    tested_at: float | None = None
    passed: bool = True
    half: bool = False
    host: str = "sftp.example"


@dataclass(frozen=True)
class Policy:
    """A rule's settings; `limit` is its own threshold (grace, max_age, tolerance, after)."""

    severity: str
    wait: float = 0.0
    linger: float = 0.0
    limit: float = 0.0


Policies = Mapping[str, Policy]


@dataclass(frozen=True)
class Page:
    """One thing that on-call is told; `about` is host and label, as the alert is known by."""

    rule: str
    what: str
    seq: int
    severity: str
    previous: str | None = None
    about: tuple[str, str] = ("", "")


@dataclass
class Line:
    """What is kept of one rule. `bad_from` is where the run began that made it fire, or may.

    `about` is what its last page began with: no edit changes it while that is open.
    """

    bad_from: float | None = None
    firing: bool = False
    good_from: float | None = None
    muter: str | None = None
    told: bool = False
    notified_at: float = 0.0
    severity: str = ""
    about: tuple[str, str] = ("", "")
    seq: int = 0

    @property
    def state(self) -> str:
        """The state's name, as in the diagram."""
        if self.firing:
            return "firing"
        return "inactive" if self.bad_from is None else "pending"

    def end(self) -> None:
        """Go back to inactive; what was told is another matter."""
        self.bad_from = self.good_from = self.muter = None
        self.firing = False

    def clamp(self, now: float) -> None:
        """Move what lies in the future to the present."""
        if self.bad_from is not None:
            self.bad_from = min(self.bad_from, now)
        if self.good_from is not None:
            self.good_from = min(self.good_from, now)
        self.notified_at = min(self.notified_at, now)


@dataclass
class OnCall:
    """One campaign with a config created at `created_at`, and the person who is told of it.

    `expected`: it must have one, even if none was ever seen (`had`); `gone_from` is when the one
    that was there was first seen to be gone.
    """

    policies: Policies
    remind_every: Mapping[str, float]
    created_at: float
    lines: dict[str, Line] = field(default_factory=lambda: {rule: Line() for rule in ORDER})
    ever_on: bool = False
    off_from: float | None = None
    failures: int = 0
    failing_from: float = 0.0
    expected: bool = True
    had: bool = False
    gone_from: float | None = None
    others_from: float | None = None
    host: str = ""
    label: str = ""
    passed_at: float | None = None
    passed_host: str | None = None  # at which the last passed test was run
    untested_from: float | None = None  # another host was seen since

    def poll(
        self,
        seen: Seen,
        now: float,
        *,
        status_told: bool = True,
        outage: str | None = None,
        others_from: float | None = None,
        theirs: Sequence[float] = (),
    ) -> list[Page]:
        """Return what is told after a poll at `now` of our clock.

        Two other campaigns that have a config were read that were asked at `others_from` or later;
        None: there are no two. `theirs` is what time it may be at the platform: what these do not
        agree on is unknown.
        """
        self._remember(seen, now)
        self.others_from = others_from
        opinions = [self._verdicts(seen, now, their_now) for their_now in theirs or (now,)]
        verdicts = {
            rule: bad if all(other[rule] is bad for other in opinions) else None
            for rule, bad in opinions[0].items()
        }
        for rule, bad in verdicts.items():
            self._move(self.lines[rule], self.policies[rule], bad, now)
        pages = []
        for rule, bad in verdicts.items():
            if bad is None and seen.kind == "error":
                continue
            line = self.lines[rule]
            if line.state != "inactive":
                line.muter = self._muter(rule, status_told, outage)
            pages += self._level(rule, now, reminders=bad is not None)
        return _firing_first(pages)

    def stepped(self, by: float) -> None:
        """Let all spans go on where our clock stepped."""
        self.off_from = None if self.off_from is None else self.off_from + by
        self.gone_from = None if self.gone_from is None else self.gone_from + by
        self.untested_from = None if self.untested_from is None else self.untested_from + by
        self.failing_from += by
        for line in self.lines.values():
            line.bad_from = None if line.bad_from is None else line.bad_from + by
            line.good_from = None if line.good_from is None else line.good_from + by
            line.notified_at += by

    def change(self, policies: Policies, now: float, label: str = "") -> list[Page]:
        """Return what is told of a changed config."""
        self.policies, self.label = policies, label
        pages = []
        for rule, line in self.lines.items():
            if rule not in policies:
                pages += self._drop(rule, "rule_removed")
            elif line.told and line.severity != policies[rule].severity:
                previous, line.severity = line.severity, policies[rule].severity
                line.notified_at = now
                pages.append(self._page(rule, "updated", previous))
        return _firing_first(pages)

    def restart(self, now: float) -> list[Page]:
        """Return what is told of a restart."""
        self.failures = 0
        return self.change(self.policies, now, self.label)

    def remove(self) -> list[Page]:
        """Return what is told of the campaign's removal; it may come back as if never seen."""
        self.ever_on, self.off_from, self.failures, self.host = False, None, 0, ""
        self.had, self.gone_from = False, None
        self.passed_at = self.passed_host = self.untested_from = None
        return [page for rule in ORDER for page in self._drop(rule, "campaign_removed")]

    def _on(self) -> list[str]:
        return [rule for rule in ORDER if rule in self.policies]

    def _remember(self, seen: Seen, now: float) -> None:
        if seen.kind == "error":
            self.failing_from = self.failing_from if self.failures else now
            self.failures += 1
            return
        self.failures = 0
        if self.off_from is not None:
            self.off_from = min(self.off_from, now)
        if self.untested_from is not None:
            self.untested_from = min(self.untested_from, now)
        if seen.kind == "gone":
            self.gone_from = now if self.gone_from is None else min(self.gone_from, now)
            return
        self.had, self.gone_from, self.host = True, None, seen.host
        self._remember_test(seen, now)
        if seen.enabled:
            self.ever_on, self.off_from = True, None
        elif self.off_from is None:
            self.off_from = now

    def _remember_test(self, seen: Seen, now: float) -> None:
        if seen.tested_at is not None and seen.passed and not seen.half:
            if self.passed_host is None or seen.tested_at != self.passed_at:
                self.passed_host = seen.host
            self.passed_at = seen.tested_at
        if self.passed_host in {None, seen.host}:
            self.untested_from = None
        elif self.untested_from is None:
            self.untested_from = now

    def _verdicts(self, seen: Seen, now: float, their_now: float) -> dict[str, bool | None]:
        verdicts = {rule: self._verdict(rule, seen, now, their_now) for rule in self._on()}
        if verdicts.get("future_test") and "stale_test" in verdicts:
            verdicts["stale_test"] = None
        return verdicts

    def _verdict(self, rule: str, seen: Seen, now: float, their_now: float) -> bool | None:
        limit = self.policies[rule].limit
        if rule == "unreadable":
            if seen.kind != "error":
                return False
            return True if self.failures >= 3 and now - self.failing_from >= limit else None
        if seen.kind == "error":
            return None
        if rule == "missing":
            return seen.kind == "gone" and self._is_missing()
        if seen.kind == "gone":
            return None
        if rule in {"disabled", "changed_untested"}:
            return self._verdict_on_config(rule, limit, now, their_now)
        if seen.half:
            return None
        return self._verdict_on_test(rule, seen, limit, their_now)

    def _verdict_on_config(self, rule: str, limit: float, now: float, their_now: float) -> bool:
        if rule == "disabled":
            return self.off_from is not None and self._off_for(now, their_now) >= limit
        return self.untested_from is not None and now - self.untested_from >= limit

    def _off_for(self, now: float, their_now: float) -> float:
        if not self.ever_on:
            return their_now - self.created_at
        assert self.off_from is not None
        return now - self.off_from

    def _is_missing(self) -> bool | None:
        if not self.had or self.others_from is None or self.gone_from is None:
            return self.had or self.expected
        return True if self.others_from >= self.gone_from else None

    def _verdict_on_test(self, rule: str, seen: Seen, limit: float, now: float) -> bool:
        if rule == "never_tested":
            return seen.tested_at is None and now - self.created_at >= limit
        if seen.tested_at is None:
            return False
        if rule == "failed_test":
            return not seen.passed
        if rule == "stale_test":
            return now - seen.tested_at >= limit
        return seen.tested_at - now > limit

    def _move(self, line: Line, policy: Policy, bad: bool | None, now: float) -> None:
        if bad is None:
            return
        line.clamp(now)
        if bad:
            line.good_from = None
            line.bad_from = now if line.bad_from is None else line.bad_from
            line.firing = line.firing or now - line.bad_from >= policy.wait
            return
        line.good_from = now if line.good_from is None else line.good_from
        if not line.firing or now - line.good_from >= policy.linger:
            line.end()

    def _muter(self, rule: str, status_told: bool, outage: str | None) -> str | None:
        if rule != "missing" and self._mutes("missing"):
            return "missing"
        if rule == "disabled" and self._mutes("never_tested"):
            return "never_tested"
        if rule == "changed_untested" and self._mutes("failed_test"):
            return "failed_test"
        if rule in NEEDS_ENABLED and self.off_from is not None:
            return "disabled"
        if not status_told:
            return "campaign_status"
        return outage if rule == "unreadable" else None

    def _mutes(self, rule: str) -> bool:
        line = self.lines[rule]
        return rule in self.policies and line.firing and line.good_from is None

    def _level(self, rule: str, now: float, *, reminders: bool) -> list[Page]:
        line = self.lines[rule]
        so_now = line.firing and line.muter is None
        if so_now and not line.told:
            line.told, line.notified_at, line.severity = True, now, self.policies[rule].severity
            line.about = (self.host, self.label)
            return [self._page(rule, "fired")]
        if line.told and not so_now:
            line.told = False
            return [self._page(rule, f"muted by {line.muter}" if line.muter else "resolved")]
        every = self.remind_every.get(line.severity, 0)
        if line.told and reminders and every and now - line.notified_at >= every:
            line.notified_at = now
            return [self._page(rule, "reminded")]
        return []

    def _drop(self, rule: str, reason: str) -> list[Page]:
        line = self.lines[rule]
        line.end()
        if not line.told:
            return []
        line.told = False
        return [self._page(rule, f"resolved: {reason}")]

    def _page(self, rule: str, what: str, previous: str | None = None) -> Page:
        line = self.lines[rule]
        line.seq += 1
        return Page(rule, what, line.seq, line.severity, previous, line.about)


def _firing_first(pages: list[Page]) -> list[Page]:
    over = ("resolved", "muted")
    return sorted(pages, key=lambda page: page.what.startswith(over))
