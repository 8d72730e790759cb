"""Why no answer came, told apart by aiohttp's exceptions.

httpx's own classes do not tell: through httpx-aiohttp 0.2 a reset, a refused and a dropped
connection are all a `ConnectTimeout`, and a broken header is an unmapped aiohttp exception. So
the first known type in the chain of causes decides, and the words never quote the peer.
"""

import ssl
from collections.abc import Iterator

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError, PayloadEncodingError

from monitor.core.model import PollError, Reason

FAILURES = (httpx.HTTPError, aiohttp.ClientError, HttpProcessingError, UnicodeError)
"""What a call can raise that is the other side's doing.

The last two slip through both libraries: a broken chunk where aiohttp parses in Python, and a
reason phrase that is not UTF-8, which httpx-aiohttp cannot encode again.
"""

_REASONS: tuple[tuple[tuple[type[BaseException], ...], Reason], ...] = (
    # The special before the general: aiohttp's DNS and TLS errors are connector errors as well.
    ((aiohttp.ClientConnectorDNSError,), Reason.DNS_ERROR),
    ((aiohttp.ClientSSLError, ssl.SSLError), Reason.TLS_ERROR),
    ((aiohttp.ClientConnectorError, aiohttp.InvalidURL), Reason.CONNECT_ERROR),
    # A body that ended too early: nobody broke the protocol, the connection was cut.
    ((PayloadEncodingError,), Reason.CONNECTION_LOST),
    ((HttpProcessingError, aiohttp.ClientResponseError, UnicodeError), Reason.PROTOCOL_ERROR),
)


def explain(error: BaseException) -> PollError:
    """Return why a call failed that raised one of `FAILURES`; what is unknown is a lost connection.

    The words are those of the innermost cause: the outer ones repeat it with more noise.
    """
    causes = list(_chain(error))
    for cause in causes:
        for kinds, reason in _REASONS:
            if isinstance(cause, kinds):
                return PollError(reason, _words(causes[-1]))
    return PollError(Reason.CONNECTION_LOST, _words(causes[-1]))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _words(cause: BaseException) -> str:
    match cause:
        # Where Python raised it and not OpenSSL, it has neither of these attributes.
        case ssl.SSLCertVerificationError(verify_message=str(words)):
            return words
        case ssl.SSLError():
            return (getattr(cause, "reason", None) or "TLS failed").lower().replace("_", " ")
        case PayloadEncodingError():
            return "the connection ended before the body did"
        case HttpProcessingError():
            # aiohttp quotes what it could not read after a colon; that may be a secret.
            return cause.message.partition(":")[0]
        case UnicodeError():
            return "the reason phrase is not UTF-8"
        case aiohttp.InvalidURL():
            return "no address that can be connected to"
        case OSError(strerror=str(words)):
            return words
    return "the connection was closed"
