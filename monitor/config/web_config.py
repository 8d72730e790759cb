"""The web config file: TLS and passwords, in the format of Prometheus' exporter-toolkit.

What this server cannot do is refused, never ignored (docs/decisions.md). Only `http2` and
`prefer_server_cipher_suites` are taken and have no effect.
"""

import re
import ssl
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from monitor.config import types as t
from monitor.config.document import ConfigError, Problem
from monitor.config.formats import is_loopback
from monitor.config.keys import Conflict, Section, key
from monitor.config.model import Web
from monitor.config.secrets import SecretError, not_open
from monitor.config.yaml import parse, read_bytes
from monitor.tls import trust

# Each more doubles the time: at a cost of 16 one password takes some seconds.
_BCRYPT = r"\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}"
_A_HASH = "a bcrypt hash with a cost from 4 to 16, such as `htpasswd -nBC 10 ''` prints"
# Python cannot ask for a certificate without verifying it.
NOT_SUPPORTED = {
    **dict.fromkeys(("cert", "key", "client_ca", "curve_preferences"), ""),
    **dict.fromkeys(("min_version", "max_version"), "^TLS1[01]$"),
    "client_auth_type": "^(RequestClientCert|RequireAnyClientCert)$",
    "cipher_suites": "TLS_RSA_|_CBC_",
    "interval": "^(?!0[a-z]*$)",
}
"""What the format has and this server has not: keys, and a pattern of those values."""

_CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
# Suites: Go's name and OpenSSL's. Those of TLS 1.3 are always on.
_SUITES = {
    **dict.fromkeys(("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"), ""),
    "TLS_CHACHA20_POLY1305_SHA256": "",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
# Those that may be put on every answer, and the values of those that have few.
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}

Header = Annotated[str, t.one_of(*_HEADERS)]
HeaderValue = Annotated[str, t.matching("[ -~]+", "printable ASCII")]
UserName = Annotated[str, t.matching("[^:]+", "a user name without a colon")]
RateLimit = Annotated[
    dict[Annotated[str, t.one_of("interval", "burst")], t.Words],
    BeforeValidator(lambda value: {} if value in (None, "0") else value),
]
PasswordHash = Annotated[str, t.matching(_BCRYPT, _A_HASH, secret=True)]


class TlsServer(Section):
    """How connections are encrypted, and whose certificates are wanted."""

    cert_file: t.PresentFile | None = key(None, "certificate and its chain, PEM")
    key_file: t.KeyFile | None = key(None, "the certificate's private key, PEM")
    client_auth_type: Annotated[ssl.VerifyMode, t.one_of(**_CLIENTS)] = key("NoClientCert", "")
    client_ca_file: t.AuthorityFile | None = key(None, "who may sign clients' certificates")
    client_allowed_sans: t.Items[t.Words] = key(
        [], "names, one of which a client's certificate must have"
    )
    min_version: Annotated[str, t.one_of(*_VERSIONS)] = key("TLS12", "")
    max_version: Annotated[str, t.one_of(*_VERSIONS)] = key("TLS13", "")
    cipher_suites: t.Items[Annotated[str, t.one_of(**_SUITES)]] = key(
        [], "for TLS 1.2, the preferred one first"
    )
    prefer_server_cipher_suites: t.TrueOrFalse = key(True, "no effect, as in Go since 1.17")

    def _conflicts(self) -> Iterator[Conflict]:
        for name in ("cert_file", "key_file"):
            if self.model_fields_set and getattr(self, name) is None:
                yield (name,), "expected this key, which is required for TLS"
        asks = self.client_auth_type
        required = "expected client_auth_type: RequireAndVerifyClientCert as well"
        if asks is not ssl.CERT_NONE and self.client_ca_file is None:
            yield ("client_auth_type",), "expected client_ca_file as well: not supported without"
        if asks is ssl.CERT_NONE and self.client_ca_file is not None:
            yield ("client_ca_file",), required
        if asks is not ssl.CERT_REQUIRED and self.client_allowed_sans:
            yield ("client_allowed_sans",), required
        if self.min_version > self.max_version:
            yield ("max_version",), f"expected at least {self.min_version}, which is min_version"
        if self.max_version == "TLS12" and self.cipher_suites and not any(self.cipher_suites):
            yield ("cipher_suites",), "expected one of TLS 1.2 as well, which is max_version"

    def context(self) -> ssl.SSLContext | None:
        """Return the TLS that a server speaks, if any; ValueError: its key cannot be used."""
        if self.cert_file is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[self.min_version]
        context.maximum_version = _VERSIONS[self.max_version]
        context.verify_mode = self.client_auth_type
        context.set_alpn_protocols(["http/1.1"])
        if suites := list(filter(None, self.cipher_suites)):
            context.set_ciphers(":".join(suites))
        elif self.cipher_suites:  # none of TLS 1.2
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        if self.client_ca_file is not None:
            trust(context, self.client_ca_file)
        try:
            # Without a password, OpenSSL would ask for that of an encrypted key on the terminal.
            context.load_cert_chain(self.cert_file, self.key_file, password="")
        except ssl.SSLError:
            why = f"{self.key_file} is not the unencrypted PEM key of {self.cert_file}"
            raise ValueError(why) from None
        except OSError as error:
            why = f"{self.key_file} or {self.cert_file} cannot be read: {error.strerror}"
            raise ValueError(why) from None
        return context


