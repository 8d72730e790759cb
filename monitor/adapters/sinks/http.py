"""One POST to a receiver, over a connection of its own.

Events are rare, and one that was kept would be gone by then.
"""

from collections.abc import Mapping

from monitor import __version__
from monitor.config import origin
from monitor.core.model import Seconds
from monitor.core.text import clean
from monitor.http import request_once

WITHIN: Seconds = 10.0
"""What a whole request may take, from the look-up of the host to the last byte that is read."""

ANSWER_MAX = 2048
"""So many bytes of an answer are read: it is for the log alone."""

_HEADERS = {"Content-Type": "application/json", "User-Agent": f"sftp-monitor/{__version__}"}


async def post(
    url: str, body: bytes, headers: Mapping[str, str], within: Seconds = WITHIN
) -> tuple[int, str]:
    """Return the status of the answer, and the beginning of its text.

    Raises OSError where there was none; it names no more of the URL than its origin.
    """
    parts = {"content": body, "headers": {**_HEADERS, **headers}}
    try:
        status, answer = await request_once(
            "POST", url, within=within, most=ANSWER_MAX, whole=False, **parts
        )
    except OSError as error:
        raise OSError(f"{origin(url)}: {clean(str(error), 200)}") from None
    return status, answer.decode("utf-8", "replace")
