"""The functions of ours from an answer to the event in the store, where `failed_test` fires."""

import sys
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from traceback import walk_stack
from types import FrameType

from monitor.core.model import HOUR, Answer
from monitor.core.rules import RULES
from support.daemons import World
from support.virtual import START, FakeApi, config, run, virtual_seconds

# With all that they call these are parts of their own; what is left is the campaign's.
APART = "environment clock budget now assess_environment context_at _apply_rate_limit"
PARTS = dict.fromkeys([*APART.split(), "log_environment", "_put_environment"], "environment")
PARTS["next_poll"] = "next poll"
walked: dict[str, dict[tuple[str, str], set[str]]] = {}  # part → step → modules it was called from


def note(frame: FrameType, event: str = "call", _: object = None) -> None:
    """Take the step that runs, and where it came from; no property or lambda is one."""
    stack = [(one.f_globals["__name__"], one.f_code.co_qualname) for one, _ in walk_stack(frame)]
    stack = [one for one in stack if one[0].startswith("monitor.") and "<" not in one[1]]
    stack = [(m, n) for m, n in stack if callable(attrgetter(n)(sys.modules[m]))]
    if event == "call" and stack and stack[0][1] != "Poller._call":
        words = [word.rpartition(".")[2] for step in stack for word in step]
        part = next((PARTS[word] for word in words if word in PARTS), "campaign")
        callers = walked.setdefault(part, {}).setdefault(stack[0], set())
        callers.update({module for module, _ in stack[1:2]} - {stack[0][0]})
        if stack[0][1] == "Store.save":
            sys.setprofile(None)


class FailingApi(FakeApi):
    async def fetch_sftp(self, campaign_id: str) -> Answer:
        self.calls.append((self.clock.elapsed(), campaign_id))
        if failed := len(self.calls) == 6:  # by then the API's clock is trusted
            note(sys._getframe(2))  # `_poll` runs already
            sys.setprofile(note)
        return Answer(config(campaign_id, START, last_test_success=not failed), self.clock.wall())


async def main(world: World) -> None:
    off = (f"  {name}: {{enabled: false}}\n" for name in RULES if name != "failed_test")
    world.configure(more=f"rules:\n{''.join(off)}")
    world.apis["production"] = FailingApi(world.clock)
    async with world.daemon():
        await virtual_seconds(HOUR)


with TemporaryDirectory() as folder:
    run(main(World(Path(folder))))
for part, steps in walked.items():
    print(f"{part}: {len(steps)} functions in {len({module for module, _ in steps})} modules")
    for (module, name), callers in steps.items():
        print(f"  {module:36} {name:34}", *sorted(callers))
