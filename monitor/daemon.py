"""The shell: builds everything, starts it, keeps it running, tears it down in reverse.

The only module that reads a clock. Everything flows one way: pollers look and decide, the store
remembers, tellers tell, the web shows the board.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import structlog

from monitor import __version__
from monitor.adapters.jobs import Jobs
from monitor.adapters.metrics import OwnMetrics, content_type
from monitor.adapters.sinks.log import LogSink, WriteLine
from monitor.adapters.store import Loaded, Store
from monitor.adapters.talkover import Talkover
from monitor.adapters.web import WebContext, WebServer
from monitor.config import Config, ConfigError, LogFormat, SecretError, effective_yaml
from monitor.core.model import Instant, Reason, Seconds
from monitor.core.sharding import WHOLE, Shard
from monitor.polling import Api, Clock, Connect, Fleet, Settings
from monitor.reporting import Report
from monitor.telling import Teller

DRAIN: Seconds = 3.0
"""How long a stop waits for what is still to be told; what is left waits in the database."""

TICK: Seconds = 1.0
"""How often the event loop's lag is measured."""

RETENTION_EVERY: Seconds = 3600.0
"""How often events that are older than `state.retention` are dropped."""

log = structlog.get_logger()


class SystemClock:
    """The real clocks; `elapsed` is the running event loop's, which virtual time replaces."""

    def wall(self) -> Instant:
        """Return the wall clock's instant."""
        return time.time()

    def elapsed(self) -> Seconds:
        """Return the event loop's monotonic time, in seconds."""
        return asyncio.get_running_loop().time()


def talkover(clock: Clock, own: OwnMetrics | None = None) -> Connect:
    """Return what connects to the real API; each call is counted in `own`."""

    def connect(settings: Settings, token: str) -> Api:
        """Return the client of one environment."""
        environment = settings.environment

        def observe(endpoint: str, seconds: Seconds, reason: Reason | None) -> None:
            """Count a call by its outcome; `reason` is None for an answer."""
            if own is not None:
                own.call_made(environment.name, endpoint, seconds, reason)

        return Talkover(
            base_url=environment.base_url,
            token=token,
            timeout=settings.polling.timeout,
            concurrency=settings.polling.concurrency,
            now=clock.wall,
            monotonic=clock.elapsed,
            observe=observe,
            user_agent=f"sftp-config-monitor/{__version__}",
            ca_file=environment.ca_file,
        )

    return connect


class TaskEndedError(Exception):
    """A task that must run for ever has ended: the process is to be restarted."""


