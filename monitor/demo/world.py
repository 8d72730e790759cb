"""The stand-in SFTP world: customers' servers, and what a TalkOver environment has of them.

It serves the demo, the benchmark and the simulation: no clock (`now` and all other instants are
seconds since the epoch, UTC, and come as arguments), no chance but that of the generator given in.
A break changes nothing on record until somebody runs a test.
"""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import Enum
from math import floor
from random import Random
from typing import Final
from uuid import NAMESPACE_URL, uuid5

TIMED_OUT: Final = "Connection timed out"
REFUSED: Final = "Connection refused"
LOGIN_FAILED: Final = "Authentication failed"
NOT_RESOLVED: Final = "Could not resolve hostname {}: Name or service not known"
NO_FOLDER: Final = "No such file or directory: {}"

BLIPS: Final = (
    TIMED_OUT,
    REFUSED,
    "Could not resolve hostname {}: Temporary failure in name resolution",
    "Connection reset by peer",
    "Network is unreachable",
)
"""What a test says that was spoilt on its way, before any login; `{}` is the host."""


def timestamp(instant: float) -> str:
    """Return an instant as the API writes it: ISO 8601, UTC, without a fraction."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Network(Enum):
    """What becomes of a connection to a host."""

    OPEN = "open"
    CLOSED = "closed"  # a firewall drops it: it times out
    REFUSING = "refusing"  # nothing listens there


@dataclass(frozen=True, slots=True)
class Login:
    """A line of a server's log: who tried to log in, when, and whether that failed."""

    at: float
    username: str
    failed: bool


@dataclass(slots=True)
class Server:
    """A customer's SFTP server. `passwords` are by user name; a private key is one, too."""

    passwords: dict[str, str] = field(default_factory=dict)
    port: int = 22
    network: Network = Network.OPEN
    removed: set[tuple[str, str]] = field(default_factory=set)  # folders: user name, path
    log: list[Login] = field(default_factory=list)

    def lets_in(self, username: str, password: str) -> bool:
        """Return whether a login would succeed, without trying it."""
        return self.passwords.get(username) == password

    def log_in(self, username: str, password: str, now: float) -> bool:
        """Return whether a login succeeds; it is logged."""
        success = self.lets_in(username, password)
        self.log.append(Login(now, username, failed=not success))
        return success


@dataclass(slots=True, kw_only=True)
class SftpConfig:
    """A campaign's SFTP config on the platform, with the last connection test on record.

    `password` is the one that was entered, or the key.
    """

    id: str
    campaign_id: str
    host: str
    username: str
    password: str
    created_at: float
    port: int = 22
    auth_type: str = "password"
    import_path: str | None = "/inbox"
    export_path: str | None = "/outbox"
    import_schedule: str = "daily"
    is_enabled: bool = False
    last_test_at: float | None = None
    last_test_success: bool | None = None

    def as_json(self) -> dict[str, object]:
        """Return the `data` of `GET /campaigns/{id}/sftp`: like the real one, without a secret."""
        shown = asdict(self)
        del shown["password"]
        for name in ("last_test_at", "created_at"):
            shown[name] = None if shown[name] is None else timestamp(shown[name])
        return shown


@dataclass(frozen=True, slots=True)
class Answer:
    """What the platform answers to a request for a connection test.

    `status` other than 200: it ran none. The paths are None where the test did not get so far, or
    the config has no such path.
    """

    at: float
    error: str = ""  # of a failed test
    import_path: bool | None = None
    export_path: bool | None = None
    status: int = 200

    @property
    def passed(self) -> bool:
        """Whether a test was run, and could log in."""
        return self.status == 200 and not self.error

    def as_json(self) -> dict[str, object]:
        """Return the body of the answer."""
        if self.status != 200:
            return {"success": False, "message": "It cannot be tested", "code": "REFUSED"}
        data: dict[str, object] = {"tested_at": timestamp(self.at)}
        if self.error:
            data["error"] = self.error
            return {"success": False, "message": "SFTP connection failed", "data": data}
        # Of a path that is not set the platform says that it is well.
        data["import_path_accessible"] = self.import_path is not False
        data["export_path_accessible"] = self.export_path is not False
        return {"success": True, "message": "SFTP connection successful", "data": data}


