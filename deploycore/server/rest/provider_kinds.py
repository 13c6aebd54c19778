"""The kinds of providers that can be added, and the kind that an address belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from deploycore.errors import ConfigurationError
from deploycore.provider.kinds import installed_kinds
from deploycore.provider.recognition import (
    Recognition,
    acceptances,
    clean_address,
    is_address,
    recognitions,
)
from deploycore.provider.registry import normalise_kind
from deploycore.server.api import PREFIX, Api, Call, answer
from deploycore.server.checking import checked
from deploycore.server.problems import Refusal
from deploycore.server.rest.kind_views import (
    AddressGiven,
    KindPage,
    KindView,
    RecognizedAddress,
    RecognizedKind,
)
from deploycore.server.rest.operation import Operation

__all__ = ["OPERATIONS"]

_KINDS = f"{PREFIX}/provider-kinds"


def list_provider_kinds(api: Api, call: Call) -> Response:
    """List the kinds of providers that can be added, with the fields of each way to sign in.

    The fields come from the installed plugins. A plugin that cannot be used has a problem.
    """
    return answer(KindPage(items=[KindView.of(each) for each in installed_kinds()]))


def get_provider_kind(api: Api, call: Call) -> Response:
    """Get a kind of providers, with the fields of each way to sign in."""
    name = call.path["kind"]
    found = installed_kinds([normalise_kind(name)])
    if not found:
        raise Refusal(
            404,
            "not_found",
            f"No plugin for providers of kind {name[:64]!r} is installed.",
            hint=f"List the kinds: GET {_KINDS}",
        )
    return answer(KindView.of(found[0]))


def recognize_address(api: Api, call: Call) -> Response:
    """Find the kinds of providers that an address of a repository may belong to.

    Nothing is sent to the address. The response has the fields of a provider that it tells.
    """
    text = checked(AddressGiven, call.body).url.get_secret_value().strip()
    if not is_address(text):
        raise ConfigurationError(
            "The address is not that of a repository.",
            hint="Use the address of the repository's page, or the one to clone it.",
            fields=["url: is not an address such as https://git.example.com/acme/shop"],
        )
    try:
        url = clean_address(text)
    except ConfigurationError as error:
        error.details.setdefault("fields", [f"url: {error.message}"])
        raise
    found = recognitions(url)
    others = () if found else acceptances(url)
    return answer(RecognizedAddress(url=url, kinds=_named(found), others=_named(others)))


def _named(found: Sequence[Recognition]) -> list[RecognizedKind]:
    kinds = installed_kinds([each.kind for each in found])
    names = {each.kind: each.display_name for each in kinds}
    return [RecognizedKind.of(each, names[each.kind]) for each in found if each.kind in names]


OPERATIONS = (
    Operation("GET", _KINDS, "read", list_provider_kinds, {200: KindPage}),
    Operation("GET", f"{_KINDS}/{{kind}}", "read", get_provider_kind, {200: KindView}),
    Operation(
        "POST",
        f"{_KINDS}/recognize",
        "admin",  # it runs the code of all plugins
        recognize_address,
        {200: RecognizedAddress},
        body=AddressGiven,
        changes_nothing_at=200,
    ),
)
