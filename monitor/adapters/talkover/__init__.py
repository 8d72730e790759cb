"""The TalkOver API: a GET goes out, an answer comes back, whatever happens in between.

`client` makes the call, `headers` reads what stands above a body, `decode` the body, `formats`
what both are written in. Another endpoint is a method in `client` and a shape in `decode`.
"""

from monitor.adapters.talkover.client import Talkover

__all__ = ["Talkover"]
