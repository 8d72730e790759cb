"""A script of steps with the real store, tellers and sinks, for processes that are to be killed.

`python -m support.scripted FOLDER ORDER…` plays each order in a process of its own, forked from one
that has imported everything; its exit code is how many of them were killed, or FAILED.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from monitor.adapters.log import LineWriter
from monitor.adapters.store import Store
from monitor.notifier import SinkWorker
from monitor.serialize import Links
from support.sinks import a_file_sink, a_log_sink
from support.state_files import events
from support.virtual import START

LINKS = Links("https://runbooks.example/{rule}")

EPOCH = "e"

FAILED = 255
"""The exit code when a script ended in another way than by SIGKILL or well."""

DECIDING = "cb"
"""The steps that decide an event and commit it."""

TELLING = {"c": "", "f": "f", "p": "p", "b": "fp", "e": "fp"}
"""Which sinks a step tells all that waits, at once: the file, the pipe, or both."""

END = "e"
"""The step after the last: both are told what is left."""


async def play(folder: Path, order: str) -> None:
    """Play the steps; an event that was decided before a crash is not decided again.

    What goes to the pipe is kept in the file `pipe`, what goes to the file in `alerts.jsonl`.
    """
    pipe = os.open(folder / "pipe", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    writer = LineWriter(pipe)
    executor = ThreadPoolExecutor(1)
    store = Store(folder / "state.db", now=START, executor=executor)
    store.epoch = EPOCH
    workers = {
        "f": SinkWorker(a_file_sink(folder / "alerts.jsonl", LINKS), store, lambda _: None),
        "p": SinkWorker(a_log_sink(writer.write, LINKS, for_people=False), store, lambda _: None),
    }
    decided, seq = len(store.history()), 0
    for step in order + END:
        if step in DECIDING:
            seq += 1
            if seq > decided:
                store.save(events(seq))
                await store.flush()
        await asyncio.gather(*(workers[sink].deliver_all() for sink in TELLING[step]))
    await store.aclose()
    writer.close()
    os.close(pipe)


def main(folder: Path, orders: Sequence[str]) -> int:
    killed = 0
    for order in orders:
        child = os.fork()
        if child == 0:
            asyncio.run(play(folder / order, order))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status not in {0, signal.SIGKILL}:
            return FAILED
        killed += status == signal.SIGKILL
    return killed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
