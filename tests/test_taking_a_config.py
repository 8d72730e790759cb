"""What can fail of a config fails before anything changes, at the start and at a reload.

Every constructor and reader between a config file and what is in force is made to fail: by files
that are really bad where there are any, else by an exception of any kind put in its place.
"""

import ast
import asyncio
import inspect
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from structlog.testing import capture_logs

from monitor import cli
from monitor import config as config_package
from monitor import daemon as daemon_module
from monitor.adapters.store import StateLocked, StorageError, Store
from monitor.adapters.talkover import Talkover
from monitor.adapters.web import WebServer
from monitor.config import ConfigError, SecretError, TokenSource, load_config
from monitor.config.document import Problem
from monitor.daemon import Daemon
from monitor.http import HttpClient
from monitor.polling import manager as manager_module
from monitor.tls import client_context
from support.command import Daemon as RunningDaemon
from support.command import called, finished, write_config
from support.command import daemon as process
from support.daemons import World
from support.fake_platform import FakePlatform, fake_platform
from support.virtual import START, config, run, virtual_seconds

MINUTE = 60.0

TRUSTED = (trustme.CA().cert_pem.bytes().decode()).replace("BEGIN CERT", "BEGIN TRUSTED CERT")
TRUSTED = TRUSTED.replace("END CERT", "END TRUSTED CERT")

AUTHORITIES: dict[str, Callable[[Path], object]] = {
    "trusted format": lambda path: path.write_text(TRUSTED),
    "a revocation list": lambda path: path.write_text(
        "-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n"
    ),
    "a key": lambda path: trustme.CA().private_key_pem.write_to_path(str(path)),
    "DER": lambda path: path.write_bytes(b"\x30\x82\x01\x00" + bytes(256)),
    "empty": lambda path: path.touch(),
    "cut off": lambda path: path.write_bytes(trustme.CA().cert_pem.bytes()[:200]),
    "a second one is broken": lambda path: path.write_bytes(
        trustme.CA().cert_pem.bytes()
        + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    ),
    "a folder": lambda path: path.mkdir(),
    "missing": lambda path: None,
}
"""Files that are no authority."""


