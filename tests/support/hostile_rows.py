"""Stored rows as no program of ours has written them, and a daemon that starts on them.

A bit that flipped on the disk, a row of another version, somebody's `UPDATE`: each is a `Spoiling`,
one cell of one row with another value.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from structlog.testing import capture_logs

from monitor.adapters.store import StorageError, read_history, read_state
from monitor.adapters.web.pages import overview_page
from monitor.adapters.web.serializers import campaign as shown
from monitor.adapters.web.serializers import environment as shown_environment
from monitor.core.attempt import TestAnswer, TestReport
from monitor.core.snapshot import Health, HistoryQuery
from monitor.daemon import Daemon
from monitor.serialize import to_json
from support.daemons import World
from support.virtual import START, config, run, virtual_seconds

TABLES = ("campaign", "environment", "listing", "guard", "lease", "event", "cursor")
MINUTE = 60.0
FAILS = "c-1"
"""The campaign whose test has failed, whatever is stored of it."""

CONFIG = """
environments:
  - name: production
    base_url: http://127.0.0.1:9/api/v1
    token: ${TOKEN}
    campaigns: [{id: c-1}, {id: c-2}, {id: c-3}]
    discovery: {enabled: true, every: 10m}
connection_tests: {enabled: true, between: ""}
alerts: {remind_every: 10m}
"""
REMOVED = """
  - name: removed
    base_url: http://127.0.0.1:9/api/v1
    token: ${OTHER_TOKEN}
    campaigns: [{id: c-8}]
"""

NUMBERS = [
    0, -1, 1, 7, 2**31, 2**63, 2**64, -(2**63) - 1, 10**40, 0.5, -0.0, 1e18, -1e18, 1e300, -1e300,
    float("inf"), float("-inf"), float("nan"), START, START * 1000, START + 9e9, -START,
]  # fmt: skip
WORDS = [
    "", " ", "0", "true", "null", "firing", "inactive", "recorded", "alert", "production", "c-1",
    "c-2", "failed_test", "no_such_rule", "Cr\u00edtico", "\ud800", "\0", "\u202e<script>",
    "x" * 70_000, "2026-01-01T00:00:00Z", "talq_0123456789abcdef", "a-b-c-d", "%s%n{0}${TOKEN}",
    "../..", "-", "a-b",
]  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.sampled_from([*NUMBERS, *WORDS, None, True, False, [], {}]) | (
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
        max_leaves=8,
    )
)


@dataclass(frozen=True)
class Spoiling:
    """What is done to the cell that the numbers choose, each modulo how many there are.

    `how` is `json` (the part of the body that `way` leads to gets the value, or goes), `cut` (to a
    part of its length), `flip` (one of its bytes), or `cell` (all of it is the value).
    """

    table: str
    row: int
    column: int
    how: str
    way: Sequence[int]
    value: Any

    def of(self, old: Any) -> Any:
        """Return what is in the cell afterwards; as SQLite takes it."""
        raw = old.encode() if isinstance(old, str) else repr(old).encode()
        at = self.way[0] % (len(raw) or 1)
        if self.how == "cut":
            return raw[:at].decode(errors="ignore")
        if self.how == "flip" and raw:
            return raw[:at] + bytes([raw[at] ^ (1 << self.way[-1] % 8)]) + raw[at + 1 :]
        if self.how == "json":
            with suppress(ValueError, TypeError):
                return _dumped(self._changed(json.loads(old), self.way))
        if isinstance(self.value, list | dict | bool):
            return _dumped(self.value)
        if isinstance(self.value, str):
            # With half a surrogate it is no UTF-8.
            return self.value.encode(errors="surrogatepass")
        small = not isinstance(self.value, int) or abs(self.value) < 2**63
        return self.value if small else float(self.value)

    def _changed(self, value: Any, way: Sequence[int]) -> Any:
        """Return a part of a body with a change somewhere in it."""
        keys = list(value) if isinstance(value, dict) else range(len(value or ""))
        if not way or not keys or not isinstance(value, dict | list):
            return self.value
        key, last = keys[way[0] % len(keys)], len(way) == 1
        if last and isinstance(value, dict) and way[0] % 3 == 0:
            return {k: v for k, v in value.items() if k != key}
        if last and isinstance(value, dict) and way[0] % 3 == 1:
            return {**value, f"{key}_of_tomorrow": self.value}
        changed = self._changed(value[key], way[1:])
        if isinstance(value, dict):
            return {**value, key: changed}
        return [changed if at == key else one for at, one in enumerate(value)]


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)


SPOILINGS = st.builds(
    Spoiling,
    table=st.sampled_from(TABLES),
    row=st.integers(0, 99),
    column=st.integers(0, 9),
    how=st.sampled_from(["json", "json", "json", "cell", "cut", "flip"]),
    way=st.lists(st.integers(0, 99), min_size=1, max_size=5),
    value=VALUES,
)


def spoil(path: Path, spoilings: Sequence[Spoiling]) -> None:
    """Do all of it to a database; what SQLite itself refuses is left out."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.text_factory = bytes
        for one in spoilings:
            rows = connection.execute(f"SELECT rowid, * FROM {one.table}").fetchall()
            if not rows:
                continue
            rowid, *cells = rows[one.row % len(rows)]
            # The body is the last one, and has most to spoil.
            column = -1 if one.how == "json" else one.column % len(cells)
            names = [
                each[1].decode() for each in connection.execute(f"PRAGMA table_info({one.table})")
            ]
            old = cells[column]
            new = one.of(old.decode(errors="replace") if isinstance(old, bytes) else old)
            text = "CAST(? AS TEXT)" if isinstance(new, bytes) and one.column % 2 == 0 else "?"
            with suppress(sqlite3.IntegrityError):
                connection.execute(
                    f"UPDATE {one.table} SET {names[column]} = {text} WHERE rowid = ?",
                    (new, rowid),
                )


