"""Add and change providers, by forms that are made from the fields of their plugins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.pages.provider_sign_in import redirect_uri_of
from deploycore.server.dashboard.pages.providers import page_of
from deploycore.server.dashboard.provider_form import (
    errors_of,
    groups_of,
    values_of,
)
from deploycore.server.dashboard.visit import Visit
from deploycore.server.problems import Refusal

__all__ = ["PAGES"]

_HOST_KEYS = "ssh_host_keys"
_KEPT_SECONDS = ("", "3600", "86400", "604800")


async def choose(visit: Visit) -> Response:
    """Choose a kind, then a way to sign in; then show the form of both."""
    kind = visit.query.get("kind", "")
    if not kind:
        return await _kinds(visit)
    found = await _kind(visit, kind)
    recognized = await _recognized(visit, kind)
    mode = _mode(found, visit.query.get("mode", "") or recognized.get(found["discriminator"], ""))
    if mode is None:
        url = visit.query.get("url", "")
        return visit.render("provider_mode.html", kind=found, url=url)
    name = await _free_name(visit, kind)
    return _add_form(visit, found, mode, name=name, recognized=recognized)


async def _free_name(visit: Visit, kind: str) -> str:
    """A name for the new provider: its kind, if no provider has this name."""
    try:
        await visit.ask("GET", "/providers/{provider}", provider=kind)
    except Refusal as refusal:
        return kind if refusal.status == 404 else ""
    return ""


async def _recognize(visit: Visit) -> Response:
    """Find the kind that a pasted address belongs to.

    The address may contain a password, so it must not become part of the page's address.
    """
    try:
        found = await visit.ask(
            "POST", "/provider-kinds/recognize", body={"url": visit.form.get("url", "").strip()}
        )
    except Refusal as refusal:
        if refusal.status != 422:
            raise
        error = errors_of(refusal.details).get("url", "Paste the address of a repository.")
        return await _kinds(visit, error=error, hint=refusal.hint)
    if len(found["kinds"]) == 1:
        return visit.go("/providers/-/new", kind=found["kinds"][0]["kind"], url=found["url"])
    return await _kinds(visit, found=found)


async def add(visit: Visit) -> Response:
    """Add a provider, or find the kind of a pasted address."""
    if "kind" not in visit.form:
        return await _recognize(visit)
    kind = await _kind(visit, visit.form.get("kind", ""))
    mode = _sent_mode(visit, kind)
    body = values_of(mode, visit.form)
    _pin(body, visit, {})
    if kind["discriminator"]:
        body["settings"][kind["discriminator"]] = mode["name"]
    name = visit.form.get("name", "").strip()
    body |= {"name": name, "kind": kind["kind"], "verify": "skip_check" not in visit.form}
    try:
        done = await visit.ask("POST", "/providers", body=body)
    except Refusal as refusal:
        if refusal.status == 403:
            raise
        return _add_form(visit, kind, mode, failure=refusal)
    if done["must_sign_in"]:
        return visit.go(f"{page_of(name)}/authorize", done="provider-added")
    return visit.go(page_of(name), done="provider-added")


async def edit(visit: Visit) -> Response:
    """Show the form to change a provider."""
    return await _edit_form(visit)


async def change(visit: Visit) -> Response:
    """Change a provider."""
    provider = await _provider(visit)
    kind = await _kind(visit, provider["kind"])
    mode = _sent_mode(visit, kind)
    body = values_of(mode, visit.form, settings=provider["settings"])
    _pin(body, visit, provider["settings"])
    if kind["discriminator"] and mode["name"] != provider["mode"]:
        body["settings"][kind["discriminator"]] = mode["name"]
    return await _store(visit, body, "provider-changed", _edit_form)


async def rotate(visit: Visit) -> Response:
    """Show the form to replace a provider's secrets."""
    return await _rotate_form(visit)


async def replace(visit: Visit) -> Response:
    """Replace a provider's secrets."""
    provider = await _provider(visit)
    kind = await _kind(visit, provider["kind"])
    mode = _mode(kind, provider["mode"])
    given = values_of(mode, visit.form, settings=provider["settings"]) if mode else {}
    body = {"secrets": given.get("secrets", {}), "references": given.get("references", {})}
    if not (body["secrets"] or body["references"]):
        return await _rotate_form(visit, missing=True)
    kept = visit.form.get("keep_old", "")
    if kept in _KEPT_SECONDS[1:]:
        body["keep_old"] = int(kept)
    return await _store(visit, body, "provider-rotated", _rotate_form)


async def _store(visit: Visit, body: dict[str, Any], done: str, show: Any) -> Response:
    generation = visit.form.get("generation", "")
    is_number = generation.isascii() and generation.isdigit() and len(generation) < 10
    body["verify"] = "skip_check" not in visit.form
    body["generation"] = int(generation) if is_number else None
    name = visit.path["provider"]
    try:
        found = await visit.ask("PATCH", "/providers/{provider}", provider=name, body=body)
    except Refusal as refusal:
        if refusal.status == 403:
            raise
        response: Response = await show(visit, failure=refusal)
        return response
    if not found["is_stored"]:
        return visit.go(page_of(name), done="provider-unchanged")
    if found["must_sign_in"]:
        return visit.go(f"{page_of(name)}/authorize", done=done)
    return visit.go(page_of(name), done=done)


