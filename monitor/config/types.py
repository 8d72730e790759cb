"""The types that keys of the file have, by name."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BeforeValidator, Field

from monitor.config import addresses
from monitor.config.addresses import ListenAddress
from monitor.config.durations import DURATION_PATTERN, format_duration, parse_duration
from monitor.config.keys import Context, Key, matching, one_of, unusable, whole_number
from monitor.config.labels import LABEL_NAME_PATTERN, label_name
from monitor.config.patterns import expression
from monitor.config.scalars import REFERENCE, reference
from monitor.config.secrets import SecretError, TokenSource, token_source
from monitor.core.model import Severity
from monitor.core.text import CAMPAIGN_ID
from monitor.tls import client_context

T = TypeVar("T")

_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,2})?")


LogLevel = Literal["debug", "info", "warning", "error"]
"""From which level on a log line is written."""

LogFormat = Literal["json", "console"]
"""For whom a log line is written: machines or people."""


def _true_or_false(text: str) -> bool:
    if text not in {"true", "True", "TRUE", "false", "False", "FALSE"}:
        raise ValueError
    return text.lower() == "true"


def _number(text: str) -> float:
    # Digits enough are infinity, too.
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError
    return float(text)


def _share(text: str) -> float:
    if not 0 < (part := _number(text)) <= 1:
        raise ValueError
    return part


def _positive_duration(text: str) -> float:
    if not (seconds := parse_duration(text)):
        raise ValueError("expected a duration longer than 0")
    return seconds


def _path(text: str, context: Context) -> Path:
    if not text:
        raise ValueError
    return context.folder / text


def _authority(text: str, context: Context) -> Path:
    path = _path(text, context)
    try:
        client_context(path)
    except ValueError as error:
        raise unusable(str(error)) from None
    return path


def _new_file(text: str, context: Context) -> Path:
    path = _path(text, context)
    if not path.parent.is_dir():
        raise unusable(f"expected a file in a directory that is there; {path.parent} is not")
    return path


def _database(context: Context) -> Path:
    # systemd gives several directories where the unit names several; the first is ours.
    folder = context.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return (Path(folder or ".") / "sftp-monitor.db").absolute()


def _secret_file(text: str, context: Context) -> TokenSource:
    return _readable(token_source(context.environ, file=_path(text, context)))


def _secret_variable(written: str, context: Context) -> TokenSource:
    return _readable(token_source(context.environ, variable=reference(written)))


def _readable(source: TokenSource) -> TokenSource:
    # Read once, so that a wrong one is reported here and not by the first poll.
    try:
        source.read()
    except SecretError as error:
        raise unusable(str(error), exposed_secret=error.exposed) from None
    return source


def _url(parse: Callable[[str], str], expected: str = "a URL", **more: Any) -> Key:
    # Not repeated in messages: people put passwords into URLs.
    return Key(parse, expected, {"type": "string", "format": "uri"}, secret=True, **more)


def _file(parse: Callable[[str, Context], Any], **more: Any) -> Key:
    schema = {"type": "string", "minLength": 1}
    return Key(parse, "a path", schema, in_context=True, **more)


_A_DURATION = "a duration such as 30s, 5m, 1h30m or 7d"
_A_SPAN = {"type": "string", "pattern": DURATION_PATTERN}
_A_SHARE = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}

Items = Annotated[tuple[T, ...], BeforeValidator(lambda value: [] if value is None else value)]
"""A list, which has no items where nothing stands behind the key: the last was commented out."""

OrNothing = BeforeValidator(lambda value: {} if value is None else value)

DURATION = Key(
    parse_duration,
    _A_DURATION,
    {**_A_SPAN, "type": ["string", "integer"], "minimum": 0, "maximum": 0},
    show=format_duration,
)
Duration = Annotated[float, DURATION]
"""Seconds; a bare 0 is the only number that needs no unit."""

PositiveDuration = Annotated[
    float, Key(_positive_duration, _A_DURATION, _A_SPAN, show=format_duration)
]
TrueOrFalse = Annotated[bool, Key(_true_or_false, "true or false", {"type": "boolean"}, show=bool)]
Number = Annotated[float, Key(_number, "a number", {"type": "number"}, show=float)]
WholeNumber = Annotated[int, whole_number(0, 10**9)]
Count = Annotated[int, whole_number(1, 10**6)]
Concurrency = Annotated[int, whole_number(1, 1000)]
Share = Annotated[float, Key(_share, "a number above 0 and at most 1", _A_SHARE, show=float)]
Words = Annotated[str, Key(str, "text", {"type": "string"})]
FilePath = Annotated[Path, _file(_path)]
NewFile = Annotated[Path, _file(_new_file)]
StatePath = Annotated[Path, _file(_path, otherwise=_database)]
AuthorityFile = Annotated[Path, _file(_authority)]
SECRET_FILE = _file(_secret_file, show=lambda source: str(source.file))
SecretFile = Annotated[TokenSource, SECRET_FILE]
SECRET_VARIABLE = Key(
    _secret_variable,
    "${VAR} (no token belongs into this file), or token_file instead",
    {"type": "string", "pattern": f"^{REFERENCE}$"},
    show=lambda source: f"<secret>  # from ${{{source.variable}}}",
    expands=False,
    secret=True,
    in_context=True,
)
SecretVariable = Annotated[TokenSource, SECRET_VARIABLE]
Expression = Annotated[
    str, Key(expression, "a regular expression", {"type": "string", "format": "regex"})
]
EnvironmentName = Annotated[
    str, matching("[a-z0-9_-]{1,64}", "a name of 1 to 64 of a-z, 0-9, _ and -")
]
CampaignId = Annotated[str, matching(CAMPAIGN_ID, "an id of 1 to 64 of A-Z, a-z, 0-9, _ and -")]
ReceiverName = Annotated[
    str, matching("[a-z0-9_-]{1,32}", "a name of 1 to 32 of a-z, 0-9, _ and -")
]
LabelName = Annotated[
    str,
    Key(
        label_name, "a label name", {"type": "string", "pattern": LABEL_NAME_PATTERN}, expands=False
    ),
]
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
ApiUrl = Annotated[str, _url(addresses.api_url, "an https URL")]
WebUrl = Annotated[str, _url(addresses.web_url)]
AlertmanagerUrl = Annotated[str, _url(addresses.alertmanager_url)]
ReceiverUrl = Annotated[
    str,
    _url(addresses.receiver_url, show=lambda url: f"{addresses.origin(url)}/<secret>"),
]
RunbookUrl = Annotated[
    str, Key(addresses.runbook_url, "a URL with {rule} in it", {"type": "string"})
]
Listen = Annotated[
    ListenAddress,
    Key(
        addresses.listen_address,
        "host:port, [::1]:port or :port",
        {"type": "string", "pattern": ":[0-9]{1,5}$"},
    ),
]