class HttpServer(Section):
    """What is said on every answer."""

    http2: t.TrueOrFalse = key(True, "no effect: HTTP/1.1 is served")
    headers: Annotated[dict[Header, HeaderValue], t.OrNothing] = key({}, "for every answer")

    def _conflicts(self) -> Iterator[Conflict]:
        for name, value in self.headers.items():
            values = _HEADERS[name]
            if values and value not in values:
                yield ("headers",), f"{name}: expected {' or '.join(values)}"


class WebFile(Section):
    """The whole file."""

    tls_server_config: TlsServer = key({}, "TLS; plain HTTP without it")
    http_server_config: HttpServer = key({}, "HTTP")
    rate_limit: RateLimit = key({}, "an interval of 0, which is no limit, and no effect")
    basic_auth_users: Annotated[dict[UserName, PasswordHash], t.OrNothing] = key(
        {}, "the bcrypt hash of each user's password; none: no password is asked for"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may come in, and how: everybody and in plain text, unless it says something else.

    `users` are bcrypt hashes by name, `headers` go on every answer; clients' certificates need one
    of the `allowed_sans`, if there are any. All of it comes from `files`.
    """

    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    allowed_sans: frozenset[str] = frozenset()
    files: tuple[Path, ...] = ()

    def url_of(self, host: str, port: int) -> str:
        """Return the URL of who listens there; one that listens everywhere is on this machine."""
        shown = f"[{host}]" if ":" in host else host or "127.0.0.1"
        return f"{'http' if self.tls is None else 'https'}://{shown}:{port}"


def read_access(path: Path | None) -> Access:
    """Return what a web config file says, now; ConfigError has all its problems at once."""
    if path is None:
        return Access()
    # The format has no ${VAR}: with no variables at all, one that somebody wrote is reported.
    document = parse(read_bytes(path), str(path))
    for name in ("tls_server_config", "rate_limit"):
        section = document.value.get(name)
        for lacking in NOT_SUPPORTED.keys() & section if isinstance(section, dict) else ():
            if section[lacking] and re.search(NOT_SUPPORTED[lacking], str(section[lacking])):
                why = "not supported by this server: see docs/operating.md, TLS and passwords"
                section[lacking] = document.report((name, lacking), why)
    file = document.read_as(WebFile)
    server = file.tls_server_config
    try:
        not_open(path, stat.S_IWOTH)
    except SecretError as error:
        document.report((), str(error), exposed=True)
    try:
        tls = server.context()
    except ValueError as error:
        document.report(("tls_server_config", "key_file"), str(error))
    document.check()
    return Access(
        users=file.basic_auth_users,
        headers=file.http_server_config.headers,
        tls=tls,
        allowed_sans=frozenset(server.client_allowed_sans),
        files=(path, *(each for _, each in server if isinstance(each, Path))),
    )


def exposure(web: Web, access: Access) -> str | None:
    """Return what is wrong where others could reach the web without a password, or None."""
    certified = access.tls is not None and access.tls.verify_mode is ssl.CERT_REQUIRED
    closed = access.users or certified or is_loopback(web.listen_address.host)
    if closed or web.allow_unauthenticated:
        return None
    return (
        "listens beyond loopback without authentication: set basic_auth_users or client "
        "certificates in web.config_file, or web.allow_unauthenticated: true"
    )


def safe_access(web: Web) -> Access:
    """Return what the web config file says; ConfigError also where it would let anybody in."""
    access = read_access(web.config_file)
    if message := exposure(web, access):
        raise ConfigError([Problem(str(web.config_file), None, "", message)])
    return access
