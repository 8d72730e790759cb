"""The types that keys of the file have, by name."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from monitor.config import keys
from monitor.config.addresses import (
    ListenAddress,
    alertmanager_url,
    api_url,
    listen_address,
    receiver_url,
    runbook_url,
    web_url,
)
from monitor.config.durations import DURATION_PATTERN, parse_duration
from monitor.config.keys import Key
from monitor.config.labels import LABEL_NAME_PATTERN, label_name
from monitor.config.scalars import REFERENCE, reference
from monitor.core.model import Severity
from monitor.core.text import CAMPAIGN_ID


class LogLevel(StrEnum):
    """From which level on a log line is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """For whom a log line is written: machines or people."""

    JSON = "json"
    CONSOLE = "console"


class CampaignType(StrEnum):
    """What a campaign is for, as TalkOver has it."""

    SALES = "sales"
    FOLLOW_UP = "follow_up"
    REMINDER = "reminder"
    CUSTOM = "custom"


class CampaignStatus(StrEnum):
    """Where a campaign stands, as TalkOver has it."""

    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class ImportSchedule(StrEnum):
    """How often a campaign's contacts are imported, as TalkOver has it."""

    HOURLY = "hourly"
    DAILY = "daily"
    MANUAL = "manual"


_A_DURATION = "a duration such as 30s, 5m, 1h30m or 7d"

# `labels:` with nothing behind it is what is left when the last item is commented out.
OrNothing = BeforeValidator(lambda value: {} if value is None else value)
OrNoItems = BeforeValidator(lambda value: [] if value is None else value)

DURATION = Key(
    parse_duration,
    _A_DURATION,
    {"type": ["string", "integer"], "pattern": DURATION_PATTERN, "minimum": 0, "maximum": 0},
)
Duration = Annotated[float, DURATION]
"""Seconds; a bare 0 is the only number that needs no unit."""

PositiveDuration = Annotated[
    float,
    Key(keys.positive_duration, _A_DURATION, {"type": "string", "pattern": DURATION_PATTERN}),
]
TrueOrFalse = Annotated[bool, Key(keys.true_or_false, "true or false", {"type": "boolean"})]
Number = Annotated[float, Key(keys.number, "a number", {"type": "number"})]
WholeNumber = Annotated[int, keys.whole_number(0, 10**9)]
Count = Annotated[int, keys.whole_number(1, 10**6)]
Concurrency = Annotated[int, keys.whole_number(1, 1000)]
Share = Annotated[
    float,
    Key(
        keys.share,
        "a number above 0 and at most 1",
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    ),
]
Words = Annotated[str, Key(str, "text", {"type": "string"})]
FilePath = Annotated[Path, Key(keys.path, "a path", {"type": "string", "minLength": 1})]
Expression = Annotated[
    str, Key(keys.expression, "a regular expression", {"type": "string", "format": "regex"})
]
EnvironmentName = Annotated[
    str, keys.matching("[a-z0-9_-]{1,64}", "a name of 1 to 64 of a-z, 0-9, _ and -")
]
CampaignId = Annotated[
    str, keys.matching(CAMPAIGN_ID, "an id of 1 to 64 of A-Z, a-z, 0-9, _ and -")
]
LabelName = Annotated[
    str,
    Key(
        label_name,
        "a label name",
        {"type": "string", "pattern": LABEL_NAME_PATTERN},
        expands=False,
    ),
]
LabelValue = Annotated[str, Key(str, "text", {"type": ["string", "number", "boolean"]})]
Labels = Annotated[
    dict[LabelName, LabelValue],
    OrNothing,
    # Editors would let every name pass that does not fit the pattern of the names.
    Field(json_schema_extra={"additionalProperties": False}),
]
SeverityName = Annotated[Severity, keys.one_of(Severity)]
LogLevelName = Annotated[LogLevel, keys.one_of(LogLevel)]
LogFormatName = Annotated[LogFormat, keys.one_of(LogFormat)]
CampaignTypeName = Annotated[CampaignType, keys.one_of(CampaignType)]
CampaignStatusName = Annotated[CampaignStatus, keys.one_of(CampaignStatus)]
ImportScheduleName = Annotated[ImportSchedule, keys.one_of(ImportSchedule)]
ApiUrl = Annotated[
    str, Key(api_url, "an https URL", {"type": "string", "format": "uri"}, secret=True)
]
"""Not repeated in messages: people put passwords into URLs."""

WebUrl = Annotated[str, Key(web_url, "a URL", {"type": "string", "format": "uri"}, secret=True)]
ReceiverUrl = Annotated[
    str, Key(receiver_url, "a URL", {"type": "string", "format": "uri"}, secret=True)
]
AlertmanagerUrl = Annotated[
    str, Key(alertmanager_url, "a URL", {"type": "string", "format": "uri"}, secret=True)
]
ReceiverName = Annotated[
    str, keys.matching("[a-z0-9_-]{1,32}", "a name of 1 to 32 of a-z, 0-9, _ and -")
]
RunbookUrl = Annotated[str, Key(runbook_url, "a URL with {rule} in it", {"type": "string"})]
Listen = Annotated[
    ListenAddress,
    Key(
        listen_address,
        "host:port, [::1]:port or :port",
        {"type": "string", "pattern": ":[0-9]{1,5}$"},
    ),
]
TokenReference = Annotated[
    str,
    Key(
        reference,
        "${VAR} (no token belongs into this file), or token_file instead",
        {"type": "string", "pattern": f"^{REFERENCE}$"},
        expands=False,
        secret=True,
    ),
]
"""The reference itself, as written: what it refers to is never part of the model."""
