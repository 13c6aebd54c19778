"""Checks the requests and responses of the sandbox of Bitbucket Data Center against Atlassian's API
description, as ``tests.openapi`` does for Bitbucket Cloud.

The description and Atlassian's guides and examples differ in some points. The check changes the
description only in these ways:

* Its paths are relative to ``http://{baseurl}/rest``, which the sandbox has below a context path.
* It names the type ``application/json;charset=UTF-8`` or ``*/*`` where the type is JSON.
* It marks fields of responses, such as ``links``, as ``writeOnly``, and fields of requests, such as
  the repository of a pull request, as ``readOnly``. These marks are removed.
* Lists of webhooks accept ``start`` and ``limit`` like all lists, but these are not declared.
* ``UNDECLARED`` has fields of the examples that are not declared. Other undeclared fields are
  errors, although the description does not forbid them.
* The ``context`` of an error is declared as text, but is null if the error is not about a field.
* Error responses are declared for some statuses, so each path gets the error object for all 4XX
statuses.
* The webhook in a request is declared like that of a response. Its secret is sent in
  ``configuration``, which may contain anything.
* Declared security is removed, because the sandbox itself checks credentials.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from deploycore_bitbucket_datacenter.sandbox.sandbox import CONTEXT

from deploycore.testing.git_http import is_git_request
from deploycore.testing.host import Exchange
from tests.openapi_parts import (
    Response,
    Undescribed,
    check_parameters,
    once_for_equal_exchanges,
    path_of_description,
    reasons,
)

__all__ = ["Description", "exemption", "find_description"]

VARIABLE = "DEPLOYCORE_BITBUCKET_DATA_CENTER_OPENAPI"
BESIDE_THE_REPOSITORY = "../shared/api/bitbucket-data-center.openapi.json"
ORIGIN = "http://git.example.com"
GENERAL_PARAMETERS = {"start", "limit"}
UNDECLARED = {
    "scmId": (),  # a repository
    "hierarchyId": (),
    "avatarUrl": ("owner",),  # a project of a person
    "fromRef": ("updatedDate",),  # a pull request
    "latestChangeset": ("isDefault",),  # a branch
    "sslVerificationRequired": ("id", "createdDate", "updatedDate"),  # a webhook
}
"""The undeclared fields of each kind of object, by a field that only this kind has."""


def find_description() -> Path | None:
    """Return the path of the description on this machine; ``None`` if it is missing."""
    return path_of_description(VARIABLE, BESIDE_THE_REPOSITORY)


def exemption(exchange: Exchange) -> str:
    """Return why the description does not apply to an exchange; empty if it applies."""
    if is_git_request(exchange.request):
        return "git's protocol is not part of the REST API"
    return exchange.answer.exemption


class Description:
    """Return the published description, prepared for validation."""

    def __init__(self, path: Path) -> None:
        from openapi_core import Config, OpenAPI

        whole = _prepared(json.loads(path.read_bytes()))
        self._paths = whole["paths"]
        # The description as such is Atlassian's affair: checking it takes seconds.
        self._api = OpenAPI.from_dict(whole, config=Config(spec_validator_cls=None))

    @once_for_equal_exchanges
    def violation(self, exchange: Exchange) -> str:
        """Describe what is wrong with an exchange, in one or more lines; empty if nothing is
        wrong."""
        from openapi_core.exceptions import OpenAPIError

        if exemption(exchange):
            return ""
        request = _request(exchange)
        try:
            if exchange.answer.status < 400:
                self._api.validate_request(request)
                path = request.path.removeprefix("/rest")
                asked = exchange.request
                check_parameters(self._paths, path, asked.method, asked.query, GENERAL_PARAMETERS)
            self._api.validate_response(request, _response(exchange))
        except (OpenAPIError, Undescribed) as error:
            asked = f"{exchange.request.method} {exchange.request.target}"
            return f"{asked} -> {exchange.answer.status}: {'; '.join(reasons(error))}"
        return ""


def _request(exchange: Exchange) -> Any:
    from openapi_core.testing import MockRequest

    return MockRequest(
        host_url=ORIGIN,
        method=exchange.request.method,
        path=exchange.request.path.removeprefix(CONTEXT),
        args=dict(parse_qsl(exchange.request.query_string)),
        data=exchange.request.body,
    )


def _response(exchange: Exchange) -> Response:
    answer = exchange.answer
    assert isinstance(answer.body, bytes)
    body = answer.json()
    if answer.status >= 400 and (not isinstance(body, dict) or not body.get("errors")):
        raise Undescribed("a refusal without a list of errors")
    content_type = answer.headers.get("Content-Type", "").partition(";")[0]
    return Response(answer.body, answer.status, content_type, dict(answer.headers))


def _prepared(description: dict[str, Any]) -> dict[str, Any]:
    errors = {"$ref": "#/components/schemas/RestErrors"}
    refusal = {"description": "Refused.", "content": {"application/json": {"schema": errors}}}
    for path in description["paths"].values():
        for method, operation in path.items():
            if method == "parameters":
                continue
            operation.pop("security", None)
            operation["responses"].setdefault("4XX", refusal)
            for place in (operation.get("requestBody"), *operation["responses"].values()):
                _name_the_type(place)
    message = description["components"]["schemas"]["RestErrorMessage"]
    message["properties"]["context"]["nullable"] = True
    description["servers"] = [{"url": f"{ORIGIN}/rest"}]
    _close(description)
    return description


def _name_the_type(place: dict[str, Any] | None) -> None:
    if place and place.get("content"):
        (media,) = list(place["content"].values())[:1]
        place["content"] = {"application/json": media}


def _close(value: Any) -> None:
    """Allow only declared or known fields in objects, and remove the marks."""
    for inner in value if isinstance(value, list) else ():
        _close(inner)
    if not isinstance(value, dict):
        return
    for mark in ("readOnly", "writeOnly"):
        if value.get(mark) is True:
            del value[mark]
    properties = value.get("properties")
    if isinstance(properties, dict) and properties and "additionalProperties" not in value:
        for name, undeclared in UNDECLARED.items():
            if name in properties:
                properties.update((each, {}) for each in undeclared if each not in properties)
        value["additionalProperties"] = False
    for inner in value.values():
        _close(inner)
