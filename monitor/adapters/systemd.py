"""Notify systemd by its notification protocol (`Type=notify`, `WatchdogSec=`)."""

import socket
from collections.abc import Mapping

import structlog

from monitor.core.model import Seconds

log = structlog.get_logger()


class SystemdNotifier:
    """Notifies the service manager that started us, where there is one."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        """Send to `$NOTIFY_SOCKET`, as the process with this id."""
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL of an abstract socket; other schemes are not ours.
        address = f"\0{address[1:]}" if address.startswith("@") else address
        self._address = address if address.startswith(("/", "\0")) else ""
        # The variables are inherited: a watchdog may be meant for the process that started us.
        ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        self._watched = ours and environ.get("WATCHDOG_USEC", "0") != "0"
        self._failing = False

    def ready(self, status: str) -> None:
        """Say that the start, or a reload, is over; `status` is for people."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self, now: Seconds) -> None:
        """Say that a reload begins; `now` is the monotonic clock's."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(now * 1_000_000)}")

    def stopping(self) -> None:
        """Say that we are about to leave."""
        self._send("STOPPING=1\nSTATUS=stopping")

    def alive(self) -> None:
        """Feed the watchdog, if we have one."""
        if self._watched:
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        failing, self._failing = self._failing, False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                # Whoever does not listen must not hold us up.
                connection.setblocking(False)
                connection.sendto(message.encode(), self._address)
        except OSError as error:
            self._failing = True
            if not failing:
                log.warning("systemd_not_notified", problem=str(error))
