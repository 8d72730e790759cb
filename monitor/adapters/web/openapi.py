"""The OpenAPI document of the JSON API, and how its answers become bytes.

Both come from the types in `answers`, so that the document cannot drift from what is sent.
"""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any, get_args

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from monitor.adapters.web.answers import (
    AlertAnswer,
    AlertsAnswer,
    Answer,
    CampaignAnswer,
    CampaignDetailAnswer,
    CampaignsAnswer,
    ErrorAnswer,
    EventAnswer,
    EventsAnswer,
    StatusAnswer,
)
from monitor.adapters.web.queries import LIMIT_DEFAULT, LIMIT_MAX
from monitor.core.board import Health

_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {
    answer: TypeAdapter(answer) for answer in get_args(Answer)
}


def encode(answer: Answer) -> bytes:
    """Return an answer as JSON in UTF-8."""
    return _ADAPTERS[type(answer)].dump_json(answer)


def encode_list(name: str, answers: Iterable[CampaignAnswer | AlertAnswer]) -> bytes:
    """Return an answer that has one field, a list; it may be as long as it likes.

    One by one: the encoder does not let go of the interpreter, so a long list in one piece would
    hold up the loop although another thread encodes it.
    """
    items = b",".join([encode(answer) for answer in answers])
    return b"".join((b'{"', name.encode(), b'":[', items, b"]}"))


def document(version: str, external_url: str | None) -> bytes:
    """Return the OpenAPI 3.1 document as JSON; `version` is the program's."""
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "SFTP config monitor",
            "version": version,
            "description": "What the monitor knows of each campaign's SFTP config. Read-only.",
        },
        "servers": [{"url": external_url or "/"}],
        "paths": _paths(),
        "components": {"schemas": _schemas()},
    }
    return json.dumps(described, indent=1).encode()


class _WithoutTitles(GenerateJsonSchema):
    # A title that only repeats the field's name is noise.
    def field_title_should_be_set(self, schema: Any) -> bool:
        """Leave titles out: the names of the fields say as much."""
        return False


@cache
def _schemas() -> dict[str, Any]:
    adapters = {**_ADAPTERS, EventAnswer: TypeAdapter(EventAnswer)}
    _, made = TypeAdapter.json_schemas(
        [(cls, "serialization", adapter) for cls, adapter in adapters.items()],
        ref_template="#/components/schemas/{model}",
        schema_generator=_WithoutTitles,
    )
    schemas: dict[str, Any] = made["$defs"]
    return schemas


def _paths() -> dict[str, Any]:
    return {
        "/api/v1/status": _get("The monitor and its environments", StatusAnswer),
        "/api/v1/campaigns": _get(
            "Campaigns",
            CampaignsAnswer,
            _parameter("environment", "only of this environment", {"type": "string"}),
            _parameter(
                "health",
                "only of this health; may be repeated",
                {"type": "array", "items": {"enum": [health.value for health in Health]}},
            ),
            errors=("400", "503"),
        ),
        "/api/v1/campaigns/{environment}/{campaign_id}": _get(
            "One campaign with its history",
            CampaignDetailAnswer,
            _parameter("environment", "name of the environment", {"type": "string"}, path=True),
            _parameter("campaign_id", "id of the campaign", {"type": "string"}, path=True),
            errors=("400", "404", "503"),
        ),
        "/api/v1/alerts": _get("Active alerts", AlertsAnswer),
        "/api/v1/events": _get(
            "History of alert events, newest first",
            EventsAnswer,
            _parameter("environment", "only of this environment", {"type": "string"}),
            _parameter("campaign_id", "only of this campaign", {"type": "string"}),
            _parameter("since", "not older", {"type": "string", "format": "date-time"}),
            _parameter("cursor", "next_cursor of the page before", {"type": "integer"}),
            _parameter(
                "limit",
                "events a page",
                {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
            ),
            errors=("400", "503"),
        ),
    }


def _parameter(
    name: str, about: str, schema: dict[str, Any], *, path: bool = False
) -> dict[str, Any]:
    place = "path" if path else "query"
    return {"name": name, "in": place, "description": about, "required": path, "schema": schema}


def _get(
    summary: str,
    answer: type[Any],
    *parameters: dict[str, Any],
    errors: tuple[str, ...] = ("400", "503"),
) -> dict[str, Any]:
    about = {
        "400": "A query parameter is not understood",
        "404": "There is no such campaign",
        "503": "The state is not loaded yet, or the history cannot be read",
    }
    responses = {error: _response(about[error], ErrorAnswer) for error in errors}
    return {
        "get": {
            "summary": summary,
            "parameters": list(parameters),
            "responses": {"200": _response(summary, answer), **responses},
        }
    }


def _response(about: str, answer: type[Any]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{answer.__name__}"}
    return {"description": about, "content": {"application/json": {"schema": schema}}}
