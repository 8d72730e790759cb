"""/openapi.json is valid, complete, and what is really sent keeps to it."""

import re
from dataclasses import replace
from typing import Any

import httpx
import pytest
from jsonschema import (
    Draft202012Validator,
    FormatChecker,
    ValidationError,
)
from openapi_spec_validator import OpenAPIV31SpecValidator

from monitor.adapters.web import EventsAnswer
from monitor.adapters.web.commands import COMMANDS
from monitor.adapters.web.openapi import document as made
from monitor.core.assess import assess
from monitor.core.model import MINUTE
from monitor.serialize import Links, record_of
from support.builders import NOW, a_config, a_status, a_target
from support.scrapes import VERSION
from support.web import serving

PATHS = {
    "/api/v1/status": "/api/v1/status",
    "/api/v1/campaigns": "/api/v1/campaigns",
    "/api/v1/campaigns/{environment}/{campaign_id}": "/api/v1/campaigns/production/failed",
    "/api/v1/alerts": "/api/v1/alerts",
    "/api/v1/events": "/api/v1/events",
}
"""Every path of the document, with one that is there on the rich board."""


def real_history(_query: object) -> EventsAnswer:
    """Return the events that one failed test brings, as the log has them."""
    links = Links("https://runbooks.example/{rule}", "https://monitor.example")
    target = a_target(name="Retail leads", labels={"team": "retail"})
    failed = a_config(last_test_success=False)
    fired = assess(a_status(), target, failed, NOW, remind_every={})
    over = assess(fired.status, target, a_config(), NOW + MINUTE, remind_every={})
    events = [*over.events, *fired.events]
    return EventsAnswer(
        events=[record_of(replace(event, epoch="01234567"), links) for event in events], next="1"
    )


async def document_of(client: httpx.AsyncClient) -> Any:
    """Return the OpenAPI document."""
    return (await client.get("/openapi.json")).json()


def validate(document: Any, path: str, answer: httpx.Response) -> None:
    """Check an answer against the schema that the document gives for its path and status."""
    responses = document["paths"][path]["get"]["responses"]
    schema = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
    whole = {**schema, "components": document["components"]}
    Draft202012Validator(whole, format_checker=FormatChecker()).validate(answer.json())


@pytest.mark.slow
async def test_the_document_is_valid_openapi_3_1() -> None:
    async with serving(external_url="https://monitor.example/sftp") as client:
        document = await document_of(client)
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == VERSION
    assert document["servers"] == [{"url": "https://monitor.example/sftp"}]


async def test_the_document_is_made_when_it_is_first_asked_for() -> None:
    made.cache_clear()
    async with serving() as client:
        await client.get("/api/v1/status")
        assert made.cache_info().currsize == 0
        assert await document_of(client) == await document_of(client)
    assert made.cache_info().misses == 1


async def test_the_document_has_every_path_of_the_api_and_no_other() -> None:
    async with serving() as client:
        document = await document_of(client)
        statuses = [(await client.get(path)).status_code for path in PATHS.values()]
    assert set(document["paths"]) == {*PATHS, *COMMANDS}
    assert set(statuses) == {200}


@pytest.mark.parametrize("path", PATHS)
async def test_real_answers_keep_to_the_document(path: str) -> None:
    async with serving(history=real_history) as client:
        validate(await document_of(client), path, await client.get(PATHS[path]))


@pytest.mark.matrix(fast=4)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("query", "status"), [("?nonsense=1", 400), ("", 503)])
async def test_errors_keep_to_the_document(path: str, query: str, status: int) -> None:
    async with serving(loaded=lambda: status != 503) as client:
        answer = await client.get(PATHS[path] + query)
        assert answer.status_code == status
        validate(await document_of(client), path, answer)


async def test_a_missing_campaign_keeps_to_the_document() -> None:
    async with serving() as client:
        answer = await client.get("/api/v1/campaigns/production/nobody")
        path = "/api/v1/campaigns/{environment}/{campaign_id}"
        validate(await document_of(client), path, answer)


async def test_an_answer_that_does_not_keep_to_the_document_would_be_found() -> None:
    async with serving() as client:
        document = await document_of(client)
    answer = httpx.Response(200, json={"events": [{"rule": "missing"}], "next": None})
    with pytest.raises(ValidationError, match="is a required property"):
        validate(document, "/api/v1/events", answer)


async def test_labels_are_parameters_by_their_names() -> None:
    async with serving() as client:
        operation = (await document_of(client))["paths"]["/api/v1/alerts"]["get"]
    (labels,) = (one for one in operation["parameters"] if one["name"] == "label.NAME")
    (pattern,) = labels["schema"]["patternProperties"]
    assert re.search(pattern, "label.team")
    assert not re.search(pattern, "team")
    # As form parameters, exploded, which is the default, its properties stand for themselves.
    assert (labels["in"], labels["schema"]["type"]) == ("query", "object")


async def test_every_schema_says_what_it_is() -> None:
    async with serving() as client:
        schemas = (await document_of(client))["components"]["schemas"]
    objects = {name: schema for name, schema in schemas.items() if schema.get("type") == "object"}
    assert [name for name, schema in objects.items() if not schema.get("description")] == []
    assert "CampaignAnswer" in objects
