"""The OpenAPI document of the JSON API, made of the types that are sent: it cannot drift."""

import json
from typing import Any

from monitor.adapters.web.schemas import (
    NAMES,
    AlertsAnswer,
    CampaignDetailAnswer,
    CampaignsAnswer,
    ErrorAnswer,
    EventsAnswer,
    StatusAnswer,
)
from monitor.core.board import Health
from monitor.serialize import Schemas

LIMIT = 1000
"""Items of a page: at most, and unless fewer are asked for."""

Parameter = dict[str, Any]


def document(version: str, external_url: str | None) -> bytes:
    """Return the OpenAPI 3.1 document as JSON; `version` is the program's."""
    schemas = Schemas("#/components/schemas/", NAMES)
    paths = _paths(schemas)
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "SFTP config monitor",
            "version": version,
            "description": "What the monitor knows of each campaign's SFTP config. Read-only.",
        },
        "servers": [{"url": external_url or "/"}],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.components.items()))},
    }
    return json.dumps(described, indent=1).encode()


def _paths(schemas: Schemas) -> dict[str, Any]:
    text = {"type": "string"}
    environment = _parameter("environment", "only of this environment", text)
    healths = {"type": "array", "items": {"enum": [health.value for health in Health]}}
    return {
        "/api/v1/status": _get(schemas, "The monitor and its environments", StatusAnswer),
        "/api/v1/campaigns": _get(
            schemas,
            "Campaigns",
            CampaignsAnswer,
            environment,
            _parameter("health", "only of this health; may be repeated", healths),
            *_paged("campaigns"),
        ),
        "/api/v1/campaigns/{environment}/{campaign_id}": _get(
            schemas,
            "One campaign with its history",
            CampaignDetailAnswer,
            _parameter("environment", "name of the environment", text, path=True),
            _parameter("campaign_id", "id of the campaign", text, path=True),
        ),
        "/api/v1/alerts": _get(schemas, "Active alerts", AlertsAnswer, *_paged("alerts")),
        "/api/v1/events": _get(
            schemas,
            "History of alert events, newest first",
            EventsAnswer,
            environment,
            _parameter("campaign_id", "only of this campaign", text),
            _parameter("since", "not older", {**text, "format": "date-time"}),
            *_paged("events"),
        ),
    }


def _paged(what: str) -> tuple[Parameter, Parameter]:
    limit = {"type": "integer", "minimum": 1, "maximum": LIMIT, "default": LIMIT}
    return (
        _parameter("next", "next of the page before", {"type": "string"}),
        _parameter("limit", f"{what} a page", limit),
    )


def _parameter(name: str, about: str, schema: dict[str, Any], *, path: bool = False) -> Parameter:
    place = "path" if path else "query"
    return {"name": name, "in": place, "description": about, "required": path, "schema": schema}


def _get(
    schemas: Schemas, summary: str, answer: type[Any], *parameters: Parameter
) -> dict[str, Any]:
    about = {
        "400": "A query parameter is not understood",
        "503": "The state is not loaded yet, or the history cannot be read",
    }
    if any(parameter["in"] == "path" for parameter in parameters):
        about["404"] = "There is no such campaign"
    errors = {status: _response(schemas, about[status], ErrorAnswer) for status in sorted(about)}
    return {
        "get": {
            "summary": summary,
            "parameters": list(parameters),
            "responses": {"200": _response(schemas, summary, answer), **errors},
        }
    }


def _response(schemas: Schemas, about: str, answer: type[Any]) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": schemas.of(answer)}}}
