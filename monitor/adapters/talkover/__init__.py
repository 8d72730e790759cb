"""The TalkOver API: a GET goes out, an answer comes back, whatever happens in between.

`client` makes the call, `answer` reads what came up to its JSON, `decode` what the JSON says.
"""

from monitor.adapters.talkover.client import Talkover

__all__ = ["Talkover"]
