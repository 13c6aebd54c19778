"""Create applications and change their settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from deploycore.applications.files import decode_fields, render_fields
from deploycore.errors import ConfigurationError
from deploycore.server.dashboard.application_form import (
    declaration_of,
    errors_of,
    locked_fields,
    values_of,
)
from deploycore.server.dashboard.application_help import HELP
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit, quoted
from deploycore.server.problems import Refusal, refused_by

__all__ = ["PAGES"]

_APPLICATION = "/applications/{application}"
_LISTED = 20
_REFS = 50
_PROVIDERS = 200
_TEXT_LENGTH = 1000


async def new(visit: Visit) -> Response:
    """Show the form of a new application, with the repositories that a provider can read."""
    query = visit.query
    repository, ref = query.get("repository", ""), query.get("ref", "")
    values = values_of({}) | {
        "provider": query.get("provider", ""),
        "repository": repository,
        "ref": ref,
        "name": "",
        "auto_deploy": "on",
    }
    return await _new_page(visit, values)


async def create(visit: Visit) -> Response:
    """Create the application, or only test that its repository and ref exist."""
    form, name = visit.form, visit.form.get("name", "").strip()
    is_test = form.get("action") == "test"
    query = {"revision": 0, "verify": is_test or "offline" not in form, "dry_run": is_test}
    try:
        done = await visit.ask(
            "PUT",
            _APPLICATION,
            application=name,
            query=query,
            body=declaration_of(form, {}),
        )
    except Refusal as refusal:
        return await _new_page(visit, _typed(visit), refusal=refusal)
    if is_test:
        return await _new_page(visit, _typed(visit), tested=done)
    return visit.go(f"/applications/{quoted(name)}", done="created")


async def settings(visit: Visit) -> Response:
    """Show the settings of an application."""
    found = await visit.ask("GET", _APPLICATION, application=visit.path["application"])
    return await _settings_page(visit, found, values_of(found["declaration"]))


async def save(visit: Visit) -> Response:
    """Save the settings, or only test that the repository and the ref exist."""
    form, name = visit.form, visit.path["application"]
    found = await visit.ask("GET", _APPLICATION, application=name)
    is_test, is_text = form.get("action") == "test", form.get("part") == "declaration"
    query = {
        "revision": _revision(form),
        "verify": is_test or "offline" not in form,
        "dry_run": is_test,
    }
    shown = _shown(visit, found["declaration"])
    try:
        body = _declared(form) if is_text else declaration_of(form, found["declaration"])
        done = await visit.ask("PUT", _APPLICATION, application=name, query=query, body=body)
    except Refusal as refusal:
        return await _settings_page(visit, found, shown, refusal=refusal)
    if is_test or done["warnings"]:
        found = found if is_test else done["application"]
        return await _settings_page(visit, found, shown, tested=done, is_saved=not is_test)
    return visit.go(f"/applications/{quoted(name)}/settings", done="settings")


def _declared(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the declaration that was typed as text.

    Raises:
        Refusal: The text cannot be read (422).
    """
    try:
        return decode_fields(form.get("declaration", ""))
    except ConfigurationError as error:
        raise refused_by(error) from None


