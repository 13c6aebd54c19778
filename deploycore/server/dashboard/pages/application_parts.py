"""The pages about an application's environment, its webhook, and its removal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import Response

from deploycore.server.callers import may
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit, quoted
from deploycore.server.problems import Refusal

__all__ = ["PAGES"]

_APPLICATION = "/applications/{application}"
_ENVIRONMENT = f"{_APPLICATION}/environment"
_WEBHOOK = f"{_APPLICATION}/webhook"
_REMOVE = f"{_APPLICATION}/remove"
_KINDS = {"plain": "value", "secret": "secret", "source": "source"}
_HOUR = 3600
_SERVER_URL = "server_url"
_GRACE = "grace_hours"


async def environment(visit: Visit) -> Response:
    """List the variables of an application."""
    return await _environment_page(visit)


async def change_environment(visit: Visit) -> Response:
    """Set or remove a variable."""
    name, form = visit.path["application"], visit.form
    variable, is_removal = form.get("variable", "").strip(), form.get("action") == "remove"
    path = f"{_ENVIRONMENT}/{{variable}}"
    try:
        if is_removal:
            await visit.ask("DELETE", path, application=name, variable=variable)
        else:
            kind = _KINDS.get(form.get("kind", ""), "secret")
            body = {kind: form.get("value", "")}
            await visit.ask("PUT", path, application=name, variable=variable, body=body)
    except Refusal as refusal:
        return await _environment_page(visit, refusal)
    done = "variable_removed" if is_removal else "variable"
    return visit.go(f"/applications/{quoted(name)}/environment", done=done)


async def webhook(visit: Visit) -> Response:
    """Show the state of an application's webhook, and its last deliveries."""
    return await _webhook_page(visit)


async def change_webhook(visit: Visit) -> Response:
    """Register the webhook, replace or show its secret, or remove it."""
    name = visit.path["application"]
    action = _ACTIONS.get(visit.form.get("action", ""))
    if action is None:
        raise Refusal(
            400,
            "malformed",
            "The form asks for something that is not possible.",
            hint="Load the page again.",
        )
    try:
        return await action(visit, name)
    except Refusal as refusal:
        return await _webhook_page(visit, refusal=refusal)


async def _register(visit: Visit, name: str) -> Response:
    form = visit.form
    by_hand = "by_hand" in form
    body = {"server_url": form.get(_SERVER_URL, "").strip() or None, "by_hand": by_hand}
    await visit.ask("POST", _WEBHOOK, application=name, body=body)
    if by_hand:
        return await _reveal(visit, name)
    return _back_to_webhook(visit, name, "webhook")


async def _rotate(visit: Visit, name: str) -> Response:
    hours = visit.form.get(_GRACE, "").strip()
    is_number = hours.isascii() and hours.isdigit() and len(hours) < 6
    body = {"grace_seconds": int(hours) * _HOUR if is_number else hours}
    await visit.ask("POST", f"{_WEBHOOK}/rotate", application=name, body=body)
    return _back_to_webhook(visit, name, "webhook_rotated")


async def _reveal(visit: Visit, name: str) -> Response:
    found = await visit.ask("POST", f"{_WEBHOOK}/reveal", application=name)
    return await _webhook_page(visit, secret=found["secret"])


async def _remove_webhook(visit: Visit, name: str) -> Response:
    query = {"keep_at_host": "keep_at_host" in visit.form}
    found = await visit.ask("DELETE", _WEBHOOK, application=name, query=query)
    if found["remains"]:
        return await _webhook_page(visit, remains=found["remains"])
    return _back_to_webhook(visit, name, "webhook_removed")


_ACTIONS = {
    "register": _register,
    "rotate": _rotate,
    "reveal": _reveal,
    "remove": _remove_webhook,
}


async def removal(visit: Visit) -> Response:
    """Show what is removed together with an application, and ask for its name."""
    return await _removal_page(visit)


async def remove(visit: Visit) -> Response:
    """Remove the application if the user has typed its name."""
    name, form = visit.path["application"], visit.form
    if form.get("confirm", "").strip() != name:
        return await _removal_page(visit, confirm="This is not the name of the application.")
    options = ("purge", "with_previews", "keep_webhook")
    query = {option: option in form for option in options}
    try:
        done = await visit.ask("DELETE", _APPLICATION, application=name, query=query)
    except Refusal as refusal:
        return await _removal_page(visit, refusal=refusal)
    if done is None:
        return visit.go("/", done="application_removed")
    return _render_removal(visit, name, done=done)


