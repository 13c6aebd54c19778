"""The deploy keys of an application or a provider: their public parts, and how to replace them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit, quoted
from deploycore.server.problems import Refusal

__all__ = ["PAGES"]

_TYPES = ("ed25519", "rsa")


@dataclass(frozen=True)
class _Owner:
    """What keys belong to.

    Attributes:
        noun: What it is, which is the parameter of its path.
        name: Its name.
    """

    noun: str
    name: str

    @property
    def path(self) -> str:
        """The path of the operations."""
        return f"/{self.noun}s/{{{self.noun}}}/deploy-keys"

    @property
    def page(self) -> str:
        """The path of the page."""
        return f"/{self.noun}s/{quoted(self.name)}/deploy-keys"

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameter of the path."""
        return {self.noun: self.name}


async def of_application(visit: Visit) -> Response:
    """List the deploy keys of an application."""
    return await _page(visit, _Owner("application", visit.path["application"]))


async def change_of_application(visit: Visit) -> Response:
    """Create, replace or remove the deploy keys of an application."""
    return await _change(visit, _Owner("application", visit.path["application"]))


async def of_provider(visit: Visit) -> Response:
    """List the SSH keys of a provider."""
    return await _page(visit, _Owner("provider", visit.path["provider"]))


async def change_of_provider(visit: Visit) -> Response:
    """Create, replace or remove the SSH keys of a provider."""
    return await _change(visit, _Owner("provider", visit.path["provider"]))


async def _change(visit: Visit, owner: _Owner) -> Response:
    action = _ACTIONS.get(visit.form.get("action", ""))
    if action is None:
        raise Refusal(
            400,
            "malformed",
            "The form asks for something that is not possible.",
            hint="Load the page again.",
        )
    try:
        return await action(visit, owner)
    except Refusal as refusal:
        if refusal.status == 403:
            raise
        return await _page(visit, owner, refusal=refusal)


async def _create(visit: Visit, owner: _Owner) -> Response:
    return await _bring(visit, owner, owner.path, "key-created")


async def _rotate(visit: Visit, owner: _Owner) -> Response:
    return await _bring(visit, owner, f"{owner.path}/rotate", "key-replaced")


async def _bring(visit: Visit, owner: _Owner, path: str, done: str) -> Response:
    kind = visit.form.get("type", "")
    body: dict[str, Any] = {"type": kind if kind in _TYPES else None}
    if owner.noun == "provider":
        body["repositories"] = visit.form.get("repositories", "").split()
    made = await visit.ask("POST", path, body=body, **owner.parameters)
    if made["key"]["state"] == "live" and not made["remains"]:
        return visit.go(owner.page, done=done)
    return await _page(visit, owner, made=made)


async def _remove(visit: Visit, owner: _Owner) -> Response:
    form = visit.form
    query = {"left_over": "left_over" in form, "keep_at_host": "keep_at_host" in form}
    done = await visit.ask("DELETE", owner.path, query=query, **owner.parameters)
    if done["remains"]:
        return await _page(visit, owner, remains=done["remains"])
    return visit.go(owner.page, done="keys-removed")


_ACTIONS = {"create": _create, "rotate": _rotate, "remove": _remove}


async def _page(
    visit: Visit,
    owner: _Owner,
    *,
    refusal: Refusal | None = None,
    made: Mapping[str, Any] | None = None,
    remains: Any = (),
) -> Response:
    keys = (await visit.ask("GET", owner.path, **owner.parameters))["items"]
    uses = {each["use"] for each in keys}
    form = visit.form
    return visit.render(
        "deploy_keys.html",
        status=max(422, refusal.status) if refusal else 200,
        name=owner.name,
        noun=owner.noun,
        path=owner.page,
        keys=keys,
        uses=uses,
        made=made,
        remains=remains,
        refusal=refusal,
        typed={"type": form.get("type", ""), "repositories": form.get("repositories", "")},
    )


_OF_APPLICATION = "/applications/{application}/deploy-keys"
_OF_PROVIDER = "/providers/{provider}/deploy-keys"

PAGES = (
    Page("GET", _OF_APPLICATION, "read", of_application),
    Page("POST", _OF_APPLICATION, "admin", change_of_application),
    Page("GET", _OF_PROVIDER, "read", of_provider),
    Page("POST", _OF_PROVIDER, "admin", change_of_provider),
)
