"""What looks for a token in all that is said: it would find a piece of one."""

import base64

from torture import secrets
from torture.haystack import Haystack


def test_fault_38_a_piece_of_a_token_would_be_found() -> None:
    token = secrets.PLAIN
    for piece in (token, token[9:21], token[-12:].lower(), base64.b64encode(token.encode())):
        haystack = Haystack()
        haystack.add("page", b"nothing", b"<p>", b"some " + as_bytes(piece) + b" here")
        assert len(list(haystack.hits(token))) >= 1
    assert list(haystack.hits(secrets.LIKE_A_TOKEN)) == []


def as_bytes(piece: str | bytes) -> bytes:
    return piece.encode() if isinstance(piece, str) else piece
