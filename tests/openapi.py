"""Checks the requests and responses of the Bitbucket sandbox against Atlassian's API description.

The sandbox could deviate from the real host. If the published OpenAPI description is available,
openapi-core validates every exchange of the test session against it. The description may not be
distributed with deploycore; without it, the check is turned off and reports that.

The description and the guide to the API differ in some points. The check changes the description
only in these ways:

* Its paths are relative to ``https://api.bitbucket.org/2.0``, which the sandbox replaces.
* A path parameter ends at a slash, but branch names contain slashes: these are encoded first.
* ``pagelen``, ``page`` and ``fields`` work on every collection, but are not declared.
* With ``fields``, a response may lack required fields, and items that differ only in these become
  equal. So nothing is required, and nothing has to be unique.
* ``mainbranch`` is null for an empty repository, ``merge_commit`` and ``closed_by`` for an open
  pull request, and the ``repository`` of its source after its deletion. They are declared as
  objects.
* Only a few of the common error responses are declared, so each path gets the error object for all
  4XX statuses.
* The ``detail`` of an error is declared as text, but is an object if scopes are missing.
* An error may have ``fields``, according to the guide, but these are not declared.
* The body of a request for a build status or a pull request is declared as an object with a
  ``type``, which the description's own examples do not have. The check adds it.
* Declared security is removed, because the sandbox itself checks credentials.
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from deploycore_bitbucket.sandbox import Exchange
from deploycore_bitbucket.sandbox.host import surface

from tests.openapi_parts import (
    Response,
    Undescribed,
    check_parameters,
    once_for_equal_exchanges,
    path_of_description,
    reasons,
)

__all__ = ["Description", "exemption", "find_description"]

VARIABLE = "DEPLOYCORE_BITBUCKET_OPENAPI"
BESIDE_THE_REPOSITORY = "../shared/api/bitbucket-cloud.openapi.json"
ORIGIN = "https://api.bitbucket.org"
GENERAL_PARAMETERS = {"pagelen", "page", "fields", "ctx"}
BRANCH_PATH = "/refs/branches/"


def find_description() -> Path | None:
    """Return the path of the description on this machine; ``None`` if it is missing."""
    return path_of_description(VARIABLE, BESIDE_THE_REPOSITORY)


def exemption(exchange: Exchange) -> str:
    """Return why the description does not apply to an exchange; empty if it applies."""
    if surface(exchange.request) in ("git", "oauth"):
        return "git's protocol is not part of the REST API"
    if exchange.answer.exemption:
        return exchange.answer.exemption
    plain = exchange.answer.headers.get("Content-Type", "").startswith("text/plain")
    if plain and exchange.answer.status in (401, 429):
        return "refusals in plain text are known of Bitbucket, and not described"
    return ""


class Description:
    """Return the published description, prepared for validation."""

    def __init__(self, path: Path) -> None:
        from openapi_core import Config, OpenAPI

        whole = _prepared(json.loads(path.read_bytes()))
        # The description as such is Atlassian's affair: checking it takes seconds.
        unchecked = Config(spec_validator_cls=None)
        self._paths = whole["paths"]
        self._whole = OpenAPI.from_dict(whole, config=unchecked)
        self._partial = OpenAPI.from_dict(_for_partial_answers(whole), config=unchecked)

    @once_for_equal_exchanges
    def violation(self, exchange: Exchange) -> str:
        """Describe what is wrong with an exchange, in one or more lines; empty if nothing is
        wrong."""
        from openapi_core.exceptions import OpenAPIError

        if exemption(exchange):
            return ""
        request = _request(exchange)
        api = self._partial if "fields" in exchange.request.query else self._whole
        try:
            if exchange.answer.status < 400:
                api.validate_request(request)
                path = _path(exchange.request.path).removeprefix("/2.0")
                query = exchange.request.query
                check_parameters(
                    self._paths, path, exchange.request.method, query, GENERAL_PARAMETERS
                )
            api.validate_response(request, _response(exchange))
        except (OpenAPIError, Undescribed) as error:
            asked = f"{exchange.request.method} {exchange.request.target}"
            return f"{asked} -> {exchange.answer.status}: {'; '.join(reasons(error))}"
        return ""


def _request(exchange: Exchange) -> Any:
    from openapi_core.testing import MockRequest

    return MockRequest(
        host_url=ORIGIN,
        method=exchange.request.method,
        path=_path(exchange.request.path),
        args=dict(parse_qsl(exchange.request.query_string)),
        data=_typed(exchange.request.body),
    )


def _typed(body: bytes) -> bytes:
    try:
        sent = json.loads(body)
    except ValueError:
        return body
    return json.dumps({"type": "build", **sent}).encode() if isinstance(sent, dict) else body


def _response(exchange: Exchange) -> Response:
    answer = exchange.answer
    assert isinstance(answer.body, bytes)
    body = answer.json()
    if answer.status >= 400 and (not isinstance(body, dict) or body.get("type") != "error"):
        raise Undescribed("a refusal that is no error object")
    data = answer.body if body is None else json.dumps(_as_described(body)).encode()
    content_type = answer.headers.get("Content-Type", "").partition(";")[0]
    return Response(data, answer.status, content_type, dict(answer.headers))


def _path(path: str) -> str:
    before, separator, branch = path.partition(BRANCH_PATH)
    return before + separator + branch.replace("/", quote("/", safe=""))


def _as_described(value: Any) -> Any:
    """Return a response without Bitbucket's known deviations from its own description."""
    if isinstance(value, list):
        return [_as_described(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _as_described(item) for key, item in value.items()}
    for name in ("mainbranch", "merge_commit", "closed_by"):
        if kept.get(name, ...) is None:
            del kept[name]
    if "branch" in kept and kept.get("repository", ...) is None:
        del kept["repository"]
    if kept.get("type") == "error" and isinstance(kept.get("error"), dict):
        kept["error"].pop("fields", None)
    if isinstance(kept.get("detail"), dict) and kept["detail"].keys() == {"required", "granted"}:
        kept["detail"] = json.dumps(kept["detail"])
    return kept


def _prepared(description: dict[str, Any]) -> dict[str, Any]:
    error = {"$ref": "#/components/schemas/error"}
    refusal = {"description": "Refused.", "content": {"application/json": {"schema": error}}}
    for path in description["paths"].values():
        for method, operation in path.items():
            if method != "parameters":
                operation.pop("security", None)
                operation["responses"].setdefault("4XX", refusal)
    return description


def _for_partial_answers(value: Any) -> Any:
    """A copy of a description in which no property is required and no item unique."""
    if isinstance(value, list):
        return [_for_partial_answers(item) for item in value]
    if not isinstance(value, dict):
        return deepcopy(value)
    return {
        key: _for_partial_answers(item)
        for key, item in value.items()
        if not (key == "required" and isinstance(item, list)) and key != "uniqueItems"
    }
