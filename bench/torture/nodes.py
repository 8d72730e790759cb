"""What three replicas on one real PostgreSQL survive: real processes, real constants, counted.

make torture PART=nodes                        all parts at full length: hours
PYTHONPATH=bench:tests python -m torture nodes --kills 100     one part alone; others as well

Kills, stops, cuts, restarts, full disks and rolling updates happen in any order to the same
replicas; a promotion of a standby that lags, and a backup that is restored, take commits back and
have replicas of their own.
"""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from glob import glob
from itertools import islice
from pathlib import Path

from support.postgres import Server
from torture.cluster import LOGIN_GAP, Cluster, Node, a_cluster, socket_of, write_config
from torture.figures import Figure
from torture.places import BUDGET, ENVIRONMENTS, FLAPPING, Wire
from torture.witness import Tally, count_calls, count_disorder, count_history, count_sink

FULL = {"kills": 100, "stops": 30, "cuts": 30, "restarts": 10, "disks": 5, "rolls": 5,
        "promotions": 10, "restores": 3}  # fmt: skip
TAKING_BACK = ("promotions", "restores")
LONGEST = 90.0  # seconds, of a stop or a cut
BACK_WITHIN = 120.0  # all are polled again so long after a fault has ended, or it is a problem
TAKEN_OVER_IN = 45.0
FLAPS = 1.5  # seconds from one campaign's change to the next one's, on average
CLOCK_OFF = 30


