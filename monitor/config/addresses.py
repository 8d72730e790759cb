"""URLs and listen addresses: what they may be, and what is reachable from elsewhere."""

import re
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

_PORT = re.compile(r"[0-9]{1,5}")
_HOST = re.compile(r"[A-Za-z0-9._-]*")


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


def listen_address(text: str) -> ListenAddress:
    """Return the address that `host:port`, `[::1]:port` or `:port` means; ValueError otherwise."""
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError("expected host:port, [::1]:port or :port, with a port up to 65535")
    if host.startswith("[") and host.endswith("]"):
        # ip_address takes IPv4 as well, which has no place in brackets.
        if ":" not in host:
            raise ValueError("expected an IPv6 address in the brackets: [::1]:10022")
        return ListenAddress(str(ip_address(host[1:-1])), int(port))
    if ":" in host:
        raise ValueError("expected an IPv6 address in brackets: [::1]:10022")
    if not _HOST.fullmatch(host):
        raise ValueError("expected host:port, [::1]:port or :port")
    return ListenAddress(host, int(port))


def api_url(text: str) -> str:
    """Return the base URL of an API without a last slash; ValueError unless a token is safe there.

    That is https, or http to this machine, without user info, query and fragment.
    """
    parts = _split(text)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("expected https://; http:// is for loopback hosts only")
    # urlsplit forgets a lone `?` or `#`, behind which every path put on would end up.
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("expected a URL without query and fragment")
    return text.rstrip("/")


def web_url(text: str) -> str:
    """Return a URL for people without a last slash; ValueError unless it is http or https."""
    _split(text)
    return text.rstrip("/")


def receiver_url(text: str) -> str:
    """Return the URL of a receiver as it is; ValueError unless it is http or https.

    http to any host: receivers are mostly inside, and what they get is signed, not secret.
    """
    if _split(text).fragment:
        raise ValueError("expected a URL without fragment")
    return text


def alertmanager_url(text: str) -> str:
    """Return the base URL of an Alertmanager without a last slash; ValueError for no such URL."""
    if "?" in receiver_url(text):
        raise ValueError("expected a URL without query")
    return text.rstrip("/")


def origin(url: str) -> str:
    """Return a URL's scheme, host and port: what of it may be shown, for its path may be a secret.

    `url` is one of those above.
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def runbook_url(text: str) -> str:
    """Return the template of a runbook's URL, `{rule}` in it; ValueError for any other brace."""
    plain = text.replace("{rule}", "rule")
    if "{" in plain or "}" in plain:
        raise ValueError("expected {rule} as the only thing in braces")
    _split(plain)
    return text


def _split(text: str) -> SplitResult:
    """Return the parts of an absolute http or https URL without user info."""
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
    return parts