def _revision(form: Mapping[str, str]) -> int | None:
    text = form.get("revision", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _typed(visit: Visit) -> dict[str, str]:
    """Return the form as it was typed. A check box that is missing was not checked."""
    return dict.fromkeys(values_of({}), "") | {"name": ""} | dict(visit.form)


def _shown(visit: Visit, declaration: Mapping[str, Any]) -> dict[str, str]:
    """Return the form as it was typed, with the stored values of fields that the form cannot show
    completely."""
    stored = values_of(declaration)
    if visit.form.get("part") == "declaration":
        return stored
    return _typed(visit) | {name: stored[name] for name in locked_fields(declaration)}


async def _new_page(
    visit: Visit,
    values: Mapping[str, str],
    *,
    refusal: Refusal | None = None,
    tested: Mapping[str, Any] | None = None,
) -> Response:
    providers, more = await _providers(visit, values["provider"])
    if not values["provider"] and len(providers) == 1:
        values = {**values, "provider": providers[0]["name"]}
    listed, listing_refusal = await _repositories(visit, values["provider"])
    suggested = await _suggestion(visit, values)
    values = {**values, **{key: values[key] or suggested[key] for key in ("name", "target")}}
    if visit.request.method != "GET":  # the script must not replace what was typed
        suggested = {**suggested, "name": "", "target": ""}
    return visit.render(
        "application_new.html",
        status=max(422, refusal.status) if refusal else 200,
        values=values,
        suggested=suggested,
        locked=set(),
        providers=providers,
        has_more_providers=more,
        listed=listed,
        listing_refusal=listing_refusal,
        search=visit.query.get("search", ""),
        refs=await _refs(visit, values),
        refusal=refusal,
        errors=errors_of(refusal),
        tested=tested,
        offline="offline" in visit.form,
        help=HELP,
    )


async def _settings_page(
    visit: Visit,
    found: Mapping[str, Any],
    values: Mapping[str, str],
    *,
    refusal: Refusal | None = None,
    tested: Mapping[str, Any] | None = None,
    is_saved: bool = False,
) -> Response:
    is_text = visit.form.get("part") == "declaration"
    text = visit.form.get("declaration", "") if is_text else render_fields(found["declaration"])
    providers, more = await _providers(visit, values["provider"])
    return visit.render(
        "application_settings.html",
        status=max(422, refusal.status) if refusal else 200,
        suggested=None,
        application=found,
        values=values,
        locked=locked_fields(found["declaration"]),
        declaration=text,
        providers=providers,
        has_more_providers=more,
        refs=[],
        refusal=refusal,
        errors=errors_of(None if is_text else refusal),
        is_text=is_text,
        tested=tested,
        is_saved=is_saved,
        offline="offline" in visit.form,
        help=HELP,
    )


async def _providers(visit: Visit, chosen: str) -> tuple[list[Mapping[str, Any]], bool]:
    """Return the providers to choose from, and whether there are more."""
    page = await visit.ask("GET", "/providers", query={"limit": _PROVIDERS})
    found = page["items"]
    if chosen and not any(each["name"] == chosen for each in found) and page["next"]:
        found = [{"name": chosen, "kind_name": "…"}, *found]
    return found, bool(page["next"])


async def _repositories(
    visit: Visit, provider: str
) -> tuple[Mapping[str, Any] | None, Refusal | None]:
    """Return the repositories to choose from, or the reason why there are none."""
    if not provider or visit.request.method != "GET" or visit.query.get("repository"):
        return None, None
    after = visit.query.get("after", "")
    query = {"search": visit.query.get("search"), "limit": _LISTED, "after": after}
    try:
        found = await visit.ask(
            "GET", "/providers/{provider}/repositories", provider=provider, query=query
        )
    except Refusal as refusal:
        return None, refusal
    following = re.search(r"[?&]after=(\d+)", found["next"] or "")
    return {**found, "after": following[1] if following else ""}, None


async def _refs(visit: Visit, values: Mapping[str, str]) -> list[str]:
    """Return the names of the repository's branches and tags, as far as they can be listed."""
    found: list[str] = []
    if not (values["provider"] and values["repository"]):
        return found
    query = {
        "repository": values["repository"],
        "search": visit.query.get("ref_search"),
        "limit": _REFS,
    }
    for kind in ("branches", "tags"):
        try:
            page = await visit.ask(
                "GET", f"/providers/{{provider}}/{kind}", provider=values["provider"], query=query
            )
        except Refusal:  # the field accepts any name, and the test reports what is wrong
            continue
        found += [each["name"] for each in page["items"]]
    return found


async def _suggestion(visit: Visit, values: Mapping[str, str]) -> Mapping[str, str]:
    """A name and a directory for the application; what was typed counts."""
    query = {key: values[key][:_TEXT_LENGTH] for key in ("repository", "ref", "name")}
    found: Mapping[str, str] = await visit.ask("GET", "/suggestions/application", query=query)
    return found


PAGES = (
    Page("GET", "/applications/-/new", "admin", new),
    Page("POST", "/applications/-/new", "admin", create),
    Page("GET", f"{_APPLICATION}/settings", "admin", settings),
    Page("POST", f"{_APPLICATION}/settings", "admin", save),
)