class World:
    """A cluster, and what happens to it; `chance` draws it all."""

    def __init__(self, cluster: Cluster, seed: int, longest: float = LONGEST) -> None:
        self.cluster, self.chance, self.longest = cluster, random.Random(seed), longest
        self.tally, self.seed = Tally(), seed
        self.clock = asyncio.get_running_loop().time

    async def run(self, faults: Sequence[str]) -> Tally:
        """Have these faults happen, one after the other, then peace; and count."""
        flapping = asyncio.create_task(self._flap())
        await self._polled(set(ENVIRONMENTS), lambda _: True)
        for number, fault in enumerate(faults):
            print(f"seed {self.seed}: {fault}, {number + 1} of {len(faults)}", file=sys.stderr)
            await getattr(self, f"_{fault}")()
            self.tally.faults[fault] = self.tally.faults.get(fault, 0) + 1
            for node in self.cluster.nodes:
                if node.process is not None and node.process.returncode is not None:
                    code = node.process.returncode
                    self.tally.problems.append(f"{node.life} ended with {code} at {fault}")
                    await node.start()
        flapping.cancel()
        await self._peace()
        self._count(whole=not set(faults) & set(TAKING_BACK))
        return self.tally

    async def _flap(self) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(0, 2 * FLAPS))
            self.cluster.places.flap(self.chance)

    async def _polled(
        self, names: set[str], by: Callable[[str], bool], within: float = BACK_WITHIN
    ) -> dict[str, float]:
        """Return when each was called first from now on, by a life that will do."""
        calls, first = self.cluster.places.calls, dict[str, float]()
        place, deadline = len(calls), self.clock() + within
        while names - first.keys() and self.clock() < deadline:
            await asyncio.sleep(0.1)
            for one in islice(calls, place, None):
                if by(one.node):
                    first.setdefault(one.environment, one.at)
            place = len(calls)
        for name in names - first.keys():
            self.tally.problems.append(f"{name} was not polled within {within:g} s")
        return first

    def _one(self) -> Node:
        """Return a node that holds something, if any does."""
        callers = {self.cluster.places.last_caller(name) for name in ENVIRONMENTS}
        nodes = self.cluster.nodes
        return self.chance.choice([one for one in nodes if one.life in callers] or nodes)

    async def _kills(self) -> None:
        node, places = self._one(), self.cluster.places
        mine = {name for name in ENVIRONMENTS if places.last_caller(name) == node.life}
        dead, died = node.life, self.clock()
        await node.end(signal.SIGKILL)
        starting = asyncio.create_task(node.start()) if self.chance.random() < 0.5 else None
        first = await self._polled(mine, lambda life: life != dead)
        self.tally.deaths += [first.get(name, died + BACK_WITHIN) - died for name in mine]
        await (starting or node.start())

    async def _stops(self) -> None:
        node = self._one()
        node.send(signal.SIGSTOP)
        await asyncio.sleep(self.chance.uniform(5, self.longest))
        node.send(signal.SIGCONT)
        await self._polled(set(ENVIRONMENTS), lambda _: True)

    async def _cuts(self) -> None:
        node, refuse = self._one(), self.chance.random() < 0.5
        wires = [node.database, node.api] if self.chance.random() < 0.5 else [node.database]
        for wire in wires:
            wire.cut(refuse=refuse)
        await asyncio.sleep(self.chance.uniform(5, self.longest))
        for wire in wires:
            wire.mend()
        await self._polled(set(ENVIRONMENTS), lambda _: True)

    async def _restarts(self) -> None:
        server, how = self.cluster.server, self.chance.choice(["fast", "immediate"])
        await asyncio.to_thread(server.stop, how)
        await asyncio.sleep(self.chance.uniform(0, self.longest / 2))
        await asyncio.to_thread(server.start)
        await self._polled(set(ENVIRONMENTS), lambda _: True)

    async def _disks(self) -> None:
        server = self.cluster.server
        if not server.folder.is_mount():
            print("no disk is filled: it takes root, to mount a small one", file=sys.stderr)
            return
        filler = server.folder / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        await asyncio.sleep(self.chance.uniform(20, self.longest))
        filler.unlink()
        # A server that could not write its log has ended itself.
        if not (server.data / "postmaster.pid").exists():
            await asyncio.to_thread(server.start)
        await self._polled(set(ENVIRONMENTS), lambda _: True)

    async def _rolls(self) -> None:
        """Update all: another config, and after the first one the schema of a later release."""
        age = f"{self.chance.randint(30, 3000)}d"
        for number, node in enumerate(self.cluster.nodes):
            write_config(node.folder, stale_test={"max_age": age})
            if number == 1:
                later = "UPDATE sftp_monitor_schema SET version = version + 1"
                self.cluster.server.execute(later, database="monitor")
            asked = self.clock()
            code = await node.end(signal.SIGTERM)
            if code or self.clock() - asked > 15:
                took = self.clock() - asked
                self.tally.problems.append(f"{node.life} ended with {code} after {took:.0f} s")
            gone = node.life
            await self._polled(set(ENVIRONMENTS), partial(_other, gone), within=20)
            await node.start()

    async def _promotions(self) -> None:
        """Lose the primary, and some of what it has committed; the standby's clock is off."""
        wire = await Wire(socket_of(self.cluster.server)).open()
        standby = await asyncio.to_thread(self._copy, wire.port)
        _set_clock(standby, self.chance.choice([-CLOCK_OFF, 0, CLOCK_OFF]))
        await asyncio.to_thread(standby.start)
        await asyncio.sleep(self.chance.uniform(1, 10))
        wire.cut(refuse=False)
        await asyncio.sleep(self.chance.uniform(0.5, self.longest / 4))
        await asyncio.to_thread(self.cluster.server.stop, "immediate")
        await wire.aclose()
        promote = partial(standby.command, "pg_ctl", "-D", str(standby.data), "-w", "promote")
        await asyncio.to_thread(promote)
        await self._use(standby)

    async def _restores(self) -> None:
        """Restore a backup of some minutes ago under the replicas."""
        wire = await Wire(socket_of(self.cluster.server)).open()
        backup = await asyncio.to_thread(self._copy, wire.port)
        (backup.data / "standby.signal").unlink()
        await wire.aclose()
        await asyncio.sleep(self.chance.uniform(self.longest, 2 * self.longest))
        await asyncio.to_thread(self.cluster.server.stop, "fast")
        await asyncio.to_thread(backup.start)
        await self._use(backup)

    async def _use(self, server: Server) -> None:
        before = self.cluster.server
        self.cluster.use(server)
        if self.chance.random() < 0.5:
            node = self._one()  # who takes over knows only what the new one has
            await node.end(signal.SIGKILL)
            await node.start()
        await self._polled(set(ENVIRONMENTS), lambda _: True)
        shutil.rmtree(before.data)

    def _copy(self, port: int) -> Server:
        before = self.cluster.server
        folder = before.folder.parent / f"{before.folder.name.partition('.')[0]}.{random.random()}"
        folder.mkdir(mode=0o755)
        server = Server(folder, before.bin, before.settings)
        server.command("pg_basebackup", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres",
                       "-D", str(server.data), "-R", "-X", "stream", "-c", "fast",
                       "--no-sync")  # fmt: skip
        return server

    async def _peace(self) -> None:
        """Wait until all has been seen and told, and end all."""
        seen = {name: api.requests for name, api in self.cluster.places.apis.items()}
        begun = self.clock()
        await self._until(
            lambda: all(
                sum(one.campaign_id == campaign and one.at > begun for one in calls) >= 2
                for calls in seen.values() for campaign in FLAPPING
            ), "all was polled"
        )  # fmt: skip
        had = self.cluster.places.received
        ids = {row[0] for row in self.cluster.rows()}
        await self._until(lambda: ids <= {one.record["event_id"] for one in had}, "all was told")
        await asyncio.sleep(5)
        for node in self.cluster.nodes:
            if code := await node.end(signal.SIGTERM):
                self.tally.problems.append(f"{node.life} ended with {code} after SIGTERM")

    async def _until(self, true: Callable[[], bool], what: str) -> None:
        deadline = self.clock() + BACK_WITHIN
        while not true():
            if self.clock() > deadline:
                self.tally.problems.append(f"not within {BACK_WITHIN:g} s: {what}")
                return
            await asyncio.sleep(0.5)

    def _count(self, *, whole: bool) -> None:
        tally, cluster, places = self.tally, self.cluster, self.cluster.places
        rows = {row[0]: row[4] for row in cluster.rows() if row[2] != "state_unavailable"}
        tally.events = len(rows)
        files = cluster.files()
        log = [one.record for one in cluster.told]
        webhook = [one.record for one in places.received]
        count_sink(tally, "the log", log, rows, ordered=True)
        count_sink(tally, "the webhook", webhook, rows, ordered=True)
        in_files = [one for records in files.values() for one in records]
        count_sink(tally, "the files", in_files, rows, ordered=False)
        for name, records in files.items():
            count_disorder(tally, f"the file of {name}", records, rows)
        if whole:
            ids = {one["event_id"] for one in webhook if one["rule"] != "state_unavailable"}
            if unstored := ids - rows.keys():
                tally.problems.append(f"told, but not in the history: {sorted(unstored)[:5]}")
        count_calls(tally, places.calls, places.posts, BUDGET, LOGIN_GAP)
        if places.refused:
            tally.problems.append(f"the API refused {places.refused} calls")
        count_history(tally, webhook, places.truth, None if whole else rows.keys())
        tally.problems += [one for node in cluster.nodes for one in node.complaints]


