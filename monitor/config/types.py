"""The types that keys of the file have; `sections` has those of rules and connection tests."""

import math
import re
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
)

from monitor.config import formats as f
from monitor.config.document import Document
from monitor.config.keys import Key, literal
from monitor.config.secrets import TokenSource, not_open
from monitor.core.attempt import Window
from monitor.core.durations import A_DURATION, DURATION_PATTERN, format_duration, parse_duration
from monitor.core.model import Seconds, Severity
from monitor.core.text import CAMPAIGN_ID
from monitor.tls import client_context

T = TypeVar("T")

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "console"]
_REFERENCE = r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}"
_DIGITS = "[-+]?[0-9]{1,18}"
_DECIMAL = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,2})?"


def one_of(*words: str, **meanings: Any) -> Key:
    """Return the type of a key that takes a word, member of an enumeration or name of a meaning."""
    known = {**{str(word): word for word in words}, **meanings}
    pattern = "|".join(map(re.escape, known))
    return Key(
        known.__getitem__, f"one of {', '.join(known)}", {"enum": list(known)}, pattern=pattern
    )


def matching(pattern: str, expected: str, **more: Any) -> Key:
    """Return the type of a key whose whole text matches a pattern."""
    schema = {"type": "string", "pattern": f"^({pattern})$"}
    return Key(str, expected, schema, pattern=pattern, **more)


def whole_number(least: int, most: int) -> Key:
    """Return the type of a key that takes a whole number in this range."""
    expected = f"a whole number from {least:,} to {most:,}"
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Key(int, expected, schema, pattern=_DIGITS, fits=lambda it: least <= it <= most)


def _positive(text: str) -> Seconds:
    if not (seconds := parse_duration(text)):
        raise ValueError("expected a duration longer than 0")
    return seconds


def _in_folder(path: Path, info: "ValidationInfo[Document]") -> Path:
    return info.context.folder / path