@pytest.mark.parametrize("kind", AUTHORITIES)
def test_what_config_check_accepts_of_an_authority_is_what_the_daemon_can_use(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "ca.pem"
    AUTHORITIES[kind](path)
    with pytest.raises(ValueError, match=f"{path} (is not a file|has no certificates)"):
        client_context(path)
    (tmp_path / "monitor.yaml").write_text(
        "environments: [{name: a, token: '${T}', ca_file: ca.pem, campaigns: [{id: c-1}]}]\n"
    )
    with pytest.raises(ConfigError, match="ca_file: "):
        load_config(tmp_path / "monitor.yaml", {"T": "talq_t"})


def test_certificates_beside_other_blocks_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    crl = "-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n"
    path.write_text(crl + trustme.CA().cert_pem.bytes().decode() + crl)
    assert client_context(path).cert_store_stats()["x509_ca"] == 1


ERRORS: list[Exception] = [
    ConfigError([Problem("file", 1, "key", "wrong")]),
    SecretError("unreadable"),
    StorageError(Path("state.db"), "unreadable"),
    OSError(24, "Too many open files"),
    ValueError("wrong"),
    RuntimeError("can't start new thread"),
    RecursionError("too deep"),
    MemoryError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    KeyError("bug"),
]


def _raises(error: Exception) -> Callable[..., Any]:
    def raising(*_: Any, **__: Any) -> Any:
        raise error

    return raising


SEAMS: dict[str, tuple[object, str]] = {
    "whether anything has changed is looked at": (daemon_module, "unchanged"),
    "it is done off the loop": (Daemon, "_off_loop"),
    "the file, its secrets, authorities and web config are read": (Daemon, "load_config"),
    "the config is shared with the one before": (config_package.Config, "sharing_with"),
    "what was saved is written": (Store, "flush"),
    "what is remembered is read": (Store, "load"),
    "a token is read": (manager_module, "Connection"),
    "a token's file is read": (TokenSource, "read"),
    "whom to watch is worked out": (manager_module, "Settings"),
    "a client is made": (manager_module.PollerManager, "_connect"),
}
"""Whatever runs between the file and the first change, by what it does."""


def _metric(daemon: Daemon, name: str) -> str:
    lines = daemon.report.metrics(False)().decode().splitlines()
    return next(line for line in lines if line.startswith(f"sftp_monitor_{name}"))


def _configs(daemon: Daemon) -> tuple[object, ...]:
    pollers = daemon._manager.pollers
    return (
        daemon.report.config,
        [(name, one.state.settings, one.connection) for name, one in pollers.items()],
        _metric(daemon, "config_hash"),
        daemon._web.web_config.access,
    )


STAGING = (
    "  - name: staging\n    base_url: http://127.0.0.1:9/api/v1\n"
    "    token: ${OTHER_TOKEN}\n    campaigns: [{id: s-1}]\n"
)


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("by", ["SIGHUP", "POST"])
@pytest.mark.parametrize("seam", SEAMS)
def test_a_reload_that_fails_leaves_the_old_config_whole(
    tmp_path: Path, seam: str, by: str
) -> None:
    world = World(tmp_path)
    owner, name = SEAMS[seam]

    async def story() -> None:
        world.configure(["c-1", "c-2"])
        async with world.daemon() as daemon:
            await virtual_seconds(MINUTE)
            before = _configs(daemon)
            world.configure(["c-1", "c-3"], more=STAGING + "polling: {timeout: 1s}\n")
            for error in ERRORS:
                with pytest.MonkeyPatch.context() as patch:
                    # Those two are attributes of what runs, not of its class.
                    part = {"load_config": daemon, "_connect": daemon._manager}.get(name, owner)
                    patch.setattr(part, name, _raises(error))
                    await _refused(daemon, by)
                assert _configs(daemon) == before, error
                successful = _metric(daemon, "config_last_reload_successful")
                assert successful.endswith(" 0.0"), error
            assert not world.api().closed
            # The old config is in force, with its token, its client and its sinks.
            world.api().says["c-2"] = config("c-2", START, last_test_success=False)
            await virtual_seconds(10 * MINUTE)
            assert world.told() == [("firing", "failed_test", "c-2")]
            # And the next reload puts the new one in force.
            assert await daemon.reload() == []
            assert set(daemon._manager.pollers) == {"production", "staging"}
            assert _metric(daemon, "config_last_reload_successful").endswith(" 1.0")

    # Nobody reads the tracebacks, and to print them takes seconds.
    with capture_logs():
        run(story())


async def _refused(daemon: Daemon, by: str) -> None:
    if by == "POST":
        problems = await daemon.reload()
        assert problems
        assert all(problems)
    else:
        daemon.reload_requested.set()
        await virtual_seconds(1)


def test_no_step_of_a_reload_is_left_out() -> None:
    # What a reload calls before its first change; whoever adds a step adds it to SEAMS as well.
    names = {name for _, name in SEAMS.values()}
    source = "".join(
        inspect.getsource(part)
        for part in (
            Daemon._reload,
            Daemon._read,
            manager_module.PollerManager.prepare,
            manager_module.PollerManager._settings,
        )
    )
    harmless = {
        "str", "type", "isinstance", "frozenset", "len", "error", "info", "append",
        "sleep", "elsewhere", "get", "Prepared", "_Part", "TargetSet", "ConfigError",
        "Problem", "discard", "prepare", "load_in", "off_loop", "_prepare", "_settings", "_api",
        "_take", "take", "_refused", "read", "partial", "replace", "aclose", "get_running_loop",
        "run_in_executor", "_read", "reload", "_target_set", "Loaded",
    }  # fmt: skip
    called = set(_calls(source))
    assert called - harmless - names == set(), "make it fail, too: add it to SEAMS"


def _calls(source: str) -> Iterator[str]:
    for part in (
        source.replace("    async def ", "\0    async def ")
        .replace("    def ", "\0    def ")
        .split("\0")
    ):
        for node in ast.walk(ast.parse(textwrap.dedent(part))):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func).rpartition(".")[2]


CODES: list[tuple[Exception, int]] = [
    *zip(ERRORS, [78, 78, 74, 74, 70, 70, 70, 70, 70, 70], strict=True),
    (SecretError("others can read it", exposed=True), 77),
    (StateLocked(Path("state.db"), "another daemon has it"), 75),
    (PermissionError(13, "Permission denied"), 74),
    (OSError(98, "Address already in use"), 74),
]
"""What can end a start, and the exit code that says whose fault it was."""

ONLY_AT_A_RELOAD = ("unchanged", "sharing_with", "flush")

STARTS: dict[str, tuple[object, str]] = {
    **{what: seam for what, seam in SEAMS.items() if seam[1] not in ONLY_AT_A_RELOAD},
    "the state is opened": (daemon_module, "open_state"),
    "sinks are made": (daemon_module, "sinks_of"),
    "the store learns of a sink": (Store, "add_sink"),
    "the key is made": (daemon_module, "key_beside"),
    "the board is made": (daemon_module, "Report"),
    "what is served is made": (daemon_module, "WebServer"),
    "the port is opened": (WebServer, "start"),
    "a config is prepared": (manager_module.PollerManager, "prepare"),
    "the config is put in force": (manager_module.PollerManager, "take"),
}
"""Whatever runs between the file and the first poll: what a reload runs, and what it keeps."""


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("seam", STARTS)
def test_a_start_that_fails_says_why_and_leaves_nothing_behind(tmp_path: Path, seam: str) -> None:
    world = World(tmp_path)
    owner, name = STARTS[seam]

    async def story() -> None:
        for error, code in CODES:
            with pytest.MonkeyPatch.context() as patch:
                # Those two are attributes of what runs, not of its class.
                if name == "_connect":
                    patch.setattr(World, "connect", _raises(error))
                elif name == "load_config":
                    patch.setattr(World, "_load", lambda *_, error=error: _raises(error))
                else:
                    patch.setattr(owner, name, _raises(error))
                with pytest.raises(Exception) as raised:  # noqa: PT011 - any of them
                    async with world.daemon():
                        pass
            # What no client can be made of, and a token that cannot be read, have a place there.
            placed = name in {"connect", "_connect", "Connection", "read"}
            is_bad_config = isinstance(error, ConfigError) or (
                placed and isinstance(error, ValueError | SecretError)
            )
            assert isinstance(raised.value, ConfigError if is_bad_config else type(error))
            exposed = isinstance(error, SecretError) and error.exposed
            wanted = (77 if exposed else 78) if is_bad_config else code
            assert _exit_code(raised.value) == wanted
            # No request was made, no task runs on, and neither lock nor port is held.
            assert not world.api().calls
            assert [
                task for task in asyncio.all_tasks() if task is not asyncio.current_task()
            ] == []
        world.api().says["c-1"] = config("c-1", START, last_test_success=False)
        async with world.daemon():
            await virtual_seconds(MINUTE)
        assert world.told() == [("firing", "failed_test", "c-1")]

    world.configure()
    with capture_logs():
        run(story())