@dataclass(slots=True)
class World:
    """Servers by host name and configs by campaign id, and how well the platform is.

    `blips` is the share of tests that are spoilt on their way, drawn from `random`.
    """

    random: Random = field(default_factory=lambda: Random(0))
    servers: dict[str, Server] = field(default_factory=dict)
    configs: dict[str, SftpConfig] = field(default_factory=dict)
    blips: float = 0.0
    connect_timeout: float = 20.0  # seconds that a test takes whose connection is dropped
    has_way_out: bool = True  # False: no test reaches any server
    switches_off: bool = False  # a config whose test failed
    refuses: int | None = None  # the status that every request for a test has
    made: int = 0  # configs, ever

    # -- what people do ------------------------------------------------------------------------

    def move_host(self, old: str, new: str, left: Network | None = None) -> None:
        """Let a server stand under another name; None is `left` of the old one: not in DNS."""
        self.servers[_name(new)] = self.servers.pop(_name(old))
        if left is not None:
            self.servers[_name(old)] = Server(network=left)

    def server(self, host: str) -> Server:
        """Return the server of that name. Raises KeyError where there is none."""
        return self.servers[_name(host)]

    def create(
        self, campaign_id: str, now: float, host: str, username: str, password: str
    ) -> SftpConfig:
        """Enter the SFTP config of a campaign: switched off and never tested."""
        self.made += 1
        config = self.configs[campaign_id] = SftpConfig(
            id=str(uuid5(NAMESPACE_URL, f"{campaign_id}/sftp/{self.made}")),
            campaign_id=campaign_id,
            host=host,
            username=username,
            password=password,
            created_at=now,
        )
        return config

    def edit(self, campaign_id: str, **changes: object) -> None:
        """Change fields of a config."""
        for name, value in changes.items():
            setattr(self.configs[campaign_id], name, value)

    def switch(self, campaign_id: str, *, on: bool) -> bool:
        """Switch a config on or off; False: the platform wants a passed test before."""
        config = self.configs[campaign_id]
        if on and not config.last_test_success:
            return False
        config.is_enabled = on
        return True

    # -- connection tests ----------------------------------------------------------------------

    def trouble(self, campaign_id: str) -> str:
        """Return the truth: what an import would fail of now, in a test's words; empty: nothing."""
        config = self.configs[campaign_id]
        barrier = self._barrier(config)
        if barrier:
            return barrier
        if not self.server(config.host).lets_in(config.username, config.password):
            return LOGIN_FAILED
        lost = self._paths(config)[0] is False
        return NO_FOLDER.format(config.import_path) if lost else ""

    def takes(self, campaign_id: str) -> float:
        """Return how many seconds a test would take now."""
        timed_out = self._barrier(self.configs[campaign_id]) == TIMED_OUT
        return self.connect_timeout if timed_out and self.refuses is None else 0.5

    def test(self, campaign_id: str, now: float) -> Answer:
        """Run a connection test, whoever asks for it, and put it on record; see `Answer`."""
        # The API's times have no fraction.
        config, at = self.configs[campaign_id], float(floor(now))
        if self.refuses is not None:
            return Answer(at, status=self.refuses)
        error = self._connect(config, now)
        answer = Answer(at, error) if error else Answer(at, "", *self._paths(config))
        config.last_test_at, config.last_test_success = at, answer.passed
        if answer.error and self.switches_off:
            config.is_enabled = False
        return answer

    def _paths(self, config: SftpConfig) -> tuple[bool | None, bool | None]:
        """Return whether the import path is there and the export path; None: it is not set."""
        removed = self.server(config.host).removed

        def there(path: str | None) -> bool | None:
            """Return whether a folder is there."""
            return None if path is None else (config.username, path) not in removed

        return there(config.import_path), there(config.export_path)

    def _connect(self, config: SftpConfig, now: float) -> str:
        """Try to log in; return what went wrong."""
        if self.blips and self.random.random() < self.blips:
            return self.random.choice(BLIPS).format(config.host)
        barrier = self._barrier(config)
        if barrier:
            return barrier
        let_in = self.server(config.host).log_in(config.username, config.password, now)
        return "" if let_in else LOGIN_FAILED

    def _barrier(self, config: SftpConfig) -> str:
        """Return what keeps the platform from trying to log in."""
        if not self.has_way_out:
            return TIMED_OUT
        server = self.servers.get(_name(config.host))
        if server is None:
            return NOT_RESOLVED.format(config.host)
        if server.network is Network.CLOSED:
            return TIMED_OUT
        refusing = server.network is Network.REFUSING or server.port != config.port
        return REFUSED if refusing else ""


def _name(host: str) -> str:
    return host.lower().rstrip(".")
