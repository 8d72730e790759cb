"""Operational logs: structlog and the standard library's loggers as lines of one stream.

Standard output has one writer thread, for a pipe that nobody reads blocks whoever writes to it.
"""

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import structlog
from structlog.types import EventDict, Processor

from monitor.core.model import Instant
from monitor.core.text import clean, redact, rfc3339
from monitor.serialize import quoted

LINES_WAITING = 10_000
"""So many operational lines wait for a blocked stream; then the newest are dropped, counted."""

TEXT_LIMIT = 512
"""Characters of one text in an operational line."""

TRACEBACK_LIMIT = 2048
"""Characters of a traceback; its end says most."""


class LineWriter(logging.Handler):
    """Writes whole lines to a file descriptor, in order, from one thread of its own."""

    def __init__(self, fd: int) -> None:
        """Start the thread. `fd` stays the caller's."""
        super().__init__()
        self.dropped = 0
        """How many lines of `put` were lost, to a blocked stream or a failing one."""
        self._counting = threading.Lock()
        self._fd = fd
        self._torn = False
        self._items = queue.SimpleQueue[tuple[bytes, Future[None] | None] | None]()
        # A daemon thread: one that hangs in a full pipe must not keep the process from leaving.
        self._thread = threading.Thread(target=self._work, name="stdout", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue an operational record as one line."""
        self.put(self.format(record).encode("utf-8", "replace") + b"\n")

    def put(self, line: bytes) -> None:
        """Queue a line that may be lost: an operational one. Never blocks."""
        if self._items.qsize() >= LINES_WAITING:
            self._drop()
        else:
            self._items.put((line, None))

    async def write(self, line: bytes) -> None:
        """Write a line that may not be lost: returns when it is written, raises OSError if not."""
        done = Future[None]()
        # So that it cannot be cancelled: the line is written though nobody awaits it any more.
        done.set_running_or_notify_cancel()
        self._items.put((line, done))
        await asyncio.wrap_future(done)

    def close(self, timeout: float = 1.0) -> None:
        """Write what waits, for `timeout` seconds at most: a blocked pipe must not keep us."""
        self._items.put(None)
        self._thread.join(timeout)
        super().close()

    def _work(self) -> None:
        while (item := self._items.get()) is not None:
            line, done = item
            try:
                self._write_all(line)
            except OSError as error:
                if done is None:
                    self._drop()
                else:
                    done.set_exception(error)
            else:
                if done is not None:
                    done.set_result(None)

    def _drop(self) -> None:
        # Two threads may come here at once.
        with self._counting:
            self.dropped += 1

    def _write_all(self, line: bytes) -> None:
        # After a line that broke off, a newline first: what follows must not be glued to it.
        rest = b"\n" + line if self._torn else line
        while rest:
            rest = rest[os.write(self._fd, rest) :]
            self._torn = bool(rest)


def configure(writer: LineWriter, now: Callable[[], Instant], *, level: str, output: str) -> None:
    """Send all operational records through `writer`: `output` is `json` or `console`."""
    formatter = structlog.stdlib.ProcessorFormatter
    structlog.configure(
        # A record below the level costs no more than this.
        processors=[structlog.stdlib.filter_by_level, formatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        # A cached logger would keep the clock of an earlier `configure`.
        cache_logger_on_first_use=False,
    )
    as_json = structlog.processors.JSONRenderer()
    processors: list[Processor] = [
        formatter.remove_processors_meta,
        structlog.stdlib.add_log_level,
        structlog.processors.format_exc_info,
        lambda _logger, _method, event: {"timestamp": rfc3339(now(), milliseconds=True), **event},
        _harmless,
        _render_for_people if output == "console" else as_json,
    ]
    writer.setFormatter(formatter(processors=processors))
    root = logging.getLogger()
    root.handlers[:] = [writer]
    root.setLevel(level.upper())
    # At INFO httpx logs every request.
    for chatty in ("httpx", "httpcore", "asyncio", "aiohttp"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It logs each run that fails; `Jobs` logs the first.
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)


def _harmless(_logger: Any, _method: str, event: EventDict) -> EventDict:
    for key, text in event.items():
        if isinstance(text, str):
            said = redact(text)
            # A traceback keeps its lines; every other text is one line without control characters.
            event[key] = said[-TRACEBACK_LIMIT:] if key == "exception" else clean(said, TEXT_LIMIT)
    return event


def _render_for_people(_logger: Any, _method: str, event: EventDict) -> str:
    head = f"{event.pop('timestamp')[11:19]} {event.pop('level'):<17} {event.pop('event')}"
    exception = event.pop("exception", None)
    said = " ".join(f"{key}={quoted(str(value))}" for key, value in event.items())
    return f"{head} {said}".rstrip() + (f"\n{exception}" if exception else "")