def _exit_code(error: Exception) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.app, "main", _raises(error))
        return cli._main()


def test_no_step_of_a_start_is_left_out() -> None:
    names = {name for _, name in STARTS.values()}
    source = "".join(
        inspect.getsource(part) for part in (Daemon.start, Daemon._build, Daemon._open_web)
    )
    # What a reload does is looked at below; what remains can only fail by a bug of ours, or
    # for lack of memory.
    harmless = {
        "_build", "_keep_running", "run", "push_async_callback", "callback", "_open_web", "_take",
        "_prepare", "_reload_when_asked", "len", "info", "error", "ready", "wall", "snapshot",
        "tuple", "ThreadPoolExecutor", "PollerManager", "SinkContext", "links_of", "prepare_sink",
        "partial", "SinkWorker", "start", "_tick", "aclose", "_report_ready",
        "reachable", "show_replica", "BootClock", "hold", "isinstance", "append",
        "enter_context", "missing_roots", "warning", "Future", "type", "type(error)", "url_of",
        "OurClock", "_hold", "nullcontext", "gethostname",
    }  # fmt: skip
    assert set(_calls(source)) - harmless - names == set(), "make it fail, too: add it to STARTS"


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"ca_file": None}, "is not a file"),
        ({"base_url": "https://256.1.1.1"}, "not a base URL: Invalid IPv4 address"),
    ],
    ids=["an authority", "a base URL"],
)
def test_what_the_real_client_refuses_is_a_problem_of_the_config(
    tmp_path: Path, broken: dict[str, Any], why: str
) -> None:
    world = World(tmp_path)

    def connect(settings: Any, token: str) -> Any:
        known: dict[str, Any] = {
            "base_url": "http://127.0.0.1:9",
            "token": token,
            "timeout": 1.0,
            "concurrency": 1,
            "now": world.clock.wall,
            "elapsed": world.clock.elapsed,
            "observe": lambda *_: None,
            "client": HttpClient(tmp_path / "nowhere" if "ca_file" in broken else None),
        }
        more = {name: value for name, value in broken.items() if name != "ca_file"}
        return Talkover(**{**known, **more})

    async def story() -> list[str]:
        world.configure()
        async with world.daemon() as daemon:
            daemon._manager._connect = connect
            return list(await daemon.reload())

    (problem,) = run(story())
    assert problem.startswith("production: ")
    assert why in problem


def test_a_client_that_cannot_be_made_at_the_start_is_a_bad_config(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.configure()

    async def story() -> None:
        daemon = Daemon(
            world._load({"TOKEN": "talq_test"}), world.write, clock=world.clock,
            connect=_raises(ValueError("no such authority")), threaded=False,
        )  # fmt: skip
        with pytest.raises(ConfigError, match="no such authority") as raised:
            await daemon.start()
        assert raised.value.exit_code == 78

    run(story())


@pytest.mark.slow(seconds=10)
async def test_a_bad_authority_ends_neither_a_start_nor_a_daemon(tmp_path: Path) -> None:
    async with fake_platform("c-1") as platform:
        config = write_config(tmp_path, platform, ["c-1"])
        good = config.read_text()
        async with process(config) as monitor:
            await monitor.process.record(event="sweep_complete")
            for number, make in enumerate(AUTHORITIES.values()):
                make(path := tmp_path / f"ca-{number}.pem")
                write_config(tmp_path, platform, ["c-1"], environment={"ca_file": str(path)})
                await is_refused(monitor, platform, config)
                config.write_text(good)
                assert (await monitor.web.post("/-/reload")).status_code == 200


async def is_refused(monitor: RunningDaemon, platform: FakePlatform, config: Path) -> None:
    """Assert that a daemon goes on without this config, and that none starts on it."""
    answer = await monitor.web.post("/-/reload")
    assert (answer.status_code, "ca_file" in answer.text) == (500, True)
    assert "\nsftp_monitor_config_last_reload_successful 0" in await monitor.text("/metrics")
    polls = len(platform.requests)
    await platform.until(lambda: len(platform.requests) > polls)
    ended = await finished("run", "--config.file", config)
    assert ended.code == 78, ended
    assert (await called("config", "check", config)).code == 78
