"""The judge of connection tests in the simulation: it must see what it is there for."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from monitor.core.model import MINUTE, NoConfig, PollError, Reason
from simulation.logins import Logins
from support.virtual import START, config


@dataclass
class StoppedClocks:
    """Clocks that a test sets."""

    at: float = 0.0

    def elapsed(self) -> float:
        return self.at

    def truth(self) -> float:
        return START + self.at

    wall = truth


@dataclass
class Judged:
    """A judge, with a state that has an attempt for each test that is sent."""

    database: Path
    clocks: StoppedClocks = field(default_factory=StoppedClocks)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        with sqlite3.connect(self.database) as known:
            known.execute("CREATE TABLE campaign (environment, campaign_id PRIMARY KEY, status)")
        on = frozenset({"alpha"})
        self.logins = Logins(self.clocks, 1, self.said.append, Counter(), on)  # type: ignore[arg-type]
        for key in ("a-1", "a-2"):
            self.logins.campaign(key)
            self.logins.answered(key, config(key, START, username=key, host=f"{key}.example"))

    def store(self, key: str) -> None:
        status = json.dumps({"tests": {"attempts": [{"at": self.clocks.wall()}]}})
        with sqlite3.connect(self.database) as known:
            known.execute("INSERT OR REPLACE INTO campaign VALUES ('alpha', ?, ?)", (key, status))

    def test(self, key: str, *, at: float, stored: bool = True) -> None:
        self.clocks.at = at
        if stored:
            self.store(key)
        self.logins.sent("alpha", key, {"a-1", "a-2"}, self.database)
        self.logins.run(key, self.clocks.truth())


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    return Judged(tmp_path / "state.db")


def test_what_the_guards_allow_is_no_violation(judged: Judged) -> None:
    judged.test("a-1", at=0)
    judged.test("a-2", at=1)
    judged.test("a-1", at=10 * MINUTE)
    assert judged.said == []


def tests_are_off(judged: Judged) -> None:
    judged.logins.on = frozenset()
    judged.test("a-1", at=0)


def it_was_disabled(judged: Judged) -> None:
    judged.logins.answered("a-1", config("a-1", START, is_enabled=False))
    judged.test("a-1", at=0)


def it_was_gone(judged: Judged) -> None:
    judged.logins.answered("a-1", NoConfig())
    judged.test("a-1", at=0)


def it_could_not_be_read(judged: Judged) -> None:
    judged.logins.answered("a-1", PollError(Reason.TIMEOUT))
    judged.test("a-1", at=0)


def too_soon(judged: Judged) -> None:
    judged.test("a-1", at=0)
    judged.test("a-1", at=10 * MINUTE - 1)


def no_attempt_was_stored(judged: Judged) -> None:
    judged.test("a-1", at=0, stored=False)


def twice_for_one_attempt(judged: Judged) -> None:
    judged.test("a-1", at=0)
    judged.logins.stepped()
    judged.test("a-1", at=1, stored=False)


def once_too_often_on_a_login(judged: Judged) -> None:
    judged.logins.rotate("a-1", back=False)
    for number in range(3):
        judged.test("a-1", at=number * 60 * MINUTE)


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (tests_are_off, "tests are off"),
        (it_was_disabled, "last seen disabled"),
        (it_was_gone, "last seen disabled, gone"),
        (it_could_not_be_read, "gone or unreadable"),
        (too_soon, "tested twice within 599 s"),
        (no_attempt_was_stored, "no attempt is stored"),
        (twice_for_one_attempt, "tested twice for one attempt"),
        (once_too_often_on_a_login, "tried again after 2 failed logins"),
    ],
)
def test_what_the_guards_forbid_is_one(
    judged: Judged, happens: Callable[[Judged], None], words: str
) -> None:
    happens(judged)
    assert judged.said
    assert words in judged.said[0]