def the_world(folder: Path) -> World:
    """Return a world in which the test of `FAILS` has failed, tests are on, and nothing is told."""
    world = World(folder)
    for name in ("production", "removed"):
        api = world.api(name)
        api.lists("c-1", "c-2", "c-3", "c-4")
        api.server_clock = world.clock.wall
        api.says[FAILS] = config(FAILS, START, last_test_success=False)
        api.tests = lambda key: TestAnswer(
            TestReport(key not in {FAILS, "c-3"}, world.clock.wall(), "Permission denied"),
            status=200,
        )
    world.write_config(CONFIG)
    return world


def a_state(folder: Path) -> tuple[bytes, Sequence[Mapping[str, Any]]]:
    """Return a database with rows in every table, events that wait, and all that was told."""
    world = the_world(folder)
    world.write_config(
        CONFIG.replace("connection_tests", REMOVED.strip("\n") + "\nconnection_tests")
    )

    async def story() -> None:
        async with world.daemon():
            await virtual_seconds(40 * MINUTE)
            world.full = True
            world.api().says["c-2"] = config("c-2", START, last_test_success=False)
            await virtual_seconds(20 * MINUTE)

    run(story())
    path = folder / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        for table in TABLES:
            found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert found[0], f"no row in {table}"
    return path.read_bytes(), world.events()


def look(daemon: Daemon) -> dict[str, Health]:
    """Have every view made; return the health of each campaign."""
    snapshot = daemon.report.snapshot()
    for environment in snapshot.environments.values():
        json.dumps(to_json(shown_environment(environment)))
    health = {}
    for environment, entry in snapshot.entries():
        answer = shown(environment, entry)
        json.dumps(to_json(answer))
        health[answer.campaign_id] = answer.health
    overview_page(snapshot, "test").decode()
    daemon.report.metrics(True)()
    daemon.report.metrics(False)()
    json.dumps(to_json(daemon.report.history(HistoryQuery())))
    return health


def start_on(folder: Path, state: bytes, spoilings: Sequence[Spoiling]) -> World:
    """Start twice on a spoilt state and let time go by; raises AssertionError for what is wrong."""
    for file in folder.glob("state.db*"):
        file.unlink()
    path = folder / "state.db"
    path.write_bytes(state)
    spoil(path, spoilings)
    world = the_world(folder)
    world.clock.start = START + 2 * 3600
    # As the commands do, beside the daemon; they may refuse, in words.
    for read in (read_history, read_state):
        with suppress(StorageError):
            read(path)

    async def story() -> None:
        seen = 0
        for passed in (False, True):
            async with world.daemon() as daemon:
                since, seen = seen, len(logged)
                problems = " ".join(one["problem"] for one in logged[since:] if "problem" in one)
                for key, health in look(daemon).items():
                    assert health is Health.UNKNOWN or f"production/{key} " not in problems, key
                await virtual_seconds(45 * MINUTE)
                assert look(daemon)[FAILS] in {Health.CRITICAL, Health.UNKNOWN}
                assert daemon.report.ready() is None
                world.api().says["c-2"] = config("c-2", START, last_test_success=passed)
                await virtual_seconds(15 * MINUTE)
                look(daemon)

    with capture_logs() as logged:
        run(story())
    wrong = [one for one in logged if "exc_info" in one or one["log_level"] == "critical"]
    assert not wrong, wrong
    return world


def check(
    folder: Path,
    state: bytes,
    before: Sequence[Mapping[str, Any]],
    spoilings: Sequence[Spoiling],
) -> None:
    """Start on it; raises AssertionError, also where an id stands for two occurrences."""
    told = [one for one in start_on(folder, state, spoilings).events() if not one["redelivery"]]
    ids = {one["event_id"] for one in told}
    assert not ids & {one["event_id"] for one in before}
    assert len(ids) == len({(one["fingerprint"], one["status"], one["timestamp"]) for one in told})
