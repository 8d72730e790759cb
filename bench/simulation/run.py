"""One seed, from its first second to its last: `run`."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from monitor.core.model import DAY
from simulation.checks import Checks
from simulation.plan import plan
from simulation.world import World
from support import virtual

MUST_VISIT = (
    "pending", "firing", "unknown while firing", "muted", "restarted", "crashed", "reloaded",
    "breaker open", "clock stepped", "disk failed", "stale told on time", "told as it fired",
)  # fmt: skip
"""What a run must have come through, or it has shown nothing."""


class Violation(Exception):  # noqa: N818 - it says what is so
    """Something that must hold did not: which seed, what, and what had happened until then."""

    def __init__(self, seed: int, days: float, what: str, history: list[str]) -> None:
        super().__init__(seed, days, what, history)
        self.seed, self.days, self.what, self.history = seed, days, what, history

    def __str__(self) -> str:
        story = "\n".join(self.history)
        replay = f'make torture PART=simulation ARGS="--seed {self.seed} --days {self.days:g}"'
        return f"{story}\n\nseed {self.seed}: {self.what}\nto replay it: {replay}"


def run(seed: int, days: float, folder: Path) -> Checks:
    """Run the story of a seed in an empty folder; return what it visited, and how it ended.

    Raises Violation at the first thing that does not hold.
    """
    return virtual.run(_run(seed, days, folder))


async def _run(seed: int, days: float, folder: Path) -> Checks:
    world = World(folder, seed)
    checks = world.checks
    with _logs_into(checks):
        await world.start()
        for step in plan(seed, days):
            await world.until(step.at)
            if checks.violation is not None:
                break
            if step.do is not World.look:
                checks.note(str(step))
            await step.do(world, *step.args)
        await world.until(days * DAY + 1)
        await world.disk_heals()
        await world.stop()
    if checks.violation is None:
        checks.at_the_end()
    for what in MUST_VISIT:
        checks.must(checks.visited[what] > 0, f"the run never visited: {what}")
    if checks.violation is not None:
        raise Violation(seed, days, checks.violation, list(checks.history))
    return checks


@contextmanager
def _logs_into(checks: Checks) -> Iterator[None]:
    def keep(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> Any:
        checks.logged(line["event"], " ".join(f"{key}={value}" for key, value in line.items()))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[keep])
    try:
        yield
    finally:
        structlog.configure(**before)