def _other(gone: str, life: str) -> bool:
    return life != gone


def _set_clock(server: Server, seconds: int) -> None:
    """Have a server started with its clock off by so much, where libfaketime is."""
    found = glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if seconds and found:
        env = (
            f"LD_PRELOAD={found[0]}",
            f"FAKETIME={seconds:+d}s",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )
        server._user = [*server._user, "env", *env]


async def survive(
    faults: Mapping[str, int], jobs: int, seed: int, longest: float, keep: Path
) -> Tally:
    """Have so many of each fault happen to `jobs` clusters at once, each of which has its part."""
    chance = random.Random(seed)
    usual = [kind for kind, number in faults.items() for _ in range(number)]
    back = [kind for kind in usual if kind in TAKING_BACK]
    rest = [kind for kind in usual if kind not in TAKING_BACK]
    chance.shuffle(rest)
    chance.shuffle(back)
    parts = [rest[job::jobs] for job in range(jobs)] + [back]
    async with asyncio.TaskGroup() as group:
        runs = [
            group.create_task(_one_cluster(part, seed + number, longest, keep / str(number)))
            for number, part in enumerate(parts)
            if part
        ]
    tally = Tally()
    for one in runs:
        tally.add(one.result())
    return tally


async def _one_cluster(part: Sequence[str], seed: int, longest: float, folder: Path) -> Tally:
    async with a_cluster(folder) as cluster:
        tally = await World(cluster, seed, longest).run(part)
    print("\n".join([f"seed {seed} is done", *tally.problems]), file=sys.stderr)
    return tally


