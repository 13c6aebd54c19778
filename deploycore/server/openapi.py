"""The OpenAPI document, generated from the table of operations and their models."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import deploycore
from deploycore.applications.application import VARIABLE_PATTERN, Application
from deploycore.applications.descriptions import describe_fields, describe_model, models_within
from deploycore.configuration import NAME_PATTERN
from deploycore.server import views
from deploycore.server.problems import MEDIA_TYPE
from deploycore.server.rest.operation import Operation
from deploycore.server.rest.table import OPERATIONS

__all__ = ["WEBHOOK_PATH", "openapi_document"]

WEBHOOK_PATH = "/webhooks/{application}"

_DECLARATION = "Declaration"
_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "application": {"type": "string", "pattern": NAME_PATTERN},
    "provider": {"type": "string", "pattern": NAME_PATTERN},
    "kind": {"type": "string", "maxLength": 100},
    "sign_in": {"type": "string", "maxLength": 100},
    "variable": {"type": "string", "pattern": VARIABLE_PATTERN},
    "user": {"type": "string", "pattern": NAME_PATTERN},
    "token": {"type": "string", "pattern": NAME_PATTERN},
    "session": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    "deployment": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    "release": {"type": "string", "pattern": r"^[0-9A-Za-z._-]{1,255}$"},
    "trigger": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
}
_MEANINGS: Mapping[str, str] = {
    "application": "The name of the application.",
    "provider": "The name of the provider.",
    "kind": "The kind of providers, as `GET /api/v1/provider-kinds` lists it.",
    "sign_in": "The id of the sign-in.",
    "variable": "The name of the variable.",
    "user": "The name of the user.",
    "token": "The name of the token.",
    "session": "The id of the session.",
    "deployment": "The id of the deployment.",
    "release": "The name of the release.",
    "trigger": "The id of the trigger.",
    "Last-Event-ID": "The id of the last event that you received. The stream continues after it.",
}
"""The descriptions of parameters that are not fields of a query."""
_REFUSED_ALWAYS = (422, 500, 503)


@functools.cache
def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document, which is made once per process. Do not change it."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    paths[WEBHOOK_PATH] = {"post": _webhook()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "deploycore",
            "version": deploycore.__version__,
            "description": "Deploy applications, and list deployments.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    summary, _, description = (operation.run.__doc__ or "").partition("\n\n")
    found: dict[str, Any] = {
        "operationId": operation.run.__name__,
        "summary": " ".join(summary.split()),
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation)],
        "responses": _responses(operation),
    }
    if description:
        found["description"] = " ".join(description.split())
    if operation.role is not None:
        found["security"] = [{"token": []}]
        found["x-role"] = operation.role
    if operation.body is not None:
        content = {"application/json": {"schema": _reference(operation.body)}}
        found["requestBody"] = {"required": operation.body is Application, "content": content}
    return found


def _path_parameters(path: str) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": _MEANINGS[name],
            "schema": _PARAMETERS[name],
        }


def _query_parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    schema = operation.query.model_json_schema(ref_template="#/components/schemas/{model}")
    required = schema.get("required", ())
    meanings = describe_fields(operation.query)
    for name, described in schema.get("properties", {}).items():
        yield {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": meanings[name],
            "schema": described,
        }
    if operation.can_follow:
        yield {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": _MEANINGS["Last-Event-ID"],
            "schema": {"type": "string"},
        }


def _responses(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, model in operation.answers.items():
        content = {} if model is None else {"application/json": {"schema": _reference(model)}}
        if operation.can_follow and status == 200:
            content["text/event-stream"] = {"schema": {"type": "string"}}
        found[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    if operation.media_type:
        found["200"]["content"] = {operation.media_type: {"schema": {"type": "string"}}}
    if operation.run.__name__ == "openapi":
        found["200"]["content"] = {"application/json": {"schema": {"type": "object"}}}
    for status in sorted(_refusals(operation)):
        described = found.setdefault(
            str(status), {"description": HTTPStatus(status).phrase, "content": {}}
        )
        described["content"][MEDIA_TYPE] = {"schema": _reference(views.Problem)}
    return found


def _refusals(operation: Operation) -> set[int]:
    found = {*_REFUSED_ALWAYS, *operation.refusals}
    if operation.role is not None:
        found |= {401, 403}
    if "{" in operation.path:
        found.add(404)
    if operation.body is not None:
        found |= {400, 408, 413, 415}
    return found


def _webhook() -> dict[str, Any]:
    answer = {"application/json": {"schema": _reference(views.Accepted)}}
    problem = {MEDIA_TYPE: {"schema": _reference(views.Problem)}}
    responses = {
        200: ("The delivery was received before.", answer),
        202: ("The delivery is stored, or it was ignored.", answer),
        400: ("The connection ended before the body was complete.", problem),
        401: ("The signature is missing or wrong.", problem),
        404: ("The application does not exist, or has no webhook.", problem),
        408: ("The body took too long to arrive.", problem),
        413: ("The body is too large.", problem),
        422: ("The request is not a delivery of the git host, or was sent too long ago.", problem),
        500: ("An unexpected error occurred.", problem),
        503: ("The delivery cannot be stored now; send it again.", problem),
    }
    return {
        "operationId": "receive_webhook",
        "summary": "Receive a delivery about a push or a pull request from a git host.",
        "description": "The request has the host's signature, made with the webhook's secret.",
        "parameters": list(_path_parameters(WEBHOOK_PATH)),
        "requestBody": {"content": {"*/*": {"schema": {}}}},
        "responses": {
            str(status): {"description": text, "content": content}
            for status, (text, content) in responses.items()
        },
    }


def _reference(model: type[BaseModel]) -> dict[str, str]:
    name = _DECLARATION if model is Application else model.__name__
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas() -> dict[str, Any]:
    said: set[type[BaseModel]] = {views.Problem, views.Accepted}
    taken: set[type[BaseModel]] = set()
    for operation in OPERATIONS:
        said.update(model for model in operation.answers.values() if model is not None)
        if operation.body not in (None, Application):
            taken.add(operation.body)
    template = "#/components/schemas/{model}"
    by_name = sorted(said, key=lambda model: model.__name__)
    _, found = models_json_schema(
        [
            *((model, "serialization") for model in by_name),
            *((model, "validation") for model in taken),
        ],
        ref_template=template,
    )
    declaration = Application.model_json_schema(ref_template=template)
    parts = declaration.pop("$defs", {})
    del declaration["properties"]["name"]
    declaration["required"].remove("name")
    declaration["title"] = _DECLARATION
    schemas = {**found["$defs"], **parts, _DECLARATION: declaration}
    plain = {name: _for_machines(schema) for name, schema in sorted(schemas.items())}
    described: set[type[BaseModel]] = {*said, *taken, Application}
    for model in described:
        for name, part in models_within(model).items():
            _describe(plain[_DECLARATION if part is Application else name], part)
    return plain


def _describe(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Add the descriptions in the model's docstring, of the model and of each field, to a
    schema."""
    schema["description"] = describe_model(model)
    properties = schema.get("properties", {})
    for field, text in describe_fields(model).items():
        if field in properties:
            properties[field]["description"] = text


def _for_machines(schema: Any) -> Any:
    """Return a schema without titles that repeat names, and without docstrings for developers."""
    if isinstance(schema, list):
        return [_for_machines(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _for_machines(value)
        for key, value in schema.items()
        if not (key in ("title", "description") and isinstance(value, str))
    }
