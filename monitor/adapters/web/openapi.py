"""The OpenAPI document of the JSON API, made of what is served and sent: it cannot drift."""

import json
from typing import Any

from monitor.adapters.web.api import ENDPOINTS, Endpoint
from monitor.adapters.web.schemas import ErrorAnswer
from monitor.core.model import PollError, SftpConfig
from monitor.serialize import EventRecord, Schemas

NAMES = {SftpConfig: "ConfigAnswer", PollError: "PollErrorAnswer", EventRecord: "EventAnswer"}
"""The names that users read of those shapes that the program itself uses."""


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
        "paths": {path: {"get": _get(shapes, path, one)} for path, one in ENDPOINTS.items()},
        "components": {"schemas": dict(sorted(shapes.components.items()))},
    }
    return json.dumps(described, indent=1).encode()


def _get(shapes: Schemas, path: str, endpoint: Endpoint) -> dict[str, Any]:
    in_path = {name for name in endpoint.parameters if f"{{{name}}}" in path}
    parameters = [
        {
            "name": name,
            "in": "path" if name in in_path else "query",
            "description": one.about,
            "required": name in in_path,
            "schema": {"type": "array", "items": one.key.schema}
            if one.repeated
            else one.key.schema,
        }
        for name, one in endpoint.parameters.items()
    ]
    answers = {
        "200": (endpoint.summary, endpoint.answer),
        "400": ("A query parameter is not understood", ErrorAnswer),
        "404": ("There is no such campaign", ErrorAnswer),
        "503": ("The state is not loaded yet, or the history cannot be read", ErrorAnswer),
    }
    if not in_path:
        del answers["404"]
    responses = {
        status: {
            "description": about,
            "content": {"application/json": {"schema": shapes.of(shape)}},
        }
        for status, (about, shape) in answers.items()
    }
    return {"summary": endpoint.summary, "parameters": parameters, "responses": responses}
