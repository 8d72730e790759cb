"""What single values look like; ValueError says what was expected."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import re2

from monitor.core.attempt import Window
from monitor.core.model import HOUR, MINUTE
from monitor.serialize import EVENT_FIELDS


def window(text: str) -> Window | None:
    """Return the part of the day that `05:00-20:00` means; None for nothing: all of it."""
    if not text:
        return None
    hours = [part.split(":") for part in text.split("-")]
    start, end = (int(hour) * HOUR + int(minute) * MINUTE for hour, minute in hours)
    if start == end:
        raise ValueError("expected two different times of day, or nothing for all of it")
    return Window(start, end)


def format_window(window: Window) -> str:
    """Return a part of the day as `window` reads it back."""
    return "-".join(f"{int(at // HOUR):02}:{int(at % HOUR // MINUTE):02}" for at in window)


class ListenAddress(NamedTuple):
    """Where to listen: `host` is empty for every interface, `port` 0 for any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host: localhost, 127.0.0.0/8 or ::1."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


AN_ADDRESS = "host:port, [::1]:port or :port, with a port up to 65535"


def listen_address(text: str) -> ListenAddress:
    """Return the address that `host:port`, `[::1]:port` or `:port` means; `[::]` is every one."""
    found = re.fullmatch(r"([A-Za-z0-9._-]*|\[(.*:.*)\]):([0-9]{1,5})", text)
    if found is None or int(found[3]) > 65535:
        raise ValueError(f"expected {AN_ADDRESS}")
    host = str(IPv6Address(found[2])) if found[2] else found[1]
    # asyncio would take `::` for IPv6 alone; to other programs it is both families.
    return ListenAddress("" if host == "::" else host, int(found[3]))


_MARKS = {"query": "?", "fragment": "#", "query and fragment": "?#"}


