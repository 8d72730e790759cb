"""Wherever a token could turn up: what an API might echo, and what people get wrong.

An echo is the token behind some other text.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from support.misbehaving import (
    Script,
    answer,
    config,
    drips,
    replies,
    replies_and_closes,
    replies_and_resets,
)


def _error(status: str, echo: str) -> bytes:
    return answer({"success": False, "error": {"code": echo, "message": echo}}, status)


def _flat_error(status: str, echo: str) -> bytes:
    return answer({"success": False, "message": echo, "code": echo}, status)


def _page(status: str, echo: str) -> bytes:
    body = f"<html><a href='/?token={echo}'>{echo}</a></html>".encode()
    return answer(body, status, {"Content-Type": "text/html"})


def _header(status: str, name: str, value: str, echo: str) -> bytes:
    return answer(b"x", status, {name: value.format(echo)})


def _field(name: str, value: str, echo: str) -> bytes:
    return answer(config(**{name: value.format(echo)}))


def _body(made: Callable[[str], object], echo: str) -> bytes:
    return answer(made(echo))


def _raw(text: str, echo: str) -> bytes:
    return text.replace("ECHO", echo).encode("latin-1")


_STATUSES = ("200 OK", "401 No", "403 No", "404 No", "422 No", "500 No", "503 No")
_TEXTS = ("id", "campaign_id", "host", "username", "auth_type", "import_path", "import_schedule",
          "port", "is_enabled", "last_test_at", "created_at", "last_test_success")  # fmt: skip
_HEADERS = {
    "location": ("302 Found", "Location", "https://{0}.example/{0}"),
    "location-of-its-own": ("307 Found", "Location", "/login?token={}"),
    "location-that-is-none": ("301 Found", "Location", "http://[{}"),
    "content-type": ("200 OK", "Content-Type", "text/{}"),
    "charset": ("200 OK", "Content-Type", "application/json; charset={}"),
    "content-encoding": ("200 OK", "Content-Encoding", "{}"),
    "content-length": ("200 OK", "Content-Length", "{}"),
    "cookie": ("200 OK", "Set-Cookie", "token={}"),
    "date": ("200 OK", "Date", "{}"),
    "www-authenticate": ("401 No", "WWW-Authenticate", 'Bearer token="{}"'),
    "retry-after": ("429 No", "Retry-After", "{}"),
    "rate-limit": ("429 No", "X-RateLimit-Reset", "{}"),
}
_BYTES = {
    "status-line": "ECHO\r\n\r\n",
    "reason-phrase": "HTTP/1.1 500 ECHO\r\nContent-Length: 0\r\n\r\n",
    "broken-reason-phrase": "HTTP/1.1 500 ECHO\xff\r\n\r\n",
    "no-header": "HTTP/1.1 200 OK\r\nECHO ECHO\r\n\r\n",
    "half-a-head": "HTTP/1.1 200 OK\r\nX: ECHO\r\n",
    "no-chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nECHO\r\n",
    "half-a-body": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n"
    '\r\n{"success": false, "message": "ECHO"}',
}
_BODIES: Mapping[str, Callable[[str], object]] = {
    "no-json": str.encode,
    "key": lambda echo: {"success": True, "data": {echo: echo}},
    "key-twice": lambda echo: f'{{"{echo}": 1, "{echo}": 2}}'.encode(),
    "not-utf-8": lambda echo: f'"{echo}'.encode() + b'\xff"',
    "half-a-pair": lambda echo: f'{{"success": false, "message": "{echo}\\ud800"}}'.encode(),
    "nested": lambda echo: b"[" * 100_000 + echo.encode(),
    "a-megabyte": lambda echo: f'"{echo}"'.encode() * (2_000_000 // len(echo)),
    "all-texts": lambda echo: config(
        last_test_success=False, **dict.fromkeys(("host", "username", "export_path"), echo)
    ),
    "between-controls": lambda echo: config(
        host=f"\u202e{echo}\x00{echo}\u2028", last_test_success=False
    ),
    "in-capitals": lambda echo: config(host=echo.upper(), last_test_success=False),
}

_ANSWERS: Mapping[str, Callable[[str], bytes]] = {
    **{f"error-{status[:3]}": partial(_error, status) for status in _STATUSES},
    **{f"flat-error-{status[:3]}": partial(_flat_error, status) for status in _STATUSES},
    **{f"page-{status[:3]}": partial(_page, status) for status in _STATUSES},
    **{f"field-{name}": partial(_field, name, "{}") for name in _TEXTS},
    **{f"header-{name}": partial(_header, *said) for name, said in _HEADERS.items()},
    **{f"raw-{name}": partial(_raw, said) for name, said in _BYTES.items()},
    **{f"body-{name}": partial(_body, made) for name, made in _BODIES.items()},
    "long-header": lambda echo: answer(b"x", headers={"X": echo * 500}),
}


def _ways() -> Iterator[tuple[str, Callable[[str], Script]]]:
    """Yield each answer in full, and cut off by a reset."""
    for name, made in _ANSWERS.items():
        yield f"{name}-closed", partial(_follow, replies_and_closes, made)
        yield f"{name}-reset", partial(_follow, replies_and_resets, made)


def _follow(way: Callable[[bytes], Script], made: Callable[[str], bytes], echo: str) -> Script:
    return way(made(echo))


ECHOES: dict[str, Callable[[str], Script]] = {
    **dict(_ways()),
    "drips-head": lambda echo: drips(b"HTTP/1.1 200 OK\r\n", f"X: {echo}\r\n".encode()),
    "drips-body": lambda echo: drips(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", f'"{echo}",'.encode()
    ),
}
"""By name, what an API does that echoes the token."""


def _listed(**changes: object) -> bytes:
    row = {"id": "c-1", "name": "Retail", "status": "active", "campaign_type": "sales", **changes}
    return answer({"success": True, "data": [row], "pagination": {"total": 1}})


LISTINGS: dict[str, Callable[[str], Script]] = {
    "listed-id": lambda echo: replies(_listed(id=echo)),
    "listed-name": lambda echo: replies(_listed(name=echo)),
    "listed-status": lambda echo: replies(_listed(status=echo)),
    "listed-type": lambda echo: replies(_listed(campaign_type=echo)),
    "listed-key": lambda echo: replies(_listed(**{echo: echo})),
}
"""What an API does that echoes the token in its listing of campaigns."""

TOKEN_FILES: Mapping[str, Callable[[str], bytes]] = {
    "two lines": lambda token: f"{token}\n{token}\n".encode(),
    "a byte order mark": lambda token: b"\xef\xbb\xbf" + token.encode(),
    "UTF-16": lambda token: token.encode("utf-16"),
    "a NUL": lambda token: f"{token}\0".encode(),
    "a blank": lambda token: f"{token} {token}".encode(),
    "a letter beyond ASCII": lambda token: f"{token}\u00e9".encode(),
    "a line end within": lambda token: f"{token}\r{token}".encode(),
    "5,000 bytes": lambda token: (token * 200)[:5000].encode(),
}
"""Files that are no token, made from one."""


def _in_environment(key: str, value: str) -> Callable[[Any, str], None]:
    def change(document: Any, token: str) -> None:
        """Put the token at this key of the first environment."""
        document["environments"][0][key] = value.format(token)

    return change


def _in_section(section: str, key: str, value: str) -> Callable[[Any, str], None]:
    def change(document: Any, token: str) -> None:
        """Put the token at this key of a section, or at this section's key itself."""
        document.setdefault(section, {})[key.format(token)] = value.format(token)

    return change


