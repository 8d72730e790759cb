"""The sections `rules` and `connection_tests`, made from what they are about; and `state`."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache, partial
from importlib.util import find_spec
from typing import Annotated, Any, get_type_hints

from pydantic import GetPydanticSchema, PlainSerializer, TypeAdapter, create_model

from monitor.config import types as t
from monitor.config.keys import Conflict, Layer, Section, key, made
from monitor.core import attempt
from monitor.core.attempt import OF_ENVIRONMENTS, TestSettings, Window
from monitor.core.environment_rules import ENVIRONMENT_RULES
from monitor.core.model import PositiveSeconds, Seconds, Severity
from monitor.core.rule import AgesBySchedule
from monitor.core.rules import RULES

_OF_SETTINGS: Mapping[Any, Any] = {
    bool: t.TrueOrFalse,
    int: t.WholeNumber,
    float: t.Number,
    str: t.Words,
    Severity: t.SeverityName,
    Seconds: t.Duration,
    PositiveSeconds: t.PositiveDuration,
    Mapping[str, Seconds]: Annotated[dict[str, t.Duration], t.OrNothing],
    AgesBySchedule: Annotated[dict[t.ImportScheduleName, t.PositiveDuration], t.OrNothing],
    Window | None: t.Between,
    attempt.Share: t.Share,
    attempt.Count: Annotated[int, t.whole_number(1, 10)],
}


# Made when they are needed: a rule of a test's own counts as well.
Rules = Annotated[
    Layer,
    GetPydanticSchema(lambda _, handler: handler(_rules("Rules", *RULES, *ENVIRONMENT_RULES))),
]
CampaignRules = Annotated[
    Layer,
    GetPydanticSchema(lambda _, handler: handler(_rules("CampaignRules", *RULES))),
    PlainSerializer(Layer.written),
]


ConnectionTests = Annotated[
    Layer, GetPydanticSchema(lambda _, handler: handler(_settings_section(TestSettings)))
]
CampaignTests = Annotated[
    Layer,
    GetPydanticSchema(lambda _, handler: handler(_settings_section(TestSettings, OF_ENVIRONMENTS))),
    PlainSerializer(Layer.written),
]


@cache
def _unset(section: type[Layer]) -> Layer:
    # One for all: to make one for each of 10,000 campaigns takes as long as all their rest.
    return section()


def no_rules() -> Layer:
    """Return the rules of a campaign that sets none."""
    return _unset(_rules("CampaignRules", *RULES))


def no_tests() -> Layer:
    """Return the connection tests of a campaign that sets nothing of them."""
    return _unset(_settings_section(TestSettings, OF_ENVIRONMENTS))


def settings(rules: Layer) -> dict[str, dict[str, Any]]:
    """Return the settings of rules: rule name → field → value."""
    return {name: dict(section) for name, section in rules}


@cache
def _rules(name: str, *rules: str) -> type[Layer]:
    """Return the section in which these rules can be set: one class, wherever it is used."""
    known: Mapping[str, Any] = {**RULES, **ENVIRONMENT_RULES}
    found: dict[str, Any] = {}
    for rule in rules:
        section = _settings_section(known[rule])
        found[rule] = (section, made(partial(_unset, section), {}, known[rule].meaning))
    return create_model(name, __base__=Layer, **found)


@cache
def _settings_section(cls: Any, but: frozenset[str] = frozenset()) -> type[Layer]:
    hints, defaults = get_type_hints(cls, include_extras=True), cls()
    found: dict[str, Any] = {}
    for setting in fields(cls):
        kind, default = _OF_SETTINGS[hints[setting.name]], getattr(defaults, setting.name)
        written, name = TypeAdapter(kind).dump_python(default), setting.name.rstrip("_")
        # `for_` is the key `for`.
        if name not in but:
            found[setting.name] = (kind, key(written, setting.metadata["help"], alias=name))
    which = "Some" if but else ""
    return create_model(f"{which}{cls.__name__}Settings", __base__=Layer, **found)


_WITHOUT_DRIVER = (
    "expected psycopg to be installed: sftp-config-monitor[postgres], pinned in "
    "requirements-postgres.lock"
)


class State(Section):
    """What is remembered over a restart."""

    path: t.StatePath = key(
        None, "the database; $STATE_DIRECTORY/sftp-monitor.db, else ./sftp-monitor.db"
    )
    url: t.DatabaseUrl | None = key(None, "instead of path: PostgreSQL, for several replicas")
    password_file: t.SecretFile | None = key(None, "file with the password for url, and no more")
    migrate: t.TrueOrFalse = key(
        True, "false: `sftp-monitor state migrate` makes the schema, with a role that may"
    )
    unavailable_after: t.PositiveDuration = key(
        "2m", "how long the database of url must not answer before each replica says so"
    )
    retention: t.PositiveDuration = key("90d", "how long the history is kept")

    def _conflicts(self) -> Iterator[Conflict]:
        if self.url is None:
            for name in sorted(
                self.model_fields_set & {"password_file", "migrate", "unavailable_after"}
            ):
                yield (name,), "expected state.url as well"
        elif "path" in self.model_fields_set:
            yield ("url",), "expected either path or url"
        elif find_spec("psycopg") is None:
            yield ("url",), _WITHOUT_DRIVER
