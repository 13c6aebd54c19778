"""The REST API's deploy keys of a repository.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-deployments/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from deploycore.testing.deploy_keys import DeployKeys, StoredKey
from deploycore.testing.messages import Answer, Request
from deploycore.testing.sandbox import Repository
from deploycore_bitbucket.sandbox.authentication import Need
from deploycore_bitbucket.sandbox.messages import decoded, invalid, refuse
from deploycore_bitbucket.sandbox.rows import repository_uuid
from deploycore_bitbucket.sandbox.shapes import CREATED

__all__ = ["answer", "needed"]

_ADMIN, _OLD = "admin:repository:bitbucket", ("repository:admin",)


def _need(*scopes: str) -> Need:
    return Need(new=(_ADMIN, *scopes), old=_OLD, no_access_token=True)


_NEEDED = {"GET": _need(), "DELETE": _need("delete:ssh-key:bitbucket")}
_TO_WRITE = _need("write:ssh-key:bitbucket")

Page = Callable[[Sequence[StoredKey], Request, Callable[[StoredKey], Any]], Any]


def needed(request: Request) -> Need:
    """Return the scopes that a request needs."""
    return _NEEDED.get(request.method, _TO_WRITE)


def answer(
    request: Request, keys: DeployKeys, repository: Repository, number: str, page: Page
) -> Any:
    """Return a JSON value or a response, for a caller with the required permission.

    Args:
        number: The number of a key; empty for the list.
    """
    name = repository.full_name
    match request.method, number:
        case "GET", "":
            return page(keys.of(name), request, lambda key: _shape(key, repository, request.origin))
        case "POST", "":
            body = decoded(request)
            made = keys.add(name, str(body.get("key", "")), str(body.get("label", "")))
            if made is None:
                raise invalid({"key": "Enter a valid SSH key that the repository does not have."})
            return _shape(made, repository, request.origin)
        case "GET" | "DELETE", _:
            found = keys.find(name, number)
            if found is None:
                raise refuse(404, f"Deploy key {number} not found")
            if request.method == "GET":
                return _shape(found, repository, request.origin)
            keys.remove(found)
            return Answer(204, {})
        case _:
            raise refuse(405, f"Method {request.method} is not allowed.")


def _shape(key: StoredKey, repository: Repository, origin: str) -> Any:
    api = f"{origin}/2.0/repositories/{repository.full_name}"
    return {
        "type": "deploy_key",
        "id": key.id,
        "key": key.text,
        "label": key.label,
        "comment": "",
        "created_on": CREATED,
        "repository": {
            "type": "repository",
            "uuid": repository_uuid(repository),
            "full_name": repository.full_name,
            "name": repository.name,
        },
        "links": {"self": {"href": f"{api}/deploy-keys/{key.id}"}},
    }
