"""Thousands of histories of several replicas on one virtual database: who polls an environment?

Each is drawn from a seed: replicas die, are stopped and go on, are cut off, end, start and read
another config; answers come late, are lost, or never come; the database goes away, and comes back
with a clock that is half a minute off. `--seed N --runs 1` is that history again.
"""

import argparse
import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import structlog

from monitor.core.model import Seconds
from support.replicas import Fate, OneReplica, Replicas, run
from torture.figures import Figure

EVERY: Seconds = 5.0  # how often it is looked who believes what, beside each takeover
TAKEN_OVER_IN: Seconds = 45.0
MOVES_APART: Seconds = 600.0
QUIET: Seconds = 100.0  # after the last fault all is as it should be


@dataclass
class Found:
    """What came of it."""

    histories: int = 0
    deaths: list[Seconds] = field(default_factory=list)
    hand_overs: list[Seconds] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    blind: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        return [*self.twice, *self.blind, *self.moved]

    def figures(self) -> list[Figure]:
        """Return what is published."""
        late = sorted(self.deaths) or [0.0]
        p99, worst = late[int(0.99 * (len(late) - 1))], late[-1]
        gap = max(self.hand_overs, default=0.0)
        how = (
            "Two to four replicas on one virtual database, clocks that drift by 1 %: kill -9,"
            " SIGSTOP for 5 to 90 s, cut off, SIGTERM, another config; answers late, lost, refused,"
            " rolled back, never; the database away, its clock 30 s off"
        )
        return [
            Figure(
                "No two replicas act for one environment",
                how,
                f"{self.histories} histories: {len(self.twice)} instants with two",
                not self.twice,
            ),
            Figure(
                "An environment is polled again within 45 s of the death of who polled it",
                f"{how}; measured where nothing else was wrong",
                f"{len(self.deaths)} environments: p99 {p99:.1f} s, at most {worst:.1f} s;"
                f" {len(self.blind)} without a holder {QUIET:.0f} s after the last fault",
                not self.blind and worst <= TAKEN_OVER_IN,
            ),
            Figure(
                "An environment is handed over at most once in 10 min, and polled again in 10 s",
                how,
                f"{len(self.hand_overs)} hand-overs: {len(self.moved)} too early,"
                f" the longest gap {gap:.1f} s",
                not self.moved and gap <= 10.0,
            ),
        ]


