"""The types that keys of the file have; that of `rules` is made from the rules' own classes."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

from pydantic import BeforeValidator, Field, GetPydanticSchema, TypeAdapter, create_model
from pydantic_core import core_schema

from monitor.config import formats as f
from monitor.config.document import Document
from monitor.config.keys import Key, Parse, Section, expand, matching, one_of, whole_number
from monitor.config.secrets import TokenSource, token_source
from monitor.core.environment import ENVIRONMENT_RULES
from monitor.core.model import PositiveSeconds, Seconds, Severity
from monitor.core.rule import AgesBySchedule, BaseRule
from monitor.core.rules import RULES
from monitor.core.text import CAMPAIGN_ID
from monitor.tls import client_context

T = TypeVar("T")

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "console"]
# What is set of each rule: rule name → field → value. What is not in it has its default.
RuleSettings = Mapping[str, Mapping[str, Any]]
_REFERENCE = r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}"
_BOOLEAN = "true|True|TRUE|false|False|FALSE"
_NUMBER = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,2})?"


def _positive_duration(text: str) -> float:
    if not (seconds := f.parse_duration(text)):
        raise ValueError("expected a duration longer than 0")
    return seconds


def _path(text: str, document: Document) -> Path:
    if not text:
        raise ValueError
    return document.folder / text


def _present_file(text: str, document: Document) -> Path:
    path = _path(text, document)
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    return path


def _authority(text: str, document: Document) -> Path:
    path = _path(text, document)
    client_context(path)
    return path


def _new_file(text: str, document: Document) -> Path:
    path = _path(text, document)
    if not path.parent.is_dir():
        raise ValueError(f"expected a file in a directory that is there; {path.parent} is not")
    return path


def _database(document: Document) -> Path:
    # systemd gives several directories where the unit names several; the first is ours.
    folder = document.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return (Path(folder or ".") / "sftp-monitor.db").absolute()


def _secret_file(text: str, document: Document) -> TokenSource:
    source = token_source(document.environ, file=_path(text, document))
    # Read once, so that a wrong one is reported here and not by the first poll.
    source.read()
    return source


def _secret_variable(written: str, document: Document) -> TokenSource:
    if not (reference := re.fullmatch(_REFERENCE, written)):
        raise ValueError
    expand(written, document.environ)
    source = token_source(document.environ, variable=reference[1])
    source.read()
    return source


def _text(parse: Parse, expected: str, schema: Mapping[str, Any] = {}, **more: Any) -> Key:
    return Key(parse, expected, {"type": "string", **schema}, **more)


def _url(parse: Parse, expected: str = "a URL", **more: Any) -> Key:
    # Not repeated in messages: people put passwords into URLs.
    return _text(parse, expected, schema={"format": "uri"}, secret=True, **more)


def _file(parse: Parse, **more: Any) -> Key:
    return _text(parse, "a path", schema={"minLength": 1}, in_document=True, **more)


def _duration(parse: Parse, **more: Any) -> Key:
    schema = {"pattern": f.DURATION_PATTERN, **more}
    return _text(parse, f.A_DURATION, schema=schema, show=f.format_duration)


def _name(most: int) -> Key:
    return matching(f"[a-z0-9_-]{{1,{most}}}", f"a name of 1 to {most} of a-z, 0-9, _ and -")


# Nothing may stand behind the key of a list: its last item was commented out.
Items = Annotated[tuple[T, ...], BeforeValidator(lambda value: [] if value is None else value)]
OrNothing = BeforeValidator(lambda value: {} if value is None else value)

DURATION = _duration(f.parse_duration, type=["string", "integer"], minimum=0, maximum=0)
Duration = Annotated[float, DURATION]
PositiveDuration = Annotated[float, _duration(_positive_duration)]
TrueOrFalse = Annotated[
    bool,
    matching(_BOOLEAN, "true or false", {"type": "boolean"}, lambda text: text.lower() == "true"),
]
# Digits enough are infinity, too.
Number = Annotated[float, matching(_NUMBER, "a number", {"type": "number"}, float, math.isfinite)]
WholeNumber = Annotated[int, whole_number(0, 10**9)]
Count = Annotated[int, whole_number(1, 10**6)]
Concurrency = Annotated[int, whole_number(1, 1000)]
_SHARE = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
Share = Annotated[
    float,
    matching(_NUMBER, "a number above 0 and at most 1", _SHARE, float, lambda part: 0 < part <= 1),
]
Words = Annotated[str, _text(str, "text")]
FilePath = Annotated[Path, _file(_path)]
PresentFile = Annotated[Path, _file(_present_file)]
NewFile = Annotated[Path, _file(_new_file)]
StatePath = Annotated[Path, _file(_path, otherwise=_database)]
AuthorityFile = Annotated[Path, _file(_authority)]
SECRET_FILE = _file(_secret_file, show=lambda source: str(source.file))
SecretFile = Annotated[TokenSource, SECRET_FILE]
SECRET_VARIABLE = _text(
    _secret_variable,
    "${VAR} (no token belongs into this file), or token_file instead",
    schema={"pattern": f"^{_REFERENCE}$"},
    show=lambda source: f"<secret>  # from ${{{source.variable}}}",
    expands=False,
    secret=True,
    in_document=True,
)
SecretVariable = Annotated[TokenSource, SECRET_VARIABLE]
_REGEX = {"format": "regex"}
Expression = Annotated[str, _text(f.expression, "a regular expression", schema=_REGEX)]
EnvironmentName = Annotated[str, _name(64)]
ReceiverName = Annotated[str, _name(32)]
CampaignId = Annotated[str, matching(CAMPAIGN_ID, "an id of 1 to 64 of A-Z, a-z, 0-9, _ and -")]
_LABEL = {"pattern": f.LABEL_NAME_PATTERN}
LabelName = Annotated[str, _text(f.label_name, "a label name", schema=_LABEL, expands=False)]
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
WebUrl = Annotated[str, _url(lambda text: f.url(text).rstrip("/"))]
AlertmanagerUrl = Annotated[str, _url(lambda text: f.url(text, "fragment", "query").rstrip("/"))]
# http to any host: receivers are mostly inside, and what they get is signed, not secret.
ReceiverUrl = Annotated[
    str,
    _url(lambda text: f.url(text, "fragment"), show=lambda url: f"{f.origin(url)}/<secret>"),
]
RunbookUrl = Annotated[str, _text(f.runbook_url, "a URL with {rule} in it")]
_PORT = {"pattern": ":[0-9]{1,5}$"}
_ADDRESS = _text(f.listen_address, "host:port, [::1]:port or :port", schema=_PORT)
Listen = Annotated[f.ListenAddress, _ADDRESS]

_OF_SETTINGS: Mapping[Any, Any] = {
    bool: TrueOrFalse,
    int: WholeNumber,
    float: Number,
    str: Words,
    Severity: SeverityName,
    Seconds: Duration,
    PositiveSeconds: PositiveDuration,
    Mapping[str, Seconds]: Annotated[dict[str, Duration], OrNothing],
    AgesBySchedule: Annotated[dict[ImportScheduleName, PositiveDuration], OrNothing],
}


def _rules(name: str, known: Callable[[], Mapping[str, type[BaseRule]]]) -> GetPydanticSchema:
    """Return the type of `rules`; kept is what is set: what is not would beat other layers."""
    return GetPydanticSchema(
        lambda _, handler: core_schema.no_info_after_validator_function(
            lambda rules: {name: _set(section) for name, section in _set(rules).items()},
            handler(_rules_section(name, tuple(known().values()))),
            serialization=core_schema.plain_serializer_function_ser_schema(as_written),
        )
    )


def rule_classes() -> dict[str, type[BaseRule]]:
    """Return every rule that there is now by name: of campaigns, then of environments."""
    return {**RULES, **ENVIRONMENT_RULES}


Rules = Annotated[RuleSettings, _rules("Rules", rule_classes)]
CampaignRules = Annotated[RuleSettings, _rules("CampaignRules", lambda: RULES)]


def merge(*layers: RuleSettings) -> dict[str, dict[str, Any]]:
    """Return the settings merged field by field; a later layer beats an earlier one."""
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for rule, settings in layer.items():
            merged[rule] = {**merged.get(rule, {}), **settings}
    return merged


def as_written(settings: RuleSettings, *, in_full: bool = False) -> dict[str, dict[str, Any]]:
    """Return settings as the file has them, such as `for: 5m`; `in_full` with every default."""
    known: Mapping[str, Any] = rule_classes()
    return {
        name: _settings_section(known[name])
        .model_construct(**settings.get(name, {}))
        .model_dump(by_alias=True, exclude_unset=not in_full)
        for name in (known if in_full else settings)
    }


def _set(section: Section) -> dict[str, Any]:
    return {name: value for name, value in section if name in section.model_fields_set}


@cache
def _rules_section(name: str, rules: tuple[Any, ...]) -> type[Section]:
    """Return the section in which these rules can be set: one class, wherever it is used."""
    # What is not set is not validated: nine sections for each of 10,000 campaigns.
    found: dict[str, Any] = {}
    for cls in rules:
        field = Field(None, description=cls.meaning, json_schema_extra={"default": {}})
        found[cls.name] = (_settings_section(cls), field)
    return create_model(name, __base__=Section, **found)


@cache
def _settings_section(cls: Any) -> type[Section]:
    hints, defaults = get_type_hints(cls, include_extras=True), cls()
    found: dict[str, Any] = {}
    for setting in fields(cls):
        kind, default = _OF_SETTINGS[hints[setting.name]], getattr(defaults, setting.name)
        found[setting.name] = (
            kind,
            Field(
                default,
                description=setting.metadata["help"],
                alias=setting.name.rstrip("_"),  # `for_` is the key `for`
                json_schema_extra={"default": TypeAdapter(kind).dump_python(default)},
            ),
        )
    return create_model(f"{cls.__name__}Settings", __base__=Section, **found)
