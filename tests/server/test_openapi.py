"""The OpenAPI document is valid and complete, and matches the server."""

from __future__ import annotations

import copy
import importlib
import re

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deploycore.server.openapi import openapi_document
from deploycore.server.rest.table import OPERATIONS

KNOWN = {
    "application": "shop",
    "deployment": 1,
    "trigger": 1,
    "release": "none",
    "provider": "work",
    "kind": "acme",
    "sign_in": "unknown",
    "variable": "TOKEN",
    "user": "ada",
    "token": "ci",
    "session": 1,
}


@pytest.fixture(scope="module")
def schemathesis():
    """Imported here: it takes most of a second, and every process imports this module."""
    imported = importlib.import_module("schemathesis")
    with pytest.MonkeyPatch.context() as patch:
        _keep_great_lengths_out_of_patterns(patch)
        yield imported


def _keep_great_lengths_out_of_patterns(patch: pytest.MonkeyPatch) -> None:
    """Have Schemathesis leave a length of thousands beside the pattern, as it does if the pattern
    would not compile: ``^[^\\x00]{0,65536}$`` does, and takes half a second each time."""
    from schemathesis.specs.openapi import converter

    compiles = converter.is_valid_jsonschema_rs_regex
    patch.setattr(
        converter,
        "is_valid_jsonschema_rs_regex",
        lambda pattern: not re.search(r"\d{4}\}", pattern) and compiles(pattern),
    )


@pytest.fixture(scope="module")
def document(schemathesis):
    """The document as Schemathesis reads it, which takes as long as some requests; a test above has
    it from the server."""
    return schemathesis.openapi.from_dict(copy.deepcopy(openapi_document()))


@pytest.fixture(scope="module")
def checks(schemathesis):
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    return [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]


def test_the_document_is_valid():
    from openapi_core import OpenAPI

    OpenAPI.from_dict(openapi_document())  # raises an error if it is not valid


def test_the_server_serves_the_document_without_a_token(client):
    assert client.get("/api/v1/openapi.json").json() == openapi_document()


def test_every_operation_and_its_role_is_in_the_document():
    paths = openapi_document()["paths"]
    for operation in OPERATIONS:
        described = paths[operation.path][operation.method.lower()]
        assert described["summary"]
        assert described.get("x-role") == operation.role
        assert ("security" in described) == (operation.role is not None)
        assert {str(status) for status in operation.answers} <= set(described["responses"])


def test_every_field_and_parameter_is_described():
    document = openapi_document()
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name
        for field, described in schema.get("properties", {}).items():
            assert described["description"].endswith((".", ")")), f"{name}.{field}"
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                assert parameter["description"].endswith("."), f"{path}: {parameter['name']}"


def test_every_reference_in_the_document_resolves():
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


@pytest.mark.usefixtures("imports_are_probed_once")
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_every_response_matches_the_document(
    serving, secret, token, installation, operation, document, checks
):
    """Schemathesis makes up requests from the document, and holds the answers to it."""
    header = token("admin")
    installation.store.deployments.request("shop", ref="main")
    installation.store.triggers.add("shop", cause="poll")
    installation.store.users.add("ada", role="read")
    token("read", name="ci")
    _send_to(serving().app, document)

    @settings(
        max_examples=20,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(document[operation.path][operation.method].as_strategy(), st.booleans())
    def send(case, is_there):
        if is_there:  # what is made up is hardly ever the name of something
            case.path_parameters = {name: KNOWN[name] for name in case.path_parameters}
        case.call_and_validate(headers=header, checks=checks)

    send()


def _send_to(application, document) -> None:
    """Have the document's requests sent to an application.

    Schemathesis looks for constants in the modules of an application, to send them. Those of all
    applications here are the same.
    """
    known = document._constants_pool_cache
    document.app = application
    if known is not None:
        document._constants_pool_cache = application, *known[1:]
