"""The TalkOver API: `client` calls, `answer` reads up to the JSON, `decode` what the JSON says."""

from monitor.adapters.talkover.client import Talkover

__all__ = ["Talkover"]
