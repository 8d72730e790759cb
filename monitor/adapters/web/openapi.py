"""`/openapi.json`: what the JSON API serves, described from the very types that it answers with."""

import json
from collections.abc import Mapping
from typing import Any, Final

from monitor.adapters.web import schemas
from monitor.adapters.web.api import ENDPOINTS, IN_PATH, Endpoint
from monitor.adapters.web.commands import COMMANDS, CommandRequest
from monitor.core.guards import Reason as HoldReason
from monitor.core.model import PollError, SftpConfig
from monitor.serialize import EventRecord, Schemas

_TEXT: Final = {"type": "string"}
_NAMES = {
    HoldReason: "HoldReason",
    SftpConfig: "ConfigAnswer",
    PollError: "PollErrorAnswer",
    EventRecord: "EventAnswer",
}


def document(version: str, external_url: str | None) -> bytes:
    """Return the OpenAPI 3.1 document as JSON; `version` is the program's."""
    shapes = Schemas("#/components/schemas/", _NAMES)
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "SFTP config monitor",
            "version": version,
            "description": "What the monitor knows of each campaign's SFTP config.",
        },
        "servers": [{"url": external_url or "/"}],
        "paths": {
            **{path: {"get": _get(shapes, path, one)} for path, one in ENDPOINTS.items()},
            **{path: {"post": _post(shapes, path)} for path in COMMANDS},
        },
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
        "200": (endpoint.summary, endpoint.view.__annotations__["return"]),
        "400": ("A query parameter is not understood", schemas.ErrorAnswer),
        "404": ("There is no such campaign", schemas.ErrorAnswer),
        "503": ("The state is not loaded yet, or the history cannot be read", schemas.ErrorAnswer),
    }
    if not in_path:
        del answers["404"]
    said = {"summary": endpoint.summary, "parameters": parameters}
    return {**said, "responses": _responses(shapes, answers)}


def _post(shapes: Schemas, path: str) -> dict[str, Any]:
    summary, status, answer = COMMANDS[path]
    in_path = [
        {"name": name, "in": "path", "description": one.about, "required": True, "schema": _TEXT}
        for name, one in IN_PATH.items()
        if f"{{{name}}}" in path
    ]
    answers: dict[str, tuple[str, Any]] = {
        str(status): (summary, answer),
        "400": ("The body is not understood", schemas.ErrorAnswer),
        "403": ("Not by web.operators, or by a page in a browser", schemas.ErrorAnswer),
        "404": ("There is none of that name", schemas.ErrorAnswer),
        "415": ("The Content-Type is not application/json", schemas.ErrorAnswer),
        "503": ("The state is not loaded yet", schemas.ErrorAnswer),
    }
    if in_path:
        answers["409"] = ("No test may be run now", schemas.NotRunAnswer)
        answers["429"] = ("Too many tests were asked for within an hour", schemas.ErrorAnswer)
    body = {"content": {"application/json": {"schema": shapes.of(CommandRequest)}}}
    said = {"summary": summary, "parameters": in_path, "requestBody": body}
    return {**said, "responses": _responses(shapes, dict(sorted(answers.items())))}


def _responses(shapes: Schemas, answers: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    return {
        status: {
            "description": about,
            "content": {"application/json": {"schema": shapes.of(shape)}},
        }
        for status, (about, shape) in answers.items()
    }
