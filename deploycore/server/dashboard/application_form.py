"""The form of an application: its fields from a declaration, and a declaration from its fields.

A declaration may contain more than the form shows. Everything that the form does not show is kept.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from deploycore.server.problems import Refusal

__all__ = ["declaration_of", "errors_of", "locked_fields", "values_of"]

_STEPS = ("build", "before_activate", "after_activate")
_TEXTS = ("provider", "repository", "ref", "target")
_FLAGS = ("submodules", "lfs")
_ON = "on"

# The field of the form for each path of a declaration. The longest matching path is used.
_FIELDS: Mapping[str, str] = {
    "name": "name",
    "provider": "provider",
    "repository": "repository",
    "ref": "ref",
    "target": "target",
    "submodules": "submodules",
    "lfs": "lfs",
    "keep": "keep",
    "watch": "watch",
    "shared": "shared",
    "steps/build": "build",
    "steps/before_activate": "before_activate",
    "steps/after_activate": "after_activate",
    "health_check": "health_url",
    "health_check/run": "health_command",
    "auto_deploy": "auto_deploy",
    "auto_deploy/push": "push",
    "auto_deploy/poll": "poll",
    "auto_deploy/report_status": "report_status",
}
_DETAILS = (
    ("target", "target"),
    ("branch", "ref"),
    ("ref", "ref"),
    ("repository", "repository"),
    ("provider", "provider"),
)
"""Return the field that an error is about, from the error's details; the first one is used."""


def values_of(declaration: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of the form's fields. An empty declaration has the defaults."""
    steps, shared = declaration.get("steps", {}), declaration.get("shared", {})
    health, auto = declaration.get("health_check") or {}, declaration.get("auto_deploy")
    values = {name: str(declaration.get(name, "")) for name in _TEXTS}
    values |= {name: _flag(declaration.get(name, False)) for name in _FLAGS}
    values |= {name: "\n".join(map(_line, steps.get(name, ()))) for name in _STEPS}
    directories = [f"{path}/" for path in shared.get("directories", ())]
    return values | {
        "keep": str(declaration.get("keep", 5)),
        "watch": "\n".join(declaration.get("watch", ())),
        "shared": "\n".join([*directories, *shared.get("files", ())]),
        "health_url": health.get("url") or "",
        "health_command": _line(health) if "run" in health or "shell" in health else "",
        "auto_deploy": _flag(auto is not None),
        "push": _flag((auto or {}).get("push", True)),
        "poll": _number((auto or {}).get("poll", "auto")),
        "report_status": _flag((auto or {}).get("report_status", True)),
    }


def locked_fields(declaration: Mapping[str, Any]) -> set[str]:
    """Return the fields whose values the form cannot show completely, so it must not change
    them."""
    steps, health = declaration.get("steps", {}), declaration.get("health_check") or {}
    found = {
        name for name in _STEPS if not all(set(each) <= {"run"} for each in steps.get(name, ()))
    }
    return found | ({"health_url", "health_command"} if "shell" in health else set())


def declaration_of(form: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the declaration that a form describes.

    Args:
        form: The fields that a browser sent.
        before: The stored declaration; empty for a new application.
    """
    locked = locked_fields(before)
    values = {**before, **{name: form.get(name, "").strip() for name in _TEXTS}}
    changed: dict[str, Any] = {name: True if name in form else None for name in _FLAGS}
    changed["keep"] = form.get("keep", "").strip() or None
    changed["watch"] = _lines(form, "watch") or None
    changed["shared"] = _shared(_lines(form, "shared"))
    steps = dict(before.get("steps", {}))
    steps |= {name: _lines(form, name) for name in _STEPS if name not in locked}
    changed["steps"] = {name: found for name, found in steps.items() if found} or None
    if "health_url" not in locked:
        changed["health_check"] = _health_check(form, before.get("health_check") or {})
    changed["auto_deploy"] = _auto_deploy(form, before.get("auto_deploy") or {})
    values |= changed
    return {name: value for name, value in values.items() if value is not None}


def errors_of(refusal: Refusal | None) -> dict[str, str]:
    """Return the error of each field; an empty text if it has none."""
    errors: dict[str, str] = defaultdict(str)
    for problem in refusal.details.get("fields", ()) if refusal else ():
        path, _, said = str(problem).partition(": ")
        name, rest = _field_of(path)
        if name:
            before = f"{errors[name]} " if errors[name] else ""
            errors[name] = f"{before}{_sentence(_place(rest), said)}"
    if refusal and not errors and "fields" not in refusal.details and refusal.status < 500:
        name = next((field for key, field in _DETAILS if key in refusal.details), "")
        if name:
            errors[name] = refusal.message
    return errors


def _sentence(place: str, said: str) -> str:
    text = f"{place}{said}."
    return text[:1].upper() + text[1:]


def _field_of(path: str) -> tuple[str, Sequence[str]]:
    parts = path.split("/")
    for length in range(len(parts), 0, -1):
        name = _FIELDS.get("/".join(parts[:length]))
        if name:
            return name, parts[length:]
    return "", ()


def _place(rest: Sequence[str]) -> str:
    """Return the place of an error within a field, such as the line of a command."""
    if not rest or not rest[0].isdigit():
        return ""
    return f"line {int(rest[0]) + 1} "


def _flag(value: object) -> str:
    return _ON if value else ""


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _line(command: Mapping[str, Any]) -> str:
    """Return a command as one line."""
    shell = command.get("shell")
    return str(shell) if shell else shlex.join(command.get("run", ()))


def _lines(form: Mapping[str, str], name: str) -> list[str]:
    lines = (line.strip() for line in form.get(name, "").split("\n"))
    return [line for line in lines if line]


def _shared(paths: Sequence[str]) -> dict[str, list[str]] | None:
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault("directories" if path.endswith("/") else "files", []).append(path)
    return found or None


def _health_check(form: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any] | None:
    url, command = form.get("health_url", "").strip(), form.get("health_command", "").strip()
    if not (url or command):
        return None
    rest = {name: value for name, value in before.items() if name not in ("url", "run")}
    return rest | ({"url": url} if url else {}) | ({"run": command} if command else {})


def _auto_deploy(form: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any] | None:
    if "auto_deploy" not in form:
        return None
    rest = {name: before[name] for name in ("previews",) if name in before}
    return rest | {
        "push": "push" in form,
        "poll": form.get("poll", "").strip() or "auto",
        "report_status": "report_status" in form,
    }
