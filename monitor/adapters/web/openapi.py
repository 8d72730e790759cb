"""The OpenAPI document of the JSON API, made of the types that are sent: it cannot drift."""

import json
from typing import Any

from monitor.adapters.web import schemas
from monitor.adapters.web.serializers import LIMIT
from monitor.core.board import Health
from monitor.core.model import PollError, SftpConfig
from monitor.serialize import EventRecord, Schemas

NAMES = {
    SftpConfig: (
        "ConfigAnswer",
        "The SFTP config of a campaign as the platform last had it; never a secret.",
    ),
    PollError: (
        "PollErrorAnswer",
        "Why the last poll, or the last listing of the campaigns, gave no definite answer.",
    ),
    EventRecord: (
        "EventAnswer",
        "One alert event, as in the log. event_id is the key to deduplicate by.",
    ),
}
"""What users read of those shapes that the program itself uses: name and description."""


def document(version: str, external_url: str | None) -> bytes:
    """Return the OpenAPI 3.1 document as JSON; `version` is the program's."""
    shapes = Schemas("#/components/schemas/", NAMES)
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "SFTP config monitor",
            "version": version,
            "description": "What the monitor knows of each campaign's SFTP config. Read-only.",
        },
        "servers": [{"url": external_url or "/"}],
        "paths": {path: {"get": _get(shapes, *about)} for path, about in _paths().items()},
        "components": {"schemas": dict(sorted(shapes.components.items()))},
    }
    return json.dumps(described, indent=1).encode()


def _paths() -> dict[str, tuple[Any, ...]]:
    """Return each path with its summary, the shape of its answer, and its parameters."""
    text = {"type": "string"}
    environment = _parameter("environment", "only of this environment", text)
    healths = {"type": "array", "items": {"enum": [health.value for health in Health]}}
    return {
        "/api/v1/status": ("The monitor and its environments", schemas.StatusAnswer),
        "/api/v1/campaigns": (
            "Campaigns",
            schemas.CampaignsAnswer,
            environment,
            _parameter("health", "only of this health; may be repeated", healths),
            *_paged("campaigns"),
        ),
        "/api/v1/campaigns/{environment}/{campaign_id}": (
            "One campaign with its history",
            schemas.CampaignDetailAnswer,
            _parameter("environment", "name of the environment", text, "path"),
            _parameter("campaign_id", "id of the campaign", text, "path"),
        ),
        "/api/v1/alerts": ("Active alerts", schemas.AlertsAnswer, *_paged("alerts")),
        "/api/v1/events": (
            "History of alert events, newest first",
            schemas.EventsAnswer,
            environment,
            _parameter("campaign_id", "only of this campaign", text),
            _parameter("since", "not older", {**text, "format": "date-time"}),
            *_paged("events"),
        ),
    }


def _paged(what: str) -> tuple[Any, Any]:
    limit = {"type": "integer", "minimum": 1, "maximum": LIMIT, "default": LIMIT}
    return (
        _parameter("next", "next of the page before", {"type": "string"}),
        _parameter("limit", f"{what} a page", limit),
    )


def _parameter(name: str, about: str, schema: Any, place: str = "query") -> dict[str, Any]:
    required = place == "path"
    return {"name": name, "in": place, "description": about, "required": required, "schema": schema}


def _get(shapes: Schemas, summary: str, answer: type[Any], *parameters: Any) -> dict[str, Any]:
    answers = {
        "200": (summary, answer),
        "400": ("A query parameter is not understood", schemas.ErrorAnswer),
        "404": ("There is no such campaign", schemas.ErrorAnswer),
        "503": ("The state is not loaded yet, or the history cannot be read", schemas.ErrorAnswer),
    }
    if not any(parameter["required"] for parameter in parameters):
        del answers["404"]
    responses = {
        status: {
            "description": about,
            "content": {"application/json": {"schema": shapes.of(shape)}},
        }
        for status, (about, shape) in answers.items()
    }
    return {"summary": summary, "parameters": parameters, "responses": responses}