def url(text: str, *without: str) -> str:
    """Return an http or https URL without user info, and without a "query", "fragment" or both."""
    try:
        parts = urlsplit(text)
        # A port that is none shows only here: urlsplit parses it when it is read.
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    # urlsplit drops tabs and line ends without a word: what is checked is not what is used.
    if not usable or any(character.isspace() for character in text):
        raise ValueError("expected a URL such as https://app.talkover.ai/api/v1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("expected a URL without user name and password")
    for part in without:
        # urlsplit forgets a lone `?` or `#`, behind which every path put on would end up.
        if any(mark in text for mark in _MARKS[part]):
            raise ValueError(f"expected a URL without {part}")
    return text


def api_url(text: str) -> str:
    """Return the base URL of an API where a token is safe: https, or http to this machine."""
    parts = urlsplit(url(text))
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("expected https://; http:// is for loopback hosts only")
    return url(text, "query and fragment").rstrip("/")


_A_DATABASE = "expected a URL such as postgresql://sftp_monitor@db.example/sftp_monitor"
_DATABASE_TAKES = (
    "sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs", "connect_timeout",
)  # fmt: skip


def database_url(text: str) -> str:
    """Return a URL of PostgreSQL that names all but the password, and whose server is verified."""
    parts = urlsplit(text)
    user, _, places = parts.netloc.rpartition("@")
    # As libpq does: a comma that is written as %2C divides hosts, too.
    hosts = [re.sub(r":[0-9]*$", "", one) for one in unquote(places).split(",")]
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    if ":" in user:
        raise ValueError("expected no password in the URL: it belongs into state.password_file")
    named = user and all(hosts) and parts.path.strip("/") and "#" not in text
    if parts.scheme not in {"postgresql", "postgres"} or not named:
        raise ValueError(f"{_A_DATABASE}, with user, host and database")
    for name in asked.keys() - _DATABASE_TAKES:
        raise ValueError(f"expected no {name!r} in the URL, only {', '.join(_DATABASE_TAKES)}")
    for name in asked.keys() & {"sslrootcert", "sslcert", "sslkey"}:
        if asked[name] != "system" and not asked[name].startswith("/"):
            raise ValueError(f"expected an absolute path as {name}")
    local = all(host.startswith("/") or is_loopback(host.strip("[]")) for host in hosts)
    if not local and asked.get("sslmode") != "verify-full":
        raise ValueError("expected sslmode=verify-full, for the server is beyond this machine")
    if len(hosts) > 1 and asked.get("target_session_attrs") != "read-write":
        raise ValueError("expected target_session_attrs=read-write, for there are several hosts")
    return text


def runbook_url(text: str) -> str:
    """Return the template of a runbook's URL, with nothing but `{rule}` in braces."""
    return _template(text, "{rule}")


def campaign_url(text: str) -> str:
    """Return the template of the URL at which people open a campaign, an https one; or nothing."""
    if text and not text.startswith("https://"):
        raise ValueError("expected an https URL")
    if text and "{campaign_id}" not in text:
        raise ValueError("expected {campaign_id} in the URL")
    return text and _template(text, "{campaign_id}", "{environment}")


def _template(text: str, *names: str) -> str:
    plain = text
    for name in names:
        plain = plain.replace(name, name.strip("{}"))
    if "{" in plain or "}" in plain:
        raise ValueError(f"expected {' and '.join(names)} as the only thing in braces")
    url(plain)
    return text


def origin(url: str) -> str:
    """Return a URL's scheme, host and port: what of it may be shown, for a path may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


LABEL_NAME_PATTERN = "^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$"
# Names that no label of the operator's may have; a test reads them from the files in deploy/.
RESERVED_LABELS = {*EVENT_FIELDS} | {
    # Those of the metrics …
    "alertstate", "auth_type", "campaign_id", "campaign_name", "endpoint", "environment",
    "health", "import_schedule", "le", "path", "python_version", "reason", "replica", "result",
    "rule", "severity", "sftp_host", "sftp_port", "sink", "status", "version",
    # … and what Prometheus, its operator, Alertmanager or the shipped rules set or drop.
    "alertname", "container", "instance", "job", "namespace", "node", "pod", "quantile", "service",
}  # fmt: skip
# Bytes of labels as JSON, so that an alert's log line can hold them whatever else is in it.
LABELS_LIMIT = 1024


def label_name(text: str) -> str:
    """Return the name of a label, which Prometheus takes and nobody else uses."""
    if not re.fullmatch(LABEL_NAME_PATTERN, text):
        raise ValueError("expected a label name: letters, digits and _, not starting with __")
    # Prometheus puts `exported_` before a label of ours that its own one displaces.
    if text in RESERVED_LABELS or text.startswith("exported_"):
        other = f"own_{text.removeprefix('exported_')}"
        users = "the monitor, its rules, Prometheus or Alertmanager set this one themselves"
        raise ValueError(f"expected another label name, such as {other}: {users}")
    return text


def too_long(labels: Mapping[str, str]) -> str | None:
    """Return what is wrong with labels that do not fit into an alert's log line, or None."""
    # dumps escapes all that is not ASCII: its characters are the bytes of the line.
    if (size := len(json.dumps(dict(labels)))) > LABELS_LIMIT:
        return f"expected labels of at most {LABELS_LIMIT:,} bytes of JSON, found {size:,}"
    return None


# Text to RE2, a count to other engines: nobody would see that it matches something else.
_TEXT_LIKE_A_COUNT = re.compile(r"(?<!\\)(?:\\\\)*\{(,[0-9]*|[0-9]{5,}(,[0-9]*)?)\}")
_ASCII_CLASS = re.compile(r"(?<!\\)(?:\\\\)*(\\[wWdDsSbB])")


def expression(text: str) -> str:
    """Return a regular expression that RE2 takes, which takes long on no name from outside."""
    if found := _TEXT_LIKE_A_COUNT.search(text):
        count = "{0,3}" if found[1].startswith(",") else "at most 1,000"
        raise ValueError(f"expected a regular expression with counts such as {count}")
    try:
        _compiled(text)
    except re2.error as error:
        # Bytes. Behind the colon is part of the expression, which may hold a secret.
        why = b"".join(error.args[:1]).decode(errors="replace").partition(": ")[0]
        raise ValueError(f"expected a regular expression of RE2 ({why})") from None
    return text


def matches(expressions: Sequence[str], name: str) -> bool:
    """Whether the whole name matches one of these expressions."""
    # Bytes are matched three times as fast: of text, the library counts the characters.
    raw = name.encode(errors="replace")
    return any(_compiled(expression).fullmatch(raw) is not None for expression in expressions)


def ascii_only(text: str) -> str:
    """Return the classes in an expression that know ASCII alone, such as w and d; "" for none."""
    return ", ".join(dict.fromkeys(_ASCII_CLASS.findall(text)))


@lru_cache(maxsize=4096)
def _compiled(text: str) -> Any:
    options = re2.Options()
    # An error is reported by us, with its place; RE2 would print it on standard error.
    options.log_errors = False
    options.never_capture = True
    return re2.compile(text, options)
