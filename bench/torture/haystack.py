"""All that a program said, and what finds any piece of a secret in it."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field

PIECE = 12
"""A secret of which so much is known is none."""


def pieces(token: str) -> set[bytes]:
    """Return every piece of the token, and of any of its Base64, in small letters."""
    encoded = [base64.b64encode(token[skip:].encode()).decode() for skip in range(3)]
    texts = [token, *(text.rstrip("=")[:-1] for text in encoded)]
    ends = ((text, at) for text in texts for at in range(PIECE, len(text) + 1))
    return {text[at - PIECE : at].lower().encode() for text, at in ends}


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
        """Yield channel and surroundings of the first piece of the token in each thing said."""
        wanted = pieces(token)
        for channel, said in self.channels.items():
            for one in said:
                small = one.lower()
                # Piece by piece: one expression with all of them would take 100 times as long.
                if places := [small.find(piece) for piece in wanted if piece in small]:
                    around = one[max(0, min(places) - 80) : min(places) + 80]
                    yield f"{channel}: {around!r}"
