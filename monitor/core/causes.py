"""What the platform's words about a failed connection test are about, and what to do about it."""

import re
from collections.abc import Mapping
from enum import StrEnum


class Kind(StrEnum):
    """What the platform's words about a failed test are about."""

    LOGIN = "login"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    RESET = "reset"  # before or after a login was tried: nobody can say
    DNS = "dns"
    HOST_KEY = "host_key"
    PATH = "path"
    OTHER = "other"  # not recognised


# The login first: "authentication timed out" has reached the server's count of failures.
_KINDS = {
    Kind.LOGIN: (
        r"auth(?!enticity)|passw|credential|log.?in|denied|publickey|private key|passphrase|user"
    ),
    Kind.HOST_KEY: r"host.?key|fingerprint|authenticity of",
    Kind.TIMEOUT: r"time[d -]*out",
    Kind.DNS: r"\bdns\b|resolve|name or service|no such host|unknown host|getaddrinfo|nxdomain",
    Kind.REFUSED: r"refused|(cannot|could not|unable to) connect|no route|unreachable",
    Kind.RESET: r"connection (was )?(reset|aborted)|reset by",
    Kind.PATH: r"no such (file|path|dir)|(path|director|folder).*(not|missing|exist)",
}

NEXT_STEPS: Mapping[Kind, str] = {
    Kind.LOGIN: "Ask the customer whether the password or key was rotated; enter the new one in "
    "TalkOver and press Test, or run `sftp-monitor test CAMPAIGN --unblock`.",
    Kind.TIMEOUT: "Ask the customer whether the server is up and lets TalkOver's addresses in; "
    "after a maintenance the next passed test ends this.",
    Kind.REFUSED: "Ask the customer whether the SFTP service runs on this host and port; after a "
    "maintenance the next passed test ends this.",
    Kind.RESET: "Ask the customer what the server's log says: it, or a firewall, broke it off.",
    Kind.DNS: "Check the host name in the SFTP config: it is not found in DNS.",
    Kind.HOST_KEY: "Ask the customer whether the server was replaced: its host key has changed.",
    Kind.PATH: "Check the import and export path in the SFTP config and on the server.",
    Kind.OTHER: "No known cause: run the connection test on the campaign's SFTP page, and ask the "
    "customer what the server's log says.",
}
"""What to do about a failed test of ours, by the kind of its cause."""


def kind_of(cause: str) -> Kind:
    """Return what the platform's words about a failure are about."""
    found = (kind for kind, words in _KINDS.items() if re.search(words, cause, re.IGNORECASE))
    return next(found, Kind.OTHER)
