"""`/openapi.json`: what the JSON API serves, described from the very types that it answers with."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from monitor.adapters.web.api import ENDPOINTS, IN_PATH, Parameter
from monitor.adapters.web.commands import COMMANDS, CommandRequest, ErrorAnswer, NotRunAnswer
from monitor.core.explanation import Paragraph
from monitor.core.guards import Reason as HoldReason
from monitor.core.guards import Suspension
from monitor.core.model import PollError, SftpConfig
from monitor.core.snapshot import Holder
from monitor.serialize import EventRecord, Schemas

_NAMES = {
    HoldReason: "HoldReason",
    Holder: "HolderAnswer",
    Suspension: "SuspensionAnswer",
    SftpConfig: "ConfigAnswer",
    PollError: "PollErrorAnswer",
    EventRecord: "EventAnswer",
    Paragraph: "ParagraphAnswer",
}

_ERRORS: Final[Mapping[tuple[str, int], str]] = {
    ("get", 400): "A query parameter is not understood",
    ("get", 404): "There is no such campaign",
    ("get", 503): "The state is not loaded yet, or the history cannot be read",
    ("post", 400): "The body is not understood",
    ("post", 403): "Not by web.operators, or by a page in a browser",
    ("post", 404): "There is none of that name",
    ("post", 409): "No test may be run now",
    ("post", 415): "The Content-Type is not application/json",
    ("post", 429): "Too many tests were asked for within an hour",
    ("post", 503): "The state is not loaded yet",
}
_OF_ONE_CAMPAIGN = {("get", 404), ("post", 409), ("post", 429)}


@cache
def document(version: str, external_url: str | None) -> bytes:
    """Return the OpenAPI 3.1 document as JSON; `version` is the program's."""
    shapes, paths = Schemas("#/components/schemas/", _NAMES), dict[str, Any]()
    for path, one in ENDPOINTS.items():
        success = one.summary, 200, one.view.__annotations__["return"]
        paths[path] = {"get": _operation(shapes, path, "get", success, one.parameters)}
    for path, command in COMMANDS.items():
        parameters = IN_PATH if "{" in path else {}
        paths[path] = {"post": _operation(shapes, path, "post", command, parameters)}
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "SFTP config monitor",
            "version": version,
            "description": "What the monitor knows of each campaign's SFTP config.",
        },
        "servers": [{"url": external_url or "/"}],
        "paths": paths,
        "components": {"schemas": dict(sorted(shapes.components.items()))},
    }
    # Indented, it would take half of a start: only without is the encoder written in C.
    return json.dumps(described).encode()


def _operation(
    shapes: Schemas,
    path: str,
    method: str,
    success: tuple[str, int, type[Any]],
    parameters: Mapping[str, Parameter],
) -> dict[str, Any]:
    """Return a method of a path; `success` has what it does, and its status and answer then."""
    summary, status, shape = success
    answers = {status: (summary, shape)}
    for (of, status), about in _ERRORS.items():
        if of == method and ("{" in path or (of, status) not in _OF_ONE_CAMPAIGN):
            answers[status] = about, NotRunAnswer if status == 409 else ErrorAnswer
    return {
        "summary": summary,
        "parameters": [_parameter(path, *each) for each in parameters.items()],
        **({"requestBody": _content(shapes, CommandRequest)} if method == "post" else {}),
        "responses": {
            str(status): {"description": about, **_content(shapes, shape)}
            for status, (about, shape) in answers.items()
        },
    }


def _parameter(path: str, name: str, one: Parameter) -> dict[str, Any]:
    schema, in_path = one.key.schema, f"{{{name}}}" in path
    return {
        "name": name,
        "in": "path" if in_path else "query",
        "description": one.about,
        "required": in_path,
        "schema": {"type": "array", "items": schema} if one.repeated else schema,
    }


def _content(shapes: Schemas, shape: type[Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": shapes.of(shape)}}}
