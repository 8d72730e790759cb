"""The systemd unit: what systemd's own tools say of it, and that the program can live inside it.

No systemd runs here, so the sandbox cannot be tried. Instead the program runs as the unit starts
it, while every system call is recorded: none may be one that the sandbox refuses.
"""

import asyncio
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from support.command import COMMAND, DEADLINE
from support.fake_platform import TOKEN, fake_platform
from support.peers import require_peer

FILE = Path(__file__).parents[2] / "deploy" / "systemd" / "sftp-monitor.service"


def setting(name: str) -> list[str]:
    """Return the values of a setting, one for each time that it stands in the unit."""
    return re.findall(rf"^{name}=(.*)$", FILE.read_text(encoding="utf-8"), re.MULTILINE)


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [require_peer("systemd-analyze"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_exposure_is_at_most_two_of_ten() -> None:
    done = systemd_analyze("security", "--offline=true", "--threshold=20", str(FILE))
    assert done.returncode == 0, done.stdout


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    (command,) = setting("ExecStart")
    unit = FILE.read_text(encoding="utf-8").replace(command.split()[0], str(COMMAND))
    copy = tmp_path / FILE.name
    copy.write_text(unit, encoding="utf-8")
    done = systemd_analyze("verify", str(copy))
    assert (done.returncode, done.stderr) == (0, "")


def test_what_only_a_person_can_mend_is_not_tried_again() -> None:
    assert setting("Restart") == ["always"]
    assert setting("RestartPreventExitStatus") == ["64 77 78"]


def test_systemd_waits_for_our_word_that_it_is_ready_and_that_it_lives() -> None:
    assert setting("Type") == ["notify"]
    assert setting("WatchdogSec") == ["60s"]
    # By itself it ends within 10 s.
    assert setting("TimeoutStopSec") == ["20s"]


def test_it_runs_as_nobody_and_keeps_its_state_and_its_token() -> None:
    assert setting("DynamicUser") == ["yes"]
    assert setting("StateDirectory") == ["sftp-monitor"]
    assert setting("LogsDirectory") == ["sftp-monitor"]
    assert setting("LimitCORE") == ["0"]
    assert setting("LoadCredential") == ["talkover:/etc/sftp-monitor/talkover"]
    assert setting("MemoryDenyWriteExecute") == ["yes"]
    assert setting("PrivateNetwork") == setting("IPAddressDeny") == []


SANDBOX = {
    "yes": [
        *("DynamicUser", "LockPersonality", "MemoryDenyWriteExecute", "NoNewPrivileges"),
        *("PrivateDevices", "PrivateIPC", "PrivateTmp", "PrivateUsers", "ProtectClock"),
        *("ProtectControlGroups", "ProtectHome", "ProtectHostname", "ProtectKernelLogs"),
        *("ProtectKernelModules", "ProtectKernelTunables", "RemoveIPC", "RestrictNamespaces"),
        *("RestrictRealtime", "RestrictSUIDSGID"),
    ],
    "": ["AmbientCapabilities", "CapabilityBoundingSet"],
    "strict": ["ProtectSystem"],
    "invisible": ["ProtectProc"],
    "0077": ["UMask"],
    "native": ["SystemCallArchitectures"],
    # A call that is refused is an error that Python sees, and no core dump.
    "EPERM": ["SystemCallErrorNumber"],
    "AF_INET AF_INET6 AF_UNIX": ["RestrictAddressFamilies"],
}
"""What the exposure alone does not hold: one of them may be lost, and it is still below two."""


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for value, names in SANDBOX.items() for name in names]
)
def test_each_wall_of_the_sandbox_stands(name: str, value: str) -> None:
    assert setting(name) == [value]


def test_it_has_room_to_work_and_starts_with_the_machine_and_its_network() -> None:
    for name, value in {
        "MemoryMax": "2G",
        "LimitNOFILE": "65536",
        "TasksMax": "64",
        "WantedBy": "multi-user.target",
        "After": "network-online.target",
        "Wants": "network-online.target",
        "StateDirectoryMode": "0700",
        "LogsDirectoryMode": "0750",
        # For ever: one that gave up is what nobody notices.
        "StartLimitIntervalSec": "0",
        "RestartSec": "5s",
        "ExecReload": "kill -HUP $MAINPID",
    }.items():
        assert setting(name) == [value]


