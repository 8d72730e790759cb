"""What systemd hears of us, by a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from monitor.adapters.systemd import SystemdNotifier

PID = 4711


@pytest.fixture(params=["file", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address as systemd writes it: @ stands for the NUL of an abstract one."""
    return str(tmp_path / "notify") if request.param == "file" else f"@sftp-{os.urandom(8).hex()}"


@pytest.fixture
def systemd(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0", 1) if address[0] == "@" else address)
        listening.settimeout(10)
        yield listening


def heard(systemd: socket.socket) -> list[str]:
    return systemd.recv(4096).decode().split("\n")


def test_it_hears_the_whole_life(address: str, systemd: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(PID)}
    notifier = SystemdNotifier(environ, PID)
    notifier.ready("watching 3 environments")
    assert heard(systemd) == ["READY=1", "STATUS=watching 3 environments"]
    notifier.alive()
    assert heard(systemd) == ["WATCHDOG=1"]
    notifier.reloading(12.5)
    assert heard(systemd) == ["RELOADING=1", "MONOTONIC_USEC=12500000"]
    notifier.stopping()
    assert heard(systemd)[0] == "STOPPING=1"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
    ],
)
def test_a_watchdog_that_is_not_ours_is_not_fed(
    address: str, systemd: socket.socket, environ: dict[str, str]
) -> None:
    notifier = SystemdNotifier({"NOTIFY_SOCKET": address, **environ}, PID)
    notifier.alive()
    notifier.stopping()
    assert heard(systemd)[0] == "STOPPING=1"


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
def test_without_a_socket_that_we_know_nobody_is_told(address: str) -> None:
    with capture_logs() as logged:
        SystemdNotifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"}, PID).alive()
    assert logged == []


def test_a_manager_that_does_not_listen_is_logged_once_and_holds_nothing_up(tmp_path: Path) -> None:
    notifier = SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}, PID)
    with capture_logs() as logged:
        notifier.ready("")
        notifier.stopping()
    assert [one["event"] for one in logged] == ["systemd_not_notified"]