def figures(tally: Tally) -> list[Figure]:
    """Return what the run shows."""
    late = sorted(tally.deaths) or [0.0]
    p50, p99 = (late[round(part * (len(late) - 1))] for part in (0.5, 0.99))
    kinds = ", ".join(f"{number} {kind}" for kind, number in tally.faults.items())
    stops = tally.faults.get("stops", 0)
    how = f"three replicas as processes on a real PostgreSQL, six environments; {kinds}"
    return [
        Figure(
            "Replicas lose, double and confuse no event, whatever becomes of one or the database",
            how,
            f"{tally.events:,} events to three sinks: {tally.lost} lost, {tally.repeats} repeats,"
            f" {tally.unmarked} of them unmarked (each SIGSTOP may leave one a sink),"
            f" {tally.disordered} out of order, {tally.twice} ids of two occurrences,"
            f" {tally.invented} resolved or paged by a takeover;"
            f" other problems: {len(tally.problems)}; {tally.taken_back} alerts otherwise than"
            " told, where the database had taken the last event back",
            not (tally.lost or tally.disordered or tally.twice or tally.invented)
            and tally.unmarked <= 3 * stops and len(tally.problems) <= tally.unmarked,
        ),
        Figure(
            "Replicas together keep the budget, and send no connection test twice",
            how,
            f"{tally.calls:,} calls, {tally.over_budget} windows of 60 s over the budget;"
            f" {tally.posts} tests, {tally.doubled_posts} of them twice",
            not (tally.over_budget or tally.doubled_posts),
        ),
        Figure(
            "A replica's death leaves its environments unpolled for 45 s at most",
            f"kill -9 of one of three that holds any; {kinds}",
            f"{len(tally.deaths)} environments: p50 {p50:.1f} s, p99 {p99:.1f} s,"
            f" at most {late[-1]:.1f} s",
            p99 <= TAKEN_OVER_IN,
        ),
    ]  # fmt: skip


def main(argv: Sequence[str]) -> list[Figure]:
    """Have it all happen, or what the flags say."""
    parser = argparse.ArgumentParser(prog="nodes", description=main.__doc__)
    for kind, number in FULL.items():
        parser.add_argument(f"--{kind}", type=int, default=0 if argv else number)
    parser.add_argument("--jobs", type=int, default=2, help="clusters at once")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--longest", type=float, default=LONGEST, help="seconds of a stop or cut")
    parser.add_argument("--keep", type=Path, help="a folder for what the replicas have said")
    given = vars(parser.parse_args(argv))
    jobs, seed, longest, keep = (given.pop(one) for one in ("jobs", "seed", "longest", "keep"))
    print(f"--seed {seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="nodes-") as folder:
        tally = asyncio.run(survive(given, jobs, seed, longest, keep or Path(folder)))
    return figures(tally)