def _twice(document: Any, token: str) -> None:
    document["environments"][0]["campaigns"] = [{"id": token}, {"id": token}]


CONFIG_MISTAKES: Mapping[str, Callable[[Any, str], None]] = {
    "a literal token": _in_environment("token", "{}"),
    "a token with a prefix": _in_environment("token", "Bearer {}"),
    "a token as a reference": _in_environment("token", "${{{}}}"),
    "a token as the path of its file": _in_environment("token_file", "{}"),
    "a token in the URL": _in_environment("base_url", "https://user:{}@api.example"),
    "a token in the URL's query": _in_environment("base_url", "https://api.example/?token={}"),
    "a token as the authority": _in_environment("ca_file", "{}"),
    "a token as the name": _in_environment("name", "{}"),
    "a token as the limit": _in_environment("requests_per_minute", "{}"),
    "a token as an unknown key": _in_section("polling", "{}", "5m"),
    "a token as a duration": _in_section("polling", "interval", "{}"),
    "a token as a span of the history": _in_section("state", "retention", "{}"),
    "a token as an address": _in_section("web", "listen_address", "{}"),
    "a token as two campaigns": _twice,
}
"""What people do to a config file with a token that looks like one."""


def mistaken(good: str, token: str) -> Iterator[str]:
    """Yield the config with each mistake in it."""
    # A token that does not look like one cannot be told from any other wrong value.
    if not token.startswith("talq_"):
        return
    for change in CONFIG_MISTAKES.values():
        document = json.loads(good)
        change(document, token)
        yield json.dumps(document)
    # It ends in the middle of a token.
    yield good[:-1] + f', "token": "{token}'
