"""A receiver of alert events over HTTP: each as the log has it, signed, in order.

The signature is an HMAC-SHA256 over the time, a dot, and the body, so that a receiver can tell
who sent it and that it is no old one sent again.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Callable

from monitor.adapters.sinks.http import post
from monitor.adapters.sinks.sink import RefusedError
from monitor.config import SecretError, WebhookConfig, origin
from monitor.core.model import Event, Instant
from monitor.serialize import Links, event_line

REFUSED = frozenset({400, 413, 422})
"""Answers that say: this event never. All else but 2xx is tried again."""

SIGNATURE = "X-Sftp-Monitor-Signature"


class WebhookSink:
    """Posts alert events to one URL; any answer of 2xx is the receipt."""

    def __init__(self, webhook: WebhookConfig, links: Links, now: Callable[[], Instant]) -> None:
        """Post to `webhook`, signed with its secret as it is by then, and the time `now`."""
        self.name = f"webhook-{webhook.name}"
        self._webhook = webhook
        self._links = links
        self._now = now

    async def deliver(self, event: Event) -> None:
        """Post the event. Raises OSError while it is not taken, RefusedError if it never is."""
        try:
            # In a thread: a secret on a network file system may hang.
            secret = await asyncio.to_thread(self._webhook.secret_file.read)
        except SecretError as error:
            raise OSError(str(error)) from None
        body = event_line(event, self._links).rstrip()
        headers = {
            "Idempotency-Key": event.event_id,
            SIGNATURE: signature(secret, int(self._now()), body),
        }
        status, _ = await post(self._webhook.url, body, headers)
        # Nothing of the answer's text: some servers repeat the URL in it.
        what = f"{origin(self._webhook.url)} answered {status}"
        if status in REFUSED:
            raise RefusedError(what)
        if not 200 <= status < 300:
            raise OSError(what)

    async def has(self, event_id: str, before: str | None) -> bool | None:
        """Return None: only the receiver knows, by the event's id."""
        return None


def signature(secret: str, at: int, body: bytes) -> str:
    """Return the signature header of a body that is sent at this second since the epoch."""
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
