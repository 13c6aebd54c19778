"""Models of requests and responses about the kinds of providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from deploycore.configuration import ConfigField
from deploycore.provider.core_fields import core_group
from deploycore.provider.kinds import Kind, Mode
from deploycore.provider.recognition import Recognition
from deploycore.server.views import Given, View

__all__ = ["AddressGiven", "KindPage", "KindView", "RecognizedAddress", "RecognizedKind"]


class FieldView(View):
    """A field of a provider.

    Attributes:
        name: The name of the field.
        description: What the field means.
        required: Whether the field needs a value.
        secret: Whether the value is a secret.
        may_be_plain: Whether a value without a password may be sent in ``settings``, although the
            field is secret.
        choices: The allowed values; empty if any value is allowed.
        default: The default value; ``None`` if there is none.
        format: The form of its value; ``lines`` is a text with several lines.
        group: Whether the plugin defines the field. Otherwise, what the core uses it for.
    """

    name: str
    description: str
    required: bool
    secret: bool
    may_be_plain: bool
    choices: Sequence[str]
    default: str | None
    format: Literal["text", "lines", "boolean", "integer", "number", "date"]
    group: Literal["plugin", "network", "ssh", "expiry"]

    @classmethod
    def of(cls, field: ConfigField, group: str) -> FieldView:
        """The view of a field."""
        return cls.model_validate({**vars(field), "group": group})


class ModeView(View):
    """A way to sign in.

    Attributes:
        name: The name of the mode; empty if the kind has only one.
        label: The name to show to people, such as ``App password``; empty if the kind has only one.
        summary: One sentence that helps people choose a mode; may be empty.
        needs_ssh_key: Whether it needs the private key of an SSH key pair.
        signs_in: Whether a person may have to sign in after the provider was added.
        fields: The fields of the mode.
    """

    name: str
    label: str
    summary: str
    needs_ssh_key: bool
    signs_in: bool
    fields: Sequence[FieldView]

    @classmethod
    def of(cls, mode: Mode) -> ModeView:
        """The view of a mode: its required fields first, then the others, and those of the core."""
        own = sorted(mode.fields, key=lambda field: not field.required)
        fields = [FieldView.of(each, "plugin") for each in own]
        fields += [FieldView.of(each, core_group(each)) for each in mode.core_fields]
        return cls(
            name=mode.name,
            label=mode.label,
            summary=mode.summary,
            needs_ssh_key=mode.needs_ssh_key,
            signs_in=mode.signs_in,
            fields=fields,
        )


class KindView(View):
    """An installed kind of providers.

    Attributes:
        kind: The name of the kind, such as ``bitbucket``.
        display_name: The name to show to people, such as ``Bitbucket Cloud``.
        summary: Which git hosts it is for, in one sentence; may be empty.
        plugin: The name and version of the plugin.
        discriminator: The field that chooses the mode; ``None`` if there is only one mode.
        modes: The ways to sign in.
        problem: Why it cannot be used; ``None`` if it can.
    """

    kind: str
    display_name: str
    summary: str
    plugin: str
    discriminator: str | None
    modes: Sequence[ModeView]
    problem: str | None

    @classmethod
    def of(cls, kind: Kind) -> KindView:
        """The view of a kind."""
        return cls(
            kind=kind.kind,
            display_name=kind.display_name,
            summary=kind.summary,
            plugin=kind.label,
            discriminator=kind.discriminator,
            modes=[ModeView.of(each) for each in kind.modes],
            problem=kind.problem and f"{kind.problem.message} {kind.problem.hint}".strip(),
        )


class KindPage(View):
    """All installed kinds of providers.

    Attributes:
        items: The kinds.
    """

    items: Sequence[KindView]


class AddressGiven(Given):
    """The address of a repository.

    Attributes:
        url: The address. It may contain a password, which is not logged.
    """

    url: Annotated[SecretStr, Field(min_length=1, max_length=2000)]


class RecognizedKind(View):
    """A kind of providers that an address may belong to.

    Attributes:
        kind: The name of the kind.
        display_name: The name to show to people.
        fields: Values of the provider's fields that follow from the address.
    """

    kind: str
    display_name: str
    fields: Mapping[str, str]

    @classmethod
    def of(cls, found: Recognition, display_name: str) -> RecognizedKind:
        """The view of a recognition."""
        return cls(kind=found.kind, display_name=display_name, fields=found.fields)


class RecognizedAddress(View):
    """An address, and the kinds of providers that it may belong to.

    Attributes:
        url: The address without a query.
        kinds: The kinds, with the values that follow from the address.
        others: If no kind recognizes the address, the kinds that can use any git server.
    """

    url: str
    kinds: Sequence[RecognizedKind]
    others: Sequence[RecognizedKind]