class History:
    """One history: a world, what happens to it, and who looks at it."""

    def __init__(self, seed: int, found: Found) -> None:
        self.seed, self.found, self.random = seed, found, random.Random(seed)
        self.names = [f"e{n}" for n in range(self.random.randint(1, 6))]
        self.config, self.born = "c0", 0
        self.faults = self.random.choice([0.0, 0.0, 0.02, 0.1])
        self.down, self.cut_off = False, set[str]()
        self.stepped: Seconds = 0.0
        self.ended_by_stop = set[str]()

    async def run(self) -> None:
        """Let it happen."""
        dice = self.random
        self.world = Replicas(drift=dice.uniform(-0.01, 0.01))
        for _ in range(dice.randint(2, 4)):
            self._start()
            await asyncio.sleep(dice.choice([0.0, dice.uniform(0, 20)]))
        watching = asyncio.create_task(self._watch())
        await asyncio.sleep(dice.choice([20.0, 140.0, 700.0]))
        for _ in range(dice.randint(3, 8)):
            await self._happen()
            await asyncio.sleep(dice.choice([1.0, dice.uniform(0, 60), 300.0]))
        await self._rest()
        watching.cancel()
        await self.world.aclose()

    def _start(self) -> OneReplica:
        self.born += 1
        name = f"r{self.born}"
        return self.world.start(
            name,
            self.names,
            self.config,
            fate=lambda what: self._fate(name),
            drift=self.random.uniform(-0.01, 0.01),
        )

    def _fate(self, name: str) -> Fate:
        dice = self.random
        there, back = dice.uniform(0.001, 0.05), dice.uniform(0.001, 0.05)
        if self.down or name in self.cut_off:
            return dice.choice([Fate(there, back, done=False), Fate(there, None, done=False)])
        if dice.random() >= self.faults:
            return Fate(there, back)
        return dice.choice(
            [
                Fate(there, back, answered=False),
                Fate(there, back, done=False),
                Fate(there, None),
                Fate(dice.uniform(0, 40), back),
                Fate(there, dice.uniform(0, 40)),
                Fate(dice.uniform(0, 12), dice.uniform(0, 12), answered=False),
            ]
        )

    async def _happen(self) -> None:
        dice = self.random
        one = dice.choice(self.world.running)
        event = dice.choice(
            ["kill", "kill", "stop", "cut", "end", "start", "reload", "down", "step"]
        )
        match event:
            case "kill":
                self._kill(one)
            case "stop":
                one.process.stopped = True
                await asyncio.sleep(dice.uniform(5, 90))
                one.process.cont()
            case "cut":
                self.cut_off.add(one.id)
                await asyncio.sleep(dice.uniform(1, 120))
                self.cut_off.discard(one.id)
            case "end":
                await self._end(one)
            case "start":
                self._start()
            case "reload":
                await self._reload()
            case "down" | "step":
                await self._down(stepped=event == "step")

    def _kill(self, one: OneReplica) -> None:
        one.kill()
        if len(self.world.running) < 2 or self.random.random() < 0.3:
            self._start()

    async def _end(self, one: OneReplica) -> None:
        if len(self.world.running) < 2 or self.random.random() < 0.5:
            self._start()
            await asyncio.sleep(self.random.uniform(0, 30))
        self.ended_by_stop.add(one.id)
        await one.aclose()

    async def _reload(self) -> None:
        """Give all of them another config, one after the other; perhaps other environments."""
        self.config = f"c{self.born}-{self.random.random()}"
        if self.random.random() < 0.3:
            self.names = [*self.names[1:], f"n{self.random.random()}"]
        for one in self.world.running:
            one.holding.configure(self.names, self.config)
            await asyncio.sleep(self.random.uniform(0, 30))

    async def _down(self, *, stepped: bool) -> None:
        self.down = True
        await asyncio.sleep(self.random.choice([0.5, 5.0, self.random.uniform(0, 200)]))
        if stepped:
            step = self.random.choice([-30.0, 30.0, -3.0, 3.0])
            self.world.database.offset += step
            self.stepped += abs(step)
        self.down = False

    async def _rest(self) -> None:
        """End all faults; every environment has one holder soon after."""
        self.faults = 0.0
        for one in self.world.running:
            one.holding.configure(self.names, self.config)
        await asyncio.sleep(QUIET)
        for name in self.names:
            # It may be handed over at this very instant.
            if not (holders := self.world.holders(name)):
                await asyncio.sleep(10.0)
                holders = self.world.holders(name)
            if len(holders) != 1:
                self.found.blind.append(f"seed {self.seed}: {name} is held by {holders}")
        self.found.twice += [f"seed {self.seed}: {one}" for one in self.world.twice]
        self._look_at_moves()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            for name in {name for one in self.world.running for name in one.holding.held}:
                self.world.look(name)

    def _look_at_moves(self) -> None:
        moves = defaultdict[str, list[Seconds]](list)
        for one in self.world.all.values():
            for at, what, name in one.polled.calls:
                if what == "hand_over" and one.id not in self.ended_by_stop and name in self.names:
                    moves[name].append(at)
        for name, instants in moves.items():
            for earlier, later in pairwise(sorted(instants)):
                if later - earlier < MOVES_APART * 0.99 - self.stepped:
                    self.found.moved.append(
                        f"seed {self.seed}: {name} at {earlier:.0f}, {later:.0f}"
                    )


async def deaths(seed: int, found: Found, times: int) -> None:
    """Kill one replica after the other where nothing else is wrong; hand-overs follow."""
    dice, loop = random.Random(seed), asyncio.get_running_loop()
    names = [f"e{n}" for n in range(6)]
    world, kills = Replicas(drift=dice.uniform(-0.01, 0.01)), list[Seconds]()

    def start() -> None:
        id_ = f"r{seed}-{len(world.all)}"
        world.start(
            id_,
            names,
            fate=lambda _: Fate(dice.uniform(0.001, 0.1), dice.uniform(0.001, 0.1)),
            drift=dice.uniform(-0.01, 0.01),
        )

    for _ in range(3):
        start()
    for _ in range(times):
        await asyncio.sleep(dice.choice([dice.uniform(100, 150), dice.uniform(800, 1500)]))
        one = dice.choice(world.running)
        mine, died = [name for name in names if one.has(name)], loop.time()
        one.kill()
        kills.append(died)
        while mine and loop.time() < died + 120:
            await asyncio.sleep(0.25)
            for name in [name for name in mine if world.holders(name)]:
                mine.remove(name)
                found.deaths.append(loop.time() - died)
        found.blind += [f"seed {seed}: {name} 120 s after {died:.0f}" for name in mine]
        start()
    for name in names:
        calls = sorted(call for one in world.all.values() for call in one.polled.calls)
        own = [(at, what) for at, what, whose in calls if whose == name]
        for (at, what), (then, _) in pairwise(own):
            # To one that has died, and is not known to have, it is for anyone ten seconds later.
            if what == "hand_over" and not any(at - 31 < died < then for died in kills):
                found.hand_overs.append(then - at)
    await world.aclose()


def histories(runs: int, seed: int) -> Found:
    """Return what came of so many histories."""
    found = Found()
    for number in range(seed, seed + runs):
        run(History(number, found).run())
        run(deaths(number, found, 3))
        found.histories += 1
    return found


def main(argv: Sequence[str]) -> list[Figure]:
    """Run 1,000 histories, or as the flags say."""
    parser = argparse.ArgumentParser(prog="replicas")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    found = histories(flags.runs, flags.seed)
    print("\n".join(found.broken[:20]))
    return found.figures()
