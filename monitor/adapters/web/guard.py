"""What hostile clients cannot do: the limits, the security headers, no cross-site requests."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from monitor.core.model import Seconds

SECURITY_HEADERS: Mapping[str, str] = {
    "Server": "sftp-monitor",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""On every answer, errors included; those that the web config file names have its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client, or all together, may take from us; TLS is set up in `header_seconds`."""

    connections: int = 200
    header_seconds: Seconds = 15.0
    body_seconds: Seconds = 15.0
    write_seconds: Seconds = 60.0
    body_bytes: int = 4096


def is_cross_site(headers: Mapping[str, str], external_url: str | None) -> bool:
    """Return whether a browser sends this request for a page that is not ours.

    Programs that are no browser send neither `Origin` nor `Sec-Fetch-Site`. Of browsers' requests
    only those are ours whose origin is `external_url`, or the very host that was asked; and that
    only by address or as localhost, for any other name may have been rebound to us.
    """
    origin = headers.get("Origin")
    if origin is None:
        return headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}
    try:
        asking, ours = urlsplit(origin), urlsplit(external_url or "")
        if external_url is not None and asking[:2] == ours[:2]:
            return False
        _must_be_address(asking.hostname or "")
    except ValueError:
        return True
    return asking.netloc != headers.get("Host")


def _must_be_address(host: str) -> None:
    if host != "localhost":
        ipaddress.ip_address(host)
