"""Programs under measurement: started, seen from outside, and ended."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Thread
from typing import NamedTuple, TypeVar

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("sftp-monitor")
TOKEN = "talq_benchmark"
ENVIRONMENTS = 10
"""So many at most: each has a token of its own, in `TOKEN_0` and so on."""

_TOKENS = {f"TOKEN_{number}": f"{TOKEN}_{number}" for number in range(ENVIRONMENTS)}

_T = TypeVar("_T")


class Line(NamedTuple):
    """A line of a program's output, and when it came (`time.perf_counter`)."""

    at: float
    text: str


class Program:
    """A process that runs; `lines` is what it has said so far, on both streams."""

    def __init__(self, *command: str | Path) -> None:
        """Start it, with the token and the tree's packages in its environment."""
        self.lines: list[Line] = []
        self._said, self._ended = Condition(), False
        path = os.pathsep.join((str(ROOT), str(ROOT / "bench"), str(ROOT / "tests")))
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_TOKENS, "PYTHONPATH": path},
            start_new_session=True,
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._said:
                self.lines.append(Line(time.perf_counter(), line.decode(errors="replace")))
                self._said.notify_all()
        with self._said:
            self._ended = True
            self._said.notify_all()

    def until(self, condition: Callable[[], _T], seconds: float) -> _T:
        """Return what the condition gives once that is true; looked at after every line.

        Raises TimeoutError, or RuntimeError where the program ends before.
        """
        deadline = time.monotonic() + seconds
        with self._said:
            while not (found := condition()):
                last = "".join(line.text for line in self.lines[-5:])
                if self._ended:
                    raise RuntimeError(f"the program ended; it said:\n{last}")
                if not self._said.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"not within {seconds:g} s; it said:\n{last}")
            return found

    def listening(self, port: int, seconds: float = 30.0) -> None:
        """Return once something listens on this port."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection((HOST, port), 1).close()
            except OSError:
                if time.monotonic() > deadline or self._ended:
                    self.until(lambda: False, 0)
                time.sleep(0.02)
            else:
                return

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def cpu(self) -> float:
        """Return the CPU seconds of all threads so far, and of all processes below it."""
        # Linux' clock of a process, in nanoseconds; /proc/PID/stat has hundredths of a second.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in _family(self.pid))

    def memory(self) -> float:
        """Return the resident memory, in bytes."""
        status = Path("/proc", str(self.pid), "status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) * 1024

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """Have it end, after ten seconds by force."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        assert self._process.stdout is not None
        self._process.stdout.close()


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path("/proc", str(pid), "task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _family(int(child))


@contextmanager
def running(*command: str | Path) -> Iterator[Program]:
    """Run a program; it is ended at the end."""
    program = Program(*command)
    try:
        yield program
    finally:
        program.stop()


def cpu_of(command: Sequence[str | Path]) -> float:
    """Return the CPU seconds that a command takes from its start to its end. Raises OSError."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [str(part) for part in command],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **_TOKENS},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def free_port() -> int:
    """Return a port on which nobody listens now."""
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port


def get(url: str, seconds: float = 120.0) -> str:
    """Return what a URL on loopback answers, with 200. Raises OSError."""
    return fetch(urllib.request.Request(url), seconds)


def post(url: str, seconds: float = 240.0) -> str:
    """Return what a URL on loopback answers to a POST, with 200. Raises OSError."""
    return fetch(urllib.request.Request(url, method="POST"), seconds)


def fetch(request: urllib.request.Request, seconds: float) -> str:
    """Return the body of the answer; no proxy of the environment is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=seconds) as answer:
        body: bytes = answer.read()
    return body.decode()