def allowed_calls() -> set[str]:
    """Return the system calls that the unit's filters leave, in the order in which they apply."""
    found: set[str] = set()
    for group in setting("SystemCallFilter"):
        names = set().union(*(expanded(name) for name in group.removeprefix("~").split()))
        found = found - names if group.startswith("~") else found | names
    return found


def expanded(name: str) -> set[str]:
    """Return the system calls of a group, and of the groups in it."""
    if not name.startswith("@"):
        return {name}
    listed = systemd_analyze("syscall-filter", name).stdout.splitlines()[1:]
    names = [line.strip() for line in listed if line.strip() and "#" not in line]
    return set().union(*(expanded(one) for one in names))


async def recorded_run(folder: Path) -> list[str]:
    """Run the program as the unit does, until it has polled and reloaded; return its calls."""
    for name in ("credentials", "state"):
        (folder / name).mkdir()
    (folder / "credentials" / "talkover").write_text(TOKEN, encoding="utf-8")
    (folder / "credentials" / "talkover").chmod(0o400)
    config, calls = folder / "sftp-monitor.yaml", folder / "calls"
    async with fake_platform("c-1") as platform:
        config.write_text(
            f"""
            environments:
              - name: production
                base_url: {platform.base_url}
                token_file: ${{CREDENTIALS_DIRECTORY}}/talkover
                campaigns: [{{id: c-1}}]
            web: {{listen_address: 127.0.0.1:0}}
            """,
            encoding="utf-8",
        )
        process = await asyncio.create_subprocess_exec(
            *(require_peer("strace"), "-f", "-qq", "-o", calls, COMMAND, "run"),
            *("--config.file", config),
            cwd="/",
            env={
                "PATH": os.environ["PATH"],
                # Of sources that have just changed; where it is installed there are none.
                "PYTHONDONTWRITEBYTECODE": "1",
                "CREDENTIALS_DIRECTORY": str(folder / "credentials"),
                "STATE_DIRECTORY": str(folder / "state"),
            },
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            await platform.until(lambda: bool(platform.requests))
            pid = int(calls.read_text(encoding="utf-8").split()[0])
            os.kill(pid, signal.SIGHUP)
            while b"reloaded" not in (line := await process.stdout.readline()):
                assert line
            os.kill(pid, signal.SIGTERM)
            await process.stdout.read()
            assert await process.wait() == 0
    assert (folder / "state" / "sftp-monitor.db").is_file()
    return calls.read_text(encoding="utf-8").splitlines()


@pytest.mark.slow
async def test_the_program_lives_inside_the_sandbox(tmp_path: Path) -> None:
    calls = await recorded_run(tmp_path)
    names = {match[1] for line in calls if (match := re.match(r"\d+ +(\w+)\(", line))}
    # SQLite gives its files to their folder's owner, and that as root only: not in the sandbox.
    assert names - allowed_calls() <= {"fchown"}
    # MemoryDenyWriteExecute
    assert [line for line in calls if "PROT_WRITE|PROT_EXEC" in line] == []
    assert [line for line in calls if "mprotect(" in line and "PROT_EXEC" in line] == []
    # RestrictAddressFamilies
    (families,) = setting("RestrictAddressFamilies")
    opened = {match[1] for line in calls if (match := re.search(r"socket\((AF_\w+)", line))}
    assert opened - {"AF_NETLINK"} <= set(families.split())
    # ProtectSystem=strict: only the state may be written
    written = [line for line in calls if re.search(r"openat\(.*O_(WRONLY|RDWR)", line)]
    opened_for_writing = {line.split('"')[1] for line in written} - {"/dev/null"}
    assert {Path(path).parent for path in opened_for_writing} == {tmp_path / "state"}