def _pin(body: Mapping[str, Any], visit: Visit, settings: Mapping[str, str]) -> None:
    """Add the key of an SSH server that the person has compared."""
    line = visit.form.get("trusted_key", "")
    if line:
        known = body["settings"].get(_HOST_KEYS) or settings.get(_HOST_KEYS, "")
        body["settings"][_HOST_KEYS] = "\n".join(each for each in (known, line) if each)


async def _kinds(visit: Visit, **context: Any) -> Response:
    kinds = (await visit.ask("GET", "/provider-kinds"))["items"]
    given = {"found": None, "error": "", "hint": ""} | context
    status = 200 if visit.request.method == "GET" else 422
    return visit.render("provider_new.html", kinds=kinds, status=status, **given)


async def _kind(visit: Visit, kind: str) -> Any:
    found = await visit.ask("GET", "/provider-kinds/{kind}", kind=kind[:100])
    if found["problem"]:
        raise Refusal(
            502, "plugin", found["problem"], hint="Upgrade the plugin, and restart the server."
        )
    return found


async def _provider(visit: Visit) -> Any:
    found = await visit.ask("GET", "/providers/{provider}", provider=visit.path["provider"])
    return found["provider"]


async def _recognized(visit: Visit, kind: str) -> Mapping[str, str]:
    """Return the fields that a kind's plugin finds in the address of the query."""
    url = visit.query.get("url", "")
    if not url:
        return {}
    try:
        found = await visit.ask("POST", "/provider-kinds/recognize", body={"url": url})
    except Refusal:
        return {}  # a person has typed it into the address of the page
    known = [*found["kinds"], *found["others"]]
    return next((each["fields"] for each in known if each["kind"] == kind), {})


def _mode(kind: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    modes = kind["modes"]
    if len(modes) == 1:
        only: Mapping[str, Any] = modes[0]
        return only
    return next((each for each in modes if each["name"] == name), None)


def _sent_mode(visit: Visit, kind: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the way to sign in that a form is for.

    Raises:
        Refusal: The kind does not have it (422).
    """
    mode = _mode(kind, visit.form.get("mode", ""))
    if mode is None:
        raise Refusal(
            422,
            "configuration",
            f"The kind {kind['kind']} no longer has the mode of this form.",
            hint="Choose the mode again.",
        )
    return mode


def _add_form(
    visit: Visit,
    kind: Mapping[str, Any],
    mode: Mapping[str, Any],
    *,
    name: str = "",
    failure: Refusal | None = None,
    recognized: Mapping[str, str] | None = None,
) -> Response:
    errors = errors_of(failure.details) if failure else {}
    groups = groups_of(mode, visit.form, errors=errors, recognized=recognized)
    return visit.render(
        "provider_add.html",
        kind=kind,
        mode=mode,
        name=name,
        groups=groups,
        url=visit.query.get("url", ""),
        redirect_uri=redirect_uri_of(visit),
        status=_status(failure),
        **_told(failure, errors, groups),
    )


async def _edit_form(visit: Visit, *, failure: Refusal | None = None) -> Response:
    provider = await _provider(visit)
    kind = await _kind(visit, provider["kind"])
    wanted = visit.form.get("mode") or visit.query.get("mode") or provider["mode"]
    mode = _mode(kind, wanted) or _mode(kind, provider["mode"])
    if mode is None:
        return visit.render("provider_mode.html", kind=kind, url="", provider=provider)
    errors = errors_of(failure.details) if failure else {}
    groups = groups_of(
        mode,
        visit.form,
        settings=provider["settings"],
        stored=provider["stored"],
        errors=errors,
    )
    return visit.render(
        "provider_edit.html",
        provider=provider,
        kind=kind,
        mode=mode,
        groups=groups,
        status=_status(failure),
        **_told(failure, errors, groups),
    )


async def _rotate_form(
    visit: Visit, *, failure: Refusal | None = None, missing: bool = False
) -> Response:
    provider = await _provider(visit)
    kind = await _kind(visit, provider["kind"])
    mode = _mode(kind, provider["mode"])
    errors = errors_of(failure.details) if failure else {}
    if missing and len(provider["secrets"]) == 1:
        errors = {provider["secrets"][0]: "Enter the new value, or a reference to it."}
    secrets = provider["secrets"]
    groups = (
        groups_of(mode, visit.form, stored=provider["stored"], errors=errors, only=secrets)
        if mode and secrets
        else []
    )
    return visit.render(
        "provider_rotate.html",
        provider=provider,
        groups=groups,
        is_missing=missing,
        status=422 if missing else _status(failure),
        **_told(failure, errors, groups),
    )


def _told(failure: Refusal | None, errors: Mapping[str, str], groups: list[Any]) -> dict[str, Any]:
    """Describe an error for a form: the text at the top has only what does not belong to a
    field."""
    shown = {field.name for group in groups for field in group.fields} | {"name"}
    details = failure.details if failure else {}
    key = details if details.get("line") and not details.get("known") else None
    return {
        "failure": failure,
        "errors": errors,
        "elsewhere": {name: text for name, text in errors.items() if name not in shown},
        "unknown_key": None if key is None or key.get("revoked") else key,
    }


def _status(failure: Refusal | None) -> int:
    return 200 if failure is None else 409 if failure.status == 409 else 422


PAGES = (
    Page("GET", "/providers/-/new", "admin", choose),
    Page("POST", "/providers/-/new", "admin", add),
    Page("GET", "/providers/{provider}/edit", "admin", edit),
    Page("POST", "/providers/{provider}/edit", "admin", change),
    Page("GET", "/providers/{provider}/rotate", "admin", rotate),
    Page("POST", "/providers/{provider}/rotate", "admin", replace),
)
