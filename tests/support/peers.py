"""The real programs that some tests run against: found, or the test is skipped.

On CI, where `.ci/run` installs all of them, a missing peer fails the test instead: a suite that
skips what it is there for is not green.
"""

import os
import shutil
from collections.abc import Mapping
from glob import glob

import pytest

# Debian renames some of them, so each peer has the commands it may be found under.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
    "amtool": ("amtool",),
    "faketime": ("faketime",),
    "strace": ("strace",),
    "systemd-analyze": ("systemd-analyze",),
    "openssl": ("openssl",),
    "kubectl": ("kubectl",),
    "postgres": ("postgres",),
    "nginx": ("nginx",),
    "blackbox_exporter": ("blackbox_exporter", "prometheus-blackbox-exporter"),
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
}


def find_peer(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the path of a peer's program on the PATH of `environ`; None where there is none.

    `name` is a key of `COMMANDS` (any other is a KeyError).
    """
    # Where Debian has nginx, which only root has on the PATH, and PostgreSQL, which nobody has.
    debian = ("/usr/sbin", *sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True))
    folders = os.pathsep.join((environ.get("PATH") or os.defpath, *debian))
    found = (shutil.which(command, path=folders) for command in COMMANDS[name])
    return next((path for path in found if path is not None), None)


def require_peer(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the path of a peer's program, or end the test.

    `name` is a key of `COMMANDS` (any other is a KeyError). Where none of its commands is on the
    PATH of `environ`, the test is skipped with the reason; it fails where CI is `true`.
    """
    commands = COMMANDS[name]
    path = find_peer(name, environ)
    if path is not None:
        return path
    reason = f"{name} is not installed (looked for {', '.join(commands)} on the PATH)"
    if environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
