"""The whole daemon in one process, on virtual time, with APIs in memory."""

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monitor.adapters.systemd import SystemdNotifier
from monitor.config import load_config
from monitor.daemon import Daemon
from monitor.polling import Api, Settings
from support.virtual import FakeApi, VirtualClock

NO_SYSTEMD = SystemdNotifier({}, 0)


@dataclass
class World:
    """What stays when a daemon ends: its folder, the APIs, the clocks, and all that was told."""

    folder: Path
    clock: VirtualClock = field(default_factory=VirtualClock)
    apis: dict[str, FakeApi] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    full: bool = False

    def api(self, environment: str = "production") -> FakeApi:
        """Return the API of an environment."""
        return self.apis.setdefault(environment, FakeApi(self.clock))

    async def write(self, line: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.lines.append(line)

    def told(self) -> list[tuple[str, str, str | None]]:
        """Return (status, rule, campaign) of every alert event that was told, in order."""
        return [(e["status"], e["rule"], e["campaign_id"]) for e in self.events()]

    def events(self) -> list[dict[str, Any]]:
        """Return every alert event that was told, in order."""
        return [json.loads(line) for line in self.lines]

    def configure(self, campaigns: Iterable[str] = ("c-1",), more: str = "") -> None:
        """Write the config file: one environment `production`, and `more` YAML."""
        listed = "\n".join(f"      - id: {key}" for key in campaigns)
        self.write_config(
            "environments:\n"
            "  - name: production\n"
            "    base_url: http://127.0.0.1:9/api/v1\n"
            "    token: ${TOKEN}\n"
            f"    campaigns:\n{listed}\n" + more
        )

    def write_config(self, text: str) -> None:
        """Write the config file; the state lies beside it, any port will do."""
        common = (
            f"\nstate: {{path: {self.folder / 'state.db'}}}\nweb: {{listen_address: 127.0.0.1:0}}\n"
        )
        (self.folder / "monitor.yaml").write_text(text + common)

    def connect(self, settings: Settings, token: str) -> Api:
        api = self.api(settings.environment.name)
        api.tokens.append(token)
        return api

    @asynccontextmanager
    async def daemon(
        self,
        environ: dict[str, str] | None = None,
        systemd: SystemdNotifier = NO_SYSTEMD,
    ) -> AsyncIterator[Daemon]:
        """Run a daemon on this world; it stops at the end."""
        daemon = Daemon(
            self._load(environ or {"TOKEN": "talq_test", "OTHER_TOKEN": "talq_other"}),
            self.write,
            systemd=systemd,
            clock=self.clock,
            connect=self.connect,
            threaded=False,
        )
        await daemon.start()
        try:
            yield daemon
        finally:
            await daemon.stop()

    def _load(self, environ: dict[str, str]) -> Callable[[], Any]:
        return lambda: load_config(self.folder / "monitor.yaml", environ)
