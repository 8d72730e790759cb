"""The shell: builds everything, starts it, keeps it running, tears it down in reverse."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import KW_ONLY, dataclass
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

import structlog

from monitor import __version__
from monitor.adapters.metrics import SelfMetrics
from monitor.adapters.sinks import HOLDS, SinkContext, WriteLine, links_of, sinks_of
from monitor.adapters.store import StorageError, open_state
from monitor.adapters.systemd import SystemdNotifier
from monitor.adapters.web import WebServer, key_beside
from monitor.clocks import BootClock, SystemClock
from monitor.config import Access, Config, ConfigError, SecretError, safe_access, unchanged
from monitor.config.model import Web
from monitor.core.model import Seconds
from monitor.jobs import Jobs
from monitor.notifier import SinkWorker
from monitor.polling import STEP, Clock, Connect, Holding, OurClock, PollerManager
from monitor.polling.shared import hold
from monitor.reporting import Report
from monitor.resolver import reachable
from monitor.tls import missing_roots

DRAIN: Seconds = 3.0  # how long a stop waits for deliveries; what is left waits in the database
TICK: Seconds = 1.0  # how often the loop's lag is measured, clocks compared, the watchdog fed
RETENTION_EVERY: Seconds = 3600.0  # how often events older than `state.retention` are dropped

log = structlog.get_logger()
_T = TypeVar("_T")


class TaskEndedError(Exception):
    """A task that must run for ever has ended: the process is to be restarted."""


@dataclass(eq=False)
class Daemon:
    """The monitor as a whole: `start`, then `run` until `stop_requested`, then `stop`.

    It runs on what `load_config` returns, now and at each reload; `loaded` is what it has just
    returned. `write` writes the events to the log. `clock`, `connect` and `threaded=False` put all
    on virtual time. `lines_dropped` counts the lines that the log has lost. `by_itself` false: it
    polls and tests only what it is asked for, and delivers nothing. `read_access`: who may come in.
    """

    load_config: Callable[[], Config]
    write: WriteLine
    _: KW_ONLY
    systemd: SystemdNotifier = SystemdNotifier({}, 0)
    clock: Clock = SystemClock()
    connect: Connect | None = None
    threaded: bool = True
    lines_dropped: Callable[[], int] = int
    by_itself: bool = True
    read_access: Callable[[Web], Access] = safe_access
    loaded: Config | None = None

    def __post_init__(self) -> None:
        self.stop_requested, self.reload_requested = asyncio.Event(), asyncio.Event()
        self.url = ""
        self._self_metrics = SelfMetrics(__version__, lines_dropped=self.lines_dropped)
        self._jobs = Jobs()
        self._holding: Holding | None = None
        self._ended = self._loaded = self._disk_fails = False
        # Of its own: at the end nobody waits for one that hangs, as for the loop's.
        self._thread = ThreadPoolExecutor(1, "loading")
        self._closing = AsyncExitStack()

    async def start(self) -> None:
        """Build and start everything. Raises ConfigError, SecretError, StorageError or OSError."""
        # What the next reload will have found wrong.
        self._reloaded: asyncio.Future[Sequence[str]] = asyncio.Future()
        try:
            config, self.loaded = self.loaded or self.load_config(), None
            self._build(config)
            # Before the log's first line, which would be glued to the one that a crash broke off.
            self._delivering = [self._keep_running(one.name, one.run()) for one in self._workers]
            # Undone from the last: polling ends before the drain, so that all it decided goes out.
            self._closing.push_async_callback(self._drain)
            # The port before the first call: a start that fails must not spend any of the budget.
            await self._open_web(config)
            self._closing.push_async_callback(self._manager.aclose)
            await self._manager.take(*await self._manager.prepare(config))
            self._take(config)
            works = [("ticking", self._tick()), ("reloading", self._reload_when_asked())]
            if self._holding is not None:
                self._closing.push_async_callback(self._holding.aclose)
                works.append(("holding leases", self._holding.run()))
            for name, work in works:
                self._closing.callback(self._keep_running(name, work).cancel)
            self._loaded = True
            self._jobs.start()
            self._closing.callback(self._jobs.stop)
        except BaseException:
            await self._closing.aclose()
            raise
        environments = len(self.report.config.environments)
        for problem in await self._off_loop(lambda: [*missing_roots()]):
            log.warning("certificate_authorities", problem=problem)
        log.info("started", version=__version__, url=self.url, environments=environments)
        # Not as late as /-/ready: an API that is down must not keep the service from starting.
        self._report_ready()

    def _build(self, config: Config) -> None:
        clock = self._clock = OurClock(self.clock)
        self._closing.callback(self._thread.shutdown, wait=False, cancel_futures=True)
        own, keep_running = self._self_metrics, self._keep_running
        executor = ThreadPoolExecutor(1, "state") if self.threaded else None
        store = self._store = open_state(config.state, clock.wall(), executor, keep_running)
        self._closing.push_async_callback(store.aclose)
        self._manager = manager = PollerManager(
            store, clock, own, keep_running, self.connect, self.by_itself, self._off_loop
        )
        context = SinkContext(
            links_of(config),
            self.write,
            clock.wall,
            lambda: self.report.snapshot(held=True),  # it is made after the sinks
            HOLDS[store.shared],
            threaded=self.threaded,
        )
        sinks = sinks_of(config, context)
        names = tuple(sink.name for sink in sinks)
        beside = None if store.shared else config.state.path
        key = self._closing.enter_context(key_beside(beside))
        self.report = Report(
            config, manager, store, names, own, clock, lambda: self._loaded, self.reload, key
        )
        for name in names:
            own.prepare_sink(name)
        # Before the first save: without its cursor a crash would let events pass a sink by.
        workers = [SinkWorker(sink, store, own.sink_failed) for sink in sinks]
        self._workers = workers if self.by_itself else []
        if store.shared:
            steady = BootClock() if isinstance(self.clock, SystemClock) else self.clock
            holding = hold(manager, self._workers, clock, steady, config)
            self._holding = self.report.holding = holding
            own.show_replica(holding.id, lambda: holding.seen.living)
        store.on_error = self._storage_failed
        if store.notice:
            log.error("state_set_aside", notice=store.notice)

    async def run(self) -> None:
        """Run until `stop_requested`. Raises TaskEndedError when an essential task ends before."""
        await self.stop_requested.wait()
        if self._ended:
            raise TaskEndedError("a task that must run for ever has ended")

    async def stop(self) -> None:
        """Stop everything in reverse; what could not be delivered waits in the database."""
        log.info("stopping")
        self.systemd.stopping()
        await self._closing.aclose()

    async def _drain(self) -> None:
        # Not cancelled but asked: a delivery cut off would be made again, by the next process.
        await self._store.flush()
        for worker in self._workers:
            worker.finish()
        if self._delivering:
            _, late = await asyncio.wait(self._delivering, timeout=DRAIN)
            for task in late:
                task.cancel()

    def _keep_running(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        # At a stop they are cancelled, or asked to return.
        if not task.cancelled() and task.exception() is not None:
            log.critical("task_ended", task=task.get_name(), exc_info=task.exception())
            self._ended = self._ended or not self.stop_requested.is_set()
            self.stop_requested.set()

    async def reload(self) -> Sequence[str]:
        """Read the config again and take it; a bad one changes nothing. Returns its problems."""
        self.reload_requested.set()
        return await asyncio.shield(self._reloaded)

    def _report_ready(self, more: str = "") -> None:
        self.systemd.ready(
            f"watching {len(self.report.config.environments)} environments at {self.url}{more}"
        )

    async def _reload(self) -> Sequence[str]:
        try:
            config = await self._off_loop(self._read)
            await self._store.flush()
            # All that can fail comes before the first change.
            await self._manager.take(*await self._manager.prepare(config))
            self._take(config)
            self._web.web_config.reload()
        except Exception as error:
            return self._refused(error)
        log.info("reloaded", environments=len(config.environments))
        return []

    def _refused(self, error: Exception) -> Sequence[str]:
        self._self_metrics.config_refused()
        problems, more = [str(one) for one in getattr(error, "problems", (error,))], {}
        if not isinstance(error, ConfigError | SecretError | StorageError):
            # Without its text, in which a secret may be: this is shown to whoever asks.
            problems = [f"internal error, see the log: {type(error).__name__}"]
            more = {"exc_info": error}
        log.error("reload_refused", problems=len(problems), first=problems[0], **more)
        return problems

    async def _reload_when_asked(self) -> None:
        # One after the other, or an older file could be put in force after a newer one.
        asked = self._reloaded
        try:
            while True:
                await self.reload_requested.wait()
                # Cleared first: requests that come during a reload are one more, however many.
                self.reload_requested.clear()
                asked, self._reloaded = self._reloaded, asyncio.Future()
                self.systemd.reloading(self.clock.elapsed())
                problems = await self._reload()
                self._report_ready("; the last reload was refused" if problems else "")
                asked.set_result(problems)
        finally:
            # At a stop: nobody waits for what does not come any more.
            asked.cancel()
            self._reloaded.cancel()

    async def _off_loop(self, work: Callable[[], _T]) -> _T:
        if not self.threaded:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _read(self) -> Config:
        before = self.report.config
        return before if unchanged(before) else self.load_config().sharing_with(before)

    def _take(self, config: Config) -> None:
        """Note that a config is in force; nothing here depends on what a file or a peer says."""
        before, self.report.config = self.report.config, config
        for part in ("web", "state", "log", "alerts.file", "notify"):
            if attrgetter(part)(before) != attrgetter(part)(config):
                log.warning("restart_needed", changed=part)
        self._jobs.every(config.alerts.heartbeat_every, "heartbeat", self.report.heartbeat)
        self._jobs.every(RETENTION_EVERY, "retention", self._prune)
        self._self_metrics.config_loaded(self._clock.wall(), config.digest)
        if self._holding is not None:
            self._holding.configure([one.name for one in config.environments], config.digest.hex())

    async def _open_web(self, config: Config) -> None:
        (host, port), access = config.web.listen_address, partial(self.read_access, config.web)
        self._web = WebServer(self.report, host, port, read_access=access)
        try:
            port = await self._web.start()
        except OSError as error:
            why = f"web.listen_address: cannot listen on {host or '*'}:{port} ({error.strerror})"
            raise type(error)(f"{why}; choose another port, in the demo with --port 0") from error
        self._closing.push_async_callback(self._web.stop)
        url_of = self._web.web_config.access.url_of
        self.url = config.web.external_url or url_of(host, port)
        if self._holding is not None:
            self._holding.address = config.web.replica_url or url_of(reachable(host), port)

    async def _tick(self) -> None:
        clock, known = self.clock, self.clock.wall() - self.clock.elapsed()
        fed_at = clock.elapsed()
        while True:
            due = clock.elapsed() + TICK
            await asyncio.sleep(TICK)
            self._self_metrics.loop_lagged(max(0.0, clock.elapsed() - due))
            step = clock.wall() - clock.elapsed() - known
            # The offset is kept up to the threshold, so that small steps add up to one.
            if abs(step) > STEP:
                log.warning("clock_stepped", seconds=round(step))
                known += step
                self._jobs.clock_stepped(step, clock.wall())
            # Only work that was done feeds it: a loop that merely lives would hide one that hangs.
            if self.report.turned_since(fed_at):
                fed_at = clock.elapsed()
                self.systemd.alive()
            if self._disk_fails and self._store.problem is None:
                self._disk_fails = False
                log.info("state_written_again")

    async def _prune(self) -> None:
        await self._store.prune(self._clock.wall() - self.report.config.state.retention)

    def _storage_failed(self, error: Exception) -> None:
        self._self_metrics.storage_failed()
        # The first one is logged, and the one that works again.
        if not self._disk_fails:
            log.error("state_not_written", problem=str(error))
        self._disk_fails = True
