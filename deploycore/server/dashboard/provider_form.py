"""The form of a provider, made from the fields of its kind: any plugin has one.

All names of inputs have a prefix: ``field.`` for a value, ``reference.`` for the place that a
secret is read from, ``unset.`` for the removal of a secret. So a plugin's field cannot have the
name of another input.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from deploycore.server.dashboard.forms import Form
from deploycore.text.labels import label_from

__all__ = ["FieldInput", "Group", "errors_of", "groups_of", "restored_key", "values_of"]

FIELD, REFERENCE, UNSET = "field.", "reference.", "unset."

_MORE = "more"
"""The group of a plugin's fields that have a default, which few people change."""

_SSH_KEY = "ssh_private_key"
_NEEDED_KEY = {
    "required": True,
    "may_be_removed": True,  # to use the agent from then on
    "description": "private key, in the OpenSSH or PEM format; leave it empty if the SSH agent has"
    " the key",
}
"""What differs in this field if git cannot clone over HTTPS instead."""

_TITLES = {
    "plugin": "",
    _MORE: "More settings",
    "ssh": "SSH key to clone with",
    "network": "Network",
    "expiry": "Expiry",
}
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:(?:/|~)[ -~]*")
_KEY = re.compile(
    r"\s*(?P<begin>-----BEGIN (?P<what>[A-Z0-9 ]+)-----)"
    r"(?P<headers>\s*Proc-Type:\s*4,ENCRYPTED\s*DEK-Info:\s*[A-Z0-9-]+,"
    r"(?:[0-9A-F]{32}|[0-9A-F]{16})(?![0-9A-F]*,))?"
    r"(?P<body>[A-Za-z0-9+/=\s]+)(?P<end>-----END (?P=what)-----)\s*"
)
_LINE = 64


@dataclass(frozen=True)
class FieldInput:
    """One field of the form.

    Attributes:
        name: The field's name.
        type: The type of its input: that of an ``input`` element, ``select`` or ``textarea``.
        value: What it shows; never a secret.
        is_set: Whether the value is another one than the default.
        options: The values of a ``select`` with their texts.
        stored: Where the secret is stored; empty if none is.
        reference: A reference that was typed in place of a secret.
        may_be_removed: Whether it is a stored secret that is not required.
        error: What is wrong with it; empty if nothing is.
    """

    name: str
    label: str
    help: str
    required: bool
    secret: bool
    type: str
    value: str = ""
    is_set: bool = False
    options: Sequence[tuple[str, str]] = ()
    stored: str = ""
    reference: str = ""
    may_be_removed: bool = False
    error: str = ""


@dataclass(frozen=True)
class Group:
    """Fields that belong together.

    Attributes:
        title: The title; empty for the fields of the plugin.
        is_open: Whether its fields are shown at once.
    """

    title: str
    is_open: bool
    fields: Sequence[FieldInput]


def groups_of(
    mode: Mapping[str, Any],
    form: Mapping[str, str],
    *,
    settings: Mapping[str, str] | None = None,
    stored: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    recognized: Mapping[str, str] | None = None,
    only: Iterable[str] | None = None,
) -> list[Group]:
    """Return the fields of a way to sign in.

    Args:
        mode: The way, as ``GET /provider-kinds/{kind}`` describes it.
        form: What was typed, if the form was sent.
        settings: The provider's present settings.
        stored: Where its secrets are stored.
        errors: What is wrong, by field.
        recognized: The fields that were found in a pasted address.
        only: The names of the fields to return (default: all).
    """
    settings, stored, errors = settings or {}, stored or {}, errors or {}
    wanted = None if only is None else set(only)
    groups: dict[str, list[FieldInput]] = {}
    for field in map(_key_of_mode, mode["fields"]) if mode["needs_ssh_key"] else mode["fields"]:
        if wanted is None or field["name"] in wanted:
            made = _input(field, form, {**(recognized or {}), **settings}, stored, errors)
            groups.setdefault(_group_of(field), []).append(made)
    needs_key = mode["needs_ssh_key"]
    return [
        Group(_TITLES[name], _is_open(name, fields, needs_key=needs_key), fields)
        for name, fields in groups.items()
    ]


def _key_of_mode(field: Mapping[str, Any]) -> Mapping[str, Any]:
    """The field of the SSH key as it is for a way to sign in that needs one."""
    return {**field, **_NEEDED_KEY} if field["name"] == _SSH_KEY else field


def _group_of(field: Mapping[str, Any]) -> str:
    is_plain = field["group"] == "plugin" and not field["required"] and not field["secret"]
    return _MORE if is_plain and field["default"] is not None else str(field["group"])


