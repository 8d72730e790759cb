"""The TalkOver API: a GET goes out, an answer comes back, whatever happens in between.

`client` makes the call, `transport` moves the bytes (httpx over aiohttp), `failures` says why none
came, `answer` reads the status, `ratelimit` the headers, `document` the body, and of that `decode`
an SFTP config and `listing` a page of campaigns. What httpx, aiohttp, JSON and msgspec can raise
ends here. Another endpoint is a method in `client` and a decoder.
"""

from monitor.adapters.talkover.client import Talkover

__all__ = ["Talkover"]