async def _environment_page(visit: Visit, refusal: Refusal | None = None) -> Response:
    name, form = visit.path["application"], visit.form
    found = await visit.ask("GET", _ENVIRONMENT, application=name)
    kind = form.get("kind", "secret")
    typed = {
        "variable": form.get("variable", "") if form.get("action") != "remove" else "",
        "kind": kind if kind in _KINDS else "secret",
        "value": form.get("value", "") if kind in ("plain", "source") else "",
    }
    errors = {"variable": "", "value": ""}
    for problem in refusal.details.get("fields", ()) if refusal else ():
        path, _, said = str(problem).partition(": ")
        is_value = path in ("value", "secret", "source", "") or path.endswith("/secret")
        errors["value" if is_value else "variable"] = said or path
    return visit.render(
        "environment.html",
        status=max(422, refusal.status) if refusal else 200,
        name=name,
        variables=found["items"],
        is_admin=_is_admin(visit),
        refusal=refusal,
        typed=typed,
        errors=errors,
    )


async def _webhook_page(
    visit: Visit, *, refusal: Refusal | None = None, secret: str = "", remains: str = ""
) -> Response:
    name, form = visit.path["application"], visit.form
    found = await visit.ask("GET", _WEBHOOK, application=name)
    deliveries = await visit.ask("GET", f"{_APPLICATION}/deliveries", application=name)
    suffix = f"/webhooks/{name}"
    known = found["url"] or ""
    address = known.removesuffix(suffix) if known.endswith(suffix) else _own_address(visit)
    is_registration = form.get("action") == "register"
    typed = {
        _SERVER_URL: form.get(_SERVER_URL, address) if is_registration else address,
        "by_hand": is_registration and "by_hand" in form,
        _GRACE: form.get(_GRACE, "24"),
    }
    return visit.render(
        "webhook.html",
        status=max(422, refusal.status) if refusal else 200,
        name=name,
        webhook=found,
        deliveries=deliveries["items"],
        refused_deliveries=deliveries["refused"],
        is_admin=_is_admin(visit),
        refusal=refusal,
        errors=_webhook_errors(refusal),
        typed=typed,
        is_local=_is_local(str(typed[_SERVER_URL])),
        secret=secret,
        remains=remains,
    )


def _webhook_errors(refusal: Refusal | None) -> dict[str, str]:
    errors = {_SERVER_URL: "", _GRACE: ""}
    for problem in refusal.details.get("fields", ()) if refusal else ():
        path, _, said = str(problem).partition(": ")
        errors[_GRACE if path == "grace_seconds" else _SERVER_URL] = said
    return errors


async def _removal_page(
    visit: Visit, *, refusal: Refusal | None = None, confirm: str = ""
) -> Response:
    name, plan = visit.path["application"], None
    try:
        plan = await visit.ask("GET", f"{_APPLICATION}/removal", application=name)
    except Refusal as refused:
        if refused.status == 404:
            raise
        refusal = refusal or refused
    return _render_removal(visit, name, plan=plan, refusal=refusal, confirm=confirm)


def _render_removal(
    visit: Visit,
    name: str,
    *,
    plan: Mapping[str, Any] | None = None,
    done: Mapping[str, Any] | None = None,
    refusal: Refusal | None = None,
    confirm: str = "",
) -> Response:
    status = max(409, refusal.status) if refusal else 422 if confirm else 200
    fields = ("purge", "with_previews", "keep_webhook", "confirm")
    return visit.render(
        "application_remove.html",
        status=status,
        name=name,
        plan=plan,
        done=done,
        refusal=refusal,
        errors={"confirm": confirm},
        typed={field: visit.form.get(field, "") for field in fields},
    )


def _back_to_webhook(visit: Visit, name: str, done: str) -> Response:
    return visit.go(f"/applications/{quoted(name)}/webhook", done=done)


def _own_address(visit: Visit) -> str:
    """Return the address at which the browser sees this server: probably the one that git hosts
    need."""
    return str(visit.request.base_url).rstrip("/")


def _is_local(address: str) -> bool:
    """Whether an address can be reached only from this machine."""
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return False
    return host in ("localhost", "::1") or host.startswith("127.")


def _is_admin(visit: Visit) -> bool:
    return visit.visitor is not None and may(visit.visitor.caller.role, "admin")


PAGES = (
    Page("GET", _ENVIRONMENT, "read", environment),
    Page("POST", _ENVIRONMENT, "admin", change_environment),
    Page("GET", _WEBHOOK, "read", webhook),
    Page("POST", _WEBHOOK, "admin", change_webhook),
    Page("GET", _REMOVE, "admin", removal),
    Page("POST", _REMOVE, "admin", remove),
)
