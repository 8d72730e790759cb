"""All that a program said, and what finds any piece of a secret in it."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

PIECE = 12
"""A secret of which so much is known is none."""


def needles(token: str) -> re.Pattern[bytes]:
    """Return what finds any piece of the token, and any of its Base64."""
    encoded = [base64.b64encode(token[skip:].encode()).decode() for skip in range(3)]
    texts = [token, *(text.rstrip("=")[:-1] for text in encoded)]
    pieces = {text[at : at + PIECE] for text in texts for at in range(len(text) - PIECE + 1)}
    return re.compile("|".join(map(re.escape, sorted(pieces))).encode(), re.IGNORECASE)


@dataclass
class Haystack:
    """All that came out of the program, by channel."""

    channels: dict[str, list[bytes]] = field(default_factory=dict)

    def add(self, channel: str, *said: str | bytes) -> None:
        """Put more of a channel on."""
        found = self.channels.setdefault(channel, [])
        found += [one.encode() if isinstance(one, str) else one for one in said]

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return sum(len(one) for said in self.channels.values() for one in said)

    def hits(self, token: str) -> Iterator[str]:
        """Yield channel and surroundings of each piece of the token."""
        pattern = needles(token)
        for channel, said in self.channels.items():
            for one in said:
                for found in pattern.finditer(one):
                    around = one[max(0, found.start() - 80) : found.end() + 80]
                    yield f"{channel}: {around!r}"
