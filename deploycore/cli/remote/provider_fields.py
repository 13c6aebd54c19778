"""The fields of providers as a server on another machine describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from deploycore.cli.fields import FieldSet, GivenFields
from deploycore.configuration import ConfigField
from deploycore.installation import SecretReference
from deploycore.remote import RemoteServer

__all__ = ["given_body", "read_field_set"]


def read_field_set(server: RemoteServer, kind: str) -> FieldSet:
    """Return the fields of a kind of providers that is installed on the server's machine."""
    view = server.ask("GET", "/provider-kinds/{kind}", kind=kind)
    modes, discriminator = view["modes"], view["discriminator"]
    own: list[ConfigField] = []
    if discriminator is not None:
        names = tuple(each["name"] for each in modes)
        own = [ConfigField(discriminator, "way to sign in", True, False, choices=names)]
    found = _by_name(modes, is_own=True)
    own += [_field(uses, len(modes), is_union=discriminator is not None) for uses in found]
    core = [_field(uses, len(modes), is_union=False) for uses in _by_name(modes, is_own=False)]
    return FieldSet(own, core, discriminator, is_elsewhere=True)


def given_body(
    given: GivenFields, removed: Sequence[str] = (), *, secret: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the part of a request's body that has the fields.

    Args:
        given: The fields.
        removed: The names of fields to remove.
        secret: The names of all secret fields.
    """
    plain = {name: each for name, each in given.secrets.items() if isinstance(each, SecretStr)}
    references = {
        name: each.text for name, each in given.secrets.items() if isinstance(each, SecretReference)
    }
    return {
        "settings": {**given.settings, **{name: None for name in removed if name not in secret}},
        "secrets": {
            **{name: each.get_secret_value() for name, each in plain.items()},
            **{name: None for name in removed if name in secret},
        },
        "references": references,
    }


Uses = Sequence[tuple[str, Mapping[str, Any]]]
"""Return a field in each way to sign in that has it: the name of the way, and the field."""


def _by_name(modes: Sequence[Mapping[str, Any]], *, is_own: bool) -> list[Uses]:
    found: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for mode in modes:
        for field in mode["fields"]:
            if (field["group"] == "plugin") == is_own:
                found.setdefault(field["name"], []).append((mode["name"], field))
    return [*found.values()]


def _field(uses: Uses, count: int, *, is_union: bool) -> ConfigField:
    first = uses[0][1]
    required = tuple(mode for mode, field in uses if field["required"])
    return ConfigField(
        first["name"],
        first["description"],
        required=len(required) == (len(uses) if is_union else count),
        secret=first["secret"],
        choices=tuple(first["choices"]),
        only_for=tuple(mode for mode, _ in uses) if is_union else (),
        required_for=required if is_union else (),
        may_be_plain=first["may_be_plain"],
        default=first["default"],
        format=first["format"],
    )