def _present(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    return path


def _authority(path: Path) -> Path:
    client_context(path)
    return not_open(path, stat.S_IWOTH)  # else others say who is trusted


def _new(path: Path) -> Path:
    if not path.parent.is_dir():
        raise ValueError(f"expected a file in a directory that is there; {path.parent} is not")
    return path


def _database(value: object, info: "ValidationInfo[Document]") -> object:
    # systemd gives several directories where the unit names several; the first is ours.
    folder = info.context.environ.get("STATE_DIRECTORY", "").split(":")[0] or "."
    return literal((Path(folder) / "sftp-monitor.db").absolute()) if value is None else value


def _secret_variable(written: str, info: "ValidationInfo[Document]") -> TokenSource:
    name = written[2:-1]
    value = info.context.environ.get(name)
    if value is None and info.context.unread is None:
        raise ValueError(f"the environment variable {name} is not set")
    return TokenSource(variable=name, value=SecretStr(value or ""))


def _usable(source: TokenSource, info: "ValidationInfo[Document]") -> TokenSource:
    if info.context.unread is not None:
        info.context.unread.append(source.origin)
    else:
        # Once, so that a wrong one is reported here and not by the first poll.
        info.context.secrets.add(source.read())
    return source


def _has_user(source: TokenSource, info: "ValidationInfo[Document]") -> TokenSource:
    if info.context.unread is not None:
        return source
    user, _, password = source.read().partition(":")
    if not user or not password:
        raise ValueError(f"{source.file} is not user:password")
    info.context.secrets.add(password)
    return source


def _url(parse: Callable[[str], str], expected: str = "a URL", **more: Any) -> Key:
    # Not repeated in messages: people put passwords into URLs.
    return Key(parse, expected, {"type": "string", "format": "uri"}, secret=True, **more)


def _hidden(url: str) -> str:
    return f.origin(url) + "/<secret>" * (url != f.origin(url))


def _duration(parse: Callable[[str], float], **more: Any) -> Key:
    schema = {"type": "string", "pattern": DURATION_PATTERN, **more}
    return Key(parse, A_DURATION, schema, format_duration)


def _name(most: int) -> Key:
    return matching(f"[a-z0-9_-]{{1,{most}}}", f"a name of 1 to {most} of a-z, 0-9, _ and -")


# Nothing may stand behind the key of a list: its last item was commented out.
Items = Annotated[tuple[T, ...], BeforeValidator(lambda value: [] if value is None else value)]
OrNothing = BeforeValidator(lambda value: {} if value is None else value)

DURATION = _duration(parse_duration, type=["string", "integer"], minimum=0, maximum=0)
Duration = Annotated[float, DURATION]
PositiveDuration = Annotated[float, _duration(_positive)]
_BOOLEAN = Key(
    lambda text: text.lower() == "true",
    "true or false",
    {"type": "boolean"},
    pattern="true|True|TRUE|false|False|FALSE",
)
TrueOrFalse = Annotated[bool, _BOOLEAN]
# Digits enough are infinity, too.
_NUMBER = Key(float, "a number", {"type": "number"}, pattern=_DECIMAL, fits=math.isfinite)
Number = Annotated[float, _NUMBER]
WholeNumber = Annotated[int, whole_number(0, 10**9)]
Count = Annotated[int, whole_number(1, 10**6)]
Concurrency = Annotated[int, whole_number(1, 1000)]
_SHARE = Key(
    float,
    "a number above 0 and at most 1",
    {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    pattern=_DECIMAL,
    fits=lambda part: 0 < part <= 1,
)
Share = Annotated[float, _SHARE]
_STRING = {"type": "string"}
Words = Annotated[str, Key(str, "text", _STRING)]
_PATH = Key(Path, "a path", {**_STRING, "minLength": 1}, pattern=".+")
FilePath = Annotated[Path, _PATH, AfterValidator(_in_folder)]
PresentFile = Annotated[FilePath, AfterValidator(_present)]
KeyFile = Annotated[PresentFile, AfterValidator(lambda path: not_open(path, stat.S_IRWXO))]
NewFile = Annotated[FilePath, AfterValidator(_new)]
StatePath = Annotated[
    FilePath,
    BeforeValidator(_database),
    Field(json_schema_extra=lambda schema: schema["anyOf"].append({"type": "null"})),
]
AuthorityFile = Annotated[FilePath, AfterValidator(_authority)]
SecretFile = Annotated[
    TokenSource,
    replace(_PATH, show=lambda source: str(source.file)),
    AfterValidator(_in_folder),
    AfterValidator(TokenSource),
    AfterValidator(_usable),
]
Credentials = Annotated[SecretFile, AfterValidator(_has_user)]
_VARIABLE = Key(
    str,
    "${VAR} (no token belongs into this file), or token_file instead",
    {**_STRING, "pattern": f"^{_REFERENCE}$"},
    show=lambda source: f"<secret>  # from ${{{source.variable}}}",
    pattern=_REFERENCE,
    expands=False,
    secret=True,
)
SecretVariable = Annotated[
    TokenSource, _VARIABLE, AfterValidator(_secret_variable), AfterValidator(_usable)
]
_REGEX = {**_STRING, "format": "regex"}
Expression = Annotated[str, Key(f.expression, "a regular expression", _REGEX)]
EnvironmentName = Annotated[str, _name(64)]
ReceiverName = Annotated[str, _name(32)]
CampaignId = Annotated[str, matching(CAMPAIGN_ID, "an id of 1 to 64 of A-Z, a-z, 0-9, _ and -")]
_LABEL = {**_STRING, "pattern": f.LABEL_NAME_PATTERN}
LabelName = Annotated[str, Key(f.label_name, "a label name", _LABEL, expands=False)]
LabelValue = Annotated[str, Key(str, "text", {"type": ["string", "number", "boolean"]})]
Labels = Annotated[
    dict[LabelName, LabelValue],
    OrNothing,
    # Editors would let every name pass that does not fit the pattern of the names.
    Field(json_schema_extra={"additionalProperties": False}),
]
SeverityName = Annotated[Severity, one_of(*Severity)]
LogLevelName = Annotated[LogLevel, one_of(*get_args(LogLevel))]
LogFormatName = Annotated[LogFormat, one_of(*get_args(LogFormat))]
# As TalkOver has them.
CampaignTypeName = Annotated[str, one_of("sales", "follow_up", "reminder", "custom")]
CampaignStatusName = Annotated[str, one_of("draft", "active", "paused", "completed", "cancelled")]
ImportScheduleName = Annotated[str, one_of("hourly", "daily", "manual")]
ApiUrl = Annotated[str, _url(f.api_url, "an https URL")]
ProxyUrl = Annotated[str, _url(lambda text: text and f.url(text, "query and fragment"))]
WebUrl = Annotated[str, _url(lambda text: f.url(text).rstrip("/"))]
AlertmanagerUrl = Annotated[
    str, _url(lambda text: f.url(text, "fragment", "query").rstrip("/"), show=_hidden)
]
# http to any host: receivers are mostly inside, and what they get is signed, not secret.
ReceiverUrl = Annotated[str, _url(lambda text: f.url(text, "fragment"), show=_hidden)]
DatabaseUrl = Annotated[str, _url(f.database_url)]
RunbookUrl = Annotated[str, Key(f.runbook_url, "a URL with {rule} in it", _STRING)]
CampaignUrl = Annotated[
    str, Key(f.campaign_url, "an https URL with {campaign_id} in it, or nothing", _STRING)
]
_PORT = {**_STRING, "pattern": ":[0-9]{1,5}$"}
Listen = Annotated[f.ListenAddress, Key(f.listen_address, f.AN_ADDRESS, _PORT)]

_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
Between = Annotated[
    Window | None,
    Key(
        f.window,
        "a part of the day such as 05:00-20:00, or nothing for all of it",
        {**_STRING, "pattern": f"^({_TIME}-{_TIME})?$"},
        show=lambda window: "" if window is None else f.format_window(window),
        pattern=f"({_TIME}-{_TIME})?",
    ),
]