def _is_open(name: str, fields: Sequence[FieldInput], *, needs_key: bool) -> bool:
    has_something = any(each.error or each.is_set or each.stored for each in fields)
    return name == "plugin" or has_something or (name == "ssh" and needs_key)


def _input(
    field: Mapping[str, Any],
    form: Mapping[str, str],
    settings: Mapping[str, str],
    stored: Mapping[str, str],
    errors: Mapping[str, str],
) -> FieldInput:
    name, default = field["name"], field["default"]
    given = form.get(FIELD + name, settings.get(name, ""))
    reference = form.get(REFERENCE + name, "")
    kept = stored.get(name) or (settings.get(name, "") if field["secret"] else "")
    options = _options(field)
    if options and not given and default is not None:
        given = default
    return FieldInput(
        name=name,
        label=label_from(name),
        help=_help(field),
        required=field["required"] and not kept,
        secret=field["secret"],
        type=_type(field),
        value="" if field["secret"] else given,
        is_set=given not in ("", default) or bool(reference),
        options=options,
        stored=kept,
        # If the text is not a reference, it may be a secret in the wrong input.
        reference=reference if _REFERENCE.fullmatch(reference) else "",
        may_be_removed=bool(kept) and field.get("may_be_removed", not field["required"]),
        error=errors.get(name, ""),
    )


def _type(field: Mapping[str, Any]) -> str:
    if field["secret"]:
        return "password"
    if field["choices"] or field["format"] == "boolean":
        return "select"
    formats = {"lines": "textarea", "integer": "number", "number": "number", "date": "date"}
    return formats.get(field["format"], "text")


def _options(field: Mapping[str, Any]) -> list[tuple[str, str]]:
    values = [(each, each) for each in field["choices"]]
    if field["format"] == "boolean":
        values = [("true", "Yes"), ("false", "No")]
    if values and field["default"] is None:
        values.insert(0, ("", "Choose" if field["required"] else "Not set"))
    return values if not field["secret"] else []


def _help(field: Mapping[str, Any]) -> str:
    text = field["description"]
    text = text[:1].upper() + text[1:]
    if field["default"] and field["format"] != "boolean" and "default" not in text:
        text = f"{text} (default: {field['default']})"
    return f"{text}." if text and not text.endswith(".") else text


def values_of(
    mode: Mapping[str, Any], form: Form, *, settings: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what a form changes, as the body of an operation: settings, secrets and references.

    Args:
        settings: The provider's present settings (default: a new provider).
    """
    present = settings or {}
    found: dict[str, dict[str, Any]] = {"settings": {}, "secrets": {}, "references": {}}
    for field in mode["fields"]:
        name = field["name"]
        if FIELD + name not in form:
            continue
        if field["secret"]:
            _read_secret(field, form, found)
        else:
            value = form[FIELD + name].strip()
            if value != present.get(name, field["default"] or ""):
                found["settings"][name] = value or None
    if settings is None:
        found["settings"] = {name: each for name, each in found["settings"].items() if each}
    return found


def _read_secret(field: Mapping[str, Any], form: Form, found: Mapping[str, dict[str, Any]]) -> None:
    name = field["name"]
    value, reference = form[FIELD + name], form.get(REFERENCE + name, "").strip()
    if reference:
        found["references"][name] = reference
    if value and field["may_be_plain"] and "@" not in value:
        found["settings"][name] = value.strip()
    elif value:
        found["secrets"][name] = SecretStr(restored_key(value))
    elif not reference and form.get(UNSET + name):
        found["secrets"][name] = None


def restored_key(text: str) -> str:
    """Return a private key with its line breaks, which browsers remove from an input of one line.

    Any other text is returned unchanged.
    """
    match = _KEY.fullmatch(text)
    if match is None or "\n" in text.strip():
        return text
    headers = re.sub(r"\s*DEK-Info:\s*", "\nDEK-Info: ", (match["headers"] or "").strip())
    body = re.sub(r"\s", "", match["body"])
    lines = [body[start : start + _LINE] for start in range(0, len(body), _LINE)]
    above = [headers, ""] if headers else []
    return "\n".join([match["begin"], *above, *lines, match["end"], ""])


def errors_of(details: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong by field, from the details of an error."""
    told = [each.partition(": ") for each in details.get("fields", ()) if isinstance(each, str)]
    found: dict[str, str] = {}
    for path, _, problem in told:
        # A field of the body is named with its part: settings/owner.
        name = path.rpartition("/")[2].partition(".")[0]
        text = problem[:1].upper() + problem[1:]
        found[name] = f"{text}." if not text.endswith(".") else text
    return found
