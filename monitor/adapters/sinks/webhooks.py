"""A receiver of alert events over HTTP: each as the log has it, signed, in order.

The signature is an HMAC-SHA256 over the time, a dot, and the body: it shows who sent it, and that
it is no old one sent again. `post` is Alertmanager's way, too.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from monitor import __version__
from monitor.adapters.sinks import PermanentDeliveryError, Sink, SinkContext, UncertainDeliveryError
from monitor.config import SecretError, origin
from monitor.config.model import Webhook
from monitor.config.secrets import proxy_of
from monitor.core.model import Event, Seconds
from monitor.core.text import clean
from monitor.http import request_once
from monitor.serialize import event_line

WITHIN: Seconds = 10.0
"""What a whole request may take, from the look-up of the host to the last byte that is read."""

ANSWER_MAX = 2048
"""So many bytes of an answer are read: it is for the log alone."""

REFUSED = frozenset({400, 413, 422})
"""Answers that say: this event never. All else but 2xx is tried again."""

SIGNATURE = "X-Sftp-Monitor-Signature"

_HEADERS = {"Content-Type": "application/json", "User-Agent": f"sftp-monitor/{__version__}"}


def sinks_of(webhooks: Sequence[Webhook], context: SinkContext) -> list[Sink]:
    """Return a sink for each of `notify.webhooks`; any answer of 2xx is the receipt."""
    return [Sink(f"webhook-{one.name}", partial(_deliver, one, context)) for one in webhooks]


async def _deliver(webhook: Webhook, context: SinkContext, event: Event) -> None:
    try:
        # In a thread: a secret on a network file system may hang.
        secret = await asyncio.to_thread(webhook.secret_file.read)
        way = webhook.proxy_url, webhook.proxy_credentials_file
        proxy = await asyncio.to_thread(proxy_of, *way)
    except SecretError as error:
        raise OSError(str(error)) from None
    body, at = event_line(event, context.links).rstrip(), int(context.now())
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    headers = {"Idempotency-Key": event.event_id, SIGNATURE: f"t={at},v1={digest}"}
    status, _ = await post(webhook.url, body, headers, proxy=proxy)
    # Nothing of the answer's text: some servers repeat the URL in it.
    what = f"{origin(webhook.url)} answered {status}"
    if status in REFUSED:
        raise PermanentDeliveryError(what)
    if not 200 <= status < 300:
        # A fault after it was taken, or behind a proxy, is a 5xx too.
        raise (UncertainDeliveryError if status >= 500 else OSError)(what)


async def post(url: str, body: bytes, headers: Mapping[str, str], **more: Any) -> tuple[int, str]:
    """Return the status of the answer to some JSON, and the beginning of its text.

    Over a connection of its own: events are rare, and one that was kept would be gone by then.
    Raises OSError where there was none, UncertainDeliveryError where it may have been taken all the
    same; neither names more of the URL than its origin.
    """
    parts: dict[str, Any] = {"content": body, "headers": {**_HEADERS, **headers}}
    how = {"within": WITHIN, "most": ANSWER_MAX, "whole": False, **more}
    try:
        status, answer = await request_once("POST", url, **how, **parts)
    except OSError as error:
        kind = OSError if isinstance(error, ConnectionError) else UncertainDeliveryError
        raise kind(f"{origin(url)}: {clean(str(error), 200)}") from None
    return status, answer.decode("utf-8", "replace")