class Daemon:
    """The monitor as a whole: `start`, then `run` until `stop_requested`, then `stop`."""

    def __init__(
        self,
        load: Callable[[], Config],
        write: WriteLine,
        *,
        shard: Shard = WHOLE,
        clock: Clock | None = None,
        connect: Connect | None = None,
        threaded: bool = True,
    ) -> None:
        """Run on what `load` returns, now and at each reload, telling alerts through `write`.

        Of its environments those that `shard` owns are watched.
        `clock`, `connect` and `threaded=False` put the whole on virtual time.
        """
        self.stop_requested = asyncio.Event()
        self.reload_requested = asyncio.Event()
        self.url = ""
        self._load = load
        self._write = write
        self._shard = shard
        self._clock = clock or SystemClock()
        self._threaded = threaded
        self._own = OwnMetrics(__version__, shard)
        self._connect = connect or talkover(self._clock, self._own)
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = asyncio.Event()
        self._stopping = False
        self._disk_fails = False
        self._loaded = False
        self._jobs = Jobs()
        self._closing = AsyncExitStack()

    # -- the life cycle --------------------------------------------------------------------

    async def start(self) -> None:
        """Build and start everything.

        Raises ConfigError, SecretError, StateLocked, StateUnusable, or OSError for the port.
        """
        try:
            await self._start(self._load())
        except BaseException:
            self._stopping = True
            await self._closing.aclose()
            raise

    async def _start(self, config: Config) -> None:
        clock = self._clock
        store = Store.open(config.state.path, now=clock.wall(), threaded=self._threaded)
        self._closing.push_async_callback(store.aclose)
        self._store = store
        self._fleet = Fleet(store, clock, self._own, self._connect, self._keep_running, self._shard)
        self.report = Report(config, self._fleet, store, ("log",), self._own, clock)
        sink = LogSink(
            self._write, self.report.links, for_people=config.log.format is LogFormat.CONSOLE
        )
        self._own.prepare_sink(sink.name)
        # Before the first save: without its cursor a crash would let events pass the sink by.
        self._teller = Teller(sink, store, self._own.sink_failed)
        store.on_commit = self._teller.wake
        store.on_error = self._storage_failed
        if store.notice:
            log.error("state_set_aside", notice=store.notice)
        # The port before the first call: a start that fails must not spend any of the budget.
        await self._open_web(config)
        self._telling = self._keep_running("telling", self._teller.run())
        # Undone from the last: polling ends before the drain, so that all it decided is told.
        self._closing.push_async_callback(self._drain)
        self._closing.push_async_callback(self._end_tasks)
        loaded = store.load()
        for problem in loaded.problems:
            log.error("state_row_lost", problem=problem)
        self._apply(config, loaded)
        self._tasks = [
            self._keep_running("ticking", self._tick()),
            self._keep_running("reloading", self._reload_when_asked()),
        ]
        self._loaded = True
        self._jobs.start()
        self._closing.callback(self._jobs.stop)
        log.info(
            "started", version=__version__, url=self.url, environments=len(self._fleet.pollers)
        )

    async def run(self) -> None:
        """Run until `stop_requested`. Raises TaskEndedError when an essential task ends before."""
        waits = [asyncio.create_task(e.wait()) for e in (self.stop_requested, self._ended)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self._ended.is_set() and not self.stop_requested.is_set():
            raise TaskEndedError("a task that must run for ever has ended")

    async def stop(self) -> None:
        """Stop everything in reverse; what could not be told waits in the database."""
        log.info("stopping")
        self._stopping = True
        await self._closing.aclose()

    async def _end_tasks(self) -> None:
        await self._fleet.aclose()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _drain(self) -> None:
        # Not cancelled but asked: a delivery cut off would be told again, by the next process.
        await self._store.flush()
        self._teller.finish()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._telling, DRAIN)

    def _keep_running(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not self._stopping:
            log.critical("task_ended", task=task.get_name(), exc_info=task.exception())
            self._ended.set()

    # -- the config ------------------------------------------------------------------------

    async def reload(self) -> Sequence[str]:
        """Read the config again and take it; a bad one changes nothing. Returns its problems."""
        try:
            config = self._load()
            await self._store.flush()
            self._apply(config, self._store.load())
        except (ConfigError, SecretError) as error:
            self._own.config_refused()
            problems = [str(problem) for problem in getattr(error, "problems", (error,))]
            log.error("reload_refused", problems=len(problems), first=problems[0])
            return problems
        log.info("reloaded", environments=len(self._fleet.pollers))
        return []

    async def _reload_when_asked(self) -> None:
        while True:
            await self.reload_requested.wait()
            # Cleared first: requests that come during a reload are one more reload, however many.
            self.reload_requested.clear()
            await self.reload()

    def _apply(self, config: Config, loaded: Loaded) -> None:
        """Put a config in force, with what is remembered."""
        self._fleet.apply(config, loaded)
        before, self.report.config = self.report.config, config
        for part in ("web", "state", "log"):
            if getattr(before, part) != getattr(config, part):
                log.warning("restart_needed", changed=part)
        self._jobs.every(config.alerts.heartbeat_every, "heartbeat", self._beat)
        self._jobs.every(RETENTION_EVERY, "retention", self._prune)
        self._own.config_loaded(self._clock.wall(), effective_yaml(config).encode())

    # -- wiring ----------------------------------------------------------------------------

    async def _open_web(self, config: Config) -> None:
        context = WebContext(
            board=self.report.board,
            metrics=self.report.metrics,
            metrics_content_type=content_type,
            healthy=self.report.healthy,
            ready=self._not_ready,
            loaded=lambda: self._loaded,
            reload=self.reload,
            events=self.report.history,
            version=__version__,
            shard=self._shard,
            started_at=self._clock.wall(),
            external_url=config.web.external_url,
        )
        host, port = config.web.listen_host, config.web.listen_port
        web = WebServer(context, host, port)
        port = await web.start()
        self._closing.push_async_callback(web.stop)
        shown = f"[{host}]" if ":" in host else host or "127.0.0.1"
        self.url = config.web.external_url or f"http://{shown}:{port}"

    def _not_ready(self) -> str | None:
        return self.report.ready() if self._loaded else "the state is not loaded yet"

    async def _tick(self) -> None:
        while True:
            due = self._clock.elapsed() + TICK
            await asyncio.sleep(TICK)
            self._own.loop_lagged(max(0.0, self._clock.elapsed() - due))
            if self._disk_fails and not self._store.failing:
                self._disk_fails = False
                log.info("state_written_again")

    async def _beat(self) -> None:
        self.report.heartbeat()

    async def _prune(self) -> None:
        await self._store.prune(self._clock.wall() - self.report.config.state.retention)

    def _storage_failed(self, error: Exception) -> None:
        self._own.storage_failed()
        # What cannot be committed is told from memory: a full disk must not hold back a page.
        self._teller.wake()
        if not self._disk_fails:
            log.error("state_not_written", problem=str(error))
        self._disk_fails = True
