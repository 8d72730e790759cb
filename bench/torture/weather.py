"""The weather of the soak: platforms that answer well, and in a storm badly now and then."""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from support.fake_platform import CLOCK, a_config
from support.misbehaving import Peer, Request, answer

FAULTS = 0.05
"""The part of all polls that a fault befalls."""

STORM = 2 / 3
"""The part of a cycle in which there are faults: all of them, so there they are more frequent."""

KINDS = ("timeout", "reset", "500", "malformed", "slow")


@dataclass
class Weather:
    """What the platforms of one run have in common: the cycle, and what was done so far."""

    seed: int
    cycle: float
    """Seconds."""
    warm_up: float
    """Seconds from the beginning on."""
    began: float = field(default_factory=CLOCK.elapsed)
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def at(self) -> tuple[int, float]:
        """Return which cycle it is, from 0, and how far it has come: from 0 to 1."""
        cycles = (CLOCK.elapsed() - self.began) / self.cycle
        return int(cycles), cycles % 1

    async def script(self, request: Request, peer: Peer) -> None:
        """Answer a poll, well or badly."""
        number, part = self.at()
        stormy = part < STORM
        warm = CLOCK.elapsed() - self.began >= self.warm_up
        flapping = 10 if warm else 1
        whole = answer(_config(request.line.split("/")[-3], number, part, flapping).body)
        self.done["polls"] += 1
        if not stormy or self.random.random() >= FAULTS / STORM:
            await peer.send(whole)
            return
        kind = self.random.choice(KINDS)
        self.done[kind] += 1
        match kind:
            case "timeout":
                await peer.hang()
            case "reset":
                await peer.send(whole[:-40])
                peer.reset()
            case "500":
                await peer.send(answer(b"", "500 Oops"))
            case "malformed":
                await peer.send(answer(b'{"success": tru'))
            case "slow":
                for start in range(0, len(whole), 100):
                    await peer.send(whole[start : start + 100])
                    await peer.pause()


def _config(campaign: str, cycle: int, part: float, flapping: int) -> Any:
    """One campaign in `flapping` flaps while it storms, and has another host in every cycle."""
    if int(campaign.split("-")[1]) % flapping:
        return a_config(campaign)
    passed = part >= STORM or int(part * 20) % 2 == 0
    return a_config(campaign, host=f"host-{cycle}.example.com", last_test_success=passed)
