"""What came back → what it means: the status decides first, then the headers, then the body."""

from email.message import Message
from urllib.parse import urlsplit

import httpx

from monitor.adapters.talkover.decode import decode_sftp
from monitor.adapters.talkover.document import api_message, load_json
from monitor.adapters.talkover.listing import decode_listing
from monitor.adapters.talkover.transport import Received
from monitor.core.model import ListingPage, NoConfig, Observation, PollError, Reason

_BY_STATUS = {
    401: Reason.UNAUTHORIZED,
    403: Reason.FORBIDDEN,
    404: Reason.NOT_FOUND,
    429: Reason.RATE_LIMITED,
    # It leads nowhere, and nobody asked conditionally: no redirect.
    304: Reason.UNEXPECTED_STATUS,
}
_BY_CLASS = {3: Reason.REDIRECT, 4: Reason.HTTP_4XX, 5: Reason.HTTP_5XX}


def observe_sftp(received: Received, campaign_id: str, token: str) -> Observation:
    """Return what an answer to GET /campaigns/{id}/sftp says, without `token`. Never raises."""
    if received.status == 404:
        return _read_404(received)
    body = _json_of_200(received)
    return body if isinstance(body, PollError) else decode_sftp(body, campaign_id, token)


def observe_listing(received: Received, page: int, token: str) -> ListingPage | PollError:
    """Return what an answer to GET /campaigns says of this page, without `token`. Never raises."""
    body = _json_of_200(received)
    return body if isinstance(body, PollError) else decode_listing(body, page, token)


def _json_of_200(received: Received) -> bytes | PollError:
    if received.status != 200:
        return _refusal(received)
    if isinstance(received.body, PollError):
        return received.body
    return _not_json(received.headers) or received.body


def _refusal(received: Received) -> PollError:
    """Return what a status other than 200 says; it counts even where the body broke off."""
    reason = _BY_STATUS.get(received.status) or _BY_CLASS.get(
        received.status // 100, Reason.UNEXPECTED_STATUS
    )
    if reason is Reason.REDIRECT:
        return PollError(reason, f"{received.status} to {_location_host(received.headers)}")
    return PollError(reason, _error_detail(received))


def _read_404(received: Received) -> Observation:
    """Return `NoConfig` for the API's own 404; a proxy's or a web server's page says nothing."""
    if isinstance(received.body, PollError):
        return received.body
    # An empty body has no type to speak of: frameworks answer a missing resource like that.
    foreign = _not_json(received.headers) if received.body else None
    return foreign or NoConfig(by_404=True)


def _not_json(headers: httpx.Headers) -> PollError | None:
    if "content-type" not in headers:
        return PollError(Reason.BAD_CONTENT_TYPE, "no Content-Type")
    message = Message()
    message["Content-Type"] = headers["content-type"]
    kind = message.get_content_type()
    if kind != "application/json" and not kind.endswith("+json"):
        return PollError(Reason.BAD_CONTENT_TYPE, f"Content-Type {kind}")
    charset = message.get_param("charset", "utf-8")
    if str(charset).lower() not in {"utf-8", "utf8"}:
        return PollError(Reason.BAD_ENCODING, f"charset {charset}")
    return None


def _location_host(headers: httpx.Headers) -> str:
    """Return the host alone: path and query of a Location may carry what no log should."""
    location = headers.get("x-unfollowed-location")
    if location is None:
        return "nowhere"
    try:
        return urlsplit(location).hostname or "the same host"
    except ValueError:
        return "no valid URL"


def _error_detail(received: Received) -> str:
    """Return the status, and what the API's own error body says where there is one."""
    status = str(received.status)
    if isinstance(received.body, PollError) or _not_json(received.headers):
        return status
    try:
        document = load_json(received.body)
    except ValueError:
        return status
    said = api_message(document) if isinstance(document, dict) else ""
    return f"{status} {said}".rstrip()
